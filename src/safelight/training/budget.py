"""How long to train, and what a step may cost: settled before the first step."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from safelight.errors import UserError

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
COUNTS = ("steps", "epochs", "kimg")
BYTES = {"KB": 2**10, "MB": 2**20, "GB": 2**30, "TB": 2**40}
EXAMPLES = "give a time such as 90s, 10m or 1h30m, or 5000steps, 20epochs, 500kimg"


@dataclass(frozen=True)
class Budget:
    amount: float
    unit: str  # seconds, steps, epochs or kimg

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Raises UserError where it is not a budget, or zero."""
        compact = text.replace(" ", "").lower()
        if match := re.fullmatch(r"(\d+\.?\d*)(steps?|epochs?|kimg)", compact):
            unit = next(name for name in COUNTS if name.startswith(match[2].rstrip("s")))
            budget = cls(float(match[1]), unit)
        elif re.fullmatch(r"(\d+\.?\d*[smhd])+", compact):
            parts = re.findall(r"(\d+\.?\d*)([smhd])", compact)
            budget = cls(sum(float(number) * SECONDS[unit] for number, unit in parts), "seconds")
        else:
            raise UserError(f"{text!r} is no budget; {EXAMPLES}")
        if not 0 < budget.amount < math.inf:
            raise UserError(f"a budget of {text!r} trains nothing; {EXAMPLES}")
        return budget

    def steps(self, batch: int, images: int) -> int | None:
        """The number of steps; None for a time, which has to be measured first."""
        per_unit = {"steps": 1.0, "epochs": images / batch, "kimg": 1000 / batch}
        if self.unit not in per_unit:
            return None
        return max(1, math.ceil(self.amount * per_unit[self.unit]))


def parse_memory(text: str) -> int | None:
    """'2GB' -> bytes; None for 'auto'."""
    if text == "auto":
        return None
    match = re.fullmatch(r"(\d+\.?\d*)\s*([KMGT]B)", text.strip().upper())
    if not match or float(match[1]) == 0:
        raise UserError(f"{text!r} is no amount of memory; give one such as 500MB or 2GB, or auto")
    return int(float(match[1]) * BYTES[match[2]])

"""ICC profiles made by hand, of version 2 (ICC.1:2001-04)."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

D50 = np.array([0.9642, 1.0, 0.8249])
D65 = (0.3127, 0.3290)
ADOBE = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))  # Adobe RGB (1998): x, y of red, green and blue
P3 = ((0.68, 0.32), (0.265, 0.69), (0.15, 0.06))  # Display P3
BT709 = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))  # as sRGB has them
BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def of_rgb(primaries: Sequence[tuple[float, float]], gamma: float) -> bytes:
    """White is D65, adapted to D50 as Bradford does."""
    curve = _curve(gamma)
    columns = to_d50(primaries).T
    tags = {b"rXYZ": _xyz(columns[0]), b"gXYZ": _xyz(columns[1]), b"bXYZ": _xyz(columns[2])}
    return _profile(b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def to_d50(primaries: Sequence[tuple[float, float]]) -> np.ndarray:
    """(3, 3): from linear red, green and blue to X, Y and Z in D50."""
    each = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    white = np.array([D65[0] / D65[1], 1, (1 - sum(D65)) / D65[1]])
    scaled = each * np.linalg.solve(each, white)
    gain = np.diag((BRADFORD @ D50) / (BRADFORD @ white))
    return np.linalg.inv(BRADFORD) @ gain @ BRADFORD @ scaled


def of_grey(gamma: float) -> bytes:
    return _profile(b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def of_cmyk(corners: np.ndarray) -> bytes:
    """corners: (2, 2, 2, 2, 3), the Lab colour without and with each of the four inks."""
    straight = bytes(range(256))
    encoded = np.rint(corners * [255 / 100, 1, 1] + [0, 128, 128]).clip(0, 255).astype(np.uint8)
    unit = b"".join(_fixed(float(value)) for value in np.eye(3).reshape(-1))
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + unit + straight * 4
    table += encoded.tobytes() + straight * 3
    return _profile(b"CMYK", b"Lab ", {b"A2B0": table}, b"prtr")


def _profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    name = b"made by hand\0"
    text = b"desc\0\0\0\0" + struct.pack(">I", len(name)) + name + bytes(78)
    tags = {b"desc": text, b"wtpt": _xyz(D50), b"cprt": b"text\0\0\0\0none\0"} | tags
    table, body, first = b"", b"", 132 + 12 * len(tags)
    for key, data in tags.items():
        table += key + struct.pack(">II", first + len(body), len(data))
        body += data + bytes(-len(data) % 4)
    size = struct.pack(">I", first + len(body))
    head = size + b"lcms\x02\x10\0\0" + kind + space + pcs + struct.pack(">6H", 2026, 1, 1, 0, 0, 0)
    head = head.ljust(36, b"\0") + b"acsp" + bytes(28) + b"".join(map(_fixed, D50))
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def _xyz(values: np.ndarray) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(float(value)) for value in values)


def _curve(gamma: float) -> bytes:
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def srgb_of(light: np.ndarray) -> np.ndarray:
    """Linear red, green and blue in 0..1 (clipped to it) -> 0..255; IEC 61966-2-1."""
    x = light.clip(0, 1)
    return 255 * np.where(x <= 0.0031308, 12.92 * x, 1.055 * x ** (1 / 2.4) - 0.055)


def srgb_of_lab(lab: np.ndarray) -> np.ndarray:
    """(..., 3) of L, a and b in D50 -> 0..255; CIE 15."""
    y = (lab[..., 0] + 16) / 116
    f = np.stack([y + lab[..., 1] / 500, y, y - lab[..., 2] / 200], -1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * D50
    return srgb_of(xyz @ np.linalg.inv(to_d50(BT709)).T)

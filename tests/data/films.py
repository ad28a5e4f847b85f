"""Films made on the spot, whose frames are known to the last pixel."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Frames = Sequence[NDArray[np.uint8]]


def frames(n: int, h: int = 12, w: int = 16) -> Frames:
    """(h, w, 3) of random pixels each."""
    return list(np.random.default_rng(0).integers(0, 256, (n, h, w, 3), np.uint8))


def film(
    path: Path,
    pictures: Frames,
    codec: str = "ffv1",
    pixels: str = "bgr0",
    times: Sequence[int] | None = None,
    turned: int | None = None,
    aspect: Fraction | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """times: when each is shown, in milliseconds; ten frames a second unless given. turned: degrees
    against the clock. aspect: width of a pixel for its height."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=1000 if times else 10, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if turned is not None:
            stream.set_display_rotation(turned)
        for i, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            if times:
                frame.pts, frame.time_base = times[i], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path

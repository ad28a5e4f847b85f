"""The tables of how files are found and how their bytes are read, by the kind of what holds them.

The decoding processes import this module, so it must not import torch.
"""

from __future__ import annotations

from collections.abc import Callable

from safelight.data.lmdbs import read_lmdb
from safelight.data.tars import read_tar
from safelight.data.walk import Read, read_folder
from safelight.data.zips import read_zip

READERS: dict[str, Callable[[str], Read]] = {
    "folder": read_folder,
    "zip": read_zip,
    "tar": read_tar,
    "lmdb": read_lmdb,
}

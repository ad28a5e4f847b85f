"""Safelight trains, samples and judges image generators on one's own pictures."""

from safelight.config import Config, Sampling
from safelight.editing.tasks import ImageToImage, Inpaint, Interpolate, Invert, SuperResolution
from safelight.errors import UserError
from safelight.judging import compare, evaluate, report
from safelight.verbs import demo, edit, export_images, prepare, presets, sample, train

__version__ = "0.1.0"
__all__ = [
    "Config",
    "ImageToImage",
    "Inpaint",
    "Interpolate",
    "Invert",
    "Sampling",
    "SuperResolution",
    "UserError",
    "compare",
    "demo",
    "edit",
    "evaluate",
    "export_images",
    "prepare",
    "presets",
    "report",
    "sample",
    "train",
]

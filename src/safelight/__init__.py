"""Safelight trains, samples and judges image generators on one's own pictures."""

from __future__ import annotations

__version__ = "0.1.0"

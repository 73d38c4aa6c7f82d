"""The rows of the performance table: how each is measured, and its target."""

from __future__ import annotations

from . import around, counts, gpu, network, start
from .row import Files, Row, Taken

ROWS: tuple[Row, ...] = (*network.ROWS, *around.ROWS, *start.ROWS, *counts.ROWS, *gpu.ROWS)
"""All rows, in the order of the page."""

__all__ = ["ROWS", "Files", "Row", "Taken"]

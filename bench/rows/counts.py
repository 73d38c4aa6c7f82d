"""Rows that are counted, not timed: kernels and bytes of a call on a pretended GPU, the same on every machine."""

from __future__ import annotations

from typing import Any

from ..measure import PUBLISHED_SIZES
from .row import Files, Row, Taken

DTYPES = ("float16", "float32")


def counts(files: Files) -> dict[str, dict[str, dict[str, Any]]]:
    """What a call of each published network costs, by size and dtype."""
    return files.once("counts", _counts)


def _counts() -> dict[str, dict[str, dict[str, Any]]]:
    import torch

    from ..kernels import network_count

    counted: dict[str, dict[str, dict[str, Any]]] = {}
    for size in PUBLISHED_SIZES:
        for dtype in DTYPES:
            one = network_count(size, getattr(torch, dtype))
            counted.setdefault(str(size), {})[dtype] = {
                "kernels": one.kernels,
                "gb": one.bytes / 1e9,
                "gflop": one.flop / 1e9,
                "roofline_ms": 1e3 * one.roofline(),
                "launches_ms": 1e3 * one.launches(),
            }
    return counted


def counted(files: Files, size: int, key: str) -> Taken:
    return Taken([counts(files)[str(size)]["float16"][key]])


ROWS = (
    *(
        Row(
            f"{key}-{size}",
            f"{size}, float16, GPU, batch 1: {what}",
            target,
            unit,
            lambda files, size=size, key=key: counted(files, size, key),  # type: ignore[misc]
        )
        for size, key, what, target, unit in (
            (512, "kernels", "kernels", 250, ""),
            (512, "gb", "memory traffic", 1.8, "GB"),
            (2048, "kernels", "kernels", 300, ""),
            (2048, "gb", "memory traffic", 6.0, "GB"),
        )
    ),
    Row("counts", "kernels, bytes and FLOPs at each size", None, "", lambda files: Taken(details=counts(files))),
)

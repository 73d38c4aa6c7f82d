"""Rows that are counted, not timed: kernels and bytes of a call on a pretended GPU, the same on every machine."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from typing import Any

from ..measure import PUBLISHED_SIZES
from .row import Files, Row, Taken

DTYPES = ("float16", "float32")
FUSED = "float16, fused kernels"


def counts(files: Files) -> dict[str, dict[str, dict[str, Any]]]:
    """What a call of each published network costs, by size and dtype."""
    return files.once("counts", _counts)


def _counts() -> dict[str, dict[str, dict[str, Any]]]:
    import torch

    from gpen.network.fusion import using_fused

    from ..kernels import network_count

    counted: dict[str, dict[str, dict[str, Any]]] = {}
    for size in PUBLISHED_SIZES:
        for title in (*DTYPES, *([FUSED] if importlib.util.find_spec("triton") else [])):
            with using_fused(title == FUSED):
                one = network_count(size, getattr(torch, title.split(",")[0]))
            counted.setdefault(str(size), {})[title] = {
                "kernels": one.kernels,
                "gb": one.bytes / 1e9,
                "gflop": one.flop / 1e9,
                "roofline_ms": 1e3 * one.roofline(),
                "launches_ms": 1e3 * one.launches(),
            }
    return counted


def counted(files: Files, size: int, title: str, key: str) -> Taken:
    taken = counts(files)[str(size)]
    return Taken([taken[title][key]]) if title in taken else Taken(why="needs Triton")


TARGETS = (
    (512, "float16", 250, 1.8),
    (2048, "float16", 300, 6.0),
    (2048, FUSED, 200, 4.5),
)
"""Size, what is counted, most kernels, most gigabytes."""


def _rows() -> Iterator[Row]:
    for size, title, kernels, gigabytes in TARGETS:
        name = f"{size}-fused" if title == FUSED else f"{size}"
        for key, what, most, unit in (("kernels", "kernels", kernels, ""), ("gb", "memory traffic", gigabytes, "GB")):
            take = functools.partial(counted, size=size, title=title, key=key)
            yield Row(f"{key}-{name}", f"{size} on a GPU, {title}, batch 1: {what}", most, unit, take)


ROWS = (
    *_rows(),
    Row("counts", "kernels, bytes and FLOPs at each size", None, "", lambda files: Taken(details=counts(files))),
)

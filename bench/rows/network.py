"""Rows about the network alone: time, memory, and both beside other ways to run it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import machine
from ..measure import PUBLISHED_SIZES
from ..worker import in_turns, measured_once
from .row import MORE_ROUNDS, ROUNDS, Files, Row, Taken, details, ratios, workers

SAME = 2e-4
"""Largest difference between two outputs, relative to the largest value, that counts as the same."""
TEXTBOOK_SIZES = (512, 2048)


def against_bare_convolutions(files: Files, size: int) -> Taken:
    taken = files.beside_convolutions(size)
    return Taken(ratios(taken, "ours", "bare"), details=details(taken))


def bfloat16_against_float32(files: Files, size: int) -> Taken:
    if not machine.has_bfloat16():
        return Taken(why="the processor has neither avx512_bf16 nor AMX")
    chosen = "auto" if machine.has_bfloat16_tiles() else "bfloat16"
    weights = files.weights(size)
    with workers(
        half=("networks.ours", weights, size, chosen), float32=("networks.ours", weights, size, "float32")
    ) as started:
        taken = in_turns(started, ROUNDS)
    figures, more = ratios(taken, "half", "float32"), details(taken)
    if chosen == "auto":
        return Taken(figures, details=more)
    why = f"no AMX: auto is float32 here, and bfloat16 takes {np.median(figures):.2f} times as long"
    return Taken(why=why, details=more | {"ratio": figures})


def against_onnx_runtime(files: Files, size: int) -> Taken:
    weights, graph = files.weights(size), files.graph(size)
    ours, theirs = files.output("ours"), files.output("onnx")
    with workers(
        ours=("networks.ours", weights, size, "float32", str(ours)), onnx=("networks.onnx", graph, size, str(theirs))
    ) as started:
        apart = difference(np.load(ours), np.load(theirs))
        if not apart <= SAME:
            raise ValueError(f"The outputs of the two networks differ by {apart:.1e} of the largest value.")
        taken = in_turns(started, MORE_ROUNDS)
    return Taken(ratios(taken, "ours", "onnx"), details=details(taken) | {"difference_of_outputs": apart})


def memory(files: Files, size: int, dtype: str) -> Taken:
    taken = measured_once("networks.ours", files.weights(size), size, dtype)
    return Taken([taken["peak_bytes"] / 1e9], details=taken)


def each_size(files: Files) -> Taken:
    """Each network and its convolutions; for two sizes also the textbook formulation in both runtimes."""
    sizes: dict[str, Any] = {}
    for size in PUBLISHED_SIZES:
        weights = files.weights(size)
        taken = dict(files.beside_convolutions(size))
        if machine.has_bfloat16_tiles():
            with workers(auto=("networks.ours", weights, size, "auto")) as started:
                taken |= in_turns(started, ROUNDS)
        # At the largest size these take many gigabytes and minutes: run alone, and once.
        small = size < max(PUBLISHED_SIZES)
        if size in TEXTBOOK_SIZES:
            with workers(textbook=("networks.textbook", weights, size, None, small)) as started:
                taken |= in_turns(started, ROUNDS if small else 1)
            with workers(onnx=("networks.onnx", files.graph(size), size, None, small)) as started:
                taken |= in_turns(started, ROUNDS if small else 1)
        sizes[str(size)] = details(taken)
    return Taken(details=sizes)


def difference(one: Any, other: Any) -> float:
    """The largest difference, relative to the largest value."""
    return float(np.abs(one - other).max() / np.abs(one).max())


ROWS = (
    Row("sizes", "one face at each size", None, "s", each_size),
    Row(
        "onnx-512",
        "512, float32: time / ONNX Runtime's on the textbook formulation",
        0.8,
        "×",
        lambda files: against_onnx_runtime(files, 512),
    ),
    Row(
        "auto-2048",
        "2048, precision auto: time / float32 time, on a CPU that is fast in bfloat16",
        0.5,
        "×",
        lambda files: bfloat16_against_float32(files, 2048),
    ),
    Row(
        "memory-2048",
        "2048, float32: peak memory above the loaded weights",
        0.9,
        "GB",
        lambda files: memory(files, 2048, "float32"),
    ),
    Row(
        "memory-2048-bfloat16",
        "2048, bfloat16: peak memory above the loaded weights",
        0.5,
        "GB",
        lambda files: memory(files, 2048, "bfloat16"),
    ),
    Row(
        "bare-512",
        "512, float32: time / time of the bare convolutions",
        1.15,
        "×",
        lambda files: against_bare_convolutions(files, 512),
    ),
    Row(
        "bare-2048",
        "2048, float32: time / time of the bare convolutions",
        1.15,
        "×",
        lambda files: against_bare_convolutions(files, 2048),
    ),
)

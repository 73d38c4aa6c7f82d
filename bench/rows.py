"""The rows of the performance table: how each is measured, and its target."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import gpu, machine, photos, startup
from .measure import KEEP_FREED_MEMORY, PUBLISHED_SIZES
from .worker import Worker, in_turns, measured_once

ROUNDS = 3
MORE_ROUNDS = 5
"""For rounds that take seconds."""
MOST_ROUNDS = 15
"""For rounds that take less than a second."""
SAME = 2e-4
"""Largest difference between two outputs, relative to the largest value, that counts as the same."""
TEXTBOOK_SIZES = (512, 2048)
HALVES = ("float32", "float16", "bfloat16")


Rounds = dict[str, list[dict[str, Any]]]
"""The measurements of each subject, round by round."""


@dataclass(frozen=True)
class Taken:
    """The measurement of a row."""

    figures: list[float] = field(default_factory=list)
    """One for each round; none if the row cannot be measured here."""
    why: str = ""
    """Why it cannot be measured here."""
    failed: str = ""
    """What makes it fail, whatever the figures."""
    details: dict[str, Any] = field(default_factory=dict)
    """More figures, for the JSON file."""


class Files:
    """Weight files and graphs with random numbers, written when first needed; and measurements that rows share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._beside_convolutions: dict[int, Rounds] = {}

    def beside_convolutions(self, size: int) -> Rounds:
        """Our network and its bare convolutions in turns; measured once for all rows."""
        if size not in self._beside_convolutions:
            ours, bare = ("networks.ours", self.weights(size), size, "float32"), ("networks.bare", size, "float32")
            with _workers(ours=ours, bare=bare) as workers:
                self._beside_convolutions[size] = in_turns(workers, ROUNDS if size > 512 else MORE_ROUNDS)
        return self._beside_convolutions[size]

    def weights(self, size: int) -> str:
        """A .safetensors file of the published network of this size."""
        return self._made(f"GPEN-BFR-{size}.safetensors", lambda path: measured_once("networks.write", size, path))

    def graph(self, size: int) -> str:
        """The textbook formulation with the same weights, as an ONNX file."""
        weights = self.weights(size)
        return self._made(f"{size}.onnx", lambda path: measured_once("networks.export", weights, size, path))

    def output(self, name: str) -> Path:
        """A file for the output of a formulation."""
        return self._folder / f"{name}.npy"

    def _made(self, name: str, make: Callable[[str], Any]) -> str:
        path = self._folder / name
        if not path.exists():
            make(str(path))
        return str(path)


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    """Its name on the command line."""
    title: str
    """What is measured."""
    target: float | None
    """The largest figure that meets it; None if the figures are for information."""
    unit: str
    """Unit of figure and target; × for a ratio."""
    take: Callable[[Files], Taken]
    """Measures it."""


def against_bare_convolutions(files: Files, size: int) -> Taken:
    taken = files.beside_convolutions(size)
    return Taken(_ratios(taken, "ours", "bare"), details=_details(taken))


def bfloat16_against_float32(files: Files, size: int) -> Taken:
    if not machine.has_bfloat16():
        return Taken(why="the processor has neither avx512_bf16 nor AMX")
    chosen = "auto" if machine.has_bfloat16_tiles() else "bfloat16"
    weights = files.weights(size)
    with _workers(
        half=("networks.ours", weights, size, chosen), float32=("networks.ours", weights, size, "float32")
    ) as workers:
        taken = in_turns(workers, ROUNDS)
    ratios, details = _ratios(taken, "half", "float32"), _details(taken)
    if chosen == "auto":
        return Taken(ratios, details=details)
    why = f"no AMX: auto is float32 here, and bfloat16 takes {np.median(ratios):.2f} times as long"
    return Taken(why=why, details=details | {"ratio": ratios})


def against_onnx_runtime(files: Files, size: int) -> Taken:
    weights, graph = files.weights(size), files.graph(size)
    ours, theirs = files.output("ours"), files.output("onnx")
    with _workers(
        ours=("networks.ours", weights, size, "float32", str(ours)), onnx=("networks.onnx", graph, size, str(theirs))
    ) as workers:
        difference = _difference(np.load(ours), np.load(theirs))
        if not difference <= SAME:
            raise ValueError(f"The outputs of the two networks differ by {difference:.1e} of the largest value.")
        taken = in_turns(workers, MORE_ROUNDS)
    return Taken(_ratios(taken, "ours", "onnx"), details=_details(taken) | {"difference_of_outputs": difference})


def memory(files: Files, size: int, dtype: str) -> Taken:
    taken = measured_once("networks.ours", files.weights(size), size, dtype)
    return Taken([taken["peak_bytes"] / 1e9], details=taken)


def whole_photo(files: Files) -> Taken:
    if why := photos.missing():
        return Taken(why=why)
    with _workers(photo=("photos.restored", files.weights(photos.SIZE))) as workers:
        taken = in_turns(workers, ROUNDS)["photo"]
    return Taken([one["rest"] / one["network"] for one in taken], details={"rounds": taken})


def large_canvas(_: Files) -> Taken:
    if why := photos.missing():
        return Taken(why=why)
    with _workers(paste=("photos.pasted",)) as workers:
        taken = in_turns(workers, MOST_ROUNDS)["paste"]
    return Taken([one["large"] / one["small"] for one in taken], details={"rounds": taken})


def start(_: Files, arguments: tuple[str, ...]) -> Taken:
    for before in (startup.PASS, arguments):
        startup.start_seconds(before)
    beyond, own = [], []
    for _ in range(MOST_ROUNDS):
        own.append(startup.start_seconds(startup.PASS))
        beyond.append(startup.start_seconds(arguments) - own[-1])
    failed = "imports PyTorch" if startup.imports_torch(arguments) else ""
    return Taken(beyond, failed=failed, details={"own_start_seconds": own})


def load(files: Files, size: int) -> Taken:
    path = files.weights(size)
    taken: Rounds = {"load_model": [], "load_file": []}
    for _ in range(MORE_ROUNDS):
        for function, times in taken.items():
            times.append(measured_once("startup.loading", function, path))
    others = {
        f"ratio_{key}": _ratios(taken, "load_model", "load_file", key) for key in ("every_page_read", "own_memory")
    }
    return Taken(_ratios(taken, "load_model", "load_file"), details=others | taken)


def each_size(files: Files) -> Taken:
    """Each network and its convolutions, for two sizes also the textbook formulation in both runtimes."""
    sizes: dict[str, Any] = {}
    for size in PUBLISHED_SIZES:
        weights = files.weights(size)
        taken = dict(files.beside_convolutions(size))
        # At the largest size these take many gigabytes and minutes: run alone, and once.
        small = size < max(PUBLISHED_SIZES)
        if size in TEXTBOOK_SIZES:
            with _workers(textbook=("networks.textbook", weights, size, None, small)) as workers:
                taken |= in_turns(workers, ROUNDS if small else 1)
            with _workers(onnx=("networks.onnx", files.graph(size), size, None, small)) as workers:
                taken |= in_turns(workers, ROUNDS if small else 1)
        sizes[str(size)] = _details(taken)
    return Taken(details=sizes)


def gpu_time(files: Files, figure: Callable[[Mapping[str, float]], float]) -> Taken:
    if not gpu.name():
        return Taken(why="no GPU")
    if "H200" not in gpu.name():
        return Taken(why=f"the target is for an H200, this is a {gpu.name()}")
    # The faster of the two 16-bit formats counts.
    measured = {dtype: _gpu_rounds(files, 2048, dtype) for dtype in ("float16", "bfloat16")}
    dtype = min(measured, key=lambda name: np.median([one["ours"] for one in measured[name]]))
    return Taken([figure(one) for one in measured[dtype]], details={"dtype": dtype, "rounds": measured[dtype]})


def gpu_each_size(files: Files) -> Taken:
    if not gpu.name():
        return Taken(why="no GPU")
    details = {str(size): {dtype: _gpu_rounds(files, size, dtype) for dtype in HALVES} for size in PUBLISHED_SIZES}
    return Taken(details=details)


def _gpu_rounds(files: Files, size: int, dtype: str) -> list[dict[str, Any]]:
    with _workers(face=("gpu.face", files.weights(size), size, dtype)) as workers:
        return in_turns(workers, MORE_ROUNDS)["face"]


@contextlib.contextmanager
def _workers(**subjects: tuple[Any, ...]) -> Iterator[dict[str, Worker]]:
    with contextlib.ExitStack() as stack:
        workers = {}
        for name, (subject, *arguments) in subjects.items():
            environment = KEEP_FREED_MEMORY if subject == "networks.bare" else {}
            workers[name] = stack.enter_context(Worker(subject, *arguments, environment=environment))
        yield workers


def _ratios(taken: Rounds, above: str, below: str, key: str = "seconds") -> list[float]:
    return [one[key] / other[key] for one, other in zip(taken[above], taken[below], strict=True)]


def _details(taken: Rounds) -> dict[str, Any]:
    """For each subject, the rounds of each key as a list."""
    return {name: {key: [one[key] for one in rounds] for key in rounds[0]} for name, rounds in taken.items()}


def _difference(one: Any, other: Any) -> float:
    return float(np.abs(one - other).max() / np.abs(one).max())


ROWS = (
    Row(
        "bare-2048",
        "2048, float32: time / time of the bare convolutions",
        1.15,
        "×",
        lambda files: against_bare_convolutions(files, 2048),
    ),
    Row(
        "bare-512",
        "512, float32: time / time of the bare convolutions",
        1.15,
        "×",
        lambda files: against_bare_convolutions(files, 512),
    ),
    Row(
        "auto-2048",
        "2048, precision auto: time / float32 time, on a CPU that is fast in bfloat16",
        0.5,
        "×",
        lambda files: bfloat16_against_float32(files, 2048),
    ),
    Row(
        "onnx-512",
        "512, float32: time / ONNX Runtime's on the textbook formulation",
        0.8,
        "×",
        lambda files: against_onnx_runtime(files, 512),
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
        "photograph",
        "photo with 29 faces, 512: everything but the network / the network",
        0.10,
        "×",
        whole_photo,
    ),
    Row(
        "canvas",
        "the same faces in 24 megapixels: pasting / pasting in 0.75 megapixels",
        1.5,
        "×",
        large_canvas,
    ),
    Row("import", "import gpen, beyond Python's own start", 0.15, "s", lambda files: start(files, startup.IMPORT)),
    Row("help", "gpen --help, beyond Python's own start", 0.15, "s", lambda files: start(files, startup.HELP)),
    Row("load", "load_model, 2048 / safetensors' load_file", 1.5, "×", lambda files: load(files, 2048)),
    Row(
        "gpu-2048",
        "2048 on an H200, half precision: milliseconds",
        12,
        "ms",
        lambda files: gpu_time(files, lambda one: one["ours"]),
    ),
    Row(
        "gpu-bare-2048",
        "2048 on an H200, half precision: time / time of the bare convolutions",
        1.3,
        "×",
        lambda files: gpu_time(files, lambda one: one["ours"] / one["bare"]),
    ),
    Row("sizes", "one face at each size", None, "s", each_size),
    Row("gpu-sizes", "one face at each size on a GPU", None, "ms", gpu_each_size),
)

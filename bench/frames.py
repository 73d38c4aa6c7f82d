"""Subjects for :mod:`bench.worker`: `gpen restore` on the frames of a video, with a network that returns its input.

The command runs as a user starts it, through :func:`gpen.cli.main`, on real files, so what is measured is everything
but the network: the model is loaded from a file as always, but ``Model.__call__`` is replaced by a function that
returns its argument.
"""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np

from gpen.images.picture import FloatImage

from .photos import DETECTORS, SHARED
from .worker import Measure

FACE = SHARED / "photos" / "ffhq_00000_hq.png"
SIZE = (1168, 856)
"""Width and height of a frame: 1.0 megapixels."""
PORTRAIT = 360
"""Side of the portrait in a frame, in pixels; the face itself is about half as wide."""
STEP = (6, 2)
"""Pixels that the portrait moves from one frame to the next."""
DISTINCT = 20
"""Frames that differ; a longer video shows them forth and back."""
FEW = 10
"""Frames of the short run. Its time is subtracted: what is left is the cost of a frame, without the start."""
NETWORK = 512


def command(suffix: str, number: int, *flags: str) -> Measure:
    """Seconds per frame of the whole command beyond its start, elapsed and of all CPUs together.

    suffix: of the files, such as .jpg. number: of frames, more than FEW. flags: further ones, such as --video.
    """
    folder = temporary_folder()
    frames = {count: write_frames(folder / str(count), suffix, count) for count in (FEW, number + FEW)}
    arguments = [*_arguments(folder), *flags]

    def measure() -> dict[str, Any]:
        (short, less), (long, more) = (_restore(path, folder / "out", arguments) for path in frames.values())
        written = len([path for path in (folder / "out").iterdir() if not path.name.startswith(".")])
        return {"seconds": (long - short) / number, "cpu_seconds": (more - less) / number, "frames": written}

    measure()
    return measure


def parts(suffix: str, number: int) -> Measure:
    """Seconds per frame of each stage, one stage after the other: their sum is a run without any overlap."""
    from gpen.batch.config import RunConfig
    from gpen.batch.plan import plan
    from gpen.batch.stages import LoadedPhoto, OutputOptions, ProcessedPhoto
    from gpen.options import Options

    folder = temporary_folder()
    jobs, _ = plan([str(write_frames(folder / "frames", suffix, number))], folder / "out")
    config = RunConfig(
        weights=_weights(folder), options=Options(), output=OutputOptions(overwrite=True), folders=(DETECTORS,)
    )
    processor = config.make()

    def measure() -> dict[str, Any]:
        taken: dict[str, list[float]] = {"read": [], "detect": [], "crop_and_paste": [], "write": []}
        with _network_that_returns_its_input():
            for job in jobs:
                loaded = _timed(taken["read"], processor.read, job)
                assert isinstance(loaded, LoadedPhoto)
                source = _TimedSource(loaded.source, taken["detect"])
                processed = _timed(
                    taken["crop_and_paste"], processor.process, dataclasses.replace(loaded, source=source)
                )
                assert isinstance(processed, ProcessedPhoto)
                assert len(processed.restoration.faces) == 1
                taken["crop_and_paste"][-1] -= taken["detect"][-1]
                _timed(taken["write"], processor.write, processed)
        return {name: statistics.median(times) for name, times in taken.items()}

    measure()
    return measure


class _TimedSource:
    """A face source that notes how long finding takes."""

    def __init__(self, source: Any, times: list[float]) -> None:
        self.whole_photo = source.whole_photo
        self.find = functools.partial(_timed, times, source.find)


def write_frames(folder: Path, suffix: str, number: int) -> Path:
    """Write frames of a portrait that moves over a scene with a camera's noise."""
    from gpen.images import Picture, read_picture, write_picture

    folder.mkdir()
    side = (PORTRAIT, PORTRAIT)
    portrait = cv2.resize(read_picture(FACE, max_megapixels=2).photo, side, interpolation=cv2.INTER_AREA)
    scene = _scene()
    for index in range(number):
        there_and_back = index % (2 * DISTINCT)
        shown = min(there_and_back, 2 * DISTINCT - 1 - there_and_back)
        path = folder / f"frame{index:05d}{suffix}"
        if index > shown:
            shutil.copyfile(folder / f"frame{shown:05d}{suffix}", path)
            continue
        frame = scene.copy()
        x, y = 300 + STEP[0] * shown, 200 + STEP[1] * shown
        frame[y : y + PORTRAIT, x : x + PORTRAIT] = portrait
        write_picture(path, Picture(frame))
    return folder


def _scene() -> FloatImage:
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0.2, 0.8, (9, 12, 3)).astype(np.float32)
    scene = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
    noise = rng.normal(0, 0.02, scene.shape).astype(np.float32)
    return np.clip(scene + noise, 0, 1)


def temporary_folder() -> Path:
    """A new folder that is removed when the process ends."""
    folder = tempfile.TemporaryDirectory(prefix="gpen-frames-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _weights(folder: Path) -> Path:
    """A file of a small network of the published input size."""
    import torch

    from gpen.network.spec import Spec
    from gpen.network.synthetic import synthetic_weights

    path = folder / "network.pth"
    torch.save(synthetic_weights(Spec(NETWORK, NETWORK, channel_multiplier=2, narrow=1 / 8)), path)
    return path


def _arguments(folder: Path) -> list[str]:
    _weights(folder)
    return ["--models-path", str(folder), "--models-path", str(DETECTORS), "--model", "network", "--overwrite"]


def _restore(frames: Path, out: Path, arguments: Sequence[str]) -> tuple[float, float]:
    """Elapsed seconds, and those of all CPUs."""
    from gpen.cli import main

    with _network_that_returns_its_input(), contextlib.redirect_stdout(io.StringIO()):
        start, cpu_start = time.perf_counter(), time.process_time()
        if main(["restore", str(frames), "-o", str(out), *arguments]):
            raise SystemExit("gpen restore failed")
        return time.perf_counter() - start, time.process_time() - cpu_start


@contextlib.contextmanager
def _network_that_returns_its_input() -> Iterator[None]:
    from gpen.weights.checkpoint import Model

    with mock.patch.object(Model, "__call__", lambda self, pictures: pictures):
        yield


def _timed(times: list[float], call: Callable[..., Any], *arguments: Any) -> Any:
    start = time.perf_counter()
    result = call(*arguments)
    times.append(time.perf_counter() - start)
    return result

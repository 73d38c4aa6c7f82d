"""The second pass over a film on a Ray cluster: its workers restore and encode segments into the hidden folder.

This machine finds the faces, and puts the result together. Only paths, faces and results are sent between machines;
films, models and the hidden folder lie on a shared file system.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import platform
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..batch.config import RunConfig
from ..batch.ray.engine import join_cluster
from ..errors import GpenError, PhotoError
from ..faces.source import FoundFace
from ..images.picture import FloatImage
from ..wording import first_line
from .detect import Part
from .encoder import Encoding
from .ffmpeg import pyav, reason
from .restore import FilmRestorer, Outcome, Restorer, segment_frames
from .work import WorkFolder

_PARTS_EACH = 2
"""Tasks for each worker: few, because each decodes the film from its beginning; several, so that all end together."""
_LOOK = 0.5  # seconds after which the folder is looked at again
_RETRIES = 2  # after the death of a worker

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class SecondPass:
    """What is done to a film once its faces are known."""

    part: Part
    encoding: Encoding
    faces: Sequence[Sequence[FoundFace]]
    """Of each frame."""
    timestamps: Sequence[int]
    """Of each frame."""
    target: Path
    protect: FloatImage | None = None

    @property
    def segments(self) -> int:
        """How many segments there are."""
        return math.ceil(len(self.timestamps) / segment_frames(self.part))

    def absolute(self) -> SecondPass:
        """The same with paths that hold in any process."""
        film = dataclasses.replace(self.part.film, path=self.part.film.path.absolute())
        return dataclasses.replace(self, part=dataclasses.replace(self.part, film=film), target=self.target.absolute())

    def frames_of(self, segment: int) -> int:
        """How many frames a segment has."""
        length = segment_frames(self.part)
        return min(length, len(self.timestamps) - segment * length)


class FilmCluster:
    """The Ray cluster at RAY_ADDRESS, else the one running on this machine, else a new one.

    config: of the run, with the mask chosen. workers, cpus: as for :class:`~gpen.batch.ray.engine.RayEngine`, which
    says what is raised too.
    """

    def __init__(self, config: RunConfig, workers: int | None, cpus: int | None) -> None:
        self._ray, self._pool = join_cluster(config.device, workers, cpus)
        self._config = dataclasses.replace(config, device=self._pool.device).absolute()
        self.title = self._pool.title

    def close(self) -> None:
        """Leave the cluster."""
        self._ray.shutdown()

    def restore(self, film: SecondPass, folder: WorkFolder, on_frame: Callable[[bool], object]) -> Outcome:
        """Have all segments made that are not finished yet; as :meth:`~gpen.video.restore.FilmRestorer.run`."""
        try:
            self._make(film, folder, on_frame)
        except self._ray.exceptions.RayError as error:
            raise GpenError(
                f"The Ray cluster failed ({first_line(error)}). What is done is kept; run it again to do the rest."
            ) from error
        outcome = Outcome()
        for number in range(film.segments):
            done = folder.finished(number)
            if done is None:
                raise PhotoError(f"{folder.segment(number)} is not there, although a worker has written it.{_hint()}")
            outcome.add(Outcome.from_json(done))
        return outcome

    def _make(self, film: SecondPass, folder: WorkFolder, on_frame: Callable[[bool], object]) -> None:
        waiting = set(range(film.segments))

        def look(*, was_there: bool = False) -> None:
            for number in sorted(waiting):
                if folder.finished(number) is not None:
                    waiting.remove(number)
                    for _ in range(film.frames_of(number)):
                        on_frame(was_there)

        look(was_there=True)
        todo = sorted(waiting)
        if not todo:
            return
        each = math.ceil(len(todo) / min(len(todo), _PARTS_EACH * self._pool.workers))
        task = self._ray.remote(_make_segments).options(
            num_cpus=self._pool.cpus,
            num_gpus=1 if self._pool.device == "cuda" else 0,
            max_retries=_RETRIES,
        )
        shared = [self._ray.put(item) for item in (self._config, film)]
        parts = [todo[start : start + each] for start in range(0, len(todo), each)]
        running: list[Any] = []
        while parts or running:
            while parts and len(running) < self._pool.workers:
                running.append(task.remote(*shared, parts.pop(0), self._pool.cpus))
            ready, running = self._ray.wait(running, num_returns=1, timeout=_LOOK)
            for trouble in self._ray.get(ready):
                if trouble:
                    raise PhotoError(trouble)
            look()


def _make_segments(config: RunConfig, film: SecondPass, numbers: Sequence[int], cores: int) -> str:
    """Runs on a worker. Make segments of a film; returns what is wrong, for the user, or nothing."""
    import cv2
    import torch

    torch.set_num_threads(cores)
    cv2.setNumThreads(cores)
    folder = WorkFolder(film.target)
    if not folder.path.is_dir():
        return f"{folder.path} does not exist.{_hint()}"
    try:
        components = config.loader().load(
            config.task, config.weights, config.options, config.needs, config.other_weights
        )
        restorer = Restorer(task=config.task, components=components, options=config.options, protect=film.protect)
        frames = FilmRestorer(film.part, restorer, film.encoding, film.faces, film.timestamps)
        frames.run(folder, lambda *_: None, frozenset(numbers))
    except GpenError as error:
        return f"{error}{_hint() if _hint() not in str(error) else ''}"
    except pyav().FFmpegError as error:
        return f"FFmpeg gave up on {film.part.film.path}: {reason(error)}.{_hint()}"
    except Exception as error:
        _log.warning("A worker failed.", exc_info=True)
        return f"Unexpected {type(error).__name__}: {error}. Please report this as a bug."
    return ""


def _hint() -> str:
    return (
        f" This is what the worker on {platform.node()} sees. All machines of a Ray cluster have to see films, models "
        "and results under the same paths."
    )

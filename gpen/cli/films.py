"""`gpen restore film.mp4`: a task done to films."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from ..atomic import make_folder, write_json
from ..batch.config import RunConfig
from ..batch.plan import Problem
from ..batch.report import Status, earlier_entries
from ..batch.resume import recipe
from ..device import pick_device
from ..errors import GpenError, OptionError
from ..faces.faces_file import FacesFromFile
from ..restoration.processors import with_mask_chosen
from ..tasks import find_task
from ..video.cluster import FilmCluster
from ..video.detect import finder
from ..video.ffmpeg import pyav
from ..video.plan import FilmJob, plan_films, split_inputs
from ..video.restore import Picture, Restorer
from ..video.run import FilmResult, FilmSettings, FilmWork, restore_film
from ..wording import count
from .outputs import check_output_file
from .progress import OVERWRITE


def films_among(arguments: argparse.Namespace) -> tuple[list[FilmJob], list[Problem]]:
    """The films among the paths, with their results, and what is left out; takes films out of the paths.

    Where PyAV is missing, films do not stop the photos beside them. GpenError where nothing can be done.
    """
    task = find_task(arguments.task)
    if not task.accepts_films:
        return [], []
    given = len(arguments.paths)
    films, arguments.paths = split_inputs(arguments.paths, arguments.output)
    if not films:
        _refuse(_FOR_FILMS, arguments, "is for films, and there is none among the paths.")
        return [], []
    try:
        pyav()  # before anything else is looked for
    except GpenError as error:
        if not arguments.paths:
            raise
        return [], [Problem(str(films[0].path), f"{count(len(films), 'film')} left out. {error}")]
    is_only = given == len(films) == 1 and not arguments.paths and Path(films[0].path).name == films[0].name
    jobs = plan_films(films, arguments.output, task.done, is_only=is_only, preview=arguments.preview is not None)
    _refuse(_FOR_PHOTOS, arguments, "is for photos: leave it out for films.")
    if arguments.report is not None:
        if arguments.paths:
            raise OptionError("A report is about films or about photos: with --report, give only the one or the other.")
        given_files = [arguments.faces, *(path for job in jobs for path in (job.film.path, job.target))]
        check_output_file(arguments.report, "report", suffix=".json", given=given_files)
        make_folder(arguments.report.parent)  # fail now rather than after the work
    return jobs, []


def run_films(jobs: Sequence[FilmJob], arguments: argparse.Namespace, config: RunConfig) -> int:
    """Do the task to films, one after the other; returns 0 if all succeeded, else 1.

    GpenError for what is wrong for all of them.
    """
    if config.options.upscale > 1:
        raise OptionError("A film keeps its size: leave --upscale out.")
    report = _Report(arguments.report, config.task.done)
    made: Counter[str] = Counter()
    waiting = [job for job in jobs if arguments.overwrite or not job.has_result]
    works = _Works(arguments, config) if waiting else None
    try:
        for job in jobs:
            if works is None or job not in waiting:
                print(f"{job.film.path}: {job.target} already exists; the film was skipped. {OVERWRITE}")
                report.exists(job)
                made[Status.EXISTS.value] += 1
                continue
            try:
                with FilmBar() as bar:
                    result = restore_film(job.film.path, job.target, works.of(job), bar)
            except GpenError as error:
                text = str(error)
                print(f"gpen: {text if str(job.film.path) in text else f'{job.film.path}: {text}'}", file=sys.stderr)
                report.add(job, {"status": Status.FAILED.value, "message": text})
                made[Status.FAILED.value] += 1
                continue
            print(f"{job.film.path} -> {job.target}: {result.message} ({result.seconds:.1f} s)")
            report.add(job, {"status": report.status_of(result), **result.as_json()})
            made["done"] += 1
    finally:
        if works is not None:
            works.close()
        report.write(jobs)
    counts = [f"{made[word]} {word}" for word in ("done", Status.EXISTS.value, Status.FAILED.value) if made[word]]
    print(f"{count(len(jobs), 'film')}: {', '.join(counts)}.")
    return 1 if made[Status.FAILED.value] else 0


class _Report:
    """The entries of the films; those that this run makes no result of keep their entry in an existing report.

    path: None for no report. done: what the task does to faces, in a word.
    """

    def __init__(self, path: Path | None, done: str) -> None:
        self._path = path
        self._done = done
        self._earlier = {} if path is None else earlier_entries(path)
        self._new: dict[str, dict[str, Any]] = {}

    def status_of(self, result: FilmResult) -> str:
        """What became of a film, in a word."""
        return self._done if result.outcome.restored else Status.UNCHANGED.value

    def add(self, job: FilmJob, about: Mapping[str, Any]) -> None:
        """Note what became of a film."""
        self._new[str(job.film.path)] = {"path": str(job.film.path), "output": str(job.target), **about}

    def exists(self, job: FilmJob) -> None:
        """Note that the result of a film was there."""
        before = self._earlier.get(str(job.film.path), {})
        is_of_it = before.get("output") == str(job.target)
        if not is_of_it or before.get("status") not in (self._done, Status.UNCHANGED.value):
            self.add(job, {"status": Status.EXISTS.value})

    def write(self, jobs: Sequence[FilmJob]) -> None:
        """Write it, of an interrupted run too."""
        if self._path is not None:
            entries = {**self._earlier, **self._new}
            paths = [str(job.film.path) for job in jobs]
            write_json(self._path, [entries[path] for path in paths if path in entries], "The report")


class _Works:
    """What is done to each film, with everything loaded once."""

    def __init__(self, arguments: argparse.Namespace, config: RunConfig) -> None:
        task, options = config.task, config.options
        # On a cluster too: this machine finds the faces, and what is wrong with a model is told before the work.
        loader = config.loader(str(pick_device(config.device)))
        components = loader.load(task, config.weights, options, config.needs, config.other_weights)
        options = dataclasses.replace(options, video=getattr(arguments, "video", True))
        options = with_mask_chosen(options, has_parser=components.parser is not None)
        config = dataclasses.replace(config, options=options)
        self.cluster = None
        if arguments.engine == "ray":
            self.cluster = FilmCluster(config, arguments.workers, arguments.cpus_per_worker)
        self._components = components
        self._work = FilmWork(
            restorer=Restorer(task=task, components=components, options=options),
            find=finder(task, options, components.detector, components.model.device)
            if config.faces is None
            else FacesFromFile(config.faces),
            choice=dataclasses.replace(
                config.choice(components.people),
                min_score=options.detection_threshold if config.faces is None else 0.0,
            ),
            settings=FilmSettings(
                codec=arguments.codec,
                crf=arguments.crf,
                deinterlace=arguments.deinterlace,
                preview=arguments.preview,
                overwrite=arguments.overwrite,
            ),
            cluster=self.cluster,
            recipe=recipe(config),
            region=config.region_mask(),
        )
        where = config.faces or (components.detector and components.detector.name)
        faces = f", faces from {where}" if where else ""
        device = components.model.device if self.cluster is None else self.cluster.title
        print(f"{components.title} on {device}{faces}, {options.mask} mask.")

    def close(self) -> None:
        """Leave the cluster, if there is one."""
        if self.cluster is not None:
            self.cluster.close()

    def of(self, job: FilmJob) -> FilmWork:
        """PhotoError where the film has no mask of what is protected and needs one."""
        masks = self._components.protect_masks
        protect = None if masks is None else masks.of(job.film.name)
        return dataclasses.replace(self._work, restorer=dataclasses.replace(self._work.restorer, protect=protect))


class FilmBar:
    """A progress bar over the frames of a film, for each pass: frames in a second, and the time left."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> FilmBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def starts(self, what: str, frames: int | None) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        self._close()
        form = (
            "{percentage:3.0f}%|{bar:20}| {desc} frame {n_fmt} of {total_fmt}, {rate_fmt}, {elapsed} gone, "
            "{remaining} left"
        )
        if frames is None:
            form = "{desc} frame {n_fmt}, {rate_fmt}, {elapsed} gone"
        self._bar = tqdm(
            total=frames,
            bar_format=form,
            desc=what,
            unit=" frames",
            file=sys.stderr,
            disable=None,
            leave=False,
            dynamic_ncols=True,
        )

    def advances(self, *, was_there: bool = False, picture: Picture | None = None) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        if was_there and not self._bar.disable:
            self._bar.initial += 1  # it took no time, so leave it out of the estimate
        self._bar.update()

    def says(self, text: str) -> None:
        """See :class:`~gpen.video.run.FilmProgress`."""
        tqdm.write(text)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()


_FOR_PHOTOS = (
    *("aligned", "background_model", "compare", "quality", "salvage", "save_faces", "sign"),
    "preset",
)
"""Names of arguments that mean nothing for films."""
_FOR_FILMS = ("codec", "crf", "deinterlace", "preview")
"""Names of arguments that mean nothing for photos."""


def _refuse(names: Sequence[str], arguments: argparse.Namespace, why: str) -> None:
    """OptionError for an argument of these that was given."""
    for name in names:
        value = getattr(arguments, name)
        if value is not None and value is not False and value != []:
            flag = value if name == "preset" else name.replace("_", "-")
            raise OptionError(f"--{flag} {why}")

"""What `gpen restore` and `gpen detect` do."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tqdm import tqdm

from .batch import Extras, Recipe
from .device import pick_device
from .draw import draw_faces
from .errors import FaceError, GpenError, PhotoError
from .faces.detect import FaceDetector, make_detector
from .faces.face import Face
from .faces.faces_file import PhotoFaces, write_faces
from .faces.select import parse_numbers
from .files.folders import find_network, search_folders
from .images import Picture, read_picture, write_picture
from .images.picture import from_samples
from .jobs import Job, Photograph, Problem, check_targets, find_photographs, labels, make_folder, plan
from .model.checkpoint import inspect, require_task
from .options import Options
from .overlap import Overlap, worker_count
from .pipeline import OnProgress
from .report import DONE, FAILED, THERE, UNCHANGED, Entry, write_report
from .restoration import RestoredFace
from .tasks import DONE_BY
from .upscale import OnTile
from .video import VideoFaces, find_video_faces, in_order
from .wording import count


def restore(
    inputs: Sequence[str],
    output: Path,
    options: Options,
    *,
    model: str | None,
    faces: Path | None,
    region: Path | None,
    report: Path | None,
    extras: Extras,
    folders: Sequence[Path],
    device: str,
    cluster: Cluster | None = None,
    background: Path | None = None,
    task: str = "restore",
    damage: Path | None = None,
    aligned: bool = False,
) -> int:
    """Restore photographs, or do another task to them, and print what became of them; 0 when all went well, else 1.

    Raises GpenError where nothing can be done at all: no weights, no detector, a bad faces file.
    """
    parse_numbers(options.only_faces)  # a mistake in it concerns no photograph in particular
    jobs, problems = plan(inputs, output)
    if damage is not None:
        # A folder of masks may lie inside the folder of photographs.
        jobs = [job for job in jobs if damage.resolve() not in job.photograph.path.resolve().parents]
    for asked, what in ((damage, "mask of the damage"), (region, "region")):
        if asked is not None:
            _check_asked(asked, what, jobs)
    if options.video:
        jobs = in_order(jobs)
    if report is not None:
        _check_json(report, [*(job.photograph.path for job in jobs), *(job.target for job in jobs), faces], "report")
        make_folder(report.parent)  # or fail now, not after the work
    if not jobs:
        _print_problems(problems)
        return 1
    where = device if cluster is not None else str(pick_device(device))
    weights = find_network(model, search_folders(folders), task)
    recipe = Recipe(weights, options, extras, faces, region, tuple(folders), where, background, task, damage, aligned)
    if options.video:
        recipe = dataclasses.replace(recipe, video=_followed(recipe, jobs))
    engine = _engine(recipe, cluster, output.parent if jobs[0].target == output else output)
    print(f"{engine.title}.")
    known = engine.known(jobs) if report is not None else {}
    tally = _Tally(keep=report is not None, done=DONE_BY[task])
    try:
        with _Progress(len(jobs)) as progress:

            def ends(entry: Entry) -> None:
                tally.add(entry)
                progress.ends(entry)

            engine.run(jobs, progress.starts, ends, progress.on_tile)
    finally:
        if report is not None:
            write_report(report, jobs, tally.entries, known)
    engine.close()
    _print_problems(problems)
    print(f"{count(len(jobs), 'photograph')}: {tally}.")
    return 1 if problems or tally.statuses[FAILED] else 0


def detect(
    inputs: Sequence[str],
    options: Options,
    *,
    json: Path | None,
    overwrite: bool,
    draw: bool,
    output: Path,
    folders: Sequence[Path],
    device: str,
) -> int:
    """Print, draw and write down the faces of photographs; 0 when all could be read, else 1."""
    photographs, problems = find_photographs(inputs)
    if json is not None:
        _check_json(json, [photograph.path for photograph in photographs], "faces")
        if json.exists() and not overwrite:
            raise FaceError(f"{json} is there already, perhaps corrected by hand; --overwrite replaces it.")
        make_folder(json.parent)
    if not photographs:
        _print_problems(problems)
        return 1
    detector = make_detector(options.detector, folders, str(pick_device(device)))
    drawings: Sequence[Path | None] = _drawings(photographs, output) if draw else [None] * len(photographs)
    names = Counter(photograph.name for photograph in photographs)
    found = []
    for photograph, drawing in zip(photographs, drawings, strict=True):
        name = photograph.name if names[photograph.name] == 1 else photograph.path.as_posix()
        try:
            picture, faces = _detect_in(photograph, detector, options, drawing)
            found.append(PhotoFaces(name, picture.width, picture.height, tuple(faces)))
        except GpenError as error:
            problems.append((str(photograph.path), str(error)))
    if json is not None:
        write_faces(json, found)
        print(f"The faces are in {json}.")
    _print_problems(problems)
    return 1 if problems else 0


@dataclass(frozen=True)
class Cluster:
    """What is asked of a Ray cluster: how many workers, and CPUs for each; None for what suits it."""

    workers: int | None = None
    cpus: int | None = None


class _Engine(Protocol):
    """What restores all photographs: this process, or a cluster.

    known: what unfinished runs have said about photographs that are done, by path. close: called after a run that
    came to its end.
    """

    @property
    def title(self) -> str: ...
    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]: ...
    def run(
        self,
        jobs: Sequence[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[Entry], None],
        on_tile: OnTile | None = None,
    ) -> None: ...
    def close(self) -> None: ...


class _Local:
    def __init__(self, recipe: Recipe) -> None:
        self._restorer = recipe.make()
        self._workers = worker_count(recipe.device, os.cpu_count() or 1)
        self.title = self._restorer.title

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        return {}

    def run(
        self,
        jobs: Sequence[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[Entry], None],
        on_tile: OnTile | None = None,
    ) -> None:
        Overlap(self._restorer, self._workers).run(jobs, starts, ends, on_tile)

    def close(self) -> None:
        pass


def _engine(recipe: Recipe, cluster: Cluster | None, results: Path) -> _Engine:
    if cluster is None:
        return _Local(recipe)
    from .ray_engine import RayEngine

    return RayEngine(recipe, results, cluster.workers, cluster.cpus)


def _followed(recipe: Recipe, jobs: Sequence[Job]) -> VideoFaces:
    """The faces of all frames, those whose results are there as well, unless nothing is left to be done."""
    info = inspect(recipe.weights)
    if info.is_task_told:
        require_task(info, recipe.task)  # or fail now, not after the first pass
    if not recipe.extras.overwrite and all(job.target.is_file() for job in jobs):
        return VideoFaces("", {}, "")
    source = recipe.source(str(pick_device(recipe.device)))
    assert source is not None
    assert not isinstance(source, VideoFaces)
    form = (
        "{percentage:3.0f}%|{bar:20}| finding faces in frame {n_fmt} of {total_fmt}, {elapsed} gone, {remaining} left"
    )
    with tqdm(
        total=len(jobs), bar_format=form, file=sys.stderr, disable=None, leave=False, dynamic_ncols=True
    ) as progress:
        video = find_video_faces(jobs, source, recipe.options, recipe.white(), progress.update)
    print(video.summary)
    return video


def _drawings(photographs: Sequence[Photograph], folder: Path) -> list[Path]:
    places = [folder / photograph.name for photograph in photographs]
    names = zip(places, labels(places), strict=True)
    drawings = [place.with_name(f"{label}_faces.png") for place, label in names]
    check_targets(photographs, drawings)
    return drawings


def _detect_in(
    photograph: Photograph, detector: FaceDetector, options: Options, drawing: Path | None
) -> tuple[Picture, list[Face]]:
    picture = read_picture(photograph.path, options.max_megapixels)
    faces = detector.detect(picture.photo, options.detection_threshold)
    print(f"{photograph.path}: {count(len(faces), 'face')}")
    for number, face in enumerate(faces):
        box = ", ".join(f"{v:.0f}" for v in face.box)
        print(f"  {number:3d}  {face.width:4.0f} x {face.height:<4.0f} at {box}, score {face.score:.2f}")
    if drawing is not None:
        make_folder(drawing.parent)
        write_picture(drawing, from_samples(draw_faces(picture.photo, enumerate(faces))))
        print(f"  drawn into {drawing}")
    return picture, faces


def _check_asked(path: Path, what: str, jobs: Sequence[Job]) -> None:
    """Refuse to write results over a picture, or into a folder of pictures, that the user gave for another purpose."""
    given = path.resolve()
    for job in jobs:
        target = job.target.resolve()
        if target == given or (given.is_dir() and given in target.parents):
            raise PhotoError(
                f"{job.target} would be written to {path}, where the {what} is. Choose another place with -o."
            )


def _check_json(path: Path, others: Sequence[Path | None], what: str) -> None:
    """Refuse to write the ``what`` over a file that is something else."""
    for other in others:
        if other is not None and path.resolve() == other.resolve():
            raise PhotoError(f"The {what} would replace {other}. Give another file.")
    if path.exists() and path.suffix.lower() != ".json":
        raise PhotoError(f"{path} is there and does not look like a file of ours. Give a name that ends in .json.")


class _Tally:
    """How many photographs ended how.

    keep: keep their entries too, which a million of photographs need not. done: what is done to faces, in a word.
    """

    def __init__(self, keep: bool, done: str) -> None:
        self.entries: list[Entry] = []
        self.statuses: Counter[str] = Counter()
        self._faces = 0
        self._keep = keep
        self._done = done

    def add(self, entry: Entry) -> None:
        if self._keep:
            self.entries.append(entry)
        self.statuses[entry.status] += 1
        self._faces += len(entry.faces)

    def __str__(self) -> str:
        order = (DONE, UNCHANGED, THERE, FAILED)
        words = {DONE: self._done}
        counts = [f"{self.statuses[status]} {words.get(status, status)}" for status in order if self.statuses[status]]
        return f"{', '.join(counts)}; {count(self._faces, 'face')} {self._done}"


_SHARE_OF_BACKGROUND = 0.5  # of the work on a photograph, for want of knowing better


class _Progress:
    """A bar of photographs that advances with each face, and before them with each tile of the background."""

    def __init__(self, photographs: int) -> None:
        # The name comes last: it is what a narrow terminal may cut off.
        form = "{percentage:3.0f}%|{bar:20}| {desc}, {elapsed} gone, {remaining} left{postfix}"
        # A bar that is not seen by anybody only fills logs.
        self._bar = tqdm(
            total=photographs,
            bar_format=form,
            desc=f"{count(photographs, 'photograph')}",
            file=sys.stderr,
            disable=None,
            leave=False,
            dynamic_ncols=True,
        )
        self._photographs = photographs
        self._started = self._ended = 0
        self._name = ""
        self._background = 0.0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def starts(self, job: Job) -> OnProgress:
        self._name = job.photograph.path.name
        self._background = 0.0
        self._started += 1
        self._show("finding faces", 0)
        return self._on_face

    def on_tile(self, done: int, total: int) -> None:
        self._background = _SHARE_OF_BACKGROUND
        self._show(f"background, tile {done} of {total}", self._background * done / total)

    def _on_face(self, done: int, total: int, face: RestoredFace | None) -> None:
        part = done / total if total else 1
        self._show(f"face {done} of {total}", self._background + (1 - self._background) * part)

    def _show(self, what: str, done: float) -> None:
        self._bar.set_description_str(f"{self._started} of {self._photographs}, {what}", refresh=False)
        self._bar.set_postfix_str(self._name, refresh=False)
        self._bar.n = self._started - 1 + done
        self._bar.refresh()

    def ends(self, entry: Entry) -> None:
        if entry.status == THERE and not self._bar.disable:
            self._bar.initial += 1  # it took no time, which says nothing about the others
        self._ended += 1
        self._bar.n = max(self._bar.n, self._ended)  # the next one may have started before this one was written
        self._bar.refresh()
        path = entry.job.photograph.path
        if entry.status == FAILED:
            text = entry.message if str(path) in entry.message else f"{path}: {entry.message}"
            tqdm.write(f"gpen: {text}", file=sys.stderr)
        elif entry.status == THERE:
            tqdm.write(f"{path}: {entry.message}")
        else:
            tqdm.write(f"{path} -> {entry.job.target}: {entry.message} ({entry.seconds:.1f} s)")


def _print_problems(problems: Sequence[Problem]) -> None:
    for text, why in problems:
        print(f"gpen: {why if text in why else f'{text}: {why}'}", file=sys.stderr)

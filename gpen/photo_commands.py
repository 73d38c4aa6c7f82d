"""What `gpen restore` and `gpen detect` do."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from .batch import DONE, FAILED, THERE, UNCHANGED, Entry, Extras, Restorer, write_report
from .device import pick_device, pick_dtype
from .draw import draw_faces
from .errors import GpenError
from .faces.detect import FaceDetector, make_detector
from .faces.faces_file import FacesFromFile, PhotoFaces, write_faces
from .faces.parsing import make_parser
from .files.folders import find_network, search_folders
from .images import Picture, read_picture, write_picture
from .jobs import Job, Photograph, Problem, find_photographs, plan
from .model.checkpoint import load_model
from .options import Options
from .pipeline import RestoredFace


def restore(
    inputs: Sequence[str],
    output: Path,
    options: Options,
    *,
    model: str | None,
    faces: Path | None,
    report: Path | None,
    extras: Extras,
    folders: Sequence[Path],
    device: str,
) -> int:
    """Restore photographs and print what became of them; 0 when all went well, else 1.

    Raises GpenError where nothing can be done at all: no weights, no detector, a bad faces file.
    """
    jobs, problems = plan(inputs, output)
    where = pick_device(device)
    weights = find_network(model, search_folders(folders))
    network = load_model(weights, where, pick_dtype(options.precision))
    source: FaceDetector | FacesFromFile
    source = FacesFromFile(faces) if faces is not None else make_detector(options.detector, folders, str(where))
    parser = make_parser(folders, str(where)) if options.mask == "parsed" else None
    print(f"{network.spec.title} ({weights.name}) on {where}, faces from {faces or source_name(source)}.")
    restorer = Restorer(network, source, options, parser, extras)
    entries: list[Entry] = []
    try:
        with _Progress(len(jobs)) as progress:
            for job in jobs:
                entries.append(restorer.run(job, progress.starts(job)))
                progress.ends(entries[-1])
    finally:
        if report is not None:
            write_report(report, entries)
    _print_problems(problems)
    statuses = Counter(entry.status for entry in entries)
    restored = sum(len(entry.faces) for entry in entries)
    counts = [f"{statuses[status]} {status}" for status in (DONE, UNCHANGED, THERE, FAILED) if statuses[status]]
    print(f"{len(jobs)} photographs: {', '.join(counts) or 'none'}; {restored} faces restored.")
    return 1 if problems or statuses[FAILED] else 0


def detect(
    inputs: Sequence[str],
    options: Options,
    *,
    json: Path | None,
    draw: bool,
    output: Path,
    folders: Sequence[Path],
    device: str,
) -> int:
    """Print, draw and write down the faces of photographs; 0 when all could be read, else 1."""
    photographs, problems = find_photographs(inputs)
    detector = make_detector(options.detector, folders, str(pick_device(device)))
    found = []
    for photograph in photographs:
        try:
            found.append(_detect_in(photograph, detector, options, output if draw else None))
        except GpenError as error:
            problems.append((str(photograph.path), str(error)))
    if json is not None:
        write_faces(json, found)
        print(f"The faces are in {json}.")
    _print_problems(problems)
    return 1 if problems else 0


def source_name(source: FaceDetector | FacesFromFile) -> str:
    """What finds the faces, for people."""
    return str(source.path) if isinstance(source, FacesFromFile) else source.name


def _detect_in(photograph: Photograph, detector: FaceDetector, options: Options, draw_into: Path | None) -> PhotoFaces:
    picture = read_picture(photograph.path, options.max_megapixels)
    faces = detector.detect(picture.photo, options.detection_threshold)
    print(f"{photograph.path}: {count(len(faces), 'face')}")
    for number, face in enumerate(faces):
        box = ", ".join(f"{v:.0f}" for v in face.box)
        print(f"  {number:3d}  {face.width:4.0f} x {face.height:<4.0f} at {box}, score {face.score:.2f}")
    if draw_into is not None:
        target = draw_into / f"{Path(photograph.name).with_suffix('')}_faces.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        drawing = draw_faces(picture.photo, enumerate(faces))
        write_picture(target, Picture((drawing / 255).astype(np.float32)))
        print(f"  drawn into {target}")
    return PhotoFaces(photograph.name, picture.width, picture.height, tuple(faces))


class _Progress:
    """A bar of photographs that advances with each face."""

    def __init__(self, photographs: int) -> None:
        form = "{desc} {percentage:3.0f}%|{bar:24}| {elapsed} gone, {remaining} left{postfix}"
        # A bar that is not seen by anybody only fills logs.
        self._bar = tqdm(total=photographs, bar_format=form, file=sys.stderr, disable=None, leave=False)
        self._photographs = photographs
        self._number = 0

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: Any) -> None:
        self._bar.close()

    def starts(self, job: Job) -> Any:
        number, name = self._number, job.photograph.path.name
        self._number += 1

        def on_progress(done: int, total: int, face: RestoredFace | None) -> None:
            self._bar.set_description_str(f"{name[:40]} ({number + 1} of {self._photographs})", refresh=False)
            self._bar.set_postfix_str(f"face {done} of {total}", refresh=False)
            self._bar.n = number + (done / total if total else 1)
            self._bar.refresh()

        return on_progress

    def ends(self, entry: Entry) -> None:
        self._bar.n = self._number
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

"""`gpen detect`: detects faces, prints and draws them, and writes them to a file that can be edited."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..atomic import make_folder
from ..batch.plan import PhotoFile, Problem, check_targets, find_photos, labels
from ..device import pick_device
from ..errors import FaceError, GpenError, SalvageableError
from ..faces.detection.detector import FaceDetector, make_detector
from ..faces.drawing import draw_faces
from ..faces.face import Face
from ..faces.faces_file import PhotoFaces, write_faces
from ..images import Picture, read_picture, write_picture
from ..images.picture import from_samples
from ..options import Options
from ..wording import count
from .arguments import options_from
from .outputs import check_output_file
from .progress import SALVAGE, print_problems


def run(arguments: argparse.Namespace) -> int:
    """Print, draw and save the faces of photos; returns 0 if all could be read, else 1."""
    options, json = options_from(arguments), arguments.json
    photos, problems = find_photos(arguments.paths)
    if json is not None:
        check_output_file(json, "faces", suffix=".json", given=[photo.path for photo in photos])
        if json.exists() and not arguments.overwrite:
            raise FaceError(f"{json} already exists and may have been edited by hand. Use --overwrite to replace it.")
        make_folder(json.parent)
    if not photos:
        print_problems(problems)
        return 1
    detector = make_detector(options.detector, arguments.models_path, str(pick_device(arguments.device)))
    drawings = _drawings(photos, arguments.output) if arguments.draw else [None] * len(photos)
    names = Counter(photo.name for photo in photos)
    found = []
    for photo, drawing in zip(photos, drawings, strict=True):
        name = photo.name if names[photo.name] == 1 else photo.path.as_posix()
        try:
            picture, faces = _detect_in(photo, detector, options, drawing, salvage=arguments.salvage)
            found.append(PhotoFaces(name, picture.width, picture.height, tuple(faces)))
            if picture.salvaged:
                problems.append(Problem(str(photo.path), picture.salvaged, is_notice=True))
        except SalvageableError as error:
            problems.append(Problem(str(photo.path), f"{error} {SALVAGE}"))
        except GpenError as error:
            problems.append(Problem(str(photo.path), str(error)))
    if json is not None:
        write_faces(json, found)
        print(f"The faces are in {json}.")
    print_problems(problems)
    return 1 if any(not problem.is_notice for problem in problems) else 0


def _drawings(photos: Sequence[PhotoFile], folder: Path) -> Sequence[Path | None]:
    paths = [folder / photo.name for photo in photos]
    drawings = [path.with_name(f"{label}_faces.png") for path, label in zip(paths, labels(paths), strict=True)]
    check_targets(photos, drawings)
    return drawings


def _detect_in(
    photo: PhotoFile, detector: FaceDetector, options: Options, drawing: Path | None, *, salvage: bool
) -> tuple[Picture, list[Face]]:
    picture = read_picture(photo.path, options.max_megapixels, salvage=salvage)
    faces = detector.detect(picture.photo, options.detection_threshold)
    print(f"{photo.path}: {count(len(faces), 'face')}")
    for number, face in enumerate(faces):
        box = ", ".join(f"{v:.0f}" for v in face.box)
        print(f"  {number:3d}  {face.width:4.0f} x {face.height:<4.0f} at {box}, score {face.score:.2f}")
    if drawing is not None:
        make_folder(drawing.parent)
        write_picture(drawing, from_samples(draw_faces(picture.photo, enumerate(faces))))
        print(f"  drawn in {drawing}")
    return picture, faces

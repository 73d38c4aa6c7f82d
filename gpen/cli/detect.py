"""`gpen detect`: detects faces in photos and films, prints and draws them, and writes them to a file for editing."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..atomic import make_folder
from ..batch.plan import PhotoFile, Problem, check_targets, find_photos, labels
from ..errors import FaceError, GpenError, OptionError, SalvageableError
from ..faces.detection.detector import FaceDetector, make_detector
from ..faces.drawing import draw_faces
from ..faces.face import Face
from ..faces.faces_file import FilmFaces, FrameFaces, PhotoFaces, write_faces
from ..images import Picture, read_picture, write_picture
from ..images.picture import from_samples
from ..options import Options
from ..video.decoding import Flaw
from ..video.detect import Part, photos_of
from ..video.ffmpeg import pyav, reason
from ..video.plan import split_inputs
from ..video.source import Film, probe
from ..wording import count
from .arguments import options_from
from .films import FilmBar
from .outputs import check_output_file
from .progress import SALVAGE, print_problems


def run(arguments: argparse.Namespace) -> int:
    """Print, draw and save the faces of photos and films; returns 0 if all could be read, else 1."""
    films, others = split_inputs(arguments.paths, None)
    photos, problems = find_photos(others) if others else ([], [])
    given = [*photos, *films]
    _check(arguments, given, films)
    if not given:
        print_problems(problems)
        return 1
    options, names = options_from(arguments), Counter(file.name for file in given)
    detector = make_detector(options.detector, arguments.models_path, arguments.device)
    search = _Search(detector, options, names, problems)
    drawings = _drawings(photos, arguments) if arguments.draw else [None] * len(photos)
    searched = [
        search.photo(photo, drawing, salvage=arguments.salvage) for photo, drawing in zip(photos, drawings, strict=True)
    ]
    in_photos = [faces for faces in searched if faces is not None]
    in_films = [faces for faces in map(search.film, films) if faces is not None]
    # Where nothing could be read, a file that was edited by hand stays.
    if arguments.json is not None and (in_photos or in_films):
        write_faces(arguments.json, in_photos, in_films)
        print(f"The faces are in {arguments.json}.")
    print_problems(problems)
    return 1 if any(not problem.is_notice for problem in problems) else 0


def _check(arguments: argparse.Namespace, given: Sequence[PhotoFile], films: Sequence[PhotoFile]) -> None:
    """GpenError for flags that do not fit, and where the faces cannot be written."""
    if films:
        pyav()  # before anything else is looked for
        if arguments.draw:
            raise OptionError("--draw is for photos: leave it out for films.")
    json = arguments.json
    if json is not None:
        check_output_file(json, "faces", suffix=".json", given=[file.path for file in given])
        if json.exists() and not arguments.overwrite:
            raise FaceError(f"{json} already exists and may have been edited by hand. Use --overwrite to replace it.")
        make_folder(json.parent)


@dataclass(frozen=True)
class _Search:
    """Finds faces, prints them, and collects what goes wrong."""

    detector: FaceDetector
    options: Options
    names: Counter[str]
    """How many files have a name."""
    problems: list[Problem]

    def photo(self, photo: PhotoFile, drawing: Path | None, *, salvage: bool) -> PhotoFaces | None:
        """The faces of a photo; None if it cannot be read."""
        try:
            picture, faces = _detect_in(photo, self.detector, self.options, drawing, salvage=salvage)
        except SalvageableError as error:
            self._add(photo, f"{error} {SALVAGE}")
            return None
        except GpenError as error:
            self._add(photo, str(error))
            return None
        if picture.salvaged:
            self._add(photo, picture.salvaged, is_notice=True)
        return PhotoFaces(self._name(photo), picture.width, picture.height, tuple(faces))

    def film(self, file: PhotoFile) -> FilmFaces | None:
        """The faces of all frames of a film; None if it cannot be read."""
        try:
            film = probe(file.path, self.options.max_megapixels)
            frames = self._frames(file, film)
        except GpenError as error:
            self._add(file, str(error))
            return None
        except pyav().FFmpegError as error:
            self._add(file, f"FFmpeg gave up: {reason(error)}")
            return None
        return FilmFaces(self._name(file), *film.size_shown, tuple(frames))

    def _frames(self, file: PhotoFile, film: Film) -> list[FrameFaces]:
        def on_flaw(flaw: Flaw) -> None:
            self._add(file, str(flaw), is_notice=True)

        frames: list[FrameFaces] = []
        total = 0
        with FilmBar() as bar:
            bar.starts("finding faces in", film.frames)
            # An interlaced film has to be restored with --deinterlace, which keeps the number of its frames.
            for timestamp, photo in photos_of(Part(film=film, deinterlace=film.is_interlaced), 0, on_flaw):
                assert photo is not None
                faces = self.detector.detect(photo, self.options.detection_threshold)
                if faces:
                    frames.append(FrameFaces(total, film.time(timestamp), tuple(faces)))
                total += 1
                bar.advances()
        width, height = film.size_shown
        most = max((len(frame.faces) for frame in frames), default=0)
        print(
            f"{file.path}: faces in {len(frames)} of {count(total, 'frame')}, at most {most} in one, of {width} x "
            f"{height}"
        )
        return frames

    def _name(self, file: PhotoFile) -> str:
        return file.name if self.names[file.name] == 1 else file.path.as_posix()

    def _add(self, file: PhotoFile, why: str, *, is_notice: bool = False) -> None:
        self.problems.append(Problem(str(file.path), why, is_notice=is_notice))


def _drawings(photos: Sequence[PhotoFile], arguments: argparse.Namespace) -> Sequence[Path | None]:
    paths = [arguments.output / photo.name for photo in photos]
    drawings = [path.with_name(f"{label}_faces.png") for path, label in zip(paths, labels(paths), strict=True)]
    check_targets(photos, drawings)
    for drawing in drawings:
        check_output_file(drawing, "drawing", suffix=".png", given=[], overwrite=arguments.overwrite)
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

"""Faces files, in JSON: detect once, correct by hand, restore.

There is one entry per photo, in the units of :class:`Face`::

    {"format": "gpen-faces", "version": 1, "photos": [
      {"path": "group.png", "width": 1328, "height": 568, "faces": [
        {"box": [x0, y0, x1, y1], "score": 0.93, "landmarks": [[x, y], [x, y], [x, y], [x, y], [x, y]]}
    ]}]}

A file written by hand may omit ``box`` and ``score``. Films list the frames that have faces::

    {"format": "gpen-faces", "version": 1, "films": [
      {"path": "film.mp4", "width": 1920, "height": 1080, "frames": [
        {"frame": 0, "seconds": 0.0, "faces": [{"box": ..., "score": ..., "landmarks": ...}]}
    ]}]}
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar

import numpy as np

from ..atomic import write_text
from ..errors import FaceError
from ..filenames import folded
from .face import Face

FORMAT = "gpen-faces"
VERSION = 1
_LARGEST_FILE = 256 << 20
_LANDMARKS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")


@dataclass(frozen=True)
class PhotoFaces:
    """The faces of one photo."""

    path: str
    """As the user names the photo, with / between folders."""
    width: int
    """Of the photo, in pixels."""
    height: int
    """Of the photo, in pixels."""
    faces: tuple[Face, ...]
    """In pixels of the photo, in any order."""


@dataclass(frozen=True)
class FrameFaces:
    """The faces of one frame of a film."""

    frame: int
    """Its position in the film, from 0."""
    seconds: float | None
    """Since the first frame; None where a file written by hand does not say."""
    faces: tuple[Face, ...]
    """In pixels of the frame as it is shown, in any order."""

    def as_json(self) -> dict[str, Any]:
        """The frame's entry in a file."""
        when = {} if self.seconds is None else {"seconds": round(self.seconds, 3)}
        return {"frame": self.frame, **when, "faces": [face.as_json(score_digits=2) for face in self.faces]}


@dataclass(frozen=True)
class FilmFaces:
    """The faces of one film."""

    path: str
    """As the user names the film, with / between folders."""
    width: int
    """Of its frames as they are shown, in pixels."""
    height: int
    """Of its frames as they are shown, in pixels."""
    frames: tuple[FrameFaces, ...]
    """Those with faces, in order."""


_Entry = TypeVar("_Entry", PhotoFaces, FilmFaces)


def write_faces(path: Path, entries: Iterable[PhotoFaces], films: Sequence[FilmFaces] = ()) -> None:
    """Write a faces file, whole or not at all; numbers are rounded to two decimals.

    Raises FaceError if a number is NaN or Inf, or the file cannot be written.
    """
    photos = ",\n".join(map(_photo_text, entries))
    text = f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n  "photos": [\n{photos}\n  ]'
    if films:
        text += ',\n  "films": [\n' + ",\n".join(map(_film_text, films)) + "\n  ]"
    write_text(Path(path), text + "\n}\n", "The faces file", FaceError)


def read_faces(path: Path) -> list[PhotoFaces]:
    """The photos of a faces file. Raises FaceError, which names the file, photo, face and field at fault."""
    return _read(Path(path))[0]


def _read(path: Path) -> tuple[list[PhotoFaces], list[FilmFaces]]:
    content = _load(path)
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FaceError(f'{path} is not a faces file: it lacks "format": "{FORMAT}". Write one with "gpen detect".')
    if content.get("version") != VERSION or isinstance(content.get("version"), bool):
        raise FaceError(
            f"{path} has version {_shown(content.get('version'))}; only version {VERSION} is supported. "
            "Write it again with this program, or update the program."
        )
    films = content.get("films", [])
    photos = content.get("photos", [] if films else None)
    for name, value in (("photos", photos), ("films", films)):
        if not isinstance(value, list):
            raise FaceError(f'{path}: "{name}" is {_shown(value)} instead of a list.')
    return (
        [_read_photo(photo, _Location(f"{path}, photo {i}")) for i, photo in enumerate(photos or [])],
        [_read_film(film, _Location(f"{path}, film {i}")) for i, film in enumerate(films)],
    )


class FacesFromFile:
    """The faces of a file, by photo or film. Raises what :func:`read_faces` raises."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.entries, self.films = _read(self.path)
        self._photos, self._films = _Entries(self.entries), _Entries(self.films)

    def faces_for(self, photo: str | Path, width: int, height: int) -> list[Face]:
        """The faces of the photo with this path and size, sorted from left to right.

        The entry with the same path wins, then the one that shares the most trailing parts of it, at least the file
        name, then the only entry in the file. If no entry has the name, one in other case or other Unicode composition
        counts as the same. Raises FaceError if no entry or several match, or if the entry states another size.
        """
        return sorted(self._entry(str(photo), self._photos, width, height).faces, key=lambda face: face.center)

    def faces_of_film(self, film: Path, name: str, width: int, height: int) -> FilmFaces:
        """The faces of the film with this path, or this name in the folder that was given, and frames of this size.

        The entry is found as :meth:`faces_for` finds that of a photo, and raises the same.
        """
        try:
            return self._entry(str(film.absolute()), self._films, width, height)
        except FaceError:
            return self._entry(name, self._films, width, height)

    def _entry(self, wanted: str, entries: _Entries[_Entry], width: int, height: int) -> _Entry:
        entry = self._named(wanted, entries)
        if (entry.width, entry.height) != (width, height):
            raise FaceError(
                f"{self.path} lists {entry.path} with {entry.width} x {entry.height} pixels, but {wanted} has "
                f"{width} x {height}. Detect its faces again, or use the one they were detected in."
            )
        return entry

    def _named(self, wanted: str, entries: _Entries[_Entry]) -> _Entry:
        fitting = entries.fitting(wanted)
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise FaceError(
                f"{self.path} has {len(fitting)} entries that may be {wanted}: "
                f"{', '.join(entry.path for entry in fitting[:3])}. Give each its full path."
            )
        raise FaceError(f"{self.path} has no entry for {wanted} among its {len(entries.all)}. Detect its faces too.")


class _Entries(Generic[_Entry]):
    """Entries, to be found by their paths."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self.all: Sequence[_Entry] = entries
        self._ends: dict[Callable[[str], str], _Ends[_Entry]] = {str: _Ends(), folded: _Ends()}
        for form, ends in self._ends.items():
            for entry in entries:
                ends.add(entry, _parts(form(entry.path)))

    def fitting(self, path: str) -> list[_Entry]:
        """Those that :meth:`FacesFromFile.faces_for` would take."""
        fitting = next(filter(None, (ends.fitting(_parts(form(path))) for form, ends in self._ends.items())), [])
        return fitting or (list(self.all) if len(self.all) == 1 else [])


@dataclass
class _Ends(Generic[_Entry]):
    """The entries whose paths end alike, and by the part before, those that also share it."""

    entries: list[_Entry] = field(default_factory=list)
    whole: list[_Entry] = field(default_factory=list)
    """Those whose paths are no longer."""
    before: dict[str, _Ends[_Entry]] = field(default_factory=dict)

    def add(self, entry: _Entry, parts: list[str]) -> None:
        ends = self
        for part in reversed(parts):
            ends = ends.before.setdefault(part, _Ends())
            ends.entries.append(entry)
        ends.whole.append(entry)

    def fitting(self, parts: list[str]) -> list[_Entry]:
        """The entries with this path, else those that share most of its last parts, at least one."""
        ends = self
        for part in reversed(parts):
            if part not in ends.before:
                return ends.entries
            ends = ends.before[part]
        return ends.whole or ends.entries


class _Location:
    """A location in the file, and checks whose errors name it."""

    def __init__(self, text: str) -> None:
        self.text = text

    def fail(self, what: str) -> NoReturn:
        raise FaceError(f"{self.text}: {what}")

    def number(self, value: object, name: str) -> float:
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                number = float(value)
            except OverflowError:
                number = math.inf
            if math.isfinite(number):
                return number
        return self.fail(f"{name} is {_shown(value)} instead of a number.")

    def numbers(self, value: object, count: int, name: str) -> list[float]:
        if not isinstance(value, list) or len(value) != count:
            self.fail(f"{name} is {_shown(value)} instead of a list of {count} numbers.")
        return [self.number(item, f"number {i} of {name}") for i, item in enumerate(value)]

    def size(self, value: object, name: str) -> int:
        if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31:
            return value
        return self.fail(f'"{name}" is {_shown(value)} instead of a whole number of pixels.')


def _read_photo(photo: object, location: _Location) -> PhotoFaces:
    content, path, width, height, location = _read_head(photo, "photo", "faces", location)
    return PhotoFaces(path, width, height, _read_list(content.get("faces"), width, height, location))


def _read_film(film: object, location: _Location) -> FilmFaces:
    content, path, width, height, location = _read_head(film, "film", "frames", location)
    frames = content.get("frames")
    if not isinstance(frames, list):
        location.fail(f'"frames" is {_shown(frames)} instead of a list.')
    read: list[FrameFaces] = []
    for i, frame in enumerate(frames):
        here = _Location(f"{location.text}, entry {i} of its frames")
        if not isinstance(frame, dict):
            here.fail(f"it is {_shown(frame)} instead of an object with frame and faces.")
        number, seconds = frame.get("frame"), frame.get("seconds")
        if not isinstance(number, int) or isinstance(number, bool) or number < 0:
            here.fail(f'"frame" is {_shown(number)} instead of the number of a frame, from 0.')
        if read and number <= read[-1].frame:
            here.fail(f'"frame" is {number} after {read[-1].frame}; each frame has one entry, in order.')
        when = None if seconds is None else here.number(seconds, '"seconds"')
        read.append(FrameFaces(number, when, _read_list(frame.get("faces"), width, height, here)))
    return FilmFaces(path, width, height, tuple(read))


def _read_head(
    entry: object, what: str, items: str, location: _Location
) -> tuple[dict[str, Any], str, int, int, _Location]:
    if not isinstance(entry, dict):
        location.fail(f"it is {_shown(entry)} instead of an object with path, width, height and {items}.")
    path = entry.get("path")
    if not isinstance(path, str) or not path:
        location.fail(f'"path" is {_shown(path)} instead of the path of a {what}.')
    location = _Location(f"{location.text} ({path})")
    width, height = (location.size(entry.get(name), name) for name in ("width", "height"))
    return entry, path, width, height, location


def _read_list(faces: object, width: int, height: int, location: _Location) -> tuple[Face, ...]:
    if not isinstance(faces, list):
        location.fail(f'"faces" is {_shown(faces)} instead of a list.')
    return tuple(
        _read_face(face, width, height, _Location(f"{location.text}, face {i}")) for i, face in enumerate(faces)
    )


def _read_face(face: object, width: int, height: int, location: _Location) -> Face:
    if not isinstance(face, dict):
        location.fail(f"it is {_shown(face)} instead of an object with box, score and landmarks.")
    points = face.get("landmarks")
    if not isinstance(points, list) or len(points) != len(_LANDMARKS):
        location.fail(f'"landmarks" is {_shown(points)} instead of five points [x, y]: {", ".join(_LANDMARKS)}.')
    landmarks = np.array([location.numbers(p, 2, f"the {name}") for p, name in zip(points, _LANDMARKS, strict=True)])
    for (x, y), name in zip(landmarks, _LANDMARKS, strict=True):
        if not (-width <= x <= 2 * width and -height <= y <= 2 * height):
            location.fail(f"the {name} is at {x:g}, {y:g}, far outside the photo of {width} x {height} pixels.")
    if np.ptp(landmarks, axis=0).max() < 1:
        location.fail("all its landmarks coincide; give the five points of the face.")
    score = location.number(face.get("score", 1.0), '"score"')
    if not 0 <= score <= 1:
        location.fail(f'"score" is {score:g}; it must lie between 0 and 1.')
    if face.get("box") is None:
        box = _box_around(landmarks)
    else:
        x0, y0, x1, y1 = location.numbers(face["box"], 4, '"box"')
        if not (x0 < x1 and y0 < y1):
            location.fail(f'"box" is {_shown(face["box"])}; it must be [left, top, right, bottom].')
        box = (x0, y0, x1, y1)
    return Face(box, score, landmarks)


def _box_around(landmarks: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, float, float, float]:
    """The box that a detector would return for a face with these landmarks, at any angle."""
    eyes, mouth = landmarks[:2].mean(axis=0), landmarks[3:].mean(axis=0)
    tall = float(np.linalg.norm(eyes - mouth))
    reach = max(tall, float(np.linalg.norm(landmarks[1] - landmarks[0])))
    up = (eyes - mouth) / tall if tall else np.array([0.0, -1.0])
    # The average size of the detectors' boxes, in units of ``reach``.
    x, y = (eyes + mouth) / 2 + 0.18 * reach * up
    wide, high = reach * (1.05 * np.abs(up[::-1]) + 1.33 * np.abs(up))
    return (float(x - wide), float(y - high), float(x + wide), float(y + high))


def _load(path: Path) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"it contains {constant}, which is not a number")

    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise FaceError(f"{path} is too large for a faces file: {_LARGEST_FILE >> 20} MB are allowed.")
        # Notepad writes a byte order mark.
        return json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=refuse)
    except OSError as error:
        raise FaceError(f"The faces file {path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise FaceError(f"{path} is not a faces file, or was damaged by editing: {error}.") from error


def _photo_text(entry: PhotoFaces) -> str:
    faces = ",\n".join(map(_face_text, entry.faces))
    return (
        f'    {{\n      "path": {_json(entry.path)},\n      "width": {entry.width},\n'
        f'      "height": {entry.height},\n      "faces": [' + (f"\n{faces}\n      ]" if faces else "]") + "\n    }"
    )


def _film_text(entry: FilmFaces) -> str:
    """A line for each frame: films have many."""
    for frame in entry.frames:
        for face in frame.faces:
            _check_finite(face)
    frames = ",\n".join(f"        {_json(frame.as_json())}" for frame in entry.frames)
    return (
        f'    {{\n      "path": {_json(entry.path)},\n      "width": {entry.width},\n'
        f'      "height": {entry.height},\n      "frames": [' + (f"\n{frames}\n      ]" if frames else "]") + "\n    }"
    )


def _check_finite(face: Face) -> None:
    if not np.isfinite([*face.box, face.score, *face.landmarks.ravel()]).all():
        raise FaceError("A face's box, score or landmarks hold NaN or Inf, which a faces file cannot hold.")


def _face_text(face: Face) -> str:
    _check_finite(face)
    lines = ",\n".join(f'          "{name}": {_json(value)}' for name, value in face.as_json(score_digits=2).items())
    return f"        {{\n{lines}\n        }}"


def _json(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # a file name that is not Unicode
        return json.dumps(value)
    return text


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".")]


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "…"

"""Faces files, in JSON: detect once, correct by hand, restore.

There is one entry per photo, in the units of :class:`Face`::

    {"format": "gpen-faces", "version": 1, "photos": [
      {"path": "group.png", "width": 1328, "height": 568, "faces": [
        {"box": [x0, y0, x1, y1], "score": 0.93, "landmarks": [[x, y], [x, y], [x, y], [x, y], [x, y]]}
    ]}]}

A file written by hand may omit ``box`` and ``score``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

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


def write_faces(path: Path, entries: Iterable[PhotoFaces]) -> None:
    """Write a faces file, whole or not at all; numbers are rounded to two decimals.

    Raises FaceError if a number is NaN or Inf, or the file cannot be written.
    """
    photos = ",\n".join(map(_photo_text, entries))
    text = f'{{\n  "format": "{FORMAT}",\n  "version": {VERSION},\n  "photos": [\n{photos}\n  ]\n}}\n'
    write_text(Path(path), text, "The faces file", FaceError)


def read_faces(path: Path) -> list[PhotoFaces]:
    """Read a faces file. Raises FaceError, which names the file, photo, face and field at fault."""
    content = _load(Path(path))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FaceError(f'{path} is not a faces file: it lacks "format": "{FORMAT}". Write one with "gpen detect".')
    if content.get("version") != VERSION or isinstance(content.get("version"), bool):
        raise FaceError(
            f"{path} has version {_shown(content.get('version'))}; only version {VERSION} is supported. "
            "Write it again with this program, or update the program."
        )
    photos = content.get("photos")
    if not isinstance(photos, list):
        raise FaceError(f'{path}: "photos" is {_shown(photos)} instead of a list.')
    return [_read_photo(photo, _Location(f"{path}, photo {i}")) for i, photo in enumerate(photos)]


class FacesFromFile:
    """The faces of a file, by photo. Raises what :func:`read_faces` raises."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.entries = read_faces(self.path)
        self._ends = {form: _ends_of(self.entries, form) for form in (str, folded)}

    def faces_for(self, photo: str | Path, width: int, height: int) -> list[Face]:
        """The faces of the photo with this path and size, sorted from left to right.

        The entry with the same path wins, then the one that shares the most trailing parts of it, at least the file
        name, then the only entry in the file. If no entry has the name, one in other case or other Unicode composition
        counts as the same. Raises FaceError if no entry or several match, or if the entry states another size.
        """
        entry = self._entry(str(photo))
        if (entry.width, entry.height) != (width, height):
            raise FaceError(
                f"{self.path} lists {entry.path} with {entry.width} x {entry.height} pixels, but {photo} has "
                f"{width} x {height}. Detect its faces again, or use the photo they were detected in."
            )
        return sorted(entry.faces, key=lambda face: face.center)

    def _entry(self, photo: str) -> PhotoFaces:
        fitting = next(filter(None, (ends.fitting(_parts(form(photo))) for form, ends in self._ends.items())), [])
        fitting = fitting or (self.entries if len(self.entries) == 1 else [])
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise FaceError(
                f"{self.path} has {len(fitting)} entries that may be {photo}: "
                f"{', '.join(entry.path for entry in fitting[:3])}. Give each its full path."
            )
        raise FaceError(
            f"{self.path} has no entry for {photo} among its {len(self.entries)}. Detect the photo's faces too."
        )


@dataclass
class _Ends:
    """The entries whose paths end alike, and by the part before, those that also share it."""

    entries: list[PhotoFaces] = field(default_factory=list)
    whole: list[PhotoFaces] = field(default_factory=list)
    """Those whose paths are no longer."""
    before: dict[str, _Ends] = field(default_factory=dict)

    def add(self, entry: PhotoFaces, parts: list[str]) -> None:
        ends = self
        for part in reversed(parts):
            ends = ends.before.setdefault(part, _Ends())
            ends.entries.append(entry)
        ends.whole.append(entry)

    def fitting(self, parts: list[str]) -> list[PhotoFaces]:
        """The entries with this path, else those that share most of its last parts, at least one."""
        ends = self
        for part in reversed(parts):
            if part not in ends.before:
                return ends.entries
            ends = ends.before[part]
        return ends.whole or ends.entries


def _ends_of(entries: Sequence[PhotoFaces], form: Callable[[str], str]) -> _Ends:
    ends = _Ends()
    for entry in entries:
        ends.add(entry, _parts(form(entry.path)))
    return ends


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
    if not isinstance(photo, dict):
        location.fail(f"it is {_shown(photo)} instead of an object with path, width, height and faces.")
    path = photo.get("path")
    if not isinstance(path, str) or not path:
        location.fail(f'"path" is {_shown(path)} instead of the path of a photo.')
    location = _Location(f"{location.text} ({path})")
    width, height = (location.size(photo.get(name), name) for name in ("width", "height"))
    faces = photo.get("faces")
    if not isinstance(faces, list):
        location.fail(f'"faces" is {_shown(faces)} instead of a list.')
    read = [_read_face(face, width, height, _Location(f"{location.text}, face {i}")) for i, face in enumerate(faces)]
    return PhotoFaces(path, width, height, tuple(read))


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


def _face_text(face: Face) -> str:
    if not np.isfinite([*face.box, face.score, *face.landmarks.ravel()]).all():
        raise FaceError("A face's box, score or landmarks hold NaN or Inf, which a faces file cannot hold.")
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

"""What the page does with photographs, apart from how it looks: opened once, restored, blended anew."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
import uuid
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from .app_engine import Engine
from .batch import result_picture
from .damage import DamageMasks
from .draw import Drawing, draw_faces
from .errors import FaceError, GpenError
from .faces.face import Face
from .faces.identity import guard_trouble
from .faces.resample import Image
from .faces.select import select_faces
from .images import Picture, can_write, read_picture, write_picture
from .images.picture import from_samples
from .jobs import Photograph
from .options import Options
from .pipeline import OnProgress, resize
from .restoration import Restoration
from .tasks import run

LONGEST_SIDE = 2560
"""Pixels of a picture that is shown; what is downloaded has all of them."""

LONGEST_SIDE_OF_FACES = 1600
"""Pixels of the picture whose faces are clicked."""

ROOM = 2 << 30
"""Bytes that all photographs that are being worked on may hold together, unless there is only one."""

MOST_OPENED = 16


@dataclass(eq=False)
class Opened:
    """A photograph that somebody works on.

    shown: (h, w, 3), the photograph as its faces are clicked. folder: for files that are made of it. faces: what was
    found in it, with the options in found_with. restoration: the last one, of that task.
    """

    path: Path
    picture: Picture
    shown: Drawing
    folder: Path
    faces: list[Face] = field(default_factory=list)
    found_with: tuple[str, float] | None = None
    restoration: Restoration | None = None
    task: str = "restore"

    @property
    def nbytes(self) -> int:
        """About as many bytes as it holds."""
        made, alpha = self.restoration, self.picture.alpha
        held = self.picture.photo.nbytes + self.shown.nbytes + (alpha.nbytes if alpha is not None else 0)
        if made is not None:
            held += made.photo.nbytes + made.mask.nbytes + (made.layers.nbytes if made.layers is not None else 0)
        return held

    def scaled(self, number: int) -> Face:
        """A face in pixels of ``shown``."""
        height, width = self.shown.shape[:2]
        return self.faces[number].scaled(width / self.picture.width, height / self.picture.height)

    def face_at(self, x: float, y: float) -> int | None:
        """The face whose box is around that pixel of ``shown``, the smallest where boxes overlap; None beside all."""
        boxes = [(number, self.scaled(number)) for number in range(len(self.faces))]
        around = [
            (face.width * face.height, number)
            for number, face in boxes
            if face.box[0] <= x <= face.box[2] and face.box[1] <= y <= face.box[3]
        ]
        return min(around)[1] if around else None

    def drawn(self, chosen: Collection[int]) -> Drawing:
        """The photograph with a numbered box around each face, grey where it is not chosen."""
        faces = [(number, self.scaled(number)) for number in range(len(self.faces))]
        return draw_faces(
            self.shown / np.float32(255),
            [numbered for numbered in faces if numbered[0] in chosen],
            landmarks=False,
            left_out=[numbered for numbered in faces if numbered[0] not in chosen],
        )

    def close(self) -> None:
        """Remove the files that were made of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Shelf:
    """The photographs that people work on; those that were not used for longest make room for others."""

    def __init__(self, room: int = ROOM, most: int = MOST_OPENED) -> None:
        self._room = room
        self._most = most
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, opened: Opened) -> str:
        """Keep it, and return the key to it."""
        key = uuid.uuid4().hex
        with self._lock:
            self._opened[key] = opened
        self.make_room()
        return key

    def get(self, key: str | None) -> Opened:
        """What was put there; GpenError where it had to make room."""
        with self._lock:
            if key is None:
                raise GpenError("There is no photograph yet: drop one first.")
            if key not in self._opened:
                raise GpenError(
                    "This photograph is no longer held, because memory was needed for others since it was used "
                    "last. Drop it again."
                )
            self._opened.move_to_end(key)
            return self._opened[key]

    def drop(self, key: str | None) -> None:
        """Let it go, if it is there."""
        with self._lock:
            opened = self._opened.pop(key or "", None)
        if opened is not None:
            opened.close()

    def make_room(self) -> None:
        """Let go what is too much; the one that was used last stays."""
        while True:
            with self._lock:
                held = sum(opened.nbytes for opened in self._opened.values())
                if len(self._opened) <= 1 or (len(self._opened) <= self._most and held <= self._room):
                    return
                _, oldest = self._opened.popitem(last=False)
            oldest.close()

    def __len__(self) -> int:
        return len(self._opened)


@contextmanager
def named(*paths: Path) -> Iterator[None]:
    """Let errors call uploaded files as people do: not by the folder in which they lie here."""
    try:
        yield
    except GpenError as error:
        text = str(error)
        for path in paths:
            text = text.replace(str(path), path.name)
        raise type(error)(text) from error


def open_photograph(path: Path, folder: Path, max_megapixels: float) -> Opened:
    """Read a photograph. folder: where a folder for what is made of it is made. PhotoError where it cannot be read."""
    with named(path):
        picture = read_picture(path, max_megapixels)
    shown = _shown(picture.photo, picture.alpha, _size(picture.photo, LONGEST_SIDE_OF_FACES))
    return Opened(path, picture, shown, Path(tempfile.mkdtemp(dir=folder)))


def find(engine: Engine, opened: Opened, options: Options) -> list[int]:
    """Find the faces, unless that was done, and return the numbers of those that the options choose."""
    wanted = (options.detector, options.detection_threshold)
    if opened.found_with != wanted:
        detector = engine.detector(options.detector)
        opened.faces = detector.detect(opened.picture.photo, options.detection_threshold)
        opened.found_with = wanted
    reasons = select_faces(opened.faces, options, (opened.picture.width, opened.picture.height), given=True)
    return [number for number in range(len(opened.faces)) if number not in reasons]


def work(
    engine: Engine,
    opened: Opened,
    task: str,
    weights: str,
    options: Options,
    chosen: Sequence[int] | None,
    *,
    damage: Path | None = None,
    aligned: bool = False,
    on_progress: OnProgress | None = None,
) -> Restoration:
    """Do a task to a photograph, and keep what is needed for another strength in ``opened``.

    weights: the name of a file, empty for the best one. chosen: numbers of faces, None for those that the options
    choose. damage: for inpainting, a picture that is white where the photograph is damaged. aligned: all of it is one
    face. GpenError for everything that a user can cause; what was made before is still there then.
    """
    model = engine.model(weights, options.precision, task)
    faces: list[Face] | None = None
    if task != "segmentation" and not (aligned and task != "restore"):
        find(engine, opened, options)
        faces = opened.faces
        if chosen is not None:
            options = _choosing(chosen, len(faces), options)
    masks = None
    if task == "inpaint" and damage is not None:
        with named(damage):
            masks = DamageMasks(damage, options.max_megapixels).of(Photograph(opened.path, opened.path.name))
    guard = engine.guard(options, task)
    restoration = run(
        task,
        opened.picture.photo,
        model,
        faces,
        options,
        damage=masks,
        parser=engine.parser(options, task) if faces is not None else None,
        guard=guard,
        on_progress=on_progress,
        keep_crops=False,
        keep_layers=True,
    )
    if task == "restore" and options.identity_guard and guard is None:
        trouble = guard_trouble(engine.places.folders).splitlines()[0]
        restoration = dataclasses.replace(restoration, note=f"The identity guard is off. {trouble}")
    opened.restoration, opened.task = restoration, task
    return restoration


def _choosing(chosen: Sequence[int], found: int, options: Options) -> Options:
    """The options, but with those faces chosen that somebody clicked."""
    if not found:
        raise FaceError("No face was found. Lower the detection threshold, or try another detector.")
    if not chosen:
        raise FaceError("No face is chosen. Click the box of at least one.")
    numbers = ",".join(map(str, sorted(chosen)))
    # What else the options choose by was shown before, and perhaps changed.
    return dataclasses.replace(options, select="all", min_face_size=0, only_faces=numbers)


def blend(opened: Opened, strength: float) -> Restoration | None:
    """The last restoration at another strength; None where there is none that has one."""
    if opened.restoration is None or opened.restoration.layers is None:
        return None
    opened.restoration = opened.restoration.at(strength)
    return opened.restoration


def write_result(opened: Opened) -> Path:
    """Write the last restoration as `gpen restore` does, and return the file; the one before is removed."""
    restoration = opened.restoration
    assert restoration is not None
    picture, alpha = result_picture(opened.task, opened.picture, restoration)
    if alpha is not None:
        picture = dataclasses.replace(picture, alpha=resize(alpha, (picture.width, picture.height)))
    suffix = opened.path.suffix if can_write(opened.path.suffix) else ".png"
    folder = opened.folder / "result"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    target = folder / f"{opened.path.stem}_{restoration.done}{suffix}"
    with named(target):
        if (
            not restoration.faces
            and suffix == opened.path.suffix
            and restoration.photo.shape == opened.picture.photo.shape
        ):
            shutil.copyfile(opened.path, target)  # encoding it again could only lose something
        else:
            write_picture(target, picture)
    return target


def before_and_after(opened: Opened) -> tuple[Path, Path]:
    """Write the photograph and the last restoration of it at one size, to be shown, and return the files."""
    restoration = opened.restoration
    assert restoration is not None
    alpha = opened.picture.alpha if opened.task != "segmentation" else None
    size = _size(restoration.photo, LONGEST_SIDE)
    files = opened.folder / "before.jpg", opened.folder / "after.jpg"
    for file, photo in zip(files, (opened.picture.photo, restoration.photo), strict=True):
        write_picture(file, from_samples(_shown(photo, alpha, size)))
    return files


def _size(photo: Image, longest: int) -> tuple[int, int]:
    """Width and height of a photo (H, W, 3) made smaller so that neither is more than ``longest``."""
    height, width = photo.shape[:2]
    factor = min(1.0, longest / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _shown(photo: Image, alpha: Image | None, size: tuple[int, int]) -> Drawing:
    """A photo (H, W, 3) at a size, over white where it is transparent."""
    small = resize(photo, size)
    if alpha is not None:
        small = 1 - (1 - small) * resize(alpha, size)[..., None]
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)

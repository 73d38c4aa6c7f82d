"""Photo sessions: a photo that somebody works on in the page is read once, restored, and blended again."""

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

from ..errors import FaceError, GpenError
from ..faces.drawing import Drawing, draw_faces
from ..faces.face import Face
from ..faces.select import FaceChoice, select_faces
from ..faces.source import FaceSource, GivenFaces
from ..images import Picture, can_write, read_picture, write_picture
from ..images.picture import FloatImage, from_samples
from ..images.resize import resize
from ..options import Options
from ..restoration.api import face_choice, face_source
from ..restoration.components import Needs
from ..restoration.finish import finish
from ..restoration.pipeline import Keep, OnProgress, run_task
from ..restoration.processors import PhotoInputs
from ..restoration.result import Restoration
from ..tasks import RESTORE, Task
from .engine import Engine

LONGEST_SIDE = 2560
"""Pixels of a picture that is shown; what is downloaded has all of them."""

LONGEST_SIDE_OF_FACES = 1600
"""Pixels of the picture whose faces are clicked."""

MEMORY_BUDGET = 2 << 30
"""Bytes that all photos that are being worked on may hold together, unless there is only one."""

MOST_SESSIONS = 16


@dataclass(eq=False)
class PhotoSession:
    """A photo that somebody works on."""

    path: Path
    """The file that was uploaded."""
    picture: Picture
    """What it holds."""
    shown: Drawing
    """(h, w, 3), the photo as its faces are clicked."""
    folder: Path
    """For files that are made of it."""
    faces: list[Face] = field(default_factory=list)
    """What was found in it, with the detector and threshold in ``found_with``."""
    found_with: tuple[str, float] | None = None
    """See ``faces``."""
    restoration: Restoration | None = None
    """The last one."""
    task: Task = RESTORE
    """The task of the last restoration."""

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
        """The photo with a numbered box around each face, grey where it is not chosen."""
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


class SessionCache:
    """The photos that people work on: an LRU cache, bounded by bytes and by number."""

    def __init__(self, memory_budget: int = MEMORY_BUDGET, most: int = MOST_SESSIONS) -> None:
        self._memory_budget = memory_budget
        self._most = most
        self._sessions: OrderedDict[str, PhotoSession] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, session: PhotoSession) -> str:
        """Keep a session, and return its key."""
        key = uuid.uuid4().hex
        with self._lock:
            self._sessions[key] = session
        self.evict()
        return key

    def get(self, key: str | None) -> PhotoSession:
        """The session of a key; GpenError where it was evicted."""
        with self._lock:
            if key is None:
                raise GpenError("There is no photo yet: drop one first.")
            if key not in self._sessions:
                raise GpenError(
                    "This photo was forgotten, because memory was needed for others since it was used last. Drop it "
                    "again."
                )
            self._sessions.move_to_end(key)
            return self._sessions[key]

    def drop(self, key: str | None) -> None:
        """Forget a session, if it is there."""
        with self._lock:
            session = self._sessions.pop(key or "", None)
        if session is not None:
            session.close()

    def evict(self) -> None:
        """Forget the least recently used sessions until the rest is within bounds; the last one used stays."""
        while True:
            with self._lock:
                held = sum(session.nbytes for session in self._sessions.values())
                if len(self._sessions) <= 1 or (len(self._sessions) <= self._most and held <= self._memory_budget):
                    return
                _, oldest = self._sessions.popitem(last=False)
            oldest.close()

    def __len__(self) -> int:
        return len(self._sessions)


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


def open_photo(path: Path, folder: Path, max_megapixels: float) -> PhotoSession:
    """Read a photo. folder: where a folder for what is made of it is made. PhotoError where it cannot be read."""
    with named(path):
        picture = read_picture(path, max_megapixels)
    shown = _shown(picture.photo, picture.alpha, _size(picture.photo, LONGEST_SIDE_OF_FACES))
    return PhotoSession(path, picture, shown, Path(tempfile.mkdtemp(dir=folder)))


def find(engine: Engine, session: PhotoSession, options: Options) -> list[int]:
    """Find the faces, unless that was done, and return the numbers of those that the options choose."""
    wanted = (options.detector, options.detection_threshold)
    if session.found_with != wanted:
        detector = engine.loader.detector(options.detector)
        session.faces = detector.detect(session.picture.photo, options.detection_threshold)
        session.found_with = wanted
    size = (session.picture.width, session.picture.height)
    reasons = select_faces(session.faces, face_choice(options), size)
    return [number for number in range(len(session.faces)) if number not in reasons]


@dataclass(frozen=True, kw_only=True)
class WorkRequest:
    """What is to be done to a photo."""

    task: Task
    """The task."""
    options: Options
    """The product's options."""
    model: str = ""
    """The name of the network's file, empty for the best one."""
    chosen: Sequence[int] | None = None
    """Numbers of the faces to work on; None for those that the options choose."""
    damage: Path | None = None
    """For inpainting, a picture that is white where the photo is damaged."""
    aligned: bool = False
    """Whether all of the photo is one face."""


def work(
    engine: Engine, session: PhotoSession, request: WorkRequest, on_progress: OnProgress | None = None
) -> Restoration:
    """Do a task to a photo, and keep in the session what is needed for another strength.

    GpenError for everything that a user can cause; what was made before is still there then.
    """
    task, options = request.task, request.options
    needs = Needs.of(task, options, aligned=request.aligned, faces_given=True, damage=request.damage)
    components = engine.components(task, request.model, options, needs)
    source = _source(engine, session, request)
    damage = None
    if request.damage is not None and components.damage_masks is not None:
        with named(request.damage):
            damage = components.damage_masks.of(session.path.name)
    restoration = run_task(
        task,
        session.picture.photo,
        source,
        components,
        options,
        inputs=PhotoInputs(damage=damage),
        keep=Keep(crops=False, layers=True),
        on_progress=on_progress,
    )
    if components.guard_problem:
        problem = components.guard_problem.splitlines()[0]
        restoration = dataclasses.replace(restoration, note=f"The identity guard is off. {problem}")
    session.restoration, session.task = restoration, task
    return restoration


def _source(engine: Engine, session: PhotoSession, request: WorkRequest) -> FaceSource:
    """The faces that were clicked, or those that the options choose."""
    if request.task.is_aligned(request.aligned):
        return face_source(request.task, request.options, None)
    find(engine, session, request.options)
    if request.chosen is None:
        return face_source(request.task, request.options, session.faces)
    if not session.faces:
        raise FaceError("No face was found. Lower the detection threshold, or try another detector.")
    if not request.chosen:
        raise FaceError("No face is chosen. Click the box of at least one.")
    # What else the options choose by was shown before, and perhaps changed.
    return GivenFaces(session.faces, FaceChoice(numbers=frozenset(request.chosen)))


def blend(session: PhotoSession, strength: float) -> Restoration | None:
    """The last restoration at another strength; None where there is none that has one."""
    if session.restoration is None or session.restoration.layers is None:
        return None
    session.restoration = session.restoration.with_strength(strength)
    return session.restoration


def write_result(session: PhotoSession) -> Path:
    """Write the last restoration as the command does, and return the file; the one before is removed."""
    restoration = session.restoration
    assert restoration is not None
    suffix = session.path.suffix if can_write(session.path.suffix) else ".png"
    folder = session.folder / "result"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    target = folder / f"{session.path.stem}_{restoration.done}{suffix}"
    with named(target):
        finish(session.task, session.picture, restoration).write(target, session.path)
    return target


def before_and_after(session: PhotoSession) -> tuple[Path, Path]:
    """Write the photo and the last restoration of it at one size, to be shown, and return the files."""
    restoration = session.restoration
    assert restoration is not None
    alpha = session.picture.alpha if session.task.keeps_photo else None
    size = _size(restoration.photo, LONGEST_SIDE)
    files = session.folder / "before.jpg", session.folder / "after.jpg"
    for file, photo in zip(files, (session.picture.photo, restoration.photo), strict=True):
        write_picture(file, from_samples(_shown(photo, alpha, size)))
    return files


def _size(photo: FloatImage, longest: int) -> tuple[int, int]:
    """Width and height of a photo (H, W, 3) made smaller so that neither is more than ``longest``."""
    height, width = photo.shape[:2]
    factor = min(1.0, longest / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _shown(photo: FloatImage, alpha: FloatImage | None, size: tuple[int, int]) -> Drawing:
    """A photo (H, W, 3) at a size, over white where it is transparent."""
    small = resize(photo, size)
    if alpha is not None:
        small = 1 - (1 - small) * resize(alpha, size)[..., None]
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)

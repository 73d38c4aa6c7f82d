"""Photo sessions: a photo that is open on the page is read once, restored, and blended again at other strengths."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
import uuid
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..errors import FaceError, GpenError, named
from ..faces.drawing import Drawing, draw_faces
from ..faces.face import Face
from ..faces.select import FaceChoice
from ..faces.source import FaceSource, GivenFaces
from ..filenames import fitting
from ..images import Picture, can_write, read_picture, write_picture
from ..images.picture import FloatImage, from_samples
from ..images.resize import resize
from ..options import Options, supported
from ..restoration.api import face_choice, face_source
from ..restoration.finish import finish
from ..restoration.needs import Needs
from ..restoration.pipeline import Keep, OnProgress, PhotoWork, run_task
from ..restoration.processors import PhotoInputs
from ..restoration.result import Restoration
from ..tasks import RESTORE, Task
from .engine import Engine

LONGEST_SIDE = 2560
"""Pixels of the longer side of the pictures in the slider; downloads keep every pixel."""

LONGEST_SIDE_OF_FACES = 1600
"""Pixels of the longer side of the picture whose faces are clicked."""

MEMORY_BUDGET = 2 << 30
"""Bytes that all sessions may hold together; a single one may hold more."""

MOST_SESSIONS = 16
"""The most sessions that are kept at once."""


@dataclass(eq=False)
class PhotoSession:
    """A photo that is open on the page."""

    path: Path
    """The file that was uploaded."""
    picture: Picture
    """The picture in that file."""
    shown: Drawing
    """(h, w, 3): the photo at the size at which its faces are clicked."""
    folder: Path
    """Where its results are written."""
    faces: list[Face] = field(default_factory=list)
    """The faces that were found, from left to right."""
    found_with: tuple[str, float] | None = None
    """Detector and threshold that ``faces`` were found with; None before the first detection."""
    restoration: Restoration | None = None
    """The last result."""
    task: Task = RESTORE
    """The task of the last result."""

    @property
    def nbytes(self) -> int:
        """Roughly how many bytes of memory it holds."""
        made, picture = self.restoration, self.picture
        parts = (picture.photo, picture.alpha, picture.stored, self.shown)
        held = sum(part.nbytes for part in parts if part is not None)
        if made is not None:
            held += made.photo.nbytes + made.mask.nbytes + (made.layers.nbytes if made.layers is not None else 0)
        return held

    def scaled(self, number: int) -> Face:
        """The face of that number, in pixels of ``shown``."""
        height, width = self.shown.shape[:2]
        return self.faces[number].scaled(width / self.picture.width, height / self.picture.height)

    def face_at(self, x: float, y: float) -> int | None:
        """The number of the face whose box contains that pixel of ``shown``, the smallest of several; else None."""
        boxes = [(number, self.scaled(number)) for number in range(len(self.faces))]
        hits = [
            (face.width * face.height, number)
            for number, face in boxes
            if face.box[0] <= x <= face.box[2] and face.box[1] <= y <= face.box[3]
        ]
        return min(hits)[1] if hits else None

    def drawn(self, chosen: Collection[int]) -> Drawing:
        """The photo with a numbered box around each face; the boxes of faces that are not chosen are grey."""
        faces = [(number, self.scaled(number)) for number in range(len(self.faces))]
        return draw_faces(
            self.shown / np.float32(255),
            [numbered for numbered in faces if numbered[0] in chosen],
            landmarks=False,
            skipped=[numbered for numbered in faces if numbered[0] not in chosen],
        )

    def close(self) -> None:
        """Remove its results."""
        shutil.rmtree(self.folder, ignore_errors=True)


class SessionCache:
    """The open photos: an LRU cache, bounded by bytes and by number."""

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
        """The session of a key; GpenError if there is none, or it was evicted."""
        with self._lock:
            if key is None:
                raise GpenError("There is no photo yet: drop one first.")
            if key not in self._sessions:
                raise GpenError("This photo is no longer in memory: others needed the space. Drop it again.")
            self._sessions.move_to_end(key)
            return self._sessions[key]

    def drop(self, key: str | None) -> None:
        """Close and forget a session; unknown keys are ignored."""
        with self._lock:
            session = self._sessions.pop(key or "", None)
        if session is not None:
            session.close()

    def evict(self) -> None:
        """Close the least recently used sessions until the rest is within bounds; the last one used stays."""
        while True:
            with self._lock:
                held = sum(session.nbytes for session in self._sessions.values())
                if len(self._sessions) <= 1 or (len(self._sessions) <= self._most and held <= self._memory_budget):
                    return
                _, oldest = self._sessions.popitem(last=False)
            oldest.close()

    def __len__(self) -> int:
        return len(self._sessions)


def open_photo(path: Path, folder: Path, max_megapixels: float) -> PhotoSession:
    """Read a photo; PhotoError where that fails. folder: where the session gets a folder for its results."""
    with named(path):
        picture = read_picture(path, max_megapixels)
    shown = _shown(picture.photo, picture.alpha, _size(picture.photo, LONGEST_SIDE_OF_FACES))
    return PhotoSession(path, picture, shown, Path(tempfile.mkdtemp(dir=folder)))


def find(engine: Engine, session: PhotoSession, options: Options, people: Sequence[Path] = ()) -> list[int]:
    """Find the faces, unless the session has them already, and return the numbers of those that the options choose.

    people: photos of those whose faces are chosen; none for everybody's.
    """
    _detect(engine, session, options)
    found = GivenFaces(session.faces, _choice(engine, options, people)).find(session.picture.photo)
    return [face.number for face in found if not face.skip_reason]


def _detect(engine: Engine, session: PhotoSession, options: Options) -> None:
    asked = (options.detector, options.detection_threshold)
    if session.found_with != asked:
        detector = engine.loader.detector(options.detector)
        session.faces = detector.detect(session.picture.photo, options.detection_threshold)
        session.found_with = asked


def _choice(engine: Engine, options: Options, people: Sequence[Path]) -> FaceChoice:
    with named(*people):
        return face_choice(options, engine.loader.people(people, options))


@dataclass(frozen=True, kw_only=True)
class WorkRequest:
    """A task for one photo."""

    task: Task
    """What is done to the photo."""
    options: Options
    """How; options that the task does not support have no effect."""
    model: str = ""
    """The name of a model file, empty for the default one."""
    chosen: Sequence[int] | None = None
    """Numbers of the faces to work on; None for those that the options choose."""
    damage: Path | None = None
    """For inpainting: a picture that is white where the photo is damaged."""
    protect: Path | None = None
    """A picture that is white where the photo stays as it is; None for nowhere."""
    people: Sequence[Path] = ()
    """Photos of the people whose faces are worked on, unless they are clicked; none for everybody's."""
    aligned: bool = False
    """Whether the photo is one aligned face."""


def work(
    engine: Engine, session: PhotoSession, request: WorkRequest, on_progress: OnProgress | None = None
) -> Restoration:
    """Do a task to a photo, and keep the result in the session with what :func:`blend` needs.

    GpenError for everything that a user can cause; the session then keeps its last result.
    """
    task, options = request.task, request.options
    files = (request.damage, request.protect)
    needs = Needs.of(
        task, options, aligned=request.aligned, faces_given=True, damage=request.damage, protect=request.protect
    )
    with named(*(file for file in files if file is not None)):
        components = engine.components(task, request.model, options, needs)
        source = _source(engine, session, request)
        masks = components.damage_masks, components.protect_masks
        damage, protect = (None if given is None else given.of(session.path.name) for given in masks)
    work = PhotoWork(
        photo=session.picture.photo,
        source=source,
        inputs=PhotoInputs(damage=damage, protect=protect),
        keep=Keep(crops=False, layers=True),
        on_progress=on_progress,
    )
    restoration = run_task(task, work, components, options)
    if components.guard_problem:
        problem = components.guard_problem.splitlines()[0]
        restoration = dataclasses.replace(restoration, note=f"The identity guard is off. {problem}")
    session.restoration, session.task = restoration, task
    return restoration


def _source(engine: Engine, session: PhotoSession, request: WorkRequest) -> FaceSource:
    """The faces that were clicked, or those that the options choose."""
    if request.task.is_aligned(request.aligned):
        return face_source(request.task, request.options, None)
    _detect(engine, session, request.options)
    if request.chosen is None:
        choice = _choice(engine, supported(request.options, request.task), request.people)
        return face_source(request.task, request.options, session.faces, choice=choice)
    if not session.faces:
        raise FaceError("No face was found. Lower the detection threshold, or try another detector.")
    if not request.chosen:
        raise FaceError("No face is chosen. Click the box of at least one.")
    # The other selection options only decided which boxes were ticked at first.
    return GivenFaces(session.faces, FaceChoice(numbers=frozenset(request.chosen)))


def blend(session: PhotoSession, strength: float) -> Restoration | None:
    """The last result at another strength; None if there is none, or its task has no strength."""
    if session.restoration is None or session.restoration.layers is None:
        return None
    session.restoration = session.restoration.with_strength(strength)
    return session.restoration


def write_result(session: PhotoSession, *, note: bool = True) -> tuple[Path, str]:
    """Write the last result as ``gpen restore`` writes it; the one before is removed.

    note: say in its XMP what was done. Returns the file, and what was done and what of the photo's file was left out,
    in sentences.
    """
    restoration = session.restoration
    assert restoration is not None
    suffix = session.path.suffix if can_write(session.path.suffix) else ".png"
    folder = session.folder / "result"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    end = f"_{restoration.done}{suffix}"
    target = folder / (fitting(session.path.stem, end) + end)
    with named(target):
        finished = finish(session.task, session.picture, restoration, note=note)
        finished.write(target, session.path)
    return target, " ".join([restoration.summary, *finished.left_out(target, session.path)])


def before_and_after(session: PhotoSession) -> tuple[Path, Path]:
    """Write the photo and the last result for the slider, both at one size, and return the files."""
    restoration = session.restoration
    assert restoration is not None
    alpha = session.picture.alpha if session.task.keeps_photo else None
    size = _size(restoration.photo, LONGEST_SIDE)
    files = session.folder / "before.jpg", session.folder / "after.jpg"
    for file, photo in zip(files, (session.picture.photo, restoration.photo), strict=True):
        write_picture(file, from_samples(_shown(photo, alpha, size)))
    return files


def _size(photo: FloatImage, longest: int) -> tuple[int, int]:
    """Width and height of a photo (H, W, 3), scaled down so that neither exceeds ``longest``."""
    height, width = photo.shape[:2]
    factor = min(1.0, longest / max(height, width))
    return max(1, round(width * factor)), max(1, round(height * factor))


def _shown(photo: FloatImage, alpha: FloatImage | None, size: tuple[int, int]) -> Drawing:
    """A photo (H, W, 3) at a size (width, height), composited over white."""
    small = resize(photo, size)
    if alpha is not None:
        small = 1 - (1 - small) * resize(alpha, size)[..., None]
    return np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)

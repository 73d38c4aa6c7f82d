"""Photo sessions: a photo that is open on the page is read once, restored, and blended again at other strengths."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import FaceError, GpenError, named
from ..faces.face import Face
from ..faces.selection.select import FaceChoice
from ..faces.source import FaceSource, GivenFaces
from ..filenames import fitting
from ..images import Picture, can_write, read_picture
from ..images.masks import PhotoMasks
from ..images.picture import FloatImage
from ..options import Options, supported
from ..restoration.api import face_choice, face_source
from ..restoration.finish import finish
from ..restoration.needs import Needs
from ..restoration.pipeline import Keep, OnProgress, PhotoWork, run_task
from ..restoration.processors import PhotoInputs
from ..restoration.result import Restoration
from ..restoration.upscaler import Upscaler
from ..tasks import RESTORE, Task
from .browser_pictures import write_mask, write_shown
from .engine import Engine
from .painted import Stroke, painted

MEMORY_BUDGET = 2 << 30
"""Bytes that all sessions may hold together; a single one may hold more."""

_IDLE = 3600.0
"""Seconds after which a session that nobody uses may go."""

MOST_SESSIONS = 16
"""The most sessions that are kept at once."""


@dataclass(frozen=True, eq=False)
class Compared:
    """What one of several models made."""

    restoration: Restoration
    """The result."""
    task: Task
    """What was done."""
    shown: Path
    """The result as a JPEG for the browser."""


@dataclass(eq=False)
class PhotoSession:
    """A photo that is open on the page."""

    path: Path
    """The file that was uploaded."""
    picture: Picture
    """The picture in that file."""
    folder: Path
    """Where what is shown of it, and its results, are written."""
    before: Path
    """The photo as a JPEG for the browser."""
    after: Path | None = None
    """The last result likewise; None while there is none to show."""
    faces: list[Face] = field(default_factory=list)
    """The faces that were found, from left to right."""
    found_with: tuple[str, float] | None = None
    """Detector and threshold that ``faces`` were found with; None before the first detection."""
    restoration: Restoration | None = None
    """The last result."""
    task: Task = RESTORE
    """The task of the last result."""
    last_used: float = field(default_factory=time.monotonic)
    """When it was last asked for, by the monotonic clock."""
    said: tuple[str, Path] | None = None
    """What was said about the last result, and the file of it."""
    compared: dict[str, Compared] = field(default_factory=dict)
    """By model, results to choose the last one from."""
    kind: str = ""
    """The suffix of results, where it is not that of ``path``."""
    marked: dict[str, Path] = field(default_factory=dict)
    """By kind, the masks that were given as pictures, as PNGs for the browser: white, opaque where they mark."""
    given: dict[str, list[Path]] = field(default_factory=dict)
    """By kind, the masks and photos of people that were uploaded beside the photo."""

    @property
    def suffix(self) -> str:
        """Of the files of results."""
        suffix = self.kind or self.path.suffix
        return suffix if can_write(suffix) else ".png"

    @property
    def nbytes(self) -> int:
        """Roughly how many bytes of memory it holds."""
        made, picture = self.restoration, self.picture
        parts = (picture.photo, picture.alpha, picture.stored)
        held = sum(part.nbytes for part in parts if part is not None)
        results = [*(() if made is None else (made,)), *(each.restoration for each in self.compared.values())]
        for made in results:
            held += made.photo.nbytes + made.mask.nbytes + (made.layers.nbytes if made.layers is not None else 0)
        return held

    def forget_result(self) -> None:
        """Drop the last result: the faces, or what is done to them, were chosen anew."""
        self.restoration = self.after = self.said = None
        self.compared = {}

    def close(self) -> None:
        """Remove its files."""
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
            self._sessions[key].last_used = time.monotonic()
            return self._sessions[key]

    def drop(self, key: str | None) -> None:
        """Close and forget a session; unknown keys are ignored."""
        with self._lock:
            session = self._sessions.pop(key or "", None)
        if session is not None:
            session.close()

    def drop_idle(self, key: str | None) -> None:
        """Drop a session that nobody has used for an hour: its page may have been loaded again since."""
        with self._lock:
            session = self._sessions.get(key or "")
            if session is None or time.monotonic() - session.last_used < _IDLE:
                return
        self.drop(key)

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
    own = Path(tempfile.mkdtemp(dir=folder))
    return PhotoSession(path, picture, own, write_shown(own / "before.jpg", picture.photo, picture.alpha))


def open_result(session: PhotoSession, folder: Path, max_megapixels: float, *, note: bool = True) -> PhotoSession:
    """Open the last result of a session as a photo of its own; GpenError where there is none.

    It is kept as a PNG, which loses nothing that a JPEG would; results of it are files like those of the session. note:
    as for :func:`write_result`.
    """
    if session.restoration is None:
        raise GpenError("There is no result yet: make one first.")
    own = Path(tempfile.mkdtemp(dir=folder))
    path = own / f"{session.path.stem}_{session.restoration.done}.png"
    with named(path):
        finish(session.task, session.picture, session.restoration, note=note).write(path, session.path)
        picture = read_picture(path, max_megapixels)
    before = write_shown(own / "before.jpg", picture.photo, picture.alpha)
    return PhotoSession(path, picture, own, before, kind=session.suffix)


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
    background: str = ""
    """The name of the file of a background model, empty for none."""
    chosen: Sequence[int] | None = None
    """Numbers of the faces to work on; None for those that the options choose."""
    damage: Path | None = None
    """For inpainting: a picture that is white where the photo is damaged."""
    protect: Path | None = None
    """A picture that is white where the photo stays as it is; None for nowhere."""
    strokes: Sequence[Stroke] = ()
    """What was painted over these masks, or without them."""
    people: Sequence[Path] = ()
    """Photos of the people whose faces are worked on, unless they are clicked; none for everybody's."""
    aligned: bool = False
    """Whether the photo is one aligned face."""

    @property
    def files(self) -> list[Path]:
        """The files that were uploaded with the photo."""
        return [file for file in (self.damage, self.protect, *self.people) if file is not None]


def work(
    engine: Engine, session: PhotoSession, request: WorkRequest, on_progress: OnProgress | None = None
) -> Restoration:
    """Do a task to a photo as :func:`compute` does, and keep the result in the session, in place of the last one."""
    session.restoration, session.task = compute(engine, session, request, on_progress), request.task
    session.compared = {}
    return session.restoration


def compute(
    engine: Engine, session: PhotoSession, request: WorkRequest, on_progress: OnProgress | None = None
) -> Restoration:
    """Do a task to a photo, and return the result with what :func:`blend` needs; GpenError for what a user can cause.

    The session keeps its last result.
    """
    task, options = request.task, request.options
    files = (request.damage, request.protect)
    needs = Needs.of(
        task,
        options,
        aligned=request.aligned,
        faces_given=True,
        upscaler=engine.locator.upscaler(request.background if task.accepts_background else ""),
        damage=request.damage,
        protect=request.protect,
    )
    with named(*(file for file in files if file is not None)):
        components = engine.components(task, request.model, options, needs)
        source = _source(engine, session, request)
        masks = components.damage_masks, components.protect_masks
        damage, protect = (None if given is None else given.of(session.path.name) for given in masks)
        size = session.picture.width, session.picture.height
        if task.needs_damage_mask:
            damage = painted(request.strokes, "damage", size, damage)
        if task.keeps_photo:
            protect = painted(request.strokes, "protect", size, protect)
        background = (
            None if components.upscaler is None else _background(components.upscaler, session, options, on_progress)
        )
    work = PhotoWork(
        photo=session.picture.photo,
        source=source,
        inputs=PhotoInputs(background=background, damage=damage, protect=protect),
        keep=Keep(crops=False, layers=True),
        on_progress=on_progress,
    )
    restoration = run_task(task, work, components, options)
    if components.guard_problem:
        problem = components.guard_problem.splitlines()[0]
        restoration = dataclasses.replace(restoration, note=f"The identity guard is off. {problem}")
    return restoration


def _background(
    upscaler: Upscaler, session: PhotoSession, options: Options, on_progress: OnProgress | None
) -> FloatImage:
    """The photo enlarged; no face is done while it is, and it can be stopped as between faces."""

    def on_tile(done: int, total: int) -> bool | None:
        return None if on_progress is None else on_progress(0, 0, None)

    return upscaler.background(session.picture.photo, options, on_tile)


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
    folder = session.folder / "result"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    end = f"_{restoration.done}{session.suffix}"
    target = folder / (fitting(session.path.stem, end) + end)
    with named(target):
        finished = finish(session.task, session.picture, restoration, note=note)
        finished.write(target, session.path)
    return target, " ".join([restoration.summary, *finished.left_out(target, session.path)])


def show_result(session: PhotoSession) -> Path:
    """Write the last result for the browser, and return the file."""
    assert session.restoration is not None
    session.after = show(session, session.task, session.restoration, "after")
    return session.after


def show(session: PhotoSession, task: Task, restoration: Restoration, name: str) -> Path:
    """Write a result for the browser to a file of this name, and return it."""
    alpha = session.picture.alpha if task.keeps_photo else None
    return write_shown(session.folder / f"{name}.jpg", restoration.photo, alpha)


def show_mask(session: PhotoSession, kind: str, file: Path | None, max_megapixels: float) -> None:
    """Let the viewer show a mask that was given as a picture, or none; PhotoError where it cannot be read."""
    session.marked.pop(kind, None)
    if file is None:
        return
    with named(file):
        mask = PhotoMasks(file, f"{kind} mask", max_megapixels).of(file.name)
    session.marked[kind] = write_mask(session.folder / f"{kind}.png", mask, session.picture.photo)

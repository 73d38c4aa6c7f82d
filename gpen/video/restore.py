"""The second pass over a film: the chosen faces are restored in their rectangles, and the frames encoded."""

from __future__ import annotations

import itertools
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from ..errors import ChangedFilmError, GpenError
from ..faces.source import ChosenFaces, FoundFace
from ..faces.tracking.texture import LOOK_BACK, FrameTexture, SteadyTexture
from ..images.picture import FloatImage
from ..options import Options
from ..restoration.components import Components
from ..restoration.pipeline import Keep, PhotoWork, run_task, run_tasks
from ..restoration.processors import PhotoInputs
from ..restoration.result import Restoration
from ..tasks import Task
from .detect import Part
from .encoder import Encoding
from .frame_copies import FrameCopies
from .orientation import Rectangle
from .pixels import FramePixels
from .rectangles import face_rectangles, moved
from .segments import SegmentWriter
from .source import Film
from .threads import Sink, read_ahead
from .work import WorkFolder

_AHEAD = 3  # frames that wait on either side of the network
_GROUP_BYTES = 1 << 28
_MOST_IN_GROUP = 32
_SECONDS = 4
"""About how long a segment is."""

Picture = Callable[[], FloatImage]
"""Makes the picture of a frame as far as it is done: (H, W, 3) as shown, RGB, [0, 1]."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Restorer:
    """What is done to the faces of a film."""

    task: Task
    components: Components
    options: Options
    protect: FloatImage | None = None
    """(H, W) as shown; above 0.5 where nothing changes."""
    before_frame: Callable[[], object] = lambda: None
    """Called before faces of a frame are restored; what it raises ends the work."""

    @property
    def texture(self) -> SteadyTexture | None:
        """What gives steady texture to the faces of one film; None where each frame has its own."""
        is_wanted = self.options.video and "texture" in self.task.options and self.options.texture > 0
        return SteadyTexture(self.options.texture) if is_wanted else None


@dataclass
class Outcome:
    """What was done in a part of a film."""

    frames: int = 0
    restored: Counter[int] = field(default_factory=Counter)
    """In how many frames each track's face was restored, by the track's number."""
    skipped: dict[int, str] = field(default_factory=dict)
    """Why faces of a track were skipped, by its number."""
    failed: list[tuple[float, str]] = field(default_factory=list)
    """The frames that were kept as they were because something went wrong: seconds, and why."""

    def as_json(self) -> dict[str, Any]:
        """For the record of a segment."""
        return {
            "frames": self.frames,
            "restored": list(self.restored.items()),
            "skipped": list(self.skipped.items()),
            "failed": self.failed,
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Outcome:
        """The inverse of :meth:`as_json`."""
        failed = [(time, why) for time, why in content["failed"]]
        return cls(content["frames"], Counter(dict(content["restored"])), dict(content["skipped"]), failed)

    def add(self, other: Outcome) -> None:
        """Add what was done in another part."""
        self.frames += other.frames
        self.restored += other.restored
        self.skipped = {**other.skipped, **self.skipped}
        self.failed += other.failed


@dataclass(eq=False)
class _Piece:
    """A rectangle of a frame with faces."""

    rectangle: Rectangle
    """As stored."""
    work: PhotoWork
    after: Restoration | None = None


@dataclass(eq=False)
class _WorkedFrame:
    frame: Any
    faces: Sequence[FoundFace]
    pieces: list[_Piece] = field(default_factory=list)
    failure: str = ""

    @property
    def is_done(self) -> bool:
        return bool(self.failure) or all(piece.after is not None for piece in self.pieces)


def segment_frames(part: Part) -> int:
    """How many frames a segment has; the last one may have fewer."""
    return max(24, round(_SECONDS * part.film.rate))


class FilmRestorer:
    """Restores the frames of a film, and encodes them in segments.

    faces: of each frame. timestamps: of each frame, as the first pass has read them.
    """

    def __init__(
        self,
        part: Part,
        restorer: Restorer,
        encoding: Encoding,
        faces: Sequence[Sequence[FoundFace]],
        timestamps: Sequence[int],
    ) -> None:
        film = part.film
        self._part = part
        self._restorer = restorer
        self._encoding = encoding
        self._faces = faces
        self._timestamps = timestamps
        self._pixels = FramePixels(film.layout, film.tags, film.width, film.height, keeps_luma=restorer.task.adds_color)
        bytes_of_frame = film.width * film.height * 3 * (1 if film.layout.bits == 8 else 2)
        self._group = max(1, min(_MOST_IN_GROUP, _GROUP_BYTES // bytes_of_frame))
        self._texture = restorer.texture
        self._copies = FrameCopies(film.width, film.height, film.layout.name, film.time_base)

    def run(
        self,
        work: WorkFolder,
        on_frame: Callable[[bool, Picture | None], object],
        only: Collection[int] | None = None,
    ) -> Outcome:
        """Make all segments that are not finished yet, and return what was done in all of them.

        on_frame: called after each frame, with whether it was there already, and its picture, None if it was. only: the
        numbers of the segments to look at; None for all.
        """
        outcome, length = Outcome(), segment_frames(self._part)
        wanted = range(math.ceil(len(self._timestamps) / length)) if only is None else only
        with read_ahead(self._worked_frames(work, length, wanted), _AHEAD) as frames:
            for number in range(max(wanted, default=-1) + 1):
                start = number * length
                stop = min(start + length, len(self._timestamps))
                here = _only(frames, stop - start)
                if number not in wanted:
                    self._restore_again(here)
                    continue
                done = work.finished(number)
                if done is None:
                    made = self._make_segment(work, number, here, on_frame)
                else:
                    made = Outcome.from_json(done)
                    self._restore_again(here)
                    for _ in range(made.frames):
                        on_frame(True, None)
                if made.frames != stop - start:
                    raise _changed(self._part.film)
                outcome.add(made)
        return outcome

    def _worked_frames(self, work: WorkFolder, length: int, wanted: Collection[int]) -> Iterator[_WorkedFrame | None]:
        """Each frame with its pieces; None for those that are not made, and that the texture of no others needs."""
        number, first_needed = -1, 0
        for index, frame in enumerate(self._part.frames()):
            if index >= len(self._timestamps) or frame.pts != self._timestamps[index]:
                raise _changed(self._part.film)
            if index // length != number:
                number = index // length
                first_needed = self._first_needed(work, number, length, wanted)
            yield self._worked(frame, index) if index >= first_needed else None

    def _restore_again(self, frames: Iterator[_WorkedFrame | None]) -> None:
        """Restore frames of a segment that is not made, for the texture of those that follow."""
        for _ in self._restored(frames):
            pass

    def _first_needed(self, work: WorkFolder, number: int, length: int, wanted: Collection[int]) -> int:
        """The frame from which on a segment is restored: after its end if it is not made, or shortly before that."""

        def is_made(number: int) -> bool:
            return number in wanted and work.finished(number) is None

        start, stop = number * length, (number + 1) * length
        if is_made(number):
            return start
        return stop - LOOK_BACK if self._texture is not None and is_made(number + 1) else stop

    def _worked(self, frame: Any, index: int) -> _WorkedFrame:
        faces = self._faces[index]
        worked = _WorkedFrame(frame, faces)
        chosen = [face for face in faces if not face.skip_reason]
        film, options = self._part.film, self._restorer.options
        width, height = film.size_shown
        for (rows, columns), inside in face_rectangles(chosen, options, width, height):
            stored = self._pixels.grown(film.orientation.rectangle_stored((rows, columns), width, height))
            rows, columns = film.orientation.rectangle_shown(stored, film.width, film.height)
            photo = np.ascontiguousarray(film.orientation.shown(self._pixels.photo(frame, stored)))
            protect = self._restorer.protect
            worked.pieces.append(
                _Piece(
                    stored,
                    PhotoWork(
                        photo=photo,
                        source=ChosenFaces([moved(face, columns.start, rows.start) for face in inside]),
                        inputs=PhotoInputs(protect=None if protect is None else protect[rows, columns]),
                        keep=Keep(crops=False),
                        texture=None if self._texture is None else FrameTexture(self._texture, index),
                    ),
                )
            )
        return worked

    def _make_segment(
        self,
        work: WorkFolder,
        number: int,
        frames: Iterator[_WorkedFrame | None],
        on_frame: Callable[[bool, Picture | None], object],
    ) -> Outcome:
        outcome = Outcome()
        with work.writing(number) as path:
            writer = SegmentWriter(path, self._part.film, self._encoding)

            def take(worked: _WorkedFrame) -> None:
                writer.add(self._written(worked))

            sink = Sink(take, _AHEAD)
            try:
                for worked in self._restored(frames):
                    _note(outcome, worked, self._part.film.time(worked.frame.pts))
                    sink.put(worked)
                    on_frame(False, partial(self._picture, worked))
                sink.close()
            except BaseException:
                sink.stop()
                writer.discard()
                raise
            writer.close()
        work.finish(number, {**outcome.as_json(), "timestamps": writer.timestamps})
        return outcome

    def _restored(self, frames: Iterator[_WorkedFrame | None]) -> Iterator[_WorkedFrame]:
        """The frames in order, their pieces done. Groups of them share calls of the network, and no more."""
        present = (frame for frame in frames if frame is not None)
        while (first := next(present, None)) is not None:
            yield from self._restored_group(itertools.chain([first], itertools.islice(present, self._group - 1)))

    def _restored_group(self, frames: Iterator[_WorkedFrame]) -> Iterator[_WorkedFrame]:
        begun: deque[_WorkedFrame] = deque()
        pieces: deque[_Piece] = deque()
        unreadable: list[Exception] = []

        def works() -> Iterator[PhotoWork]:
            try:
                for worked in frames:
                    begun.append(worked)
                    self._begin(worked)
                    for piece in worked.pieces:
                        pieces.append(piece)
                        yield piece.work
            except Exception as error:
                unreadable.append(error)
                raise

        restorer = self._restorer
        try:
            for restoration in run_tasks(restorer.task, works(), restorer.components, restorer.options):
                pieces.popleft().after = restoration
                while begun and begun[0].is_done:
                    yield begun.popleft()
        except Exception as error:
            if unreadable:
                raise
            _log.info("Frames are restored one by one after: %s", str(error), exc_info=error)
            begun.extend(frames)
            for worked in begun:
                self._begin(worked)
                self._restore_alone(worked)
        yield from begun

    def _begin(self, worked: _WorkedFrame) -> None:
        if worked.pieces:
            self._restorer.before_frame()

    def _restore_alone(self, worked: _WorkedFrame) -> None:
        """Restore one frame; where that fails, it stays as it was, and says why."""
        restorer = self._restorer
        for piece in worked.pieces:
            if piece.after is not None:
                continue
            try:
                piece.after = run_task(restorer.task, piece.work, restorer.components, restorer.options)
            except Exception as error:
                _log.info("A frame is kept as it was.", exc_info=error)
                worked.failure = str(error) if isinstance(error, GpenError) else f"{type(error).__name__}: {error}"
                return

    def _written(self, worked: _WorkedFrame) -> Any:
        """The frame to encode: the decoded one if nothing changed, else a copy."""
        changed = [piece for piece in worked.pieces if piece.after is not None and piece.after.has_changed_pixels]
        if worked.failure or not changed:
            return worked.frame
        frame, orientation = self._copies.of(worked.frame), self._part.film.orientation
        for piece in changed:
            assert piece.after is not None
            after, mask = (orientation.stored(picture) for picture in (piece.after.photo, piece.after.mask))
            self._pixels.change(frame, piece.rectangle, after, mask)
        return frame

    def _picture(self, worked: _WorkedFrame) -> FloatImage:
        film = self._part.film
        whole = slice(0, film.height), slice(0, film.width)
        picture = np.array(film.orientation.shown(self._pixels.photo(worked.frame, whole)))
        for piece in worked.pieces:
            if piece.after is not None and not worked.failure:
                picture[film.orientation.rectangle_shown(piece.rectangle, film.width, film.height)] = piece.after.photo
        return picture


def _changed(film: Film) -> ChangedFilmError:
    return ChangedFilmError(f"{film.path} was read differently the second time. Has it changed? Start again.")


def _note(outcome: Outcome, worked: _WorkedFrame, time: float) -> None:
    outcome.frames += 1
    for face in worked.faces:
        if face.skip_reason:
            outcome.skipped.setdefault(face.number, face.skip_reason)
    if worked.failure:
        outcome.failed.append((time, worked.failure))
        return
    for piece in worked.pieces:
        assert piece.after is not None
        outcome.restored.update(face.number for face in piece.after.faces)
        for skipped in piece.after.skipped:
            outcome.skipped.setdefault(skipped.number, skipped.reason)


def _only(items: Iterator[Any], number: int) -> Iterator[Any]:
    """The next items, so many at most; the rest stays where it is."""
    for _ in range(number):
        try:
            yield next(items)
        except StopIteration:
            return

"""Decoding a film that may be damaged: a frame for each packet, whatever can be decoded of it."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..wording import count
from .ffmpeg import pyav, reading, reason
from .frame_copies import FrameCopies

if TYPE_CHECKING:
    from .source import Film

BEFORE = 2
"""Seconds before a frame at which reading begins that is to lead to it: of those after it none may be missing."""

_HIDING = frozenset({"vp8"})
"""Decoders some of whose packets hold nothing that is shown by itself."""


@dataclass(frozen=True)
class Flaw:
    """A damaged place of a film."""

    seconds: float | None
    """Since the first frame; None where that is not known."""
    why: str
    """What is wrong, and what is shown."""
    unfit: int | None = None
    """Timestamp of a frame that shows the damage, and is not worth restoring; None where none does."""

    def __str__(self) -> str:
        return self.why if self.seconds is None else f"at {self.seconds:.2f} s, {self.why}"


OnFlaw = Callable[[Flaw], object]


def decoded_frames(film: Film, on_flaw: OnFlaw, near: int | None = None) -> Iterator[Any]:
    """The frames of a film, one for each packet, in the order in which they are shown.

    Where a packet cannot be decoded, the frame before it is shown again, so that the number of frames and their times
    stay; before the first one that can be decoded there is nothing. From the first damage on, one thread decodes: what
    several make of damage depends on their number, and at the end of a film they lose what waits for a damaged frame.

    near: the timestamp that reading begins at or before; None for the beginning. on_flaw: told of each damage once,
    before its frame is yielded. PhotoError where the file cannot be opened.
    """
    frames = _Frames(film, on_flaw)
    yield from frames.read(near)
    if frames.is_damaged:
        yield from frames.read_on(near)


def first_frames(container: Any, stream: Any, number: int) -> list[Any]:
    """The frames at the beginning of an open film that can be decoded, ``number`` of them or all."""
    found: list[Any] = []
    for _, frames in _decoded_packets(container, stream, lambda packet, error: None):
        found += frames
        if len(found) >= number:
            break
    return found[:number]


class _Frames:
    """Reads the frames of a film, and knows which packets gave none."""

    def __init__(self, film: Film, on_flaw: OnFlaw) -> None:
        self.is_damaged = False
        self._film = film
        self._on_flaw = on_flaw
        self._told: set[Flaw] = set()
        self._waiting: list[int] = []
        """A heap of the timestamps of packets of which no frame has come yet."""
        self._held: list[tuple[int, int, Any]] = []
        """A heap of frames that others may have to be shown before."""
        self._last: Any = None
        self._has_frame_in_each_packet = True
        self._begins_later = False
        """Whether reading began behind the beginning of the film."""
        self._one_thread = False
        self._leads_on = True
        """Whether what is read leads to the frame that comes next; an index may lead behind it."""

    def read(self, near: int | None) -> Iterator[Any]:
        """The frames from there on, up to the first damage unless one thread decodes."""
        self._waiting, self._held = [], []
        with reading(self._film.path) as container:
            stream = container.streams[self._film.stream]
            self._begins_later = near is not None and near > self._film.start
            if self._begins_later:
                container.seek(near, stream=stream)
            stream.thread_type = "AUTO"
            if self._one_thread:
                stream.codec_context.thread_count = 1
            name = stream.codec_context.name
            # The two fields of a frame of H.264 may be packets of their own.
            self._has_frame_in_each_packet = name not in _HIDING and not (name == "h264" and self._film.is_interlaced)
            for packet, frames in _decoded_packets(container, stream, self._failed):
                if packet is not None and packet.pts is not None and packet.size and not packet.is_discard:
                    heapq.heappush(self._waiting, packet.pts)
                for frame in self._in_order(packet, frames) if self._one_thread else frames:
                    self.is_damaged |= self._follows_damage(frame)
                    self._leads_on |= self._is_late(frame)
                    if not self._goes_on:
                        return
                    yield from self._next(frame)
                if not self._one_thread and self.is_damaged:  # it was refused
                    return
        self.is_damaged |= self._lacks_before(None)
        if self._one_thread and self._leads_on:
            yield from self._lost(None)

    def read_on(self, near: int | None) -> Iterator[Any]:
        """The frames after the last one that came, decoded by one thread."""
        self._one_thread = True
        last = self._last
        starts = [near] if last is None else [last.pts - round(BEFORE / self._film.time_base), None]
        for start in starts:
            self._leads_on = start == starts[-1]
            yield from self.read(start)
            if self._leads_on:
                return

    def _next(self, frame: Any) -> Iterator[Any]:
        """A frame, and what belongs before it."""
        if frame.pts is not None:
            if self._one_thread and self._is_late(frame):
                return  # it came before, or another one in its place
            yield from self._lost(frame.pts)
        self._last = frame
        if frame.is_corrupt:
            self._tell(frame.pts, "it could be decoded in part only, and is kept as it is", is_unfit=True)
        yield frame

    def _in_order(self, packet: Any, frames: list[Any]) -> list[Any]:
        """The frames that no other one can come before any more: after damage the decoder gives some too early."""
        for frame in frames:
            heapq.heappush(self._held, (frame.pts or 0, id(frame), frame))
        # No packet is shown before it is decoded, and those that follow are decoded later than this one.
        reached = None if packet is None else packet.dts
        ready = []
        while self._held and (reached is None or self._held[0][0] <= reached):
            ready.append(heapq.heappop(self._held)[2])
        return ready

    @property
    def _goes_on(self) -> bool:
        return self._leads_on if self._one_thread else not self.is_damaged

    def _is_late(self, frame: Any) -> bool:
        return self._last is not None and frame.pts is not None and frame.pts <= self._last.pts

    def _follows_damage(self, frame: Any) -> bool:
        return bool(frame.is_corrupt) or (frame.pts is not None and self._lacks_before(frame.pts))

    def _lacks_before(self, before: int | None) -> bool:
        """Whether a packet between the last frame and a timestamp, or the end, gave no frame."""
        if not self._has_frame_in_each_packet or self._last is None:
            return False
        return any(timestamp > self._last.pts and (before is None or timestamp < before) for timestamp in self._waiting)

    def _lost(self, before: int | None) -> Iterator[Any]:
        """Frames in place of those that did not come before a timestamp, or the end."""
        left_out = 0
        while self._waiting and (before is None or self._waiting[0] <= before):
            timestamp = heapq.heappop(self._waiting)
            if timestamp == before or not self._has_frame_in_each_packet:
                continue
            if self._last is None:
                left_out += 1
            elif timestamp > self._last.pts:
                self._tell(timestamp, "it cannot be decoded: the frame before is shown", is_unfit=self._last.is_corrupt)
                again = self._copies.of(self._last)
                again.pts = timestamp
                self._last = again
                yield again
        if left_out and not self._begins_later:
            self._once(
                Flaw(None, f"the result lacks {count(left_out, 'frame')} of the beginning, which cannot be decoded")
            )

    def _tell(self, timestamp: int, why: str, *, is_unfit: bool) -> None:
        self._once(Flaw(self._film.time(timestamp), why, timestamp if is_unfit else None))

    def _failed(self, packet: Any, error: Exception) -> None:
        """Something cannot be read or decoded."""
        if packet is None:
            self._once(Flaw(None, f"the file cannot be read to its end: {reason(error)}"))
            return
        self.is_damaged = True
        if self._one_thread and (packet.pts is None or not self._has_frame_in_each_packet):
            near = None if packet.pts is None else self._film.time(packet.pts)
            self._once(Flaw(near, f"a frame cannot be decoded, and the result lacks it: {reason(error)}"))

    def _once(self, flaw: Flaw) -> None:
        if flaw not in self._told:
            self._told.add(flaw)
            self._on_flaw(flaw)

    @cached_property
    def _copies(self) -> FrameCopies:
        film = self._film
        return FrameCopies(film.width, film.height, film.stored_as, film.time_base)


def _decoded_packets(
    container: Any, stream: Any, on_error: Callable[[Any, Exception], object]
) -> Iterator[tuple[Any, list[Any]]]:
    """Each packet, and the frames that come once it was given to the decoder; None as packet at a damaged end.

    on_error: called with the packet that was given last when something could not be decoded; with None where the file
    cannot be read any further.
    """
    av = pyav()
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError as error:
            on_error(None, error)
            yield None, stream.codec_context.decode(None)
            return
        if packet is None:
            return
        try:
            frames = packet.decode()
        except av.FFmpegError as error:
            on_error(packet, error)
            frames = []
        yield packet, frames

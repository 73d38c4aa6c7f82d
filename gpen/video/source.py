"""The film that is read: what it is, and its frames one after the other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import OptionError, PhotoError
from ..images.picture import check_megapixels
from .color import ColorTags
from .decoding import BEFORE, OnFlaw, decoded_frames, first_frames
from .ffmpeg import pyav, reading
from .hdr import Hdr
from .orientation import Orientation
from .pixels import Layout, planar

_LOOKED_AT = 30
"""Frames at the beginning of a film that show whether it is interlaced."""
_DEFAULT_RATE = Fraction(25)


@dataclass(frozen=True, kw_only=True)
class Film:
    """What is known of a film before its frames are read."""

    path: Path
    stream: int
    """Position of the video among the file's streams."""
    width: int
    """As stored, like ``height``; as shown they may be turned."""
    height: int
    stored_as: str
    """FFmpeg's name of the pixel format in the file."""
    layout: Layout
    """Of the planes that frames are worked on in."""
    time_base: Fraction
    """Seconds of a step of timestamps."""
    rate: Fraction
    """Frames in a second, on average."""
    aspect: Fraction | None
    """Width over height of a pixel; None where the film does not say."""
    matrix: tuple[int, ...] | None
    """FFmpeg's display matrix, nine numbers; None where the film is shown as it is stored."""
    tags: ColorTags
    hdr: Hdr
    start: int
    """Timestamp of the first frame."""
    seconds: float | None
    """How long it is; None where the file does not say."""
    is_interlaced: bool
    """Whether its frames consist of fields."""

    @property
    def orientation(self) -> Orientation:
        """How it is turned to be shown."""
        return Orientation.of_matrix(self.matrix)

    @property
    def size_shown(self) -> tuple[int, int]:
        """Width and height as shown."""
        return self.orientation.size_shown(self.width, self.height)

    @property
    def frames(self) -> int | None:
        """About how many frames it has; None where the file does not say."""
        return None if self.seconds is None else max(1, round(self.seconds * self.rate))

    def time(self, timestamp: int) -> float:
        """Seconds since the first frame."""
        return float((timestamp - self.start) * self.time_base)


def main_video(container: Any) -> Any | None:
    """The stream of the film itself, which is not a cover picture; None if there is none."""
    av = pyav()
    cover = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = [s for s in container.streams.video if not s.disposition & cover and s.codec_context is not None]
    default = [s for s in streams if s.disposition & av.stream.Disposition.default]
    return next(iter(default or streams), None)


def probe(path: Path, max_megapixels: float) -> Film:
    """Look at a film. PhotoError where it cannot be read, or its pixels are of a kind that is not supported.

    max_megapixels: a film whose frames have more is refused before any is decoded.
    """
    with reading(path) as container:
        stream = main_video(container)
        if stream is None:
            raise PhotoError(f"{path} holds no video that can be decoded. Is it a sound file?")
        megapixels = stream.codec_context.width * stream.codec_context.height / 1e6
        check_megapixels(megapixels, max_megapixels, f"The frames of {path} have", "Choose a larger limit.")
        frames = first_frames(container, stream, _LOOKED_AT)
        if not frames:
            raise PhotoError(f"No frame of {path} can be decoded. Play it to see whether it is damaged.")
        first, context = frames[0], stream.codec_context
        if first.pts is None:
            raise PhotoError(
                f"The frames of {path} have no timestamps. Put it into another container first: ffmpeg -i "
                f"{path.name} -c copy {path.stem}.mkv"
            )
        tags = ColorTags(
            *(
                getattr(first, name) or getattr(context, name)
                for name in ("color_primaries", "color_trc", "colorspace", "color_range")
            )
        )
        if first.format.name.startswith("yuvj"):
            tags = ColorTags(tags.primaries, tags.transfer, tags.matrix, 2)
        duration = stream.duration and float(stream.duration * stream.time_base)
        return Film(
            path=path,
            stream=stream.index,
            width=first.width,
            height=first.height,
            stored_as=first.format.name,
            layout=Layout.of(planar(first.format.name)),
            time_base=stream.time_base,
            rate=stream.average_rate or stream.guessed_rate or _DEFAULT_RATE,
            aspect=stream.sample_aspect_ratio or None,
            matrix=_display_matrix(first),
            tags=tags,
            hdr=Hdr.of_frame(first),
            start=first.pts,
            seconds=duration or (container.duration and container.duration / 1e6) or None,
            is_interlaced=any(frame.interlaced_frame for frame in frames),
        )


def read_frames(film: Film, on_flaw: OnFlaw, *, deinterlace: bool = False, start: int | None = None) -> Iterator[Any]:
    """The frames of a film as PyAV's, in the layout of ``film``, with increasing timestamps in its time base.

    They may share memory with the decoder: not to be written to. on_flaw: as for
    :func:`~gpen.video.decoding.decoded_frames`, which says what becomes of damaged frames.
    deinterlace: make each interlaced frame a whole one, by FFmpeg's filter bwdif; without it, OptionError for one.
    start: the first timestamp that counts; None for all. PhotoError where frames differ in size or kind, or their
    timestamps do not increase.
    """
    if start is None or start <= film.start:
        yield from _read(film, on_flaw, deinterlace, None)
        return
    from_near = _read(film, on_flaw, deinterlace, start - round(BEFORE / film.time_base))
    first = next(from_near, None)
    if first is None or first.pts > start:  # this file's index does not lead there
        from_near = _read(film, on_flaw, deinterlace, None)
        first = next(from_near, None)
    if first is not None:
        yield from itertools.dropwhile(lambda frame: frame.pts < start, itertools.chain([first], from_near))


def _read(film: Film, on_flaw: OnFlaw, deinterlace: bool, near: int | None) -> Iterator[Any]:
    """near: the timestamp that reading begins at or before; None for the beginning."""
    frames = decoded_frames(film, on_flaw, near)
    if deinterlace:
        frames = _deinterlaced(frames, film)
    last: int | None = None
    for frame in frames:
        _check(frame, film, last, deinterlace)
        last = frame.pts
        yield _planar(frame, film)


def _deinterlaced(frames: Iterator[Any], film: Film) -> Iterator[Any]:
    av = pyav()
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=film.width,
        height=film.height,
        format=av.VideoFormat(film.stored_as, film.width, film.height),
        time_base=film.time_base,
    )
    whole, sink = graph.add("bwdif", "mode=send_frame:deint=interlaced"), graph.add("buffersink")
    source.link_to(whole)
    whole.link_to(sink)
    graph.configure()
    for frame in itertools.chain(frames, [None]):
        source.push(frame)
        while True:
            try:
                done = sink.pull()
            except (av.BlockingIOError, av.EOFError):
                break
            # The filter counts in half steps, for films that get a frame of each field.
            done.pts = int(done.pts * done.time_base / film.time_base)
            done.time_base = film.time_base
            yield done


def _check(frame: Any, film: Film, last: int | None, deinterlace: bool) -> None:
    if (frame.width, frame.height, frame.format.name) != (film.width, film.height, film.stored_as):
        raise PhotoError(
            f"{film.path} changes from {film.width} x {film.height} {film.stored_as} to {frame.width} x {frame.height} "
            f"{frame.format.name} on the way. Split it there, or convert it with FFmpeg first."
        )
    if frame.pts is None or (last is not None and frame.pts <= last):
        raise PhotoError(
            f"The timestamps of {film.path} do not increase after {film.time(last or film.start):.3f} s. Repair it "
            f"first, with FFmpeg for instance: ffmpeg -i {film.path.name} -c copy -fflags +genpts {film.path.stem}.mkv"
        )
    if frame.interlaced_frame and not deinterlace:
        raise refusal(film)


def refusal(film: Film) -> OptionError:
    """Why an interlaced film is not worked on, and what to do."""
    return OptionError(
        f"{film.path} is interlaced: each of its frames holds two moments, on alternate lines, which faces cannot be "
        "restored in. The option deinterlace makes whole frames of them, as many as before."
    )


def _planar(frame: Any, film: Film) -> Any:
    if film.layout.name == film.stored_as:
        return frame
    # The same range on both sides, so that samples are only put in another order.
    repacked = frame.reformat(format=film.layout.name, src_color_range=2, dst_color_range=2)
    repacked.color_range = frame.color_range or film.tags.range
    return repacked


def _display_matrix(frame: Any) -> tuple[int, ...] | None:
    found = [data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"]
    return tuple(np.frombuffer(found[0], np.int32).tolist()) if found else None

"""Puts the film together: its segments, and every other stream of the source packet for packet."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import OptionError, PhotoError
from .detect import Part
from .encoder import CONTAINERS, Encoding
from .ffmpeg import pyav, reading, reason
from .segments import add_encoder, set_tags
from .source import Film

_FORMATS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
_MOV = (".mp4", ".m4v", ".mov")
_MOST_TICKS = 1 << 31
_OF_CONTAINER = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder", "duration"})
"""Metadata that the container itself writes."""
_OF_VIDEO = ("encoder", "duration", "bps", "number_of_frames", "number_of_bytes", "_statistics")
"""How metadata of the video begin that are about the packets of the source; in lower case."""

Timestamps = Sequence[int]


def check_container(film: Film, target: Path, encoding: Encoding) -> list[str]:
    """OptionError where the container of ``target`` cannot hold the film, its sound or its subtitles.

    Returns what else it cannot hold, in sentences.
    """
    left_out = []
    if not _takes(target, lambda file: add_encoder(file, film, encoding)):
        others = " or ".join(end for end in CONTAINERS if end != target.suffix.lower())
        raise OptionError(
            f"{target.suffix} files cannot hold what {encoding.name} makes. Choose another codec, or a name that "
            f"ends with {others}."
        )
    with reading(film.path) as container:
        for stream in container.streams:
            if stream.index == film.stream or _is_made_anew(stream, target):
                continue
            if _is_displaced(container, stream, target):
                left_out.append(
                    f"The cover picture is not in the result: in {target.suffix} files, what the camera wrote about "
                    "the film takes its place. A result that ends with .mkv holds both."
                )
                continue
            if _takes(target, partial(_add_copy, stream)):
                continue
            what = f"{stream.type} stream {stream.index} ({stream.name or 'unknown codec'})"
            if stream.type not in ("audio", "subtitle", "attachment", "video"):
                left_out.append(f"The {what} is not in the result: {target.suffix} files cannot hold it.")
                continue
            raise OptionError(
                f"{target.suffix} files cannot hold the {what} of {film.path}. Choose a result that ends with .mkv, or "
                f"with {film.path.suffix} as the film does."
            )
    return left_out


def join(part: Part, segments: Sequence[Path], timestamps: Timestamps, target: Path) -> None:
    """Write the whole file.

    segments: of the part that was encoded, in order; timestamps: of their packets, in the order of the file. PhotoError
    where the file cannot be written.
    """
    av = pyav()
    film = part.film
    begin = 0 if part.start is None else min(timestamps)
    moved = [timestamp - begin for timestamp in timestamps]
    times = _Times(
        begin=None if part.start is None else begin * film.time_base,
        end=None if part.end is None else part.end * film.time_base,
    )
    try:
        with (
            reading(film.path) as source,
            av.open(
                str(target),
                "w",
                format=_FORMATS[target.suffix.lower()],
                container_options=_options(film, source, target),
            ) as result,
            av.open(str(segments[0])) as first,
        ):
            video, copies = _add_streams(film, source, result, first.streams.video[0], target)
            result.set_chapters(times.of_chapters(source.chapters()))
            others = _copied(source, copies, times)
            if target.suffix.lower() in _MOV:
                others = (pair for pair in others if not _is_silence(pair[1]))
            for packet in _by_time(_encoded(segments, moved, video, film.time_base), others):
                result.mux_one(packet)
    except av.FFmpegError as error:
        raise PhotoError(f"{target} cannot be written: {reason(error)}.") from error


def _takes(target: Path, add: Callable[[Any], Any]) -> bool:
    """Whether a file of this name can begin with the stream that ``add`` adds to it."""
    av = pyav()
    try:
        with av.open(io.BytesIO(), "w", format=_FORMATS[target.suffix.lower()]) as file:
            add(file)
            file.start_encoding()
    except (ValueError, OSError):
        return False
    return True


def _is_made_anew(stream: Any, target: Path) -> bool:
    """Whether the container makes this stream from other information: chapters as text, a track of time code."""
    av = pyav()
    if stream.type != "data":
        return False
    return stream.discard == av.stream.Discard.all or (
        target.suffix.lower() in _MOV and stream.name is None and "timecode" in stream.metadata
    )


def _has_keys(source: Any) -> bool:
    """Whether its metadata have QuickTime's keys, which cameras write, besides those that every file may have."""
    return any(key.startswith("com.") for key in source.metadata)


def _is_displaced(source: Any, stream: Any, target: Path) -> bool:
    """Whether it is a cover picture that FFmpeg leaves out without a word, because it writes QuickTime's keys."""
    is_cover = stream.disposition & pyav().stream.Disposition.attached_pic
    return bool(is_cover) and target.suffix.lower() in _MOV and _has_keys(source)


def _options(film: Film, source: Any, target: Path) -> dict[str, str]:
    if target.suffix.lower() not in _MOV:
        return {}
    # The clock of the whole file, in which the beginnings of streams are written: a step that fits into all of them.
    rates = [film.time_base.denominator, *(s.time_base.denominator for s in source.streams.audio)]
    ticks = math.lcm(*rates)
    options = {"movie_timescale": str(ticks)} if ticks < _MOST_TICKS else {}
    if _has_keys(source):
        options["movflags"] = "use_metadata_tags"
    return options


def _add_streams(film: Film, source: Any, result: Any, encoded: Any, target: Path) -> tuple[Any, dict[int, Any]]:
    """Add all streams in the order of the source: the video, and the copies of others by their index in the source."""
    video, copies = None, {}
    result.metadata.update({k: v for k, v in source.metadata.items() if k.lower() not in _OF_CONTAINER})
    for stream in source.streams:
        if stream.index == film.stream:
            video = result.add_stream_from_template(encoded, opaque=True)
            set_tags(video.codec_context, film, film.layout)
            video.codec_context.framerate = film.rate
            video.time_base = film.time_base
            video.set_display_matrix(film.matrix)
            if encoded.name == "hevc" and target.suffix.lower() in _MOV:
                video.codec_context.codec_tag = "hvc1"  # the one that Apple's players take
            video.disposition = stream.disposition
            kept = {k: v for k, v in stream.metadata.items() if not k.lower().startswith(_OF_VIDEO)}
            video.metadata.update(kept)
        elif _is_made_anew(stream, target) or _is_displaced(source, stream, target):
            continue
        elif _takes(target, partial(_add_copy, stream)):
            copies[stream.index] = _add_copy(stream, result)
    return video, copies


def _add_copy(stream: Any, container: Any) -> Any:
    copy = container.add_stream_from_template(stream, opaque=True)
    copy.disposition = stream.disposition
    copy.metadata.update(stream.metadata)
    return copy


@dataclass(frozen=True, kw_only=True)
class _Times:
    """Which packets and chapters of the source lie in the part, and when they are there."""

    begin: Fraction | None
    """In seconds of the source, the first frame of the part, which becomes 0; None where nothing is moved."""
    end: Fraction | None
    """In seconds of the source; None for its end."""

    def move(self, packet: Any) -> Fraction | None:
        """Give a packet its time in the result; its seconds there, None where it lies outside the part."""
        av = pyav()
        time = (packet.dts if packet.dts is not None else packet.pts or 0) * packet.time_base
        if packet.stream.disposition & av.stream.Disposition.attached_pic:
            return Fraction(time)
        if self.end is not None and time >= self.end:
            return None
        if self.begin is None:
            return Fraction(time)
        if time < self.begin:
            return None
        ticks = round(self.begin / packet.time_base)
        if packet.pts is not None:
            packet.pts -= ticks
        if packet.dts is not None:
            packet.dts -= ticks
        return Fraction(time - self.begin)

    def of_chapters(self, chapters: Sequence[Any]) -> list[Any]:
        """The chapters of the part."""
        if self.begin is None:
            return list(chapters)
        moved = []
        for chapter in chapters:
            ticks = round(self.begin / chapter["time_base"])
            if chapter["end"] > ticks:
                times = {"start": max(0, chapter["start"] - ticks), "end": chapter["end"] - ticks}
                moved.append({**chapter, **times})
        return moved


def _encoded(
    segments: Sequence[Path], timestamps: Timestamps, video: Any, time_base: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    """The packets of all segments as of one film, with the time at which each has to be decoded.

    time_base: of the timestamps; segments may have a finer one.
    """
    av = pyav()
    decode_at = decoding_times(timestamps)
    position, header = 0, None
    for path in segments:
        with av.open(str(path)) as file:
            stream = file.streams.video[0]
            header = header or stream.codec_context.extradata
            if stream.codec_context.extradata != header:
                raise PhotoError(
                    f"The parts of the unfinished film in {path.parent} were encoded differently. Delete that folder, "
                    "and start again."
                )
            for packet in file.demux(stream):
                if not packet.size:
                    continue
                packet.pts, packet.dts = timestamps[position], decode_at[position]
                packet.duration = round((packet.duration or 0) * stream.time_base / time_base)
                packet.time_base = time_base
                packet.stream = video
                yield packet.dts * time_base, packet
                position += 1


def decoding_times(timestamps: Timestamps) -> list[int]:
    """When each packet of a film has to be decoded, increasing and never after it is shown.

    timestamps: when the packets are shown, in the order of the file. Each is decoded when the frame is shown that
    is as many frames earlier as the reordering reaches.
    """
    shown = sorted(timestamps)
    rank = {timestamp: position for position, timestamp in enumerate(shown)}
    reach = max((position - rank[timestamp] for position, timestamp in enumerate(timestamps)), default=0)
    step = shown[1] - shown[0] if len(shown) > 1 else 1
    before = [shown[0] - (reach - i) * step for i in range(reach)]
    return [*before, *shown][: len(timestamps)]


def _copied(source: Any, copies: dict[int, Any], times: _Times) -> Iterator[tuple[Fraction, Any]]:
    """The packets of all other streams that lie in the part, and the time of each."""
    av = pyav()
    streams = [s for s in source.streams if s.index in copies and s.type != "attachment"]
    if not streams:
        return
    packets = source.demux(streams)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:  # a file that was cut off; reading its frames has said so
            return
        if packet is None:
            return
        if packet.dts is None and not packet.size:  # the end of a stream
            continue
        time = times.move(packet)
        if time is None:
            continue
        packet.stream = copies[packet.stream_index]
        yield time, packet


def _is_silence(packet: Any) -> bool:
    """Whether it says that no subtitle is shown, which QuickTime's containers add between subtitles themselves."""
    return packet.size == 2 and packet.stream.name == "mov_text" and bytes(packet) == b"\0\0"


def _by_time(one: Iterator[tuple[Fraction, Any]], other: Iterator[tuple[Fraction, Any]]) -> Iterator[Any]:
    """The packets of both, each time the earlier one."""
    nothing: tuple[Fraction, Any] | None = None
    heads = [next(one, nothing), next(other, nothing)]
    sources = [one, other]
    while any(head is not None for head in heads):
        first = min((i for i, head in enumerate(heads) if head is not None), key=lambda i: heads[i][0])  # type: ignore[index]
        yield heads[first][1]  # type: ignore[index]
        heads[first] = next(sources[first], nothing)

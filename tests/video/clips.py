"""Clips for tests, made with PyAV: a moving pattern, with sound, subtitles, tags and whatever else a film may hold."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

WIDTH, HEIGHT = 160, 120


@dataclass(frozen=True, kw_only=True)
class Clip:
    """What a clip holds."""

    frames: int = 30
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: dict[str, str] = field(default_factory=dict)
    time_base: Fraction = Fraction(1, 90000)
    steps: tuple[int, ...] = (3600,)
    """Between timestamps, over and over: of a variable frame rate where there are several."""
    start: int = 0
    tags: tuple[int, int, int, int] = (1, 1, 1, 1)
    """Primaries, transfer, matrix and range."""
    aspect: Fraction | None = None
    degrees: int = 0
    sounds: int = 0
    subtitle: str = ""
    """Its codec."""
    attachment: bytes = b""
    cover: bool = False
    """Whether it has a picture for lists of films."""
    metadata: dict[str, str] = field(default_factory=dict)
    """Of the file, besides a title."""
    chapters: bool = False
    interlaced: bool = False
    cut: int | None = None
    """The frame that begins a second shot."""
    picture: Callable[[int], np.ndarray] | None = None
    """Gives the frames, uint8 (H, W, 3)."""


def pattern(number: int, shot: int = 0) -> np.ndarray:
    """Soft colours that move by a pixel from frame to frame."""
    coarse = np.random.default_rng(shot).uniform(60, 190, (12, 16, 3))
    large = cv2.resize(coarse, (WIDTH + 64, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.clip(large[:, number % 64 : number % 64 + WIDTH], 0, 255).astype(np.uint8)


def make(path: Path, clip: Clip) -> Path:
    """Write a clip."""
    # The clock in which the beginnings of streams are written.
    options = {"movie_timescale": "90000"} if path.suffix.lower() in (".mp4", ".mov") else {}
    if clip.metadata:
        options["movflags"] = "use_metadata_tags"
    with av.open(str(path), "w", container_options=options) as out:
        out.metadata.update({"title": "A clip", **clip.metadata})
        video = out.add_stream(clip.codec, rate=25, options=clip.options)
        first = clip.picture(0) if clip.picture else pattern(0)
        video.height, video.width = first.shape[:2]
        video.pix_fmt = clip.pixel_format
        context = video.codec_context
        context.time_base = clip.time_base
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = clip.tags
        if clip.aspect:
            context.sample_aspect_ratio = clip.aspect
        if clip.degrees:
            video.set_display_rotation(clip.degrees)
        sounds = [out.add_stream("aac", rate=48000) for _ in range(clip.sounds)]
        for number, sound in enumerate(sounds):
            sound.metadata["language"] = ("eng", "fra", "deu")[number]
            sound.disposition = av.stream.Disposition.default if number else av.stream.Disposition.comment
        words = None
        if clip.subtitle:
            words = _subtitle_stream(out, clip.subtitle)
        if clip.attachment:
            out.add_attachment("font.ttf", "font/ttf", clip.attachment)
        if clip.cover:
            _add_cover(out)
        if clip.chapters:
            base = Fraction(1, 1000)
            chapter = {"time_base": base, "metadata": {"title": "One"}, "id": 1, "start": 0, "end": 500}
            out.set_chapters([chapter, {**chapter, "id": 2, "start": 500, "end": 1000, "metadata": {"title": "Two"}}])
        _encode(out, video, sounds, words, clip)
    return path


def damage(path: Path, number: int, *, kept: int = 0) -> None:
    """Overwrite the packet of a clip's video with that number, in the order of the file, but for its first bytes."""
    with av.open(str(path)) as film:
        packets = [bytes(packet) for packet in film.demux(video=0) if packet.size]
    whole, packet = path.read_bytes(), packets[number]
    assert whole.count(packet) == 1
    assert len(packet) - kept > 8
    start = whole.index(packet) + kept
    stop = start + len(packet) - kept
    path.write_bytes(whole[:start] + b"\xff" * 8 + bytes(stop - start - 8) + whole[stop:])


def timestamps(clip: Clip) -> list[int]:
    """Of each frame."""
    steps = [clip.steps[i % len(clip.steps)] for i in range(clip.frames)]
    return [clip.start + sum(steps[:i]) for i in range(clip.frames)]


def _encode(out: Any, video: Any, sounds: list[Any], words: Any, clip: Clip) -> None:
    for number, timestamp in enumerate(timestamps(clip)):
        shot = int(clip.cut is not None and number >= clip.cut)
        picture = clip.picture(number) if clip.picture else pattern(number, shot)
        rgb = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), "rgb24")
        primaries, transfer, matrix, span = clip.tags
        frame = rgb.reformat(format=clip.pixel_format, dst_colorspace=1 if matrix == 1 else 5, dst_color_range=span)
        frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = primaries, transfer, matrix, span
        frame.pts, frame.time_base, frame.pict_type = timestamp, clip.time_base, 0
        out.mux(video.encode(frame))
    out.mux(video.encode(None))
    samples = np.random.default_rng(1).uniform(-0.3, 0.3, (2, 1024)).astype(np.float32)
    for seed, sound in enumerate(sounds):
        for number in range(50):
            frame = av.AudioFrame.from_ndarray(np.roll(samples, 7 * number + seed, axis=1), "fltp", "stereo")
            frame.sample_rate, frame.pts, frame.time_base = 48000, number * 1024, Fraction(1, 48000)
            out.mux(sound.encode(frame))
        out.mux(sound.encode(None))
    if words is not None:
        for number in range(3):
            _say(out, words, f"Line {number}", number, clip.subtitle)


def _add_cover(out: Any) -> None:
    cover = out.add_stream("mjpeg", rate=25)
    cover.height, cover.width, cover.pix_fmt = HEIGHT, WIDTH, "yuvj420p"
    cover.disposition = av.stream.Disposition.attached_pic
    frame = av.VideoFrame.from_ndarray(pattern(0, 9), "rgb24").reformat(format="yuvj420p")
    frame.pts = 0
    out.mux([*cover.encode(frame), *cover.encode(None)])


def _subtitle_stream(out: Any, codec: str) -> Any:
    stream = out.add_mux_stream(codec)
    stream.time_base = Fraction(1, 1000)
    stream.metadata["language"] = "eng"
    return stream


def _say(out: Any, stream: Any, text: str, number: int, codec: str) -> None:
    data = text.encode()
    packet = av.Packet(struct.pack(">H", len(data)) + data if codec == "mov_text" else data)
    packet.stream = stream
    packet.time_base = Fraction(1, 1000)
    packet.pts = packet.dts = 100 + 300 * number
    packet.duration = 200
    packet.is_keyframe = True
    out.mux(packet)


@dataclass(frozen=True)
class Seen:
    """What PyAV reads from a film."""

    packets: dict[int, list[tuple[Fraction | None, Fraction | None, bytes]]]
    """Of each stream that is not the video, by its position: when it is shown, how long, and the data."""
    times: list[Fraction]
    """Of the frames of the video."""
    planes: list[list[np.ndarray]]
    """Of the frames, as far as they were asked for."""
    about: dict[str, Any]
    """Metadata, streams, chapters and what the first frame says."""


def look(path: Path, *, planes: bool = False) -> Seen:
    """Read a film, without any of the code that is tested."""
    packets: dict[int, list[Any]] = {}
    times, pictures = [], []
    with av.open(str(path)) as film:
        for packet in film.demux():
            if packet.stream != film.streams.video[0] and packet.size:
                time, base = packet.pts, packet.time_base
                packets.setdefault(packet.stream_index, []).append(
                    (None if time is None else time * base, packet.duration and packet.duration * base, bytes(packet))
                )
    with av.open(str(path)) as film:
        video = film.streams.video[0]
        first = None
        for frame in film.decode(video):
            first = first or frame
            times.append(frame.pts * frame.time_base)
            if planes:
                pictures.append(_planes(frame))
        about = {
            "metadata": {k: v for k, v in film.metadata.items() if k in ("title", "artist") or k.startswith("com.")},
            "streams": [(s.type, s.name, s.metadata.get("language"), int(s.disposition)) for s in film.streams],
            "attachments": [(s.name, s.mimetype, s.data) for s in film.streams if s.type == "attachment"],
            "chapters": [
                (c["start"] * c["time_base"], c["end"] * c["time_base"], c["metadata"].get("title"))
                for c in film.chapters()
            ],
            "tags": (first.color_primaries, first.color_trc, first.colorspace, first.color_range),
            "side data": {
                d.type.name: bytes(d)
                for d in first.side_data
                if d.type.name in ("DISPLAYMATRIX", "MASTERING_DISPLAY_METADATA", "CONTENT_LIGHT_LEVEL")
            },
            "aspect": video.sample_aspect_ratio or Fraction(1),
            "pixels": first.format.name,
            "size": (first.width, first.height),
        }
    return Seen(packets, times, pictures, about)


def _planes(frame: Any) -> list[np.ndarray]:
    result = []
    for plane in frame.planes:
        kind = np.dtype(np.uint8 if frame.format.components[0].bits == 8 else np.uint16)
        rows = np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)
        result.append(rows[:, : plane.width].copy())
    return result

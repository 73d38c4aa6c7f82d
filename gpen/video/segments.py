"""Segments: the encoded film in parts, so that a run that was stopped goes on where it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..errors import OptionError
from .encoder import Encoding
from .ffmpeg import pyav, reason
from .pixels import Layout, planar
from .source import Film

_FORMATS = {"prores_ks": "mov"}
_FORMAT = "nut"
"""NUT keeps every time base; it takes all codecs that are used here but ProRes."""


class SegmentWriter:
    """Encodes consecutive frames of a film into a file of their own, which begins with a keyframe."""

    def __init__(self, path: Path, film: Film, encoding: Encoding) -> None:
        self._film = film
        self._encoding = encoding
        self._range = film.tags.range or (2 if film.layout.is_rgb else 1)
        form = _FORMATS.get(encoding.name, _FORMAT)
        self._file = pyav().open(
            str(path), "w", format=form, container_options={"avoid_negative_ts": "disabled"} if form == _FORMAT else {}
        )
        self._stream = add_encoder(self._file, film, encoding)
        self.timestamps: list[int] = []
        """Of the frames, in the order in which they lie in the file."""

    def add(self, frame: Any) -> None:
        """Encode a frame in the film's layout."""
        if self._encoding.pixel_format != frame.format.name:
            frame = self._converted(frame)
        frame.pict_type = 0  # the encoder decides; the source's choice is not repeated
        self._mux(frame)

    def close(self) -> None:
        """Finish the file."""
        self._mux(None)
        self._file.close()

    def discard(self) -> None:
        """Leave the file unfinished."""
        self._file.close()

    def _mux(self, frame: Any) -> None:
        for packet in self._stream.encode(frame):
            self.timestamps.append(packet.pts)
            self._file.mux_one(packet)

    def _converted(self, frame: Any) -> Any:
        tags = self._film.tags
        wider = frame.reformat(
            format=self._encoding.pixel_format, src_color_range=self._range, dst_color_range=self._range
        )
        wider.color_range, wider.colorspace = tags.range, tags.matrix
        wider.color_primaries, wider.color_trc = tags.primaries, tags.transfer
        return wider


def check_encoder(film: Film, encoding: Encoding) -> None:
    """OptionError where the encoder cannot be used here: for want of its graphics card, for instance."""
    av = pyav()
    context = av.CodecContext.create(encoding.name, "w")
    context.width, context.height, context.pix_fmt = film.width, film.height, encoding.pixel_format
    context.time_base, context.framerate = film.time_base, film.rate
    context.options = dict(encoding.options)
    try:
        context.open()
    except (av.FFmpegError, ValueError) as error:
        raise OptionError(
            f"The encoder {encoding.name} does not take this film here: {reason(error)}. Choose another codec, or "
            "other values for it."
        ) from error


def add_encoder(container: Any, film: Film, encoding: Encoding) -> Any:
    """Add a stream to an output of PyAV that encodes the film; ValueError where it takes no such codec."""
    stream = container.add_stream(encoding.name, rate=film.rate, options=dict(encoding.options))
    stream.width, stream.height, stream.pix_fmt = film.width, film.height, encoding.pixel_format
    stream.codec_context.time_base = film.time_base
    set_tags(stream.codec_context, film, Layout.of(planar(encoding.pixel_format)))
    return stream


def set_tags(context: Any, film: Film, layout: Layout) -> None:
    """Give a codec context the colours and the aspect ratio of the film."""
    tags = film.tags
    context.color_primaries, context.color_trc, context.color_range = tags.primaries, tags.transfer, tags.range
    context.colorspace = tags.matrix if not layout.is_rgb else 0
    if film.aspect is not None:
        context.sample_aspect_ratio = film.aspect

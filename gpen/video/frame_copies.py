"""Copies of decoded frames."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from .ffmpeg import pyav


class FrameCopies:
    """Makes copies of frames of one size and format, whose planes may be written to, with all that belongs to them."""

    def __init__(self, width: int, height: int, form: str, time_base: Fraction) -> None:
        av = pyav()
        self._graph = av.filter.Graph()
        self._source = self._graph.add_buffer(
            width=width, height=height, format=av.VideoFormat(form, width, height), time_base=time_base
        )
        copy, self._sink = self._graph.add("copy"), self._graph.add("buffersink")
        self._source.link_to(copy)
        copy.link_to(self._sink)
        self._graph.configure()

    def of(self, frame: Any) -> Any:
        """A copy of a frame."""
        self._source.push(frame)
        return self._sink.pull()

"""Frames as photos: what a detector sees of a film, and a single frame to show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import PhotoError
from ..images.picture import FloatImage
from .color import PQ, pq_to_photo
from .ffmpeg import pyav, reading, reason
from .source import Film, probe


def as_photo(film: Film) -> Callable[[Any], FloatImage]:
    """What makes photos of a film's frames: (H, W, 3), RGB, [0, 1], as shown, of eight bits.

    What becomes part of a result is read from the planes instead.
    """
    is_linear = film.tags.transfer != PQ
    shades: FloatImage = np.linspace(0, 1, 256, dtype=np.float32)
    if not is_linear:
        shades = pq_to_photo(shades)

    def photo(frame: Any) -> FloatImage:
        samples = film.orientation.shown(frame.to_ndarray(format="rgb24"))
        if is_linear:
            return np.asarray(np.multiply(samples, np.float32(1 / 255), dtype=np.float32), order="C")
        return np.asarray(shades[samples], order="C")

    return photo


def still(path: Path, seconds: float, max_megapixels: float) -> FloatImage:
    """The frame at a time after the first one, as :func:`as_photo`; the last one before it where none is so late.

    Decodes from the key frame before. max_megapixels: as for :func:`~gpen.video.source.probe`. PhotoError where it
    cannot be read.
    """
    film = probe(path, max_megapixels)
    with reading(path) as container:
        stream = container.streams[film.stream]
        # Half a frame earlier: containers round timestamps.
        wanted = film.start + round((seconds - 0.5 / float(film.rate)) / film.time_base)
        last = None
        try:
            container.seek(max(wanted, film.start), stream=stream)
            for frame in container.decode(stream):
                last = frame
                if frame.pts is not None and frame.pts >= wanted:
                    break
        except pyav().FFmpegError as error:
            raise PhotoError(f"{path} cannot be decoded at {seconds:.2f} s: {reason(error)}.") from error
        if last is None:
            raise PhotoError(f"{path} has no frame at {seconds:.2f} s.")
        return as_photo(film)(last)

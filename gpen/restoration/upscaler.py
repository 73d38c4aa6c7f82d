"""Backgrounds: the photo enlarged, tile by tile, by any image upscaler that spandrel reads."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..device import finite_output, is_out_of_memory, release
from ..errors import CheckpointError, GpenError, OutOfMemoryError
from ..images.picture import FloatImage, check_megapixels
from ..images.resize import resize
from ..images.tensors import check_picture
from ..options import Options
from ..weights.download import FileVersion, file_version
from ..weights.headers import Header, read_header
from ..weights.other_networks import is_upscaler
from ..weights.spandrel import Role, import_spandrel, kind_of, load_descriptor, refuse_code, repeatable
from ..weights.state_dict import is_gpen, locate, network_names
from ..wording import first_line

TILE = 384
"""Edge of a tile, in pixels of the photo; RealESRNet x4 in float32 then takes 1.8 GB."""

HALO = 32
"""Context around a tile, in pixels, which the network sees and which is then cropped away, so that no seam shows."""

SMALLEST_TILE = 128
"""Edge of the smallest tile that is tried when memory runs out, in pixels."""

OnTile = Callable[[int, int], bool | None]
"""Called with the number of tiles done and in all, before the first and after each; returning False stops."""

_ROLE = Role(
    "background model",
    "an upscaler",
    "A background model has to be an upscaler for whole colour pictures, such as RealESRNet_x4plus.pth or "
    "RealESRGAN_x2plus.pth.",
)
_log = logging.getLogger(__name__)


class Upscaler:
    """An image upscaler, ready to use. Made by :func:`load_upscaler`."""

    scale: int
    """How many times larger its output is than its input."""
    title: str
    """Its architecture, scale and file name."""
    path: Path
    """Its file."""
    descriptor: Any
    """spandrel's ImageModelDescriptor, which holds the network."""
    tile: int
    """Edge of a tile, in pixels of the photo; halved where memory runs out."""
    version: FileVersion | None
    """That of the file when it was loaded; None if it was made otherwise."""

    def __init__(self, descriptor: Any, path: Path, tile: int = TILE, version: FileVersion | None = None) -> None:
        self.scale = descriptor.scale
        self.title = f"{descriptor.architecture.name} x{self.scale} ({path.name})"
        self.path = path
        self.descriptor = descriptor
        self.tile = tile
        self.version = version

    @property
    def device(self) -> torch.device:
        """The device of its network."""
        device: torch.device = self.descriptor.device
        return device

    def factor(self, options: Options) -> float:
        """How many times larger the background is than the photo: option "upscale" if above 1, else ``scale``."""
        return options.upscale if options.upscale > 1 else self.scale

    def background(self, photo: FloatImage, options: Options, on_tile: OnTile | None = None) -> FloatImage:
        """Enlarge a photo (H, W, 3) by :meth:`factor`, for :func:`gpen.restore` to paste faces into.

        Raises PhotoError, before any work is done, if the upscaler's output or the result would exceed option
        "max_megapixels"; otherwise as a call does.
        """
        height, width = photo.shape[:2]
        factor = self.factor(options)
        megapixels = height * width * max(factor, self.scale) ** 2 / 1e6
        check_megapixels(
            megapixels,
            options.max_megapixels,
            f"{self.title} would make a picture of",
            "Choose another background model, or a larger limit.",
        )
        return resize(self(photo, on_tile), (round(width * factor), round(height * factor)))

    def __call__(self, photo: FloatImage, on_tile: OnTile | None = None) -> FloatImage:
        """Enlarge a photo, float32 (H, W, 3), RGB, [0, 1]; returns a new array (H * scale, W * scale, 3).

        Besides the result, it takes memory for one tile, however large the photo is. If that runs out, smaller tiles
        are tried, and used from then on.

        Raises PhotoError for an invalid photo, OutOfMemoryError if the smallest tiles do not fit, and GpenError if
        the output is NaN or Inf or on_tile stopped it. Exceptions raised by on_tile propagate.
        """
        check_picture(photo, "photo")
        result = np.empty((photo.shape[0] * self.scale, photo.shape[1] * self.scale, 3), np.float32)
        while not self._fill(result, photo, on_tile):
            release(self.device)
            if self.tile <= SMALLEST_TILE:
                raise OutOfMemoryError(
                    f"{self.title} needs more memory than is free on {self.device}, even for tiles of {self.tile} x "
                    f"{self.tile} pixels. Close other programs that use it, or choose a smaller background model."
                )
            self.tile = max(SMALLEST_TILE, self.tile // 2)
            _log.info("%s continues in tiles of %d x %d pixels.", self.title, self.tile, self.tile)
        return result

    def _fill(self, result: FloatImage, photo: FloatImage, on_tile: OnTile | None) -> bool:
        """Write the enlarged photo into ``result``; returns False if memory ran out."""
        size = self.descriptor.size_requirements
        unit = math.lcm(HALO, size.multiple_of)
        rows, columns = (list(spans(n, self.tile, unit, size.minimum)) for n in photo.shape[:2])
        total = len(rows) * len(columns)
        for done, ((top, y0, y1, bottom), (left, x0, x1, right)) in enumerate(
            (row, column) for row in rows for column in columns
        ):
            if on_tile is not None and on_tile(done, total) is False:
                raise GpenError(f"{self.title} was stopped after {done} of {total} tiles.")
            try:
                seen = self._enlarged(photo[top:bottom, left:right])
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                _log.info("Out of memory in a tile of %d x %d: %s", right - left, bottom - top, first_line(error))
                return False
            scale = self.scale
            result[y0 * scale : y1 * scale, x0 * scale : x1 * scale] = seen[
                (y0 - top) * scale : (y1 - top) * scale, (x0 - left) * scale : (x1 - left) * scale
            ]
        if on_tile is not None:
            on_tile(total, total)
        return True

    def _enlarged(self, tile: FloatImage) -> FloatImage:
        pixels = torch.from_numpy(np.ascontiguousarray(tile.transpose(2, 0, 1)))[None]

        def run() -> Tensor:
            with repeatable(self.device):
                out: Tensor = self.descriptor(pixels.to(self.device, self.descriptor.dtype))
                return out[0].float()

        out = finite_output(run, self.descriptor.model, self.title)
        enlarged: FloatImage = out.permute(1, 2, 0).cpu().numpy()
        return enlarged

    def __repr__(self) -> str:
        return f"<Upscaler {self.title}, {self.descriptor.dtype}, {self.device}>"


def load_upscaler(path: Path | str, device: torch.device | str = "cpu", precision: str = "auto") -> Upscaler:
    """Load an image upscaler of any architecture that spandrel knows from a .pth or .safetensors file.

    device: as PyTorch names it, or "auto". precision: as the option of that name; float32 on a CPU, and for networks
    that support no other dtype.

    Raises CheckpointError if the file is not an upscaler for colour pictures, is damaged or unsafe; GpenError if
    spandrel is missing or broken or the device cannot be used; OutOfMemoryError if the device has too little memory.
    """
    path = Path(path)
    version = file_version(path)
    header = _upscaler_header(path)

    def check(descriptor: Any) -> None:
        what = kind_of(header, descriptor)
        if descriptor.purpose == "FaceSR":
            raise CheckpointError(f"{what}, which restores faces. {_ROLE.wanted}")
        channels = descriptor.input_channels, descriptor.output_channels
        if channels != (3, 3):
            found = f"{what} with {channels[0]} channels in and {channels[1]} out instead of 3"
            raise CheckpointError(f"{found}. {_ROLE.wanted}")

    return Upscaler(load_descriptor(header, _ROLE, check, str(device), precision), header.path, version=version)


def check_upscaler(path: Path) -> None:
    """Raise the errors of :func:`load_upscaler` that show before any tensor is read."""
    refuse_code(_upscaler_header(path))
    import_spandrel(_ROLE)


def looks_like_upscaler(path: Path) -> bool:
    """Whether a file is an upscaler by the names of its tensors; False where it cannot be read.

    The answer is kept for as long as the file does not change.
    """
    try:
        stat = path.stat()
    except OSError:
        return False
    return _looks_like_upscaler(path, stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=1024)
def _looks_like_upscaler(path: Path, _changed: int, _size: int) -> bool:
    try:
        header = read_header(path)
    except CheckpointError:
        return False
    return not header.code and not is_gpen(header) and is_upscaler(network_names(header))


def _upscaler_header(path: Path) -> Header:
    header = read_header(path)
    if not header.code and is_gpen(header):
        title = locate(header).spec.title
        raise CheckpointError(f"{header.path.name} is a {title} network, which restores faces. {_ROLE.wanted}")
    return header


def spans(length: int, tile: int, unit: int, minimum: int = 0) -> Iterator[tuple[int, int, int, int]]:
    """Divide ``length`` pixels into spans: (first seen, first kept, end of kept, end of seen), ends exclusive.

    The kept parts cover the length once. Spans begin at multiples of ``unit``, since networks that work in blocks
    would otherwise see different blocks, and are at least ``minimum`` pixels long if the length allows.
    """
    if length <= max(tile, minimum):
        yield 0, 0, length, length
        return
    most = max(unit, (tile - 2 * HALO) // unit * unit)
    step = math.ceil(length / math.ceil(length / most) / unit) * unit
    for begin in range(0, length, step):
        end = min(begin + step, length)
        first = max(0, min(begin - HALO, length - minimum)) // unit * unit
        yield first, begin, end, min(length, max(end + HALO, first + minimum))

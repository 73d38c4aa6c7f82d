"""JPEG 2000, as a JP2 file or a bare codestream: decoding with imagecodecs.

Source: ISO/IEC 15444-1, annexes A (codestream) and I (JP2); boxes of XMP, EXIF and IPTC are Adobe's and ExifTool's.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..decoded import Decoded, whole_range
from ..extras import JPEG_2000, module_for
from ..metadata.metadata import C2PA, LARGEST, Metadata
from ..picture import Samples
from ..sniff import unsupported
from . import pillow
from .boxes import Box, Reader, boxes, unknown
from .tiff import straight

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_IPTC = bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
_EXIF = b"JpgTiffExif->JP2"
_KNOWN = {b"jP  ", b"ftyp", b"jp2h", b"jp2c", b"rreq", b"jp2i"}
_SYCC = 18
_COLOURS = {12: "CMYK", 14: "Lab", 24: "e-sYCC"}
_PLAIN = "Save it with 8 or 16 bits per channel, as grey or RGB, with an image editor and use that file."
_STRAIGHT, _PREMULTIPLIED = 1, 2
_METRE = 0.0254


@dataclass
class _Palette:
    bits: int
    """Of its colours."""
    colours: Samples
    """uint8 or uint16 (entries, columns)."""
    columns: Sequence[int] = ()
    """The column of each channel; empty for all of them in order."""

    def colours_of(self, indices: Samples) -> Samples:
        """The colours of indices (H, W, 1)."""
        colours = self.colours[:, self.columns] if self.columns else self.colours
        return np.asarray(colours[np.minimum(indices[..., 0], len(colours) - 1)])


@dataclass
class _Found:
    """What a file says besides its codestream."""

    codestream: int = 0
    """Where it begins."""
    end: int | None = None
    """Where it ends; None for the end of the file."""
    colours: int | None = None
    icc: bytes | None = None
    palette: _Palette | None = None
    alpha: int | None = None
    """What the last channel is, if that is stated."""
    dpi: tuple[float, float] | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    notices: list[str] = field(default_factory=list)


def read_jpeg2000(data: bytes, path: Path, check: Callable[[int, int], None]) -> Decoded:
    """Read a file with all of its bits.

    check: called with width and height before the pixels are allocated. Raises PhotoError for unsupported pixels and
    where imagecodecs is missing, any other exception for a damaged file.
    """
    imagecodecs = module_for(JPEG_2000, path)
    found = _Found() if data[:2] == b"\xff\x4f" else _parsed(data)
    size, bits, channels = _codestream(data, found.codestream, path)
    check(*size)
    space = pillow.profile_space(found.icc)
    if found.colours in _COLOURS or space not in (b"", b"RGB", b"GRAY"):
        name = _COLOURS.get(found.colours or 0) or space.decode("latin-1")
        raise unsupported(path, f"holds {name} colours", _PLAIN)
    if channels > 4:
        raise unsupported(path, f"has {channels} channels", _PLAIN)
    # The codestream alone: the decoder would convert colours by itself, to 8 bits.
    samples: Samples = np.asarray(imagecodecs.jpeg2k_decode(data[found.codestream : found.end], numthreads=1))
    samples = samples.reshape(*samples.shape[:2], -1)
    if found.palette is not None:
        samples = found.palette.colours_of(samples)
        bits = found.palette.bits
    samples = whole_range(samples, bits)
    if found.colours == _SYCC and samples.shape[2] >= 3:
        samples = _from_sycc(samples)
    if samples.shape[2] in (2, 4):
        if found.alpha not in (None, _STRAIGHT, _PREMULTIPLIED):
            samples = samples[..., :-1]
            found.notices.append("Its last channel, of which it is not said what it is, is left out.")
        elif found.alpha == _PREMULTIPLIED:
            samples = straight(samples.copy())
    metadata = Metadata(xmp=found.xmp, iptc=found.iptc, notices=tuple(dict.fromkeys(found.notices)))
    return Decoded(
        samples,
        icc=found.icc,
        colors_by_exif=found.colours is None,
        exif=found.exif,
        dpi=found.dpi,
        metadata=metadata,
    )


def _codestream(data: bytes, start: int, path: Path) -> tuple[tuple[int, int], int, int]:
    """Width and height, bits and number of channels that the marker SIZ states."""
    reader = Reader(data, start)
    if reader.take(4) != b"\xff\x4f\xff\x51":
        raise ValueError("its codestream is missing")
    reader.number(4)
    right, bottom, left, top = (reader.number(4) for _ in range(4))
    reader.take(16)
    count = reader.number(2)
    channels = {tuple(reader.take(3)) for _ in range(min(count, 5))}
    if len(channels) != 1:
        raise unsupported(path, "has channels of different sizes or depths", _PLAIN)
    depth, *steps = channels.pop()
    if depth & 0x80 or (depth & 0x7F) >= 16:
        raise unsupported(
            path, f"holds {'signed ' if depth & 0x80 else ''}numbers of {(depth & 0x7F) + 1} bits", _PLAIN
        )
    if steps != [1, 1]:
        raise unsupported(path, "has fewer samples than pixels", _PLAIN)
    return (right - left, bottom - top), (depth & 0x7F) + 1, count


def _parsed(data: bytes) -> _Found:
    found, others = _Found(), list[bytes]()
    for box in boxes(data):
        if box.kind == b"jp2c":
            found.codestream, found.end = box.start, box.stop
        elif box.kind == b"jp2h":
            _read_header(data, box.start, box.stop, found)
        elif box.kind == b"jumb":
            found.notices.append(C2PA)
        elif box.kind == b"uuid" and box.stop - box.start > LARGEST:
            found.notices.append("Information in it that is too long is left out.")
        elif box.kind not in _KNOWN and not (box.kind == b"uuid" and _read_uuid(data, box, found)):
            others.append(box.kind)
    if not found.codestream:
        raise ValueError("its codestream is missing")
    if others:
        found.notices.append(unknown(others))
    return found


def _read_uuid(data: bytes, box: Box, found: _Found) -> bool:
    """Whether it is known what the box holds."""
    which, body = data[box.start : box.start + 16], data[box.start + 16 : box.stop]
    if which == _XMP:
        found.xmp = found.xmp or body
    elif which == _EXIF:
        found.exif = found.exif or body
    elif which == _IPTC:
        found.iptc = found.iptc or body
    return which in (_XMP, _EXIF, _IPTC)


def _read_header(data: bytes, start: int, stop: int, found: _Found) -> None:
    for box in boxes(data, start, stop):
        reader = Reader(data, box.start, box.stop)
        if box.kind == b"colr" and found.colours is None and found.icc is None:
            method = reader.number(3) >> 16
            if method == 1:
                found.colours = reader.number(4)
            elif method in (2, 3):
                found.icc = reader.take(box.stop - reader.at)
        elif box.kind == b"pclr":
            found.palette = _palette(reader)
        elif box.kind == b"cmap" and found.palette is not None:
            mapped = [reader.take(4) for _ in range((box.stop - box.start) // 4)]
            found.palette.columns = [column for *_, column in mapped if column < found.palette.colours.shape[1]]
        elif box.kind == b"cdef":
            kinds = [struct.unpack(">HHH", reader.take(6))[:2] for _ in range(reader.number(2))]
            last = max(kinds, default=(0, 0))
            found.alpha = last[1] if last[1] else found.alpha
        elif box.kind == b"res ":
            found.dpi = _resolution(data, box.start, box.stop)


def _palette(reader: Reader) -> _Palette:
    entries, columns = reader.number(2), reader.number(1)
    bits = {(depth & 0x7F) + 1 for depth in reader.take(columns)}
    if len(bits) != 1 or max(bits) > 16:
        raise ValueError("its palette has colours of different depths")
    width = 1 if max(bits) <= 8 else 2
    colours = np.frombuffer(reader.take(entries * columns * width), f">u{width}").reshape(entries, columns)
    return _Palette(max(bits), colours.astype(np.uint8 if width == 1 else np.uint16))


def _resolution(data: bytes, start: int, stop: int) -> tuple[float, float] | None:
    """Of the display if that is stated, else of the capture."""
    found = {box.kind: struct.unpack_from(">HHHHbb", data, box.start) for box in boxes(data, start, stop)}
    numbers = found.get(b"resd") or found.get(b"resc")
    if numbers is None or not numbers[1] or not numbers[3]:
        return None
    y, y_part, x, x_part, y_power, x_power = numbers
    return x / x_part * 10.0**x_power * _METRE, y / y_part * 10.0**y_power * _METRE


def _from_sycc(samples: Samples) -> Samples:
    """From sYCC to sRGB. Source: IEC 61966-2-1, annex G."""
    top = float(np.iinfo(samples.dtype).max)
    half = (top + 1) / 2
    luma, blue, red = (samples[..., channel].astype(np.float32) for channel in range(3))
    blue, red = blue - half, red - half
    colours = np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], axis=-1)
    whole = np.clip(np.rint(colours), 0, top).astype(samples.dtype)
    return np.concatenate([whole, samples[..., 3:]], axis=2)

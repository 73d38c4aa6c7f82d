"""JPEG XL: decoding with imagecodecs, and with pylibjxl the ICC profile, which imagecodecs does not return.

Source of the container: ISO/IEC 18181-2.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ..color.coded import made_profile, warn_of_hdr
from ..color.icc_made import SRGB_CHROMATICITIES
from ..decoded import Decoded, whole_range
from ..extras import JPEG_XL, JPEG_XL_PROFILE, module_for
from ..metadata.metadata import C2PA, GAIN_MAP, LARGEST, Metadata
from ..picture import Samples
from ..sniff import SizeCheck, unsupported
from .boxes import Box, boxes, unknown
from .jpegxl_header import JpegXlHeader, read_header

_HEADER = 1 << 12  # bytes of a codestream that its header may take
_PLAIN = "Save it as PNG with 8 or 16 bits per channel with an image editor and use that file."
_WITH_LOSS = "Convert it to PNG, such as with `djxl photo.jxl photo.png`, and use that file."
_ALPHA, _BLACK = 0, 4
_PICTURE = {b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp", b"jxli", b"jbrd"}


def jpeg_inside(data: bytes, path: Path, check: Callable[[int, int], None]) -> bytes | None:
    """The JPEG file that a JPEG XL file was made of and holds whole; None if it was not made of one.

    check: called with the width and height that it states. Raises PhotoError where imagecodecs is missing, any other
    exception for a damaged file.
    """
    if data[:2] == b"\xff\x0a" or not any(box.kind == b"jbrd" for box in boxes(data)):
        return None
    imagecodecs = module_for(JPEG_XL, path)
    check(*read_header(_codestream(data)).size)
    return bytes(imagecodecs.jpegxl_decode_jpeg(data, numthreads=1))


def read_jpegxl(data: bytes, path: Path, check: SizeCheck) -> Decoded:
    """Read a file with all of its bits.

    check: called with width and height before the pixels are allocated. Raises PhotoError for unsupported pixels and
    where imagecodecs is missing, any other exception for a damaged file.
    """
    imagecodecs = module_for(JPEG_XL, path)
    about = read_header(_codestream(data))
    check(*about.size)
    _check(about, path)
    check(*about.size, ((1 if about.grey else 3) + len(about.extra)) * (1 if about.bits <= 8 else 2))
    # The decoder turns the picture upright.
    samples: Samples = np.asarray(imagecodecs.jpegxl_decode(data, numthreads=1))
    samples = samples.reshape(*samples.shape[:2], -1)
    colours = 1 if about.grey else 3
    samples = whole_range(samples[..., : colours + (_ALPHA in about.extra)], about.bits)
    warn_of_hdr(about.transfer, path)
    exif, metadata = (None, Metadata()) if data[:2] == b"\xff\x0a" else _described(data, imagecodecs)
    icc = None
    if about.has_icc:
        icc = _profile(data, path)
    elif about.curve is not None and (about.grey or about.primaries is not None):
        icc = made_profile(about.primaries or SRGB_CHROMATICITIES, about.curve, grey=about.grey)
    return Decoded(
        samples, about.orientation, is_upright=True, icc=icc, colors_by_exif=False, exif=exif, metadata=metadata
    )


def _check(about: JpegXlHeader, path: Path) -> None:
    if about.is_animated:
        raise unsupported(path, "is animated", "Save its frames as single files and use those.")
    if about.is_float:
        raise unsupported(path, f"holds floating-point numbers with {about.bits} bits", _PLAIN)
    if about.bits > 16:
        raise unsupported(path, f"has {about.bits} bits per channel", _PLAIN)
    if _BLACK in about.extra:
        raise unsupported(path, "holds CMYK colours", _PLAIN)
    if about.has_icc and about.is_xyb:
        # libjxl without a colour management module returns linear sRGB with 8 bits, and clips what lies outside.
        raise unsupported(
            path, "is compressed with loss and has an ICC profile, which its decoder cannot apply", _WITH_LOSS
        )
    if about.premultiplied:
        raise unsupported(path, "holds colours that are multiplied with its transparency", _PLAIN)


def _profile(data: bytes, path: Path) -> bytes:
    """The ICC profile of a file that holds one. Raises PhotoError where pylibjxl is missing."""
    _, described = module_for(JPEG_XL_PROFILE, path).decode(data, metadata=True)
    return bytes(described["icc"])


def _codestream(data: bytes) -> bytes:
    """The beginning of the codestream, which may lie in several boxes."""
    if data[:2] == b"\xff\x0a":
        return data[:_HEADER]
    found = b""
    for box in boxes(data):
        if box.kind in (b"jxlc", b"jxlp") and len(found) < _HEADER:
            start = box.start + (4 if box.kind == b"jxlp" else 0)
            found += data[start : min(box.stop, start + _HEADER)]
    return found


def _described(data: bytes, imagecodecs: Any) -> tuple[bytes | None, Metadata]:
    """The EXIF block and XMP packet in the container, and notices of what is left out."""
    exif = packet = None
    notices, others = list[str](), list[bytes]()
    for box in boxes(data):
        kind, body = _unpacked(data, box, imagecodecs)
        if body is None:
            notices.append("Information in it that is damaged or too long is left out.")
        elif kind == b"Exif":
            exif = exif or body[4 + int.from_bytes(body[:4], "big") :]
        elif kind == b"xml ":
            packet = packet or body
        elif kind == b"jumb":
            notices.append(C2PA)
        elif kind == b"jhgm":
            notices.append(GAIN_MAP)
        elif kind not in _PICTURE:
            others.append(kind)
    if others:
        notices.append(unknown(others))
    return exif or None, Metadata(xmp=packet or None, notices=tuple(dict.fromkeys(notices)))


def _unpacked(data: bytes, box: Box, imagecodecs: Any) -> tuple[bytes, bytes | None]:
    """The kind and the contents of a box, which may be compressed; None if they are damaged or too long."""
    if box.kind in _PICTURE:
        return box.kind, b""
    if box.stop - box.start > LARGEST:
        return box.kind, None
    if box.kind != b"brob":
        return box.kind, data[box.start : box.stop]
    kind = data[box.start : box.start + 4]
    if kind not in (b"Exif", b"xml "):
        return kind, b""
    try:
        return kind, bytes(imagecodecs.brotli_decode(data[box.start + 4 : box.stop], out=LARGEST))
    except Exception:  # damaged, or longer than is allowed
        return kind, None

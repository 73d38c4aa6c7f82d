"""Cameras' raw files: developed with rawpy (LibRaw) in its default way."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..decoded import Decoded
from ..extras import RAW, module_for
from ..metadata.exif import exif_from_tiff
from ..metadata.metadata import LARGEST, Metadata
from ..picture import Samples
from ..sniff import damaged, unsupported

_DEVELOPED = "Its raw data are left out: it was developed with the camera's white balance and default settings."
_SRGB_GAMMA = (2.4, 12.92)  # exponent and slope in shadows; the package's own are those of BT.709
_TIFF_LIKE = {b"II*\0": b"II*\0", b"MM\0*": b"MM\0*", b"IIRO": b"II*\0", b"IIRS": b"II*\0", b"IIU\0": b"II*\0"}
_TIFF_LIKE |= {b"MMOR": b"MM\0*"}
_FLIPS = {0: 1, 3: 3, 5: 8, 6: 6}  # LibRaw's turns as EXIF numbers them
_MAKER_NOTES, _XMP = 37500, 700
_DEVELOP_SETTINGS = b"http://ns.adobe.com/camera-raw-settings/1.0/"
_RAF_PREVIEW = 84  # where a RAF file has the offset and length of its JPEG picture


def read_raw(data: bytes, path: Path, check: Callable[[int, int], None]) -> Decoded:
    """Develop a file to 16 bits in sRGB, with the camera's white balance.

    check: called with width and height before the pixels are allocated. Raises PhotoError where rawpy is missing, and
    for a file that it cannot read.
    """
    rawpy = module_for(RAW, path)
    try:
        with rawpy.RawPy() as raw:
            raw.open_buffer(io.BytesIO(data))
            sizes = raw.sizes
            check(sizes.width, sizes.height)
            raw.unpack()
            samples: Samples = raw.postprocess(
                use_camera_wb=True, output_color=rawpy.ColorSpace.sRGB, output_bps=16, gamma=_SRGB_GAMMA
            )
            turned = _FLIPS.get(sizes.flip, 1)
    except rawpy.LibRawFileUnsupportedError:
        what = "is a camera's raw file that LibRaw does not know, or a damaged one"
        raise unsupported(path, what, "Develop it with another raw converter and use the result.") from None
    except rawpy.LibRawUnsufficientMemoryError as error:
        raise MemoryError from error
    except rawpy.LibRawError as error:
        why = error.args[0] if error.args else type(error).__name__
        words = why.decode("utf-8", "replace") if isinstance(why, bytes) else str(why)
        raise damaged(path, f"LibRaw says “{words.rstrip('.')}”") from error
    exif, metadata = described(data)
    return Decoded(
        np.ascontiguousarray(samples), turned, is_upright=True, exif=exif, colors_by_exif=False, metadata=metadata
    )


def described(data: bytes) -> tuple[bytes | None, Metadata]:
    """The EXIF block of a file, its XMP packet, and notices of what is left out."""
    notices = [_DEVELOPED]
    if data[:4] in _TIFF_LIKE:
        like_tiff = _TIFF_LIKE[data[:4]] + data[4:]
        # Maker notes have offsets into the old file.
        exif = exif_from_tiff(like_tiff, leave_out=(_MAKER_NOTES,))
        packet = _packet(like_tiff)
    elif data.startswith(b"FUJIFILM"):
        exif, packet = _of_preview(data)
    else:
        exif, packet = None, None
    if exif is None:
        notices.append("Its EXIF data are left out: they cannot be read in a raw file of this kind.")
    if packet and _DEVELOP_SETTINGS in packet:
        packet = None
        notices.append("Its XMP is left out: it tells a raw converter how to develop the photo.")
    return exif, Metadata(xmp=packet or None, notices=tuple(notices))


def _packet(data: bytes) -> bytes | None:
    from tifffile import TiffFile

    try:
        with TiffFile(io.BytesIO(data)) as file:
            packet = file.pages[0].tags.valueof(_XMP)
    except Exception:  # damaged tags, of which the pixels do not depend
        return None
    return packet if isinstance(packet, bytes) and len(packet) <= LARGEST else None


def _of_preview(data: bytes) -> tuple[bytes | None, bytes | None]:
    """The EXIF block and XMP packet of the JPEG picture in a RAF file."""
    from PIL import Image

    start, size = struct.unpack_from(">II", data, _RAF_PREVIEW)
    try:
        with Image.open(io.BytesIO(data[start : start + size]), formats=("JPEG",)) as image:
            return image.info.get("exif"), image.info.get("xmp")
    except OSError:
        return None, None

"""JPEG with 12 bits per channel, as scanners and medical devices write it: decoding with imagecodecs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..decoded import Decoded, whole_range
from ..extras import JPEG_12, module_for
from ..metadata import xmp
from ..metadata.exif import clean_exif
from ..metadata.jpeg import read_jpeg_notes
from ..picture import Samples
from ..sniff import unsupported
from . import jpeg, pillow


def read_jpeg12(data: bytes, path: Path, check: Callable[[int, int], None]) -> Decoded:
    """Read a file with all of its bits, as 16.

    check: called with width and height before the pixels are allocated. Raises PhotoError for CMYK, and where
    imagecodecs is missing; any other exception for a damaged file.
    """
    imagecodecs = module_for(JPEG_12, path)
    notes = read_jpeg_notes(data)
    # Pillow reads the header if it seems to be one of 8 bits.
    seeming, place = bytearray(notes.picture), jpeg.place_of_12_bits(notes.picture)
    assert place is not None
    seeming[place] = 8
    with pillow.open_image(bytes(seeming), "JPEG") as image:
        check(image.width, image.height)
        if image.mode not in ("L", "RGB"):
            raise unsupported(path, f"holds {image.mode} colours with 12 bits")
        info, dpi = image.info, image.info.get("dpi") if pillow.states_dpi(image) else None
    if not any(marker == jpeg.END for marker, _ in jpeg.segments(data)):
        raise ValueError("pixels are missing at its end")
    samples: Samples = np.asarray(imagecodecs.jpeg8_decode(notes.picture))
    samples = whole_range(samples.reshape(*samples.shape[:2], -1), 12)
    exif = info.get("exif")
    _, orientation = clean_exif(exif, xmp.orientation(notes.metadata.xmp))
    return Decoded(samples, orientation, icc=info.get("icc_profile"), exif=exif, dpi=dpi, metadata=notes.metadata)

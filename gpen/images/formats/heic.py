"""HEIC pictures, and AVIF: decoding with pi-heif, imagecodecs and Pillow."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ..decoded import Decoded, whole_range
from ..extras import AVIF, EXTRA_KINDS, HEIC, module_for
from ..metadata.metadata import Metadata, without
from ..picture import Samples
from ..sniff import unsupported
from . import pillow
from .heif import HeifPicture, read_heif, without_descriptions
from .tiff import straight


def read_heic(data: bytes, path: Path, check: Callable[[int, int], None]) -> Decoded:
    """Read the main picture of an HEIC file, with all of its bits.

    check: called with width and height before the pixels are allocated. Raises PhotoError for unsupported pixels and
    where pi-heif is missing, any other exception for a damaged file.
    """
    pi_heif = module_for(HEIC, path)
    about = read_heif(data, path, check)
    if about.codec == b"av01":  # behind a brand that does not tell
        return _avif(data, path, about)
    if about.codec not in (b"hvc1", b"hev1"):
        raise unsupported(path, f"holds a picture coded as {about.codec.decode('latin-1').strip()}")
    # pi-heif would stretch 10 bits to 16 by a shift, which makes white grey.
    file = pi_heif.open_heif(without_descriptions(data), convert_hdr_to_8bit=False, hdr_to_16bit=False)
    image = file[file.primary_index]
    samples: Samples = np.array(image)  # a copy: the memory is gone when the image is
    samples = whole_range(samples.reshape(*samples.shape[:2], -1), about.bits)
    if image.premultiplied_alpha:
        samples = straight(samples)
    return _decoded(samples, about, about.metadata, is_upright=True)


def read_avif(data: bytes, path: Path, check: Callable[[int, int], None]) -> Decoded:
    """Read the main picture of an AVIF file; with all of its bits if imagecodecs is there, else with 8.

    See :func:`read_heic`.
    """
    return _avif(data, path, read_heif(data, path, check))


def _decoded(samples: Samples, about: HeifPicture, metadata: Metadata, *, is_upright: bool) -> Decoded:
    if about.grey and samples.shape[2] > 2:
        samples = samples[..., [0, 3] if samples.shape[2] == 4 else [0]]
    return Decoded(
        samples,
        about.orientation,
        is_upright=is_upright,
        icc=about.icc,
        exif=about.exif,
        metadata=metadata,
    )


def _avif(data: bytes, path: Path, about: HeifPicture) -> Decoded:
    metadata, bits = about.metadata, about.bits
    if importlib.util.find_spec("imagecodecs") is None and EXTRA_KINDS[AVIF].is_readable:
        with pillow.open_image(data, "AVIF") as image:
            samples, _ = pillow.decode(image, data, path)
        if about.bits > 8:
            notice = f"Its {about.bits} bits per channel are read as 8; {EXTRA_KINDS[AVIF].how} to keep them."
            metadata, bits = without(metadata, notice), 8
    else:
        samples = np.asarray(module_for(AVIF, path).avif_decode(data, numthreads=1))
        samples = samples.reshape(*samples.shape[:2], -1)
    if about.crop is not None:
        left, top, width, height = about.crop
        samples = samples[top : top + height, left : left + width]
    return _decoded(whole_range(samples, bits), about, metadata, is_upright=False)

"""Picture files to begin with: small ones in every format that is read."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image, ImageCms

from tests.images import made_formats
from tests.images.made import made, tiff

XMP = made_formats.XMP
EXIF = made_formats.exif(6)


def _pillow(kind: str, mode: str = "RGB", **more: Any) -> bytes:
    packed = io.BytesIO()
    channels = len(mode) if mode in ("RGB", "RGBA", "CMYK") else 1
    samples = made(24, 32, channels)
    image = Image.fromarray(samples[..., 0] if channels == 1 else samples, None if mode == "P" else mode)
    (image.convert(mode) if image.mode != mode else image).save(packed, kind, **more)
    return packed.getvalue()


@lru_cache(maxsize=1)
def pictures() -> list[bytes]:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    described = {"exif": EXIF, "icc_profile": profile}
    sixteen = made(24, 32, 3, 16)
    files = [
        _pillow("PNG", **described),
        _pillow("PNG", "RGBA"),
        _pillow("PNG", "P"),
        _pillow("JPEG", **described, xmp=XMP, comment=b"a comment"),
        _pillow("JPEG", progressive=True),
        _pillow("JPEG", "CMYK"),
        _pillow("WEBP", **described, xmp=XMP),
        _pillow("WEBP", lossless=True),
        _pillow("BMP"),
        _pillow("GIF", "P"),
        _pillow("TIFF", **described),
        *(
            tiff(sixteen, compression=packing, predictor=predictor)
            for packing, predictor in ((None, None), ("zlib", 2))
        ),
        tiff(made(24, 32, 4), compression="lzma", planar=True, tile=(16, 16)),
        tiff(made(24, 32, 3), compression="zlib", bigtiff=True, rowsperstrip=5),
        made_formats.heic(made(24, 32, 3)),
        made_formats.avif(made(24, 32, 3)),
        made_formats.jp2(sixteen, 16),
        made_formats.jxl(made(24, 32, 3)),
        made_formats.jpeg12(np.asarray(made(24, 32, 3, 16) >> 4)),
        made_formats.dng(made_formats.scene()),
    ]
    return [bytes(file) for file in files]

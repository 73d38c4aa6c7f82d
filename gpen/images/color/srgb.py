"""Pictures as their files hold them, into sRGB."""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np

from ..picture import Picture, to_samples
from .icc import color_conversion, why_unused

_log = logging.getLogger(__name__)


def in_srgb(picture: Picture, path: Path) -> Picture:
    """A picture as its file holds it, with its photo converted from its profile to sRGB, clipped to [0, 1].

    A profile that cannot be used stays with the picture, and the log says why. path: names the picture there.
    """
    conversion = color_conversion(picture.icc)
    if conversion is None:
        if why := why_unused(picture.icc):
            _log.warning(
                "The colour profile of %s %s, so its colours are taken for sRGB; it is kept as it is. Convert the "
                "photo to sRGB with an image editor if its faces come out in wrong colours.",
                path,
                why,
            )
        return picture
    bare = dataclasses.replace(picture, icc=None, alpha=None)
    stored = to_samples(bare, bits=picture.bits, grey=picture.grey, alpha=False)
    photo = conversion.to_srgb(stored)
    return dataclasses.replace(picture, photo=np.clip(photo, 0, 1, out=photo), stored=stored)

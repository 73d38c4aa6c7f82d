"""Results of photos whose profile is not sRGB's: what sRGB does not hold of the photo's colours is given back."""

from __future__ import annotations

import dataclasses

import numpy as np

from ..formats.pillow import profile_space
from ..picture import FloatImage, Picture
from ..resize import resize
from .icc import color_conversion, why_unused
from .icc_made import srgb_profile


def with_wide_colors(picture: Picture, result: FloatImage, mask: FloatImage, *, new_background: bool) -> FloatImage:
    """The result of a task on ``picture``, with the colours of the photo that sRGB does not hold.

    result: (H, W, 3), maybe larger than the photo. mask: (H, W), [0, 1], the share of new face in each pixel; what
    sRGB does not hold comes back as far as the photo counts, so that no edge shows where the mask ends.
    new_background: whether pixels without new face may differ from the photo.
    """
    conversion = color_conversion(picture.icc)
    if conversion is None or picture.stored is None:
        return result
    # Not picture.photo: the result may have been written into it.
    wide = conversion.to_srgb(picture.stored)
    photo = np.clip(wide, 0, 1)
    keeps_background = result.shape == photo.shape and not new_background
    if keeps_background:
        # The photo's own bits, though a host may have rounded them.
        result = np.where(mask[..., None] > 0, result, photo)
    beyond = wide - photo
    if not beyond.any():
        return result
    size = (result.shape[1], result.shape[0])
    # Resizing clips to [0, 1].
    wide = resize(np.maximum(beyond, 0), size) - resize(np.maximum(-beyond, 0), size)
    wide *= 1 - mask[..., None]
    if keeps_background:
        wide[mask == 0] = 0  # these keep their samples
    return result + wide


def in_color(picture: Picture) -> Picture:
    """A grey picture whose photo got colours: a profile of greys gives way to sRGB's, in which the photo is."""
    if profile_space(picture.icc) != b"GRAY":
        return dataclasses.replace(picture, grey=False)
    # Of a profile that cannot be used, nothing is known about the colours.
    icc = None if why_unused(picture.icc) else srgb_profile()
    return dataclasses.replace(picture, grey=False, icc=icc, stored=None)

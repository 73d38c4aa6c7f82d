"""Close-ups: the small crops in which faces are measured."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ...images.tensors import DevicePhoto, luma
from ..align import check_reach, crop_matrix
from ..detection.pyramid import reduced
from ..face import Face
from ..resampling.resample import needed_part, warp, warp_photo
from ..resampling.transforms import Matrix, compose, scaling, translation

SIZE = 192
"""Height and width of a close-up, in pixels."""
CROP_SIZE = 256
"""Height and width of the crop, aligned to the template "gpen", that a close-up is the middle of, in pixels."""
LEFT, TOP = 32, 40
"""Where the close-up begins in that crop."""


def close_up_matrix(face: Face) -> Matrix:
    """The 2 x 3 matrix that maps pixels of the photo to pixels of the close-up; FaceError as :func:`crop_matrix`."""
    return compose(translation(-LEFT, -TOP), crop_matrix(face, CROP_SIZE, "gpen"))


def close_up(photo: DevicePhoto, face: Face, *, is_luma: bool = False) -> Tensor:
    """The close-up of a face (192, 192, 3), RGB, [0, 1], on the photo's device; FaceError if it cannot be cropped.

    is_luma: only its luma, (192, 192, 1), in a third of the time.

    A large face is averaged to about twice the close-up's size first: a filter at its full size would take longer than
    everything that is measured.
    """
    matrix = close_up_matrix(face)
    factor = int(0.5 / float(np.hypot(*matrix[:, 0])))
    check_reach(photo, matrix, SIZE)
    if factor < 2:
        return warp_photo(photo, matrix, (SIZE, SIZE), is_luma=is_luma)
    rows, columns = needed_part(photo.shape, matrix, (SIZE, SIZE))
    averaged = reduced(photo.part(rows, columns), factor)
    to_photo = compose(translation(columns.start, rows.start), scaling(factor))
    if is_luma:
        averaged = luma(averaged)[..., None]
    return warp(averaged, compose(matrix, to_photo), (SIZE, SIZE), clipped=True)

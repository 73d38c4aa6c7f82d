"""Close-ups: the small crops in which faces are measured."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from ..images.tensors import DevicePhoto
from .align import check_reach, crop_face, crop_matrix
from .detection.pyramid import reduced
from .face import Face
from .resample import needed_part, warp
from .transforms import Matrix, compose, scaling, translation

SIZE = 192
"""Height and width of a close-up, in pixels."""
CROP_SIZE = 256
"""Height and width of the crop, aligned to the template "gpen", that a close-up is the middle of, in pixels."""
LEFT, TOP = 32, 40
"""Where the close-up begins in that crop."""


def close_up_matrix(face: Face) -> Matrix:
    """The 2 x 3 matrix that maps pixels of the photo to pixels of the close-up; FaceError as :func:`crop_matrix`."""
    return compose(translation(-LEFT, -TOP), crop_matrix(face, CROP_SIZE, "gpen"))


def close_up(photo: DevicePhoto, face: Face) -> Tensor:
    """The close-up of a face (192, 192, 3), RGB, [0, 1], on the photo's device; FaceError if it cannot be cropped.

    A large face is averaged to about twice the close-up's size first: a filter at its full size would take longer than
    everything that is measured.
    """
    matrix = close_up_matrix(face)
    factor = int(0.5 / float(np.hypot(*matrix[:, 0])))
    if factor < 2:
        return crop_face(photo, matrix, SIZE)
    check_reach(photo, matrix, SIZE)
    rows, columns = needed_part(photo.shape, matrix, (SIZE, SIZE))
    averaged = reduced(photo.part(rows, columns), factor)
    to_photo = compose(translation(columns.start, rows.start), scaling(factor))
    return warp(averaged, compose(matrix, to_photo), (SIZE, SIZE), clipped=True)

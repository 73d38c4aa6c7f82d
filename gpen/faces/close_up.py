"""Close-ups: the small crops in which faces are measured."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from ..images import tensors
from ..images.tensors import DevicePhoto, as_array, as_tensor
from .align import check_reach, crop_face, crop_matrix
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
    reduced = _averaged(photo.part(rows, columns), factor)
    to_photo = compose(translation(columns.start, rows.start), scaling(factor))
    return warp(reduced, compose(matrix, to_photo), (SIZE, SIZE)).clamp_(0, 1)


def _averaged(picture: Tensor, factor: int) -> Tensor:
    """The mean of each block of ``factor`` x ``factor`` pixels of a picture (H, W, 3), without a rest at the edges."""
    height, width = (side // factor for side in picture.shape[:2])
    whole = picture[: height * factor, : width * factor]
    if tensors.on_cpu(whole):
        averaged = cv2.resize(as_array(whole), (width, height), interpolation=cv2.INTER_AREA)
        return as_tensor(np.asarray(averaged, np.float32))
    return torch.nn.functional.avg_pool2d(whole.permute(2, 0, 1)[None], factor)[0].permute(1, 2, 0)

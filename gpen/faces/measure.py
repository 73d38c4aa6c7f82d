"""Measures faces in their photo: how sharp they are, and how much they look like certain people."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ..errors import FaceError
from ..images.picture import FloatImage
from ..images.tensors import DevicePhoto
from .align import crop_face, crop_matrix
from .face import Face
from .people import CROP_SIZE, People
from .sharpness import sharpness
from .traits import UNMEASURED, FaceTraits


def measure_faces(
    photo: FloatImage | DevicePhoto, faces: Sequence[Face], *, is_sharpness_wanted: bool, people: People | None = None
) -> list[FaceTraits]:
    """Measure the faces of a photo (H, W, 3), RGB, [0, 1].

    That happens on the photo's device, which is waited for once for all faces. people: whom to compare them with.
    """
    if not isinstance(photo, DevicePhoto):
        photo = DevicePhoto(photo, torch.device("cpu"))
    crops: dict[int, Tensor] = {}
    for position, face in enumerate(faces):
        with contextlib.suppress(FaceError):  # whatever is done to the face says why
            crops[position] = crop_face(photo, crop_matrix(face, CROP_SIZE, "gpen"), CROP_SIZE)
    sharp: list[float | None] = [None] * len(crops)
    alike: list[float | None] = [None] * len(crops)
    if crops and is_sharpness_wanted:
        sharp = torch.cat([sharpness(crop[None]) for crop in crops.values()]).tolist()
    if people is not None:
        alike = [*people.likeness(list(crops.values()), [faces[position] for position in crops])]
    traits = {position: FaceTraits(*values) for position, *values in zip(crops, sharp, alike, strict=True)}
    return [traits.get(position, UNMEASURED) for position in range(len(faces))]

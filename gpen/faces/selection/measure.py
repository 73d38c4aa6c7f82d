"""Measures faces in their photo: how sharp they are, and how much they look like certain people."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ...errors import FaceError
from ...images.picture import FloatImage
from ...images.tensors import DevicePhoto
from ..face import Face
from ..recognition.people import People
from .close_up import close_up
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
    traits = [UNMEASURED] * len(faces)
    measured: list[int] = []
    sharp: list[Tensor] = []
    aligned: list[Tensor] = []
    for position, face in enumerate(faces):
        try:
            if is_sharpness_wanted:
                sharp.append(sharpness(close_up(photo, face, is_luma=True)[None, ..., 0]))
            if people is not None:
                aligned.append(people.align(close_up(photo, face), face))
        except FaceError:  # whatever is done to the face says why
            continue
        measured.append(position)
    sharp_values = torch.cat(sharp).tolist() if sharp else [None] * len(measured)
    alike = [None] * len(measured) if people is None else people.likeness(aligned)
    for position, *values in zip(measured, sharp_values, alike, strict=True):
        traits[position] = FaceTraits(*values)
    return traits

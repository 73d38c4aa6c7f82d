"""What is measured of faces' pixels in order to choose among them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..errors import FaceError
from ..images.picture import FloatImage
from ..images.tensors import DevicePhoto
from .align import crop_face, crop_matrix
from .face import Face
from .people import CROP_SIZE, People
from .sharpness import sharpness
from .tracking.tracks import TrackedFace


@dataclass(frozen=True)
class FaceTraits:
    """What was measured of a face; None for what was not, or cannot be because the face cannot be aligned."""

    sharpness: float | None = None
    """As :func:`gpen.faces.sharpness.sharpness`: 0 to 1."""
    likeness: float | None = None
    """As :meth:`gpen.faces.people.People.likeness`: -1 to 1."""


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
    return [traits.get(position, FaceTraits()) for position in range(len(faces))]


def typical_traits(tracked: TrackedFace, traits: Mapping[Face, FaceTraits]) -> FaceTraits:
    """The medians over a track. traits: of detected faces."""
    of_track = [traits[face] for face in tracked.detections if face in traits]
    return FaceTraits(_median([face.sharpness for face in of_track]), _median([face.likeness for face in of_track]))


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None

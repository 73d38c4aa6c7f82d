"""The check of a picture that a program passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from gpen.errors import PhotoError
from gpen.images.picture import FloatImage
from gpen.images.tensors import as_tensor, check_picture


def large() -> FloatImage:
    """Where it is not contiguous, more than is looked at in one piece."""
    return np.full((1200, 901, 3), 0.5, np.float32)


@pytest.mark.parametrize("kind", ["as it is", "upside down", "without its alpha", "read-only"])
@pytest.mark.parametrize("where", [(0, 0, 0), (-1, -1, -1), (700, 450, 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 255, -2])
def test_one_wrong_value_is_found_wherever_it_is(kind: str, where: tuple[int, int, int], value: float) -> None:
    photo = large()
    if kind == "without its alpha":
        photo = np.full((*photo.shape[:2], 4), 99, np.float32)[..., :3]
        photo[...] = 0.5
    if kind == "upside down":
        photo = photo[::-1]
    photo[0, 1], photo[-1, 0] = -0.5, 1.5  # as resizing leaves them
    photo.flags.writeable = kind != "read-only"
    check_picture(photo, "photo")
    photo.flags.writeable = True
    photo[where] = value
    photo.flags.writeable = kind != "read-only"
    with pytest.raises(PhotoError, match="The photo's values go from"):
        check_picture(photo, "photo")


def test_the_error_names_the_range() -> None:
    photo = large()
    photo[3, 4, 0], photo[-1, 0, 2] = -7, 255
    with pytest.raises(PhotoError, match="The background's values go from -7 to 255; they have to lie between 0 and 1"):
        check_picture(photo, "background")


@pytest.mark.parametrize("photo", [[[[0.5] * 3]], "photo.png", torch.zeros((1, 1, 3))], ids=["list", "str", "Tensor"])
def test_what_is_no_array_is_named(photo: Any) -> None:
    name = type(photo).__name__
    with pytest.raises(PhotoError, match=f"The photo is of the type {name}; it has to be a NumPy array, float32"):
        check_picture(photo, "photo")


def structured(photo: FloatImage) -> FloatImage:
    """The photo as a field of pixels of 13 bytes."""
    pixels = np.zeros(photo.shape[:2], [("kind", np.uint8), ("color", np.float32, 3)])
    pixels["color"] = photo
    return pixels["color"]


def test_a_field_of_a_structured_array_is_a_picture() -> None:
    photo = np.random.default_rng(0).random((5, 4, 3), np.float32)
    field = structured(photo)
    assert field.strides[1] == 13
    check_picture(field, "photo")
    assert np.array_equal(as_tensor(field).numpy(), photo)

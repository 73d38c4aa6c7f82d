"""Photos, masks, backgrounds and options that nothing can be done with are refused with the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpen.errors import OptionError, PhotoError
from gpen.options import Options
from gpen.restoration.api import restore
from gpen.weights.checkpoint import Model


@pytest.mark.parametrize(
    ("bad", "more", "error", "says"),
    [
        (np.zeros((4, 4), np.float32), {}, PhotoError, "float32"),
        (np.zeros((4, 4, 3), np.uint8), {}, PhotoError, "uint8"),
        (np.full((4, 4, 3), 128, np.float32), {}, PhotoError, "from 128 to 128"),
        (np.full((4, 4, 3), np.nan, np.float32), {}, PhotoError, "nan"),
        (np.zeros((4, 4, 4), np.float32), {}, PhotoError, "shape"),
        (np.zeros((0, 4, 3), np.float32), {}, PhotoError, "shape"),
        (np.zeros((4, 4, 3), np.float32), {"region": np.zeros((4, 5), np.float32)}, PhotoError, "region"),
        (np.zeros((4, 4, 3), np.float32), {"background": np.zeros((8, 12, 3), np.float32)}, PhotoError, "proportions"),
        (np.zeros((4, 4, 3), np.float32), {"background": np.zeros((8, 8), np.float32)}, PhotoError, "background"),
        (np.zeros((4, 4, 3), np.float32), {"options": Options(mask="parsed")}, OptionError, "parser"),
        (
            np.zeros((400, 400, 3), np.float32),
            {"options": Options(upscale=4, max_megapixels=1)},
            PhotoError,
            r"2\.56 megapixels",
        ),
    ],
)
def test_invalid_input_is_refused_with_the_reason(
    passthrough: Model, bad: Any, more: dict[str, Any], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        restore(bad, passthrough, [], **more)

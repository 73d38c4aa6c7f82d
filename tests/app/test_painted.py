"""Masks that are painted on the photo, without the page."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gpen.app.painted import painted, strokes
from gpen.errors import PhotoError


def stroke(*points: tuple[float, float], kind: str = "damage", erases: bool = False, width: float = 0.1) -> Any:
    """A stroke as the browser sends it."""
    return {"kind": kind, "erases": erases, "width": width, "points": [list(point) for point in points]}


def test_a_stroke_marks_a_band_with_round_ends() -> None:
    mask = painted(strokes([stroke((0.25, 0.5), (0.75, 0.5))]), "damage", (400, 200))
    assert mask is not None
    assert mask.dtype == np.float32
    assert set(np.unique(mask)) == {0, 1}
    y, x = np.mgrid[:200, :400] + 0.5
    away = np.hypot(np.maximum(np.maximum(100 - x, x - 300), 0), y - 100)
    assert mask[away < 18.5].all()
    assert not mask[away > 21.5].any()


@pytest.mark.parametrize("at", [(0.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
def test_one_touch_marks_a_disc(at: tuple[float, float]) -> None:
    mask = painted(strokes([stroke(at)]), "damage", (300, 300))
    assert mask is not None
    y, x = np.mgrid[:300, :300] + 0.5
    away = np.hypot(x - at[0] * 300, y - at[1] * 300)
    assert mask[away < 13.5].all()
    assert not mask[away > 16.5].any()


def test_later_strokes_count_and_each_kind_has_its_mask() -> None:
    made = strokes(
        [
            stroke((0, 0.5), (1, 0.5), width=0.4),
            stroke((0.5, 0.5), erases=True),
            stroke((0.5, 0.5), kind="protect", width=0.02),
        ]
    )
    damage, protect = (painted(made, kind, (100, 100)) for kind in ("damage", "protect"))
    assert damage is not None
    assert protect is not None
    assert damage[50, 50] == 0
    assert damage[50, 70] == 1
    assert protect.sum() < 20
    assert protect[50, 50] == 1


def test_strokes_lie_over_a_mask_that_is_there_and_leave_it_alone() -> None:
    under = np.zeros((100, 100), np.float32)
    under[:50] = 0.8
    made = strokes([stroke((0.5, 0.25), erases=True), stroke((0.5, 0.75))])
    mask = painted(made, "damage", (100, 100), under)
    assert mask is not None
    assert (mask[25, 50], mask[25, 90], mask[75, 50], mask[75, 90]) == (0, np.float32(0.8), 1, 0)
    assert under[25, 50] == np.float32(0.8)
    assert painted(made, "protect", (100, 100), under) is under
    assert painted(made, "protect", (100, 100)) is None
    with pytest.raises(PhotoError, match="50 x 100 pixels, the photo 100 x 100"):
        painted(made, "damage", (100, 100), under[:, :50])


@pytest.mark.parametrize(
    "wrong",
    [
        "stroke",
        [1],
        [{}],
        [{**stroke((0, 0)), "kind": "eraser"}],
        [{**stroke((0, 0)), "width": float("nan")}],
        [{**stroke((0, 0)), "width": 9}],
        [{**stroke((0, 0)), "points": []}],
        [{**stroke((0, 0)), "points": [[0, 1, 2]]}],
        [{**stroke((0, 0)), "points": [["a", 0]]}],
        [{**stroke((0, 0)), "points": [[0, float("inf")]]}],
        {"kind": "damage"},
    ],
)
def test_what_is_no_stroke_is_refused(wrong: Any) -> None:
    with pytest.raises(PhotoError, match="Load the page again"):
        strokes(wrong)


def test_points_far_outside_do_no_harm() -> None:
    mask = painted(strokes([stroke((-1e9, 0.5), (1e9, 0.5))]), "damage", (50, 50))
    assert mask is not None
    assert mask[25].all()
    assert not mask[0].any()
    assert strokes(None) == ()
    with pytest.raises(PhotoError, match="too many"):
        strokes([stroke(*[(0.0, 0.0)] * 1000)] * 1001)

"""Protected pixels stay the photo's bit for bit; far from them nothing changes."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from gpen.errors import PhotoError
from gpen.faces.align import TEMPLATES
from gpen.faces.masks.protect import EDGE
from gpen.images.picture import FloatImage
from gpen.images.resize import enlarge
from gpen.options import Options
from gpen.restoration.api import colorize, inpaint, paste, restore
from gpen.restoration.result import Restoration
from tests.restoration.markers import BIAS, MATRIX, aligned_face
from tests.restoration.test_paste_crops import crops_of

pytestmark = pytest.mark.usefixtures("each_implementation")

HEIGHT = 2.8 * 200 * float(np.linalg.norm(TEMPLATES["gpen"][3:].mean(axis=0) - TEMPLATES["gpen"][:2].mean(axis=0)))
"""The height of the face of the photo, in pixels."""
WIDTH = EDGE * HEIGHT + 1
"""How far the soft edge reaches."""


@pytest.fixture(scope="module")
def marker(make_model: Any) -> Any:
    """A network whose output differs from its input everywhere."""
    return make_model(256, color_matrix=MATRIX.tolist(), color_bias=BIAS.tolist())


@pytest.fixture
def protect(photo_with_face: Any) -> FloatImage:
    """A hand from below and a stroke over the eyes, with some grey that protects nothing."""
    mask = np.zeros(photo_with_face[0].shape[:2], np.float32)
    mask[160:300, 100:150] = 1
    cv2.line(mask, (120, 120), (210, 135), 0.8, 3)
    mask[60:80, 140:180] = 0.5
    return mask


def check(free: Restoration, kept: Restoration, photo: FloatImage, protected: Any, width: float) -> None:
    """kept: made with a mask of the protected pixels (H, W) of ``photo``, as large as the result; free: without."""
    assert np.array_equal(kept.photo[protected], photo[protected])
    assert not kept.mask[protected].any()
    distance = cv2.distanceTransform((~protected).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    far = distance > width
    assert np.array_equal(kept.photo[far], free.photo[far])
    assert np.array_equal(kept.mask[far], free.mask[far])
    # Otherwise nothing would be shown: there, and next to the protected pixels, the network does its work.
    changed = np.abs(free.photo - photo).max(axis=2) > 0.02
    assert (changed & protected).sum() > 500
    assert (changed & far).sum() > 2000
    if len(free.faces) > 1:  # each has an edge of its own
        return
    edge = ~protected & ~far & (free.mask > 0.9)
    ratio = kept.mask[edge] / free.mask[edge]
    assert 0 < ratio.min() < ratio.max() < 1
    order = np.argsort(distance[edge])
    assert (np.diff(ratio[order]) >= -1e-5).all()


def test_restoring(photo_with_face: Any, marker: Any, protect: FloatImage) -> None:
    photo, faces = photo_with_face
    before = photo.copy()
    free, kept = restore(photo, marker, faces), restore(photo, marker, faces, protect=protect)
    assert np.array_equal(photo, before)
    check(free, kept, photo, protect > 0.5, WIDTH)
    assert np.array_equal(kept.faces[0].after, free.faces[0].after)


def test_a_black_mask_protects_nothing_and_a_white_one_everything(photo_with_face: Any, marker: Any) -> None:
    photo, faces = photo_with_face
    free = restore(photo, marker, faces)
    black, white = (restore(photo, marker, faces, protect=np.full(photo.shape[:2], v, np.float32)) for v in (0, 1))
    assert np.array_equal(black.photo, free.photo)
    assert np.array_equal(black.mask, free.mask)
    assert np.array_equal(white.photo, photo)
    assert not white.mask.any()


@pytest.mark.parametrize("upscale", [1.5, 2.0])
def test_the_mask_grows_with_the_photo(photo_with_face: Any, marker: Any, protect: FloatImage, upscale: float) -> None:
    photo, faces = photo_with_face
    options = Options(upscale=upscale)
    free, kept = (restore(photo, marker, faces, options, protect=mask) for mask in (None, protect))
    large = enlarge(photo, upscale)
    rows, columns = ((np.arange(n) + 0.5) / upscale for n in large.shape[:2])
    protected = protect[np.ix_(rows.astype(int), columns.astype(int))] > 0.5
    check(free, kept, large, protected, upscale * EDGE * HEIGHT + 1)


def test_a_background_stays_where_it_is_protected(photo_with_face: Any, marker: Any, protect: FloatImage) -> None:
    photo, faces = photo_with_face
    background = 1 - cv2.resize(photo, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).clip(0, 1)
    free, kept = (restore(photo, marker, faces, background=background, protect=mask) for mask in (None, protect))
    protected = np.repeat(np.repeat(protect > 0.5, 2, axis=0), 2, axis=1)
    check(free, kept, background, protected, 2 * EDGE * HEIGHT + 1)


def test_overlapping_faces_and_another_strength(photo_with_face: Any, marker: Any, protect: FloatImage) -> None:
    photo, faces = photo_with_face
    faces = [*faces, aligned_face(190, 130, 60)]
    kept = restore(photo, marker, faces, protect=protect, keep_layers=True)
    free = restore(photo, marker, faces, keep_layers=True)
    protected = protect > 0.5
    check(free, kept, photo, protected, WIDTH)
    weak = kept.with_strength(0.5)
    again = restore(photo, marker, faces, Options(strength=0.5), protect=protect)
    assert np.array_equal(weak.photo, again.photo)
    assert np.array_equal(weak.photo[protected], photo[protected])


def test_colorizing(photo_with_face: Any, colorizer: Any, protect: FloatImage) -> None:
    photo, faces = photo_with_face
    free, kept = (colorize(photo, colorizer, faces, protect=mask) for mask in (None, protect))
    check(free, kept, photo, protect > 0.5, WIDTH)


def test_an_aligned_portrait(photo_with_face: Any, colorizer: Any, protect: FloatImage) -> None:
    portrait, mask = (np.ascontiguousarray(part[50:250, 60:260]) for part in (photo_with_face[0], protect))
    free, kept = (colorize(portrait, colorizer, None, protect=given) for given in (None, mask))
    check(free, kept, portrait, mask > 0.5, WIDTH)


def test_damage_that_is_protected_is_none(photo_with_face: Any, inpainter: Any, protect: FloatImage) -> None:
    photo, faces = photo_with_face
    damage = np.zeros(photo.shape[:2], np.float32)
    damage[100:200, 95:225] = 1
    free, kept = (inpaint(photo, damage, inpainter, faces, protect=mask) for mask in (None, protect))
    protected = protect > 0.5
    assert np.array_equal(kept.photo[protected], photo[protected])
    filled = (damage > 0) & ~protected
    distance = cv2.distanceTransform((~protected).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert (free.mask[damage > 0] == 1).all()
    assert (kept.mask[filled & (distance > WIDTH)] == 1).all()
    # The network sees what is protected, and nothing is said to be left.
    assert kept.note == ""
    y, x = int((170 - 50) * 1.28), int((125 - 60) * 1.28)
    assert np.abs(free.faces[0].before[y, x] - 1).max() < 0.01
    assert kept.faces[0].before[y, x].max() < 0.7
    everything = inpaint(photo, damage, inpainter, faces, protect=np.ones_like(damage))
    assert np.array_equal(everything.photo, photo)
    assert everything.skipped[0].reason == "nothing is damaged"


def test_crops_that_are_pasted_on_their_own(marker: Any) -> None:
    rng = np.random.default_rng(0)
    photo = cv2.resize(rng.uniform(0.2, 0.6, (16, 42, 3)).astype(np.float32), (420, 160))
    crops = [(placement, 1 - crop) for placement, crop in crops_of(photo)]
    protect = np.zeros(photo.shape[:2], np.float32)
    protect[80:, 50:240] = 1
    free, kept = paste(photo, crops), paste(photo, crops, protect=protect)
    protected = protect > 0.5
    assert np.array_equal(kept[0][protected], photo[protected])
    distance = cv2.distanceTransform((~protected).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    far = distance > EDGE * HEIGHT + 1
    assert all(np.array_equal(one[far], other[far]) for one, other in zip(free, kept, strict=True))
    assert np.abs(free[0] - photo)[protected].max() > 0.1
    assert np.abs(kept[0] - photo)[far].max() > 0.1


def test_a_mask_of_another_size_is_refused(photo_with_face: Any, marker: Any) -> None:
    photo, faces = photo_with_face
    says = "The mask of what is protected is 10 x 20 pixels, the photo 400 x 300"
    for shape in ((20, 10), (20, 10, 3)):
        with pytest.raises(PhotoError, match=says if len(shape) == 2 else "3 x 10 x 20 pixels"):
            restore(photo, marker, faces, protect=np.zeros(shape, np.float32))
    with pytest.raises(PhotoError, match=says):
        paste(photo, [], protect=np.zeros((20, 10), np.float32))

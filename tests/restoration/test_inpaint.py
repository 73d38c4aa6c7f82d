"""Inpainting: damage is filled in, and everything else is unchanged."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import torch

from gpen.errors import PhotoError
from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.options import Options
from gpen.restoration.api import inpaint, run
from tests.restoration.markers import aligned_face, damage_of, marked

WHITE = marked(np.ones((1, 1, 3)))[0, 0]
"""The output of the marker weights for white, which damage is painted with."""


def test_damage_is_filled_in_and_everything_else_is_unchanged(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(120, 160), slice(130, 190)))
    result = inpaint(photo, damage, inpainter, faces, Options(damage_feather=0.05))
    assert result.summary == "1 face inpainted."
    inside = damage > 0.5
    assert (result.mask[inside] == 1).all()
    deep = cv2.erode(inside.astype(np.uint8), np.ones((13, 13))) > 0
    assert np.abs(result.photo[deep] - WHITE).max() * 255 <= 2
    # Around it the mask falls with the distance, over a twentieth of the face's height.
    outside = result.mask == 0
    assert np.array_equal(result.photo[outside], photo[outside])
    unit = 200 * np.linalg.norm(TEMPLATES["gpen"][3:].mean(axis=0) - TEMPLATES["gpen"][:2].mean(axis=0))
    width = 0.05 * 2.8 * unit
    distance = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    assert (result.mask > 0).sum() > inside.sum()
    assert (result.mask[distance > width + 1] == 0).all()
    assert (result.mask[distance < width * 0.9] > 0).all()
    along = result.mask[140, 190:230]
    assert (np.diff(along) <= 1e-6).all()


def test_the_network_sees_white_where_the_photo_is_damaged(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(120, 160), slice(130, 190)))
    before = photo.copy()
    (face,) = inpaint(photo, damage, inpainter, faces).faces
    assert np.array_equal(photo, before)
    scale = 256 / 200
    x, y = int((160 - 60) * scale), int((140 - 50) * scale)
    assert np.abs(face.before[y, x] - 1).max() <= 0.01
    assert face.before[10, 10].max() < 0.9


def test_the_soft_edge_is_narrow_by_default(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(130, 133), slice(100, 220)))
    result = inpaint(photo, damage, inpainter, faces)
    assert (result.mask[131, 110:210] == 1).all()
    assert (result.mask[:126] == 0).all()
    assert (result.mask[137:] == 0).all()


def test_damage_may_cross_the_border_of_the_face(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(140, 150), slice(0, 400)))
    result = inpaint(photo, damage, inpainter, faces)
    assert (result.mask[145, 90:230] == 1).all()
    assert (result.mask[145, :60] == 0).all()
    assert (result.mask[145, 261:] == 0).all()
    left = re.fullmatch(r"1 face inpainted\. (\d+)% of the damage lies outside the faces and stays\.", result.summary)
    assert left
    assert abs(int(left[1]) / 100 - (damage * (result.mask < 0.5)).sum() / damage.sum()) <= 0.006


def test_faces_without_damage_are_skipped(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(0, 20), slice(350, 400)))
    result = inpaint(photo, damage, inpainter, faces)
    assert np.array_equal(result.photo, photo)
    assert [left.reason for left in result.skipped] == ["no damage in it"]
    assert result.summary == (
        "None of 1 face was chosen (no damage in it); the photo is unchanged. "
        "100% of the damage lies outside the faces and stays."
    )


def test_damage_without_a_face_is_reported(photo_with_face, inpainter):
    photo, _ = photo_with_face
    damage = damage_of(photo, (slice(0, 20), slice(0, 20)))
    result = inpaint(photo, damage, inpainter, [])
    assert np.array_equal(result.photo, photo)
    assert result.summary.startswith("No face was found; the photo is unchanged. 100% of the damage")


@pytest.mark.parametrize("aligned", [False, True])
def test_a_black_mask_is_reported(photo_with_face, inpainter, aligned):
    photo, faces = photo_with_face
    photo = photo[:, :300] if aligned else photo
    result = inpaint(photo, damage_of(photo), inpainter, None if aligned else faces)
    assert np.array_equal(result.photo, photo)
    assert result.summary.endswith("The mask is black: nothing is marked as damaged.")


def test_a_turned_face_with_damage_beside_its_square(inpainter):
    """The network does not see the corners of the upright square around a turned crop."""
    photo = np.full((400, 400, 3), 0.5, np.float32)
    turn = cv2.getRotationMatrix2D((200, 200), 45, 1)
    landmarks = (TEMPLATES["gpen"] * 200 + 100) @ turn[:, :2].T + turn[:, 2]
    face = Face((150, 150, 250, 250), 0.9, landmarks)
    outside = damage_of(photo, (slice(70, 90), slice(70, 90)))
    assert inpaint(photo, outside, inpainter, [face]).skipped[0].reason == "no damage in it"
    inside = damage_of(photo, (slice(180, 220), slice(180, 220)))
    assert (inpaint(photo, inside, inpainter, [face]).mask[200, 200]) == 1


def test_one_scratch_over_two_faces(inpainter):
    photo = np.full((200, 500, 3), 0.4, np.float32)
    damage = damage_of(photo, (slice(95, 105), slice(0, 500)))
    result = inpaint(photo, damage, inpainter, [aligned_face(200, 20, 0), aligned_face(200, 280, 0)])
    assert result.summary.startswith("2 faces inpainted.")
    assert np.abs(result.photo[100, 60:180] - WHITE).max() * 255 <= 3
    assert np.abs(result.photo[100, 320:440] - WHITE).max() * 255 <= 3


def test_the_nearest_face_fills_in_damage_that_both_reach(make_model):
    """The network returns black for the left face and white for the right one, on whose eye the damage lies."""
    photo = np.full((200, 300, 3), 0.5, np.float32)
    left, right = aligned_face(200, 0, 0), aligned_face(200, 100, 0)
    x, y = np.rint(right.landmarks[0]).astype(int)
    damage = damage_of(photo, (slice(y - 5, y + 5), slice(x - 5, x + 5)))
    model = make_model(256, "inpaint")
    answers = iter((0.0, 1.0))
    plain = model.network

    class Answers(type(plain)):
        def forward(self, x):
            return torch.cat([torch.full_like(picture, next(answers))[None] * 2 - 1 for picture in x])

    plain.__class__ = Answers  # of a network that this test alone has
    result = inpaint(photo, damage, model, [left, right])
    assert result.summary == "2 faces inpainted."
    assert result.photo[y, x].min() > 0.95


def test_strength_0_is_reported(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(120, 160), slice(130, 190)))
    result = inpaint(photo, damage, inpainter, faces, Options(strength=0))
    assert np.array_equal(result.photo, photo)
    assert result.note == "The strength is 0: nothing was changed."


def test_aligned_portrait_with_damage(portrait, inpainter):
    photo = portrait.photo
    damage = damage_of(photo, (slice(0, 1024), slice(500, 530)))
    result = inpaint(photo, damage, inpainter, None)
    # A few pixels from a hard edge, what is enlarged still rings.
    assert np.abs(result.photo[:, 512:518] - WHITE).max() * 255 <= 6
    outside = result.mask == 0
    assert np.array_equal(result.photo[outside], photo[outside])
    assert (result.mask[0, 505:525] == 1).all()


@pytest.mark.parametrize("shape", [(300, 399), (400, 300), (300, 400, 3)])
def test_a_damage_mask_of_another_size_is_refused(photo_with_face, inpainter, shape):
    photo, faces = photo_with_face
    with pytest.raises(PhotoError, match=r"the photo 400 x 300\. It has to be a picture of the same size"):
        inpaint(photo, np.zeros(shape, np.float32), inpainter, faces)


def test_to_inpaint_without_a_mask(make_model):
    with pytest.raises(PhotoError, match="a mask is needed that is white"):
        run("inpaint", np.full((64, 64, 3), 0.5, np.float32), make_model(256, "inpaint"), [])

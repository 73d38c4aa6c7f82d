"""Colour, damage and segmentation maps on real photographs, with networks whose answer is known."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpen.errors import GpenError, OptionError, PhotoError
from gpen.faces.align import TEMPLATES
from gpen.faces.face import Face
from gpen.images import Picture, read_picture
from gpen.options import Options
from gpen.restoration.api import colorize, inpaint, restore, run, synthesize
from gpen.restoration.processors import luma, with_luma_of
from gpen.restoration.result import Restoration
from gpen.tasks import TASKS
from tests.restoration.conftest import MakeModel

Floats = NDArray[np.float32]

Y = np.array([0.299, 0.587, 0.114])
MATRIX = np.array([[0.8, 0.0, 0.1], [0.1, 0.5, 0.0], [0.0, 0.1, 0.4]])
BIAS = np.array([0.15, -0.05, -0.25])
"""Of the marker weights, in the network's range -1 to 1: greys become reddish."""


@pytest.fixture(scope="module")
def colorizer(make_model: MakeModel):
    return make_model(256, "colorize", color_matrix=MATRIX.tolist(), color_bias=BIAS.tolist())


@pytest.fixture(scope="module")
def inpainter(make_model: MakeModel):
    return make_model(256, "inpaint", color_matrix=MATRIX.tolist(), color_bias=BIAS.tolist())


@pytest.fixture(scope="module")
def portrait(photos: Path) -> Picture:
    return read_picture(photos / "ffhq_00000_hq.png", 100)


@pytest.fixture(scope="module")
def grey_portrait(photos: Path) -> Picture:
    return read_picture(photos / "gray_106000.png", 100)


def marked(photo: Floats) -> Floats:
    """What the marker weights make of a photo, 0 to 1."""
    return np.clip((((photo * 2 - 1) @ MATRIX.T + BIAS) + 1) / 2, 0, 1)


def aligned_face(size: float, x: float = 0, y: float = 0) -> Face:
    """A face whose crop by GPEN's template is this square."""
    landmarks = TEMPLATES["gpen"] * size + (x, y)
    return Face((x + 0.25 * size, y + 0.25 * size, x + 0.75 * size, y + 0.85 * size), 0.9, landmarks)


def only_chroma_changed(result: Restoration, photo: Floats) -> None:
    assert np.abs(result.photo @ Y - photo @ Y).max() <= 2e-6
    outside = result.mask == 0
    assert np.array_equal(result.photo[outside], photo[outside])
    assert result.photo.min() >= 0
    assert result.photo.max() <= 1
    # As it is stored in a file of 8 bits, each channel rounded by itself.
    stored = np.rint(result.photo * 255) / 255
    assert np.abs(stored @ Y - photo @ Y).max() <= 0.5001 / 255


def coloured(photo: Floats, mask: Floats) -> Floats:
    """What is to be expected, worked out pixel by pixel without the product's code; NaN where the gamut ends."""
    grey = (photo @ Y)[..., None]
    network = marked(np.repeat(grey, 3, axis=2))
    chroma = (photo - grey) * (1 - mask[..., None]) + (network - (network @ Y)[..., None]) * mask[..., None]
    expected = grey + chroma
    return np.where(((expected >= 0) & (expected <= 1)).all(axis=2, keepdims=True), expected, np.nan)


def test_grey_photograph_with_many_faces(solvay, colorizer, yunet):
    result = colorize(solvay.photo, colorizer, yunet)
    assert result.summary == "29 faces colorized."
    only_chroma_changed(result, solvay.photo)
    expected = coloured(solvay.photo, result.mask)
    inside = (result.mask > 0) & ~np.isnan(expected).any(axis=2)
    assert inside.sum() > 0.9 * (result.mask > 0).sum()
    error = np.abs(result.photo - expected)[inside] * 255
    # The network's colours follow the crop, which is resampled twice.
    assert np.quantile(error, 0.999) <= 6
    assert error.mean() <= 0.5
    middle = result.mask > 0.99
    assert (result.photo[middle] - result.photo[middle] @ Y[:, None]).std(axis=1).mean() > 0.02


def test_the_network_sees_grey_and_its_colours_replace_those_of_the_photograph(portrait, colorizer, yunet):
    result = colorize(portrait.photo, colorizer, yunet)
    (face,) = result.faces
    assert np.ptp(face.before, axis=2).max() == 0
    only_chroma_changed(result, portrait.photo)
    expected = coloured(portrait.photo, result.mask)
    inside = (result.mask > 0.99) & ~np.isnan(expected).any(axis=2)
    # The crop of 256 pixels does not hold this photograph's finest detail, but colour follows the coarse luma closely.
    assert np.abs(result.photo - expected)[inside].mean() * 255 <= 1.5


def test_a_network_without_colours_leaves_grey_grey(grey_portrait, make_model, yunet):
    result = colorize(grey_portrait.photo, make_model(256, "colorize"), yunet)
    assert result.faces
    assert np.abs(result.photo - grey_portrait.photo).max() <= 1e-5


def test_strength_and_upscale(grey_portrait, colorizer):
    small = cv2.resize(grey_portrait.photo, (300, 300), interpolation=cv2.INTER_AREA)
    face = [aligned_face(280, 10, 10)]
    full = colorize(small, colorizer, face)
    half = colorize(small, colorizer, face, Options(strength=0.5))
    only_chroma_changed(half, small)
    in_gamut = ~np.isnan(coloured(small, full.mask)).any(axis=2)
    assert np.abs((half.photo - small) * 2 - (full.photo - small))[in_gamut].max() <= 1e-5
    large = colorize(small, colorizer, face, Options(upscale=2))
    assert large.photo.shape == (600, 600, 3)
    only_chroma_changed(large, np.clip(cv2.resize(small, (600, 600), interpolation=cv2.INTER_LANCZOS4), 0, 1))


def test_aligned_portrait_is_coloured_up_to_its_border(grey_portrait, colorizer):
    photo = grey_portrait.photo
    seen = []
    result = colorize(photo, colorizer, None, on_progress=lambda *step: seen.append(step[:2]))
    assert (result.mask == 1).all()
    assert seen == [(0, 1), (1, 1)]
    only_chroma_changed(result, photo)
    expected = coloured(photo, result.mask)
    inside = ~np.isnan(expected).any(axis=2)
    assert np.abs(result.photo - expected)[inside].mean() * 255 <= 1.5
    edge = np.abs(result.photo - expected)[0][inside[0]]
    assert edge.mean() * 255 <= 2


def test_chroma_is_reduced_where_a_colour_would_leave_the_gamut():
    rng = np.random.default_rng(3)
    photo = np.repeat(rng.choice([0, 0.02, 0.3, 0.98, 1], (40, 40, 1)), 3, axis=2).astype(np.float32)
    colors = rng.uniform(0, 1, (40, 40, 3)).astype(np.float32)
    result = with_luma_of(colors, photo)
    assert result.min() >= -1e-6
    assert result.max() <= 1 + 1e-6
    assert np.abs(luma(result) - luma(photo)).max() <= 1e-6
    chroma, wanted = result - luma(result)[..., None], colors - luma(colors)[..., None]
    # The same hue: chroma is a multiple of what was wanted, between none and all of it, and as much as fits.
    factor = (chroma * wanted).sum(axis=2) / np.square(wanted).sum(axis=2)
    assert factor.min() >= -1e-5
    assert factor.max() <= 1 + 1e-5
    assert np.abs(chroma - factor[..., None] * wanted).max() <= 1e-5
    touches = (np.minimum(result, 1 - result).min(axis=2) <= 1e-5) | (factor >= 1 - 1e-4)
    assert touches.all()
    assert 0.05 < (factor > 0.99).mean() < 0.95


def damage_of(photo: Floats, *rectangles: tuple[slice, slice]) -> Floats:
    damage = np.zeros(photo.shape[:2], np.float32)
    for rows, columns in rectangles:
        damage[rows, columns] = 1
    return damage


WHITE = marked(np.ones((1, 1, 3)))[0, 0]
"""What the marker weights make of the white that damage is painted with."""


@pytest.fixture(scope="module")
def photo_with_face() -> tuple[Floats, list[Face]]:
    rng = np.random.default_rng(1)
    photo = cv2.resize(rng.uniform(0.2, 0.6, (30, 40, 3)).astype(np.float32), (400, 300))
    return photo, [aligned_face(200, 60, 50)]


def test_damage_is_filled_in_and_all_else_stays(photo_with_face, inpainter):
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


def test_what_the_network_is_given_is_white_where_the_photograph_is_damaged(photo_with_face, inpainter):
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
    left = re.fullmatch(
        r"1 face inpainted\. (\d+)% of the damage lies outside of the faces and stays\.", result.summary
    )
    assert left
    assert abs(int(left[1]) / 100 - (damage * (result.mask < 0.5)).sum() / damage.sum()) <= 0.006


def test_faces_without_damage_are_left_alone(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(0, 20), slice(350, 400)))
    result = inpaint(photo, damage, inpainter, faces)
    assert np.array_equal(result.photo, photo)
    assert [left.reason for left in result.skipped] == ["no damage in it"]
    assert result.summary == (
        "None of 1 face was chosen (no damage in it); the photograph is unchanged. "
        "100% of the damage lies outside of the faces and stays."
    )


def test_a_mask_without_a_face_is_said(photo_with_face, inpainter):
    photo, _ = photo_with_face
    damage = damage_of(photo, (slice(0, 20), slice(0, 20)))
    result = inpaint(photo, damage, inpainter, [])
    assert np.array_equal(result.photo, photo)
    assert result.summary.startswith("No face was found; the photograph is unchanged. 100% of the damage")


@pytest.mark.parametrize("aligned", [False, True])
def test_a_black_mask_is_said(photo_with_face, inpainter, aligned):
    photo, faces = photo_with_face
    photo = photo[:, :300] if aligned else photo
    result = inpaint(photo, damage_of(photo), inpainter, None if aligned else faces)
    assert np.array_equal(result.photo, photo)
    assert result.summary.endswith("The mask is black: nothing is marked as damaged.")


def test_a_turned_face_with_damage_beside_its_square(inpainter):
    """The corner of an upright square around a turned crop is not seen by the network."""
    photo = np.full((400, 400, 3), 0.5, np.float32)
    turn = cv2.getRotationMatrix2D((200, 200), 45, 1)
    landmarks = (TEMPLATES["gpen"] * 200 + 100) @ turn[:, :2].T + turn[:, 2]
    face = Face((150, 150, 250, 250), 0.9, landmarks)
    outside = damage_of(photo, (slice(70, 90), slice(70, 90)))
    assert inpaint(photo, outside, inpainter, [face]).skipped[0].reason == "no damage in it"
    inside = damage_of(photo, (slice(180, 220), slice(180, 220)))
    assert (inpaint(photo, inside, inpainter, [face]).mask[200, 200]) == 1


def test_two_faces_share_one_scratch(inpainter):
    photo = np.full((200, 500, 3), 0.4, np.float32)
    damage = damage_of(photo, (slice(95, 105), slice(0, 500)))
    result = inpaint(photo, damage, inpainter, [aligned_face(200, 20, 0), aligned_face(200, 280, 0)])
    assert result.summary.startswith("2 faces inpainted.")
    assert np.abs(result.photo[100, 60:180] - WHITE).max() * 255 <= 3
    assert np.abs(result.photo[100, 320:440] - WHITE).max() * 255 <= 3


def test_the_nearest_face_fills_in_what_both_reach(make_model):
    """The left face's network answers black, the right one's white: the damage lies on the right one's eye."""
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


def test_options_of_other_tasks_do_not_count(photo_with_face, colorizer, inpainter):
    """They would take the colours away again, or want a parser that the task has no use for."""
    photo, faces = photo_with_face
    others = Options(color_match=True, upscale=2.0, mask="parsed", identity_guard=0.1)
    damage = damage_of(photo, (slice(120, 160), slice(130, 190)))
    filled = inpaint(photo, damage, inpainter, faces, others)
    assert np.array_equal(filled.photo, inpaint(photo, damage, inpainter, faces).photo)
    grey = np.repeat((photo @ Y)[..., None], 3, axis=2).astype(np.float32)
    coloured_anyway = colorize(grey, colorizer, faces, Options(color_match=True))
    assert np.array_equal(coloured_anyway.photo, colorize(grey, colorizer, faces).photo)


def test_strength_0_is_said(photo_with_face, inpainter):
    photo, faces = photo_with_face
    damage = damage_of(photo, (slice(120, 160), slice(130, 190)))
    result = inpaint(photo, damage, inpainter, faces, Options(strength=0))
    assert np.array_equal(result.photo, photo)
    assert result.note == "The strength is 0: nothing was changed."


def test_an_aligned_portrait_has_no_region_and_its_result_is_new(photo_with_face, colorizer):
    photo = photo_with_face[0][:, :300].copy()
    with pytest.raises(OptionError, match="leave the region out"):
        colorize(photo, colorizer, None, region=np.zeros((300, 300), np.float32))
    stopped = colorize(photo, colorizer, None, on_progress=lambda *_: False)
    assert stopped.photo is not photo
    assert np.array_equal(stopped.photo, photo)
    (face,) = colorize(photo, colorizer, None, keep_crops=False).faces
    assert (face.before, face.after) == (None, None)


def test_a_map_may_be_as_large_as_the_option_says(make_model):
    labels = np.zeros((400, 400, 3), np.float32)
    model = make_model(256, "segmentation")
    assert run("segmentation", labels, model, None, Options(max_megapixels=0.2)).faces
    with pytest.raises(PhotoError, match=r"0\.2 megapixels, more than the 0\.1 allowed\. Choose a larger limit\."):
        run("segmentation", labels, model, None, Options(max_megapixels=0.1))


def test_a_network_that_says_nothing_is_taken_at_the_users_word(make_model):
    known = make_model(256, "restore")
    untold = type(known)(known.network, "restore", known.path, is_task_told=False)
    assert synthesize(np.zeros((64, 64, 3), np.float32), untold).faces


def test_aligned_portrait_with_damage(portrait, inpainter):
    photo = portrait.photo
    damage = damage_of(photo, (slice(0, 1024), slice(500, 530)))
    result = inpaint(photo, damage, inpainter, None)
    assert np.abs(result.photo[:, 512:518] - WHITE).max() * 255 <= 4
    outside = result.mask == 0
    assert np.array_equal(result.photo[outside], photo[outside])
    assert (result.mask[0, 505:525] == 1).all()


@pytest.mark.parametrize("shape", [(300, 399), (400, 300), (300, 400, 3)])
def test_a_mask_of_another_size_is_refused(photo_with_face, inpainter, shape):
    photo, faces = photo_with_face
    with pytest.raises(PhotoError, match=r"the photo 400 x 300\. It has to be a picture of the same size"):
        inpaint(photo, np.zeros(shape, np.float32), inpainter, faces)


def test_segmentation_maps_become_faces(make_model):
    rng = np.random.default_rng(0)
    palette = rng.uniform(0, 1, (19, 3)).astype(np.float32)
    labels = palette[rng.integers(0, 19, (32, 32))].repeat(16, axis=0).repeat(16, axis=1)
    result = synthesize(labels, make_model(256, "segmentation"))
    assert result.summary == "1 face made."
    # 512 to 256 pixels: labels are not mixed.
    assert np.abs(result.photo - labels[::2, ::2]).max() * 255 <= 0.01


def test_segmentation_networks_take_and_give_0_to_1(make_model):
    labels = np.full((64, 64, 3), 0.25, np.float32)
    model = make_model(256, "segmentation", color_matrix=(np.eye(3) * 2).tolist(), color_bias=(0.1, 0.2, 0.3))
    assert np.abs(synthesize(labels, model).photo - np.array([0.6, 0.7, 0.8])).max() <= 1e-4


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda photo, models: synthesize(photo, models["segmentation"]), "A segmentation map"),
        (lambda photo, models: colorize(photo, models["colorize"], None), "An aligned portrait"),
        (lambda photo, models: inpaint(photo, photo[..., 0], models["inpaint"], None), "An aligned portrait"),
    ],
)
def test_what_has_to_be_a_square_is_refused_otherwise(make_model, call, what):
    models = {task: make_model(256, task) for task in ("segmentation", "colorize", "inpaint")}
    with pytest.raises(PhotoError, match=rf"{what} has to be a square, .* this one is 40 x 30\. Crop it\."):
        call(np.full((30, 40, 3), 0.5, np.float32), models)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("weights", TASKS)
def test_weights_for_another_task_are_refused_with_both_names(make_model, task, weights):
    photo = np.full((64, 64, 3), 0.5, np.float32)
    model = make_model(256, weights)
    detector = [] if task == "restore" else None
    damage = np.ones((64, 64), np.float32)
    if task == weights:
        assert isinstance(run(task, photo, model, detector, damage=damage), Restoration)
        return
    with pytest.raises(GpenError) as caught:
        run(task, photo, model, detector, damage=damage)
    text = str(caught.value)
    assert text.startswith("made.pth is a GPEN 256 ")
    assert f"for the task {weights};" in text
    assert f"one for the task {task}, such as GPEN-" in text


def test_to_inpaint_without_a_mask(make_model):
    with pytest.raises(PhotoError, match="a mask is needed that is white"):
        run("inpaint", np.full((64, 64, 3), 0.5, np.float32), make_model(256, "inpaint"), [])


def test_restoring_is_what_it_was(solvay, passthrough, yunet):
    one, other = (call(solvay.photo, passthrough, yunet) for call in (restore, lambda *a: run("restore", *a)))
    assert np.array_equal(one.photo, other.photo)
    assert one.summary == other.summary == "29 faces restored."

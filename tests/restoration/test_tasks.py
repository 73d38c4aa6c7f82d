"""Synthesis, and what all tasks have in common: options, networks of other tasks, squares."""

from __future__ import annotations

import numpy as np
import pytest

from gpen.errors import GpenError, PhotoError
from gpen.options import Options
from gpen.restoration.api import colorize, inpaint, restore, run, synthesize
from gpen.restoration.result import Restoration
from gpen.tasks import TASKS
from tests.restoration.markers import LUMA, damage_of


def test_options_of_other_tasks_have_no_effect(photo_with_face, colorizer, inpainter):
    """They would undo the colours, or ask for a parser that the task does not need."""
    photo, faces = photo_with_face
    others = Options(color_match=True, upscale=2.0, mask="parsed", identity_guard=0.1)
    damage = damage_of(photo, (slice(120, 160), slice(130, 190)))
    filled = inpaint(photo, damage, inpainter, faces, others)
    assert np.array_equal(filled.photo, inpaint(photo, damage, inpainter, faces).photo)
    grey = np.repeat((photo @ LUMA)[..., None], 3, axis=2).astype(np.float32)
    still_coloured = colorize(grey, colorizer, faces, Options(color_match=True))
    assert np.array_equal(still_coloured.photo, colorize(grey, colorizer, faces).photo)


def test_a_map_is_limited_by_max_megapixels(make_model):
    labels = np.zeros((400, 400, 3), np.float32)
    model = make_model(256, "synthesize")
    assert run("segmentation", labels, model, None, Options(max_megapixels=0.2)).faces
    with pytest.raises(PhotoError, match=r"0\.16 megapixels, more than the 0\.1 allowed\. Choose a larger limit\."):
        run("segmentation", labels, model, None, Options(max_megapixels=0.1))


def test_a_network_of_unknown_task_is_used_for_any_task(make_model):
    known = make_model(256, "restore")
    unknown = type(known)(known.network, "restore", known.path, is_task_known=False)
    assert synthesize(np.zeros((64, 64, 3), np.float32), unknown).faces


def test_segmentation_maps_become_faces(make_model):
    rng = np.random.default_rng(0)
    palette = rng.uniform(0, 1, (19, 3)).astype(np.float32)
    labels = palette[rng.integers(0, 19, (32, 32))].repeat(16, axis=0).repeat(16, axis=1)
    result = synthesize(labels, make_model(256, "synthesize"))
    assert result.summary == "1 face made."
    # From 512 to 256 pixels, without mixing labels.
    assert np.abs(result.photo - labels[::2, ::2]).max() * 255 <= 0.01


def test_synthesis_networks_work_in_the_range_0_to_1(make_model):
    labels = np.full((64, 64, 3), 0.25, np.float32)
    model = make_model(256, "synthesize", color_matrix=(np.eye(3) * 2).tolist(), color_bias=(0.1, 0.2, 0.3))
    assert np.abs(synthesize(labels, model).photo - np.array([0.6, 0.7, 0.8])).max() <= 1e-4


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda photo, models: synthesize(photo, models["synthesize"]), "A segmentation map"),
        (lambda photo, models: colorize(photo, models["colorize"], None), "An aligned portrait"),
        (lambda photo, models: inpaint(photo, photo[..., 0], models["inpaint"], None), "An aligned portrait"),
    ],
)
def test_a_map_or_aligned_portrait_has_to_be_a_square(make_model, call, what):
    models = {task: make_model(256, task) for task in ("synthesize", "colorize", "inpaint")}
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
    assert f"for the task {weights}. Choose a model" in text
    assert f"a model for the task {task}, such as GPEN-" in text


def test_run_restore_equals_restore(solvay, passthrough, yunet):
    one, other = (call(solvay.photo, passthrough, yunet) for call in (restore, lambda *a: run("restore", *a)))
    assert np.array_equal(one.photo, other.photo)
    assert one.summary == other.summary == "29 faces restored."

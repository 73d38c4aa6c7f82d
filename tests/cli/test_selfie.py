"""`gpen restore --selfie`: the published preset in one flag; given options override it."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from gpen.images import read_picture
from gpen.images.resize import resize
from gpen.options import PRESETS
from tests.restoration.upscalers import known_output, known_upscaler


@pytest.fixture
def selfie(gpen, networks, album, tmp_path):
    """Run the command with a GPEN-BFR-2048 that inverts colours; returns photo, result and outcome."""
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(networks / "negative.pth", folder / "GPEN-BFR-2048.pth")
    shutil.copy(networks / "passthrough.pth", folder / "GPEN-BFR-512.pth")
    photo = album.add("a.png")

    def run(*arguments: object):
        known = ["--models-path", folder, "--faces", album.faces_file]
        outcome = gpen("restore", photo, "-o", tmp_path / "r.png", "--overwrite", *known, *arguments)
        assert outcome.code == 0, outcome.err
        return read_picture(photo, 1).photo, read_picture(tmp_path / "r.png", 1).photo, outcome

    return run


def restored(before: np.ndarray, after: np.ndarray) -> float:
    """The strength with which the face in the middle was inverted."""
    height, width = after.shape[:2]
    middle = slice(height // 2 - 6, height // 2 + 6), slice(width // 2 - 6, width // 2 + 6)
    base = resize(before, (width, height))[middle]
    change, full = after[middle] - base, (1 - base) - base
    return float((change * full).sum() / (full**2).sum())


def test_one_flag(selfie):
    before, after, run = selfie("--selfie")
    assert "(GPEN-BFR-2048.pth)" in run.out
    assert after.shape == (192, 224, 3)
    assert abs(restored(before, after) - 0.8) < 0.02
    corners = [0, 0, -1, -1], [0, -1, 0, -1]
    assert np.abs(after[corners] - resize(before, (224, 192))[corners]).max() * 255 <= 1.01


def test_given_options_override_it(selfie):
    before, after, run = selfie("--selfie", "--strength", 0.5, "--upscale", 1)
    assert "(GPEN-BFR-2048.pth)" in run.out
    assert after.shape == before.shape
    assert abs(restored(before, after) - 0.5) < 0.02
    _, after, run = selfie("--selfie", "--model", "GPEN-BFR-512")
    assert "(GPEN-BFR-512.pth)" in run.out
    assert after.shape == (192, 224, 3)


@pytest.mark.parametrize("scale", [2, 4])
def test_with_a_background_model(selfie, tmp_path, scale):
    model = known_upscaler(tmp_path / "upscaler.pth", scale)
    before, after, _ = selfie("--selfie", "--background-model", model)
    expected = resize(known_output(before, scale), (224, 192))
    assert after.shape == (192, 224, 3)
    assert np.abs(after - expected)[[0, 0, -1, -1], [0, -1, 0, -1]].max() * 255 <= 1.01


def test_without_the_model_the_error_names_it(gpen, album, tmp_path):
    photo = album.add("a.png")
    run = gpen("restore", photo, "-o", tmp_path / "out", "--selfie", "--faces", album.faces_file)
    assert run.code == 1
    assert "gpen download GPEN-BFR-2048" in run.err


def test_help_explains_it(gpen):
    text = " ".join(gpen("restore", "--help").out.split())
    assert f"--selfie {PRESETS['selfie'].help}" in text
    assert "--background-model FILE image upscaler" in text

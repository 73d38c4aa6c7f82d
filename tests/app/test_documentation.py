"""Takes the pictures of the page for docs/page.md; they are replaced where $GPEN_SCREENSHOTS is the checkout."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gpen.images import Picture, write_picture
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.app.conftest import YUNET, Serve
from tests.app.page import AppPage
from tests.documented import grey_portrait, group, portrait, save_small, write_models
from tests.video.clips import Clip, make

SHARPENS, CHANGES_NOTHING = "stand-in that sharpens.pth", "stand-in that changes nothing.pth"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, detector_weights: Path) -> Path:
    """A folder with stand-ins for trained models."""
    folder = tmp_path_factory.mktemp("models")
    write_models(folder, ["GPEN-BFR-512.pth", "GPEN-Inpainting-1024.pth"])
    shutil.copyfile(folder / "GPEN-BFR-512.pth", folder / SHARPENS)
    torch.save(synthetic_weights(Spec(512, 512, 2, 1 / 8)), folder / CHANGES_NOTHING)
    (folder / YUNET).write_bytes((detector_weights / YUNET).read_bytes())
    return folder


@pytest.fixture
def page(serve_session: Serve, browser: Any, models: Path) -> Iterator[AppPage]:
    page = AppPage(browser, serve_session("--models-path", models, "--device", "cpu").url)
    page.window.set_viewport_size({"width": 1400, "height": 900})
    yield page
    page.close()
    assert page.errors == []


def saved(samples: NDArray[np.uint8], file: Path) -> Path:
    write_picture(file, Picture(samples.astype("float32") / 255))
    return file


def shoot(page: AppPage, file: Path) -> None:
    page.window.wait_for_timeout(1000)  # until the picture has scrolled into view
    page.window.evaluate("window.scrollTo(0, 0)")
    page.window.mouse.move(1, 1)
    page.window.wait_for_timeout(500)
    save_small(page.window.screenshot(), file)


def test_a_portrait_is_restored(page: AppPage, tmp_path: Path, screenshots: Path) -> None:
    page.choose("weights", "Standard 512")
    page.drop(saved(portrait(), tmp_path / "portrait.png"))
    page.wait_for("1 face found")
    page.click("run")
    page.wait_for("1 face restored")
    shoot(page, screenshots / "docs" / "app.png")


def test_masks_are_painted(page: AppPage, tmp_path: Path, screenshots: Path) -> None:
    page.window.locator("#gpen-task").get_by_text("Fill in damage").click()
    page.drop(saved(portrait(), tmp_path / "portrait.png"))
    page.wait_for("Paint over the damage.")
    box = page.window.locator(".gv-sheet").bounding_box()
    for kind, strokes in {
        "Damage": [[(0.38, 0.36), (0.52, 0.44), (0.58, 0.6)], [(0.3, 0.2), (0.36, 0.5)]],
        "Protect": [[(0.86, 0.25), (0.87, 0.9)]],
    }.items():
        page.window.get_by_role("button", name=kind, exact=True).click()
        for stroke in strokes:
            places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in stroke]
            page.window.mouse.move(*places[0])
            page.window.mouse.down()
            for place in places[1:]:
                page.window.mouse.move(*place, steps=8)
            page.window.mouse.up()
    shoot(page, screenshots / "docs" / "app-brush.png")


def test_models_are_compared(page: AppPage, tmp_path: Path, screenshots: Path) -> None:
    page.drop(saved(portrait(), tmp_path / "portrait.png"))
    page.wait_for("1 face found")
    page.window.get_by_role("button", name="Compare models").click()
    for model in (SHARPENS, CHANGES_NOTHING):
        page.window.locator("#gpen-compared").get_by_label(model, exact=True).check()
    page.click("compare-run")
    page.wait_for("2 models side by side")
    page.window.get_by_role("button", name="Look at face 1").click()
    shoot(page, screenshots / "docs" / "app-compare.png")


def test_a_batch_is_shown_in_a_table(page: AppPage, tmp_path: Path, screenshots: Path) -> None:
    pictures = {"portrait.png": portrait(), "group.png": group(), "grey.png": grey_portrait()}
    files = [saved(samples, tmp_path / name) for name, samples in pictures.items()]
    (tmp_path / "notes.png").write_bytes(b"no picture")
    frame = cv2.resize(portrait(), (360, 288), interpolation=cv2.INTER_AREA)
    files.append(make(tmp_path / "film.mp4", Clip(frames=8, picture=lambda number: np.roll(frame, number, axis=1))))
    page.choose("weights", "Standard 512")
    page.window.get_by_role("tab", name="Many photos").click()
    page.window.locator("#gpen-files input[type=file]").first.set_input_files([*files, tmp_path / "notes.png"])
    page.window.get_by_text("notes").first.wait_for()
    page.click("run-all")
    page.wait_for("5 files: 4 restored, 1 failed.", "batch-said")
    shoot(page, screenshots / "docs" / "app-batch.png")

"""The page while its network is at work: Stop, and visitors who wait for their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpen.images import read_picture
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.app.conftest import SOLVAY, YUNET, Serve, Served, visits
from tests.app.page import AppPage
from tests.app.test_films import FACE_FROM, face
from tests.video.clips import Clip, make


@pytest.fixture(scope="module")
def slow_app(serve_session: Serve, detector_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A page whose only network takes much longer for the faces of the Solvay photo than a press of a button."""
    folder = tmp_path_factory.mktemp("slow")
    torch.save(synthetic_weights(Spec(512, 512, 2, 1 / 2)), folder / "slow.pth")
    (folder / YUNET).write_bytes((detector_weights / YUNET).read_bytes())
    return serve_session("--models-path", folder, "--device", "cpu")


@pytest.fixture
def visit(slow_app: Served, browser: Any) -> Iterator[Callable[[], AppPage]]:
    yield from visits(slow_app, browser)


def begin(page: AppPage, photos: Path) -> None:
    """Have the network at work, with many faces to do."""
    page.drop(photos / SOLVAY)
    page.wait_for("29 faces found")
    page.click("run")
    page.window.get_by_text("of 29 faces").first.wait_for(timeout=60_000)


def test_stop_keeps_the_finished_faces(visit: Callable[[], AppPage], photos: Path) -> None:
    page = visit()
    begin(page, photos)
    page.click("stop")
    assert "29 faces restored" not in page.wait_for("skipped")


def test_several_visitors_queue(visit: Callable[[], AppPage], photos: Path, portrait: Path, tmp_path: Path) -> None:
    pages = [visit() for _ in range(3)]
    for one in pages:
        one.drop(portrait)
    for one in pages:
        one.wait_for("faces found")
    # One of them sets another strength: everybody gets their own result.
    pages[1].set("strength", 0.0)
    begin(visit(), photos)
    for one in pages:
        one.click("run")
    pages[2].window.get_by_text("queue").first.wait_for(timeout=20_000)
    for one in pages:
        one.wait_for("faces restored", timeout=240_000)
    before = read_picture(portrait, 10).photo
    results = [read_picture(one.download(tmp_path), 10).photo for one in pages]
    assert np.array_equal(results[1], before)
    assert np.array_equal(results[0], results[2])
    assert not np.array_equal(results[0], before)
    assert np.abs(results[0] - before).mean() < 0.02


def test_a_stopped_batch_says_which_photos_are_not_done(
    visit: Callable[[], AppPage], portrait: Path, tmp_path: Path
) -> None:
    for number in range(12):
        (tmp_path / f"{number:02d}.png").write_bytes(portrait.read_bytes())
    page = visit()
    page.window.get_by_role("tab", name="Many photos").click()
    page.window.locator("#gpen-files input[type=file]").first.set_input_files(sorted(tmp_path.glob("*.png")))
    page.window.get_by_text("11").first.wait_for()
    page.click("run-all")
    page.window.locator('.gb [data-kind="done"]').first.wait_for(timeout=60_000)
    assert "of 12 photos, about" in page.window.locator("#gpen-batch-said").inner_text()
    page.click("stop-all")
    assert "Stopped: the others are not in the zip." in page.wait_for("Stopped", "batch-said")
    kinds = [row.get_attribute("data-kind") for row in page.window.locator(".gb tbody tr").all()]
    statuses = page.window.locator(".gb-status").all_inner_texts()
    assert len(kinds) == 12
    assert "working" not in kinds
    assert statuses == ["restored"] * kinds.count("done") + ["stopped"] * kinds.count("waiting")
    assert kinds.count("waiting")


def test_stop_ends_a_film(visit: Callable[[], AppPage], tmp_path: Path) -> None:
    long = make(tmp_path / "long.mp4", Clip(frames=200, picture=lambda number: face(number + FACE_FROM)))
    letter = tmp_path / "letter.mov"
    letter.write_bytes(b"Dear all, this is no film." * 20)
    page = visit()
    page.window.get_by_role("tab", name="Many photos").click()
    page.window.locator("#gpen-files input[type=file]").first.set_input_files([long, letter])
    page.window.get_by_text("letter").first.wait_for()
    page.click("run-all")
    page.window.locator(".gb").get_by_text("frames per second").first.wait_for()
    page.click("stop-all")
    assert "Stopped" in page.toast()
    statuses = page.window.locator(".gb-status").all_inner_texts()
    assert "stopped" in statuses
    assert "restored" not in statuses

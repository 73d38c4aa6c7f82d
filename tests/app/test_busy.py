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

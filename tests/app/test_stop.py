"""Stop on the page, in headless Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.app.conftest import SOLVAY, YUNET, Serve
from tests.app.page import AppPage


@pytest.fixture
def slow_page(
    serve_session: Serve, browser: Any, detector_weights: Path, photos: Path, tmp_path: Path
) -> Iterator[AppPage]:
    """A page whose only network takes much longer for the faces of the Solvay photo than a press of a button."""
    torch.save(synthetic_weights(Spec(512, 512, 2, 1 / 2)), tmp_path / "slow.pth")
    (tmp_path / YUNET).write_bytes((detector_weights / YUNET).read_bytes())
    page = AppPage(browser, serve_session("--models-path", tmp_path, "--device", "cpu").url)
    yield page
    page.close()
    assert page.errors == []


def test_stop_keeps_the_finished_faces(slow_page: AppPage, photos: Path) -> None:
    slow_page.drop(photos / SOLVAY)
    slow_page.wait_for("29 faces found")
    slow_page.click("run")
    slow_page.window.get_by_text("of 29 faces").first.wait_for(timeout=60_000)
    slow_page.click("stop")
    assert "29 faces restored" not in slow_page.wait_for("skipped")

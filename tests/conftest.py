"""Fixtures for the files beside the checkout, which are never committed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read when PyTorch loads: on a busy machine, threads that spin while waiting slow the tests down many times.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip the tests marked ``cuda`` where there is no such device."""
    marked = [item for item in items if item.get_closest_marker("cuda")]
    if marked:
        import torch

        if not torch.cuda.is_available():
            for item in marked:
                item.add_marker(pytest.mark.skip(reason="there is no CUDA device"))


@pytest.fixture(params=["OpenCV", "PyTorch"])
def each_implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Runs a test as on a CPU, and with the operations that other devices use."""
    if request.param == "PyTorch":
        from gpen.images import tensors

        monkeypatch.setattr(tensors, "on_cpu", lambda picture: False)
    return str(request.param)


def _folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"needs the folder {path.name}/ of shared/ beside the checkout")
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photos, weights and references beside the checkout."""
    return _folder(SHARED)


@pytest.fixture(scope="session")
def photos(shared: Path) -> Path:
    return _folder(shared / "photos")


@pytest.fixture(scope="session")
def detector_weights(shared: Path) -> Path:
    return _folder(shared / "weights")

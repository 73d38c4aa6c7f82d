"""Fixtures for the files beside the checkout that are never committed to it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Read when PyTorch loads: threads that wait by spinning take many times as long on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


def _folder(path: Path) -> Path:
    if not path.is_dir():
        pytest.skip(f"needs the folder {path.name}/ of shared/ beside the checkout")
    return path


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of photographs, weights and references beside the checkout."""
    return _folder(SHARED)


@pytest.fixture(scope="session")
def photos(shared: Path) -> Path:
    return _folder(shared / "photos")


@pytest.fixture(scope="session")
def detector_weights(shared: Path) -> Path:
    return _folder(shared / "weights")

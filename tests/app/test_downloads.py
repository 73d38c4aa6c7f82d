"""Models that come to the page: downloads can be switched off, and files that a visitor adds replace no others."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gpen.app.engine import Engine, ModelLocator
from gpen.errors import FilesError, GpenError
from gpen.weights.downloads import OFF_VARIABLE


@pytest.fixture
def handlers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The handlers of a page whose models are in a folder of that name."""
    actions = pytest.importorskip("gpen.app.model_actions", reason="needs gradio: run make test-app")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "models").mkdir()
    engine = Engine(ModelLocator((tmp_path / "models",)), "cpu")
    yield actions.ModelActions(engine)
    engine.close()


def test_switched_off(handlers: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFF_VARIABLE, "1")
    with pytest.raises(GpenError, match=OFF_VARIABLE):
        handlers.download_model("restore", None, None, None, "yunet", True)
    with pytest.raises(GpenError, match=OFF_VARIABLE):
        handlers.download_needed("restore", None, None, None, True)
    assert list(tmp_path.rglob("*")) == [tmp_path / "models"]


@pytest.fixture
def add(handlers: Any, tmp_path: Path) -> Callable[[Path], None]:
    """Add a copy of a model file as "mine.pth"."""

    def add(model: Path) -> None:
        (tmp_path / "upload").mkdir(exist_ok=True)
        upload = tmp_path / "upload" / "mine.pth"
        upload.write_bytes(model.read_bytes())
        handlers.add_model("restore", None, None, None, str(upload))

    return add


def test_a_model_of_the_same_name_is_not_replaced(add: Callable[[Path], None], weights: Path, tmp_path: Path) -> None:
    add(weights / "small.pth")
    add(weights / "small.pth")
    with pytest.raises(FilesError, match=r"^Another file of the name mine\.pth is in "):
        add(weights / "passthrough.pth")
    assert (tmp_path / "models" / "mine.pth").read_bytes() == (weights / "small.pth").read_bytes()


def test_a_full_disk_is_told(add: Callable[[Path], None], weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    with pytest.raises(FilesError, match=r"mine\.pth cannot be written: No space left on device"):
        add(weights / "small.pth")

"""Downloads from the page can be switched off."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpen.app.engine import Engine, ModelLocator
from gpen.errors import GpenError
from gpen.weights.downloads import OFF_VARIABLE


def test_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    actions = pytest.importorskip("gpen.app.actions", reason="needs gradio: run make test-app")
    monkeypatch.setenv(OFF_VARIABLE, "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    page = actions.Actions(Engine(ModelLocator((tmp_path,)), "cpu"), actions.Limits(10**6, 1), tmp_path)
    try:
        with pytest.raises(GpenError, match=OFF_VARIABLE):
            page.download_model("restore", None, "yunet", True)
    finally:
        page.close()
    assert list(tmp_path.iterdir()) == []

"""Downloads from the page can be switched off."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpen.app.engine import Engine, ModelLocator
from gpen.errors import GpenError
from gpen.weights.downloads import OFF_VARIABLE


def test_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers = pytest.importorskip("gpen.app.model_actions", reason="needs gradio: run make test-app")
    monkeypatch.setenv(OFF_VARIABLE, "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = Engine(ModelLocator((tmp_path,)), "cpu")
    try:
        with pytest.raises(GpenError, match=OFF_VARIABLE):
            handlers.ModelActions(engine).download_model("restore", None, None, None, "yunet", True)
        with pytest.raises(GpenError, match=OFF_VARIABLE):
            handlers.ModelActions(engine).download_needed("restore", None, None, None, True)
    finally:
        engine.close()
    assert list(tmp_path.iterdir()) == []

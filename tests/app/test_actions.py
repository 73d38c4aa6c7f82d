"""What visitors and programs do to one another: Stop, and calls of the API."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import unquote

import pytest

from gpen.app.engine import Engine, ModelLocator
from gpen.app.session import MOST_SESSIONS, WorkRequest, open_photo
from gpen.options import OPTIONS, Options
from gpen.tasks import RESTORE


@pytest.fixture
def actions(weights: Path, tmp_path: Path) -> Iterator[Any]:
    module = pytest.importorskip("gpen.app.actions", reason="needs gradio: run make test-app")
    engine = Engine(ModelLocator((weights,)), "cpu")
    yield module.Actions(engine, module.Limits(10_000_000, 100), tmp_path)
    engine.close()


def test_a_run_that_was_stopped_does_not_go_on_when_another_begins(actions: Any) -> None:
    visitor = SimpleNamespace(session_hash="one")
    actions.begin(visitor)
    first = actions.stop_of(visitor)
    actions.stop(visitor)
    # "Restore all" is pressed while the first run is at a face that takes its time.
    actions.begin(visitor)
    assert first.is_set()
    assert not actions.stop_of(visitor).is_set()


def test_stop_ends_all_runs_of_the_visitor_and_nobody_elses(actions: Any) -> None:
    visitor, other = SimpleNamespace(session_hash="one"), SimpleNamespace(session_hash="other")
    actions.begin(visitor)
    first = actions.stop_of(visitor)
    actions.begin(visitor)
    actions.begin(other)
    actions.stop(visitor)
    assert first.is_set()
    assert actions.stop_of(visitor).is_set()
    assert not actions.stop_of(other).is_set()


def test_calls_of_the_api_leave_open_photos_and_batches_of_the_page_alone(
    actions: Any, portrait: Path, tmp_path: Path
) -> None:
    key = actions.sessions.put(open_photo(portrait, tmp_path, 100))
    given = [None, None, None, False, SimpleNamespace(session_hash="one"), False, ""]
    controls = [OPTIONS[name].default for name in sys.modules["gpen.app.actions"].CONTROLS]
    *_, (table, _, _) = actions.restore_photos([str(portrait)], "small.pth", *given, "restore", *controls)
    result = Path(unquote(table["rows"][0]["file"].partition("file=")[2].partition("?")[0]))
    photo = WorkRequest(task=RESTORE, options=Options(), model="small.pth")
    batch = actions.batch_request("restore", [str(portrait)], "small.pth", Options(), None, None, None, False)
    for _ in range(MOST_SESSIONS):
        file, _ = actions.restore_file(str(portrait), photo)
        assert Path(file).is_file()
    for _ in range(5):
        assert actions.batch(batch).path.is_file()
    assert actions.sessions.get(key).before.is_file()
    assert result.is_file()
    # Nor do they fill the disk.
    assert len(list(tmp_path.iterdir())) < 8

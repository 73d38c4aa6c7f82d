"""Stop: whose runs it ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpen.app.engine import Engine, ModelLocator


@pytest.fixture
def actions(tmp_path: Path) -> Iterator[Any]:
    module = pytest.importorskip("gpen.app.actions", reason="needs gradio: run make test-app")
    engine = Engine(ModelLocator((tmp_path,)), "cpu")
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

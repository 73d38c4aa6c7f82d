"""A task that was added with one row and one processor is on the page and in its API."""

from __future__ import annotations

from pathlib import Path

import pytest

from gpen import tasks
from gpen.app.engine import Engine, ModelLocator
from gpen.restoration import processors
from tests.fifth_task import darken


def test_the_page_and_its_api_offer_it(tmp_path: Path) -> None:
    pytest.importorskip("gradio")
    from gpen.app.actions import Actions, Limits
    from gpen.app.page import build_page

    actions = Actions(Engine(ModelLocator((tmp_path,)), "cpu"), Limits(10**6, 1), tmp_path)
    with darken(tasks, processors):
        page = build_page(actions)
        named = page.get_api_info()["named_endpoints"]
    assert {"/darken", "/darken_many"} <= set(named)
    parameters = {each["parameter_name"] for each in named["/darken"]["parameters"]}
    assert {"aligned", "strength", "mask", "select"} <= parameters
    assert parameters.isdisjoint({"damage", "upscale", "color_match", "identity_guard"})
    (dropdown,) = (block for block in page.blocks.values() if getattr(block, "elem_id", None) == "gpen-task")
    assert ("Darken", "darken") in dropdown.choices
    actions.close()

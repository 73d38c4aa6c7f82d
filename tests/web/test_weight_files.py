"""Model files on the page: wrong ones are explained, new ones are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gpen.errors import GpenError
from gpen.weights.checkpoint import load_model
from tests.hosts.comfyui.graphs import PASSTHROUGH, GraphBuilder
from tests.hosts.comfyui.server import ComfyUIServer
from tests.web.comfyui_page import ComfyUIPage
from tests.web.conftest import Parts


@pytest.fixture
def add_network(comfyui: ComfyUIServer) -> Iterator[Callable[[str, Path], Path]]:
    """Copies a file into the server's folder of models, under a name; it is removed when the test ends."""
    added: list[Path] = []

    def add(name: str, file: Path) -> Path:
        added.append(comfyui.add_model(f"facerestore_models/{name}", file))
        return added[-1]

    yield add
    for file in added:
        file.unlink()


def test_a_wrong_file_is_explained(
    page: ComfyUIPage,
    graph: GraphBuilder,
    add_network: Callable[[str, Path], Path],
    parts: Parts,
    tmp_path: Path,
    screenshots: Path,
) -> None:
    wrong = tmp_path / "wrong.pth"
    wrong.write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    with pytest.raises(GpenError) as refused:
        load_model(add_network("wrong.pth", wrong))
    sentence = str(refused.value)
    model = graph.add("GPENLoadModel", model_name="wrong.pth")
    detector = graph.add("GPENLoadFaceDetector")
    photo = graph.photo(parts.left, "left.png")
    graph.show(graph.add("GPENRestoreFaces", image=photo, model=model, detector=detector))
    page.load(graph.graph)
    ended = page.run()
    assert ended["name"] == "execution_error"
    explained = page.window.get_by_text(sentence).first
    # Newer frontends hide the message behind a button at first.
    details = page.window.get_by_role("button", name="View details").first
    explained.or_(details).first.wait_for()
    if not explained.is_visible():
        details.click()
    explained.wait_for()
    page.window.screenshot(path=screenshots / "wrong model file.png")
    assert ended["exception_message"].strip() == sentence


def test_refresh_finds_a_new_file(
    page: ComfyUIPage,
    graph: GraphBuilder,
    add_network: Callable[[str, Path], Path],
    synthetic_models: dict[str, Path],
) -> None:
    graph.add("GPENLoadModel", model_name=PASSTHROUGH)
    page.load(graph.graph)
    choices = "node.widgets.find((widget) => widget.name === 'model_name').options.values"
    assert "new.safetensors" not in page.node("GPENLoadModel", choices)
    add_network("new.safetensors", synthetic_models[f"facerestore_models/{PASSTHROUGH}"])
    page.window.locator("#graph-canvas").focus()
    page.window.keyboard.press("r")
    page.window.wait_for_function(
        "app.graph.nodes.some((node) => node.widgets?.some((widget) => "
        "widget.options?.values?.includes?.('new.safetensors')))"
    )
    assert page.widget("GPENLoadModel", "model_name") == PASSTHROUGH

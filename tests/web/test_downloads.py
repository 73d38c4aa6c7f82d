"""From an empty installation to a restored picture in ComfyUI's page, from a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gpen.network.spec import Spec
from gpen.network.synthetic import SHARPEN, synthetic_weights
from tests.hosts.comfyui.first_use import DETECTOR, FILES, NETWORK, start_without_models
from tests.hosts.comfyui.server import ComfyUIServer
from tests.web.comfyui_page import SETTINGS, ComfyUIPage
from tests.web.conftest import Parts
from tests.web.test_workflows import FILES as WORKFLOWS
from tests.weights.conftest import Site

RESTORE, ONE_NODE = (
    next(file for file in WORKFLOWS if file.stem == name)
    for name in ("Restore a portrait", "Restore a photo with one node")
)


class Clicks:
    """Counts what the user clicks."""

    def __init__(self, page: ComfyUIPage) -> None:
        self.number = 0
        page.window.expose_function("gpenCountClick", self._count)
        page.window.evaluate("addEventListener('pointerdown', () => gpenCountClick(), true)")

    def _count(self) -> None:
        self.number += 1


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    file = tmp_path_factory.mktemp("network") / "network.pth"
    torch.save(synthetic_weights(Spec(512, 512, 2, 1 / 8), kernel=SHARPEN), file)
    return file.read_bytes()


@pytest.fixture
def site(network: bytes, synthetic_models: dict[str, Path]) -> Iterator[Site]:
    site = Site()
    site.add("/network", network)
    site.add("/detector", synthetic_models[FILES[DETECTOR]].read_bytes())
    yield site
    site.close()


OpenEmpty = Callable[..., ComfyUIPage]


@pytest.fixture
def open_empty(
    start_comfyui: Callable[..., ComfyUIServer], browser: Any, site: Site, parts: Parts, network: bytes
) -> Iterator[OpenEmpty]:
    """Opens the page of a server without models. network: further facts of the 512 in its catalogue."""
    opened: list[ComfyUIPage] = []

    def open(environment: dict[str, str] | None = None, **facts: Any) -> ComfyUIPage:
        at_site = {"addresses": (site.url("/network"),), "size": len(network), **facts}
        changes = {NETWORK: at_site, DETECTOR: {"addresses": (site.url("/detector"),)}}
        server = start_without_models(start_comfyui, changes, environment=environment or {})
        server.upload_image(parts.left, "example.png")
        server.post("/settings", SETTINGS)
        opened.append(ComfyUIPage(browser, server))
        opened[-1].clear()
        return opened[-1]

    yield open
    for page in opened:
        # The page reports a refused prompt as an error, which passes through our script.
        assert [error for error in page.our_errors() if not error.startswith("PromptExecutionError")] == []
        page.close()
        page.server.stop()


def files_of(page: ComfyUIPage) -> list[str]:
    models = page.server.base_dir / "models"
    return sorted(str(file.relative_to(models)) for file in models.rglob("*") if file.is_file())


def button_of(page: ComfyUIPage, type: str) -> str | None:
    """What the button of a node says; None without one."""
    name = page.node(type, "node.widgets.find((widget) => widget.type === 'button')?.name")
    return None if name is None else str(name)


def wait_for_button(page: ComfyUIPage, type: str, there: bool = True) -> None:
    page.window.wait_for_function(
        "([type, there]) => app.graph.nodes.some((node) => node.type === type && "
        "node.widgets.some((widget) => widget.type === 'button') === there)",
        arg=[type, there],
    )


def click_button(page: ComfyUIPage, type: str) -> None:
    """Click the button of a node with the mouse, where it is on the canvas."""
    page.settle()
    page.settle()
    x, y = page.node(
        type,
        "(() => { const widget = node.widgets.find((widget) => widget.type === 'button');"
        " const { x, y } = app.canvas.canvas.getBoundingClientRect(), { scale, offset } = app.canvas.ds;"
        " return [x + (node.pos[0] + node.size[0] / 2 + offset[0]) * scale,"
        " y + (node.pos[1] + widget.last_y + 10 + offset[1]) * scale]; })()",
    )
    # While the page opens a workflow, a veil lies over the canvas, and fades.
    page.window.wait_for_function("([x, y]) => document.elementFromPoint(x, y) === app.canvas.canvas", arg=[x, y])
    page.window.mouse.click(x, y)


def accept(page: ComfyUIPage) -> Any:
    return page.window.locator(".gpen-downloads .gpen-accept")


def dialog(page: ComfyUIPage) -> Any:
    return page.window.locator("dialog.gpen-downloads")


def download_both(page: ComfyUIPage, screenshot: Path) -> None:
    """In the window that a run opens, accept a network and a detector, which are there then."""
    dialog(page).wait_for()
    page.window.screenshot(path=screenshot)
    assert accept(page).inner_text().startswith("Accept and download both")
    accept(page).click()
    dialog(page).wait_for(state="detached")
    assert files_of(page) == [FILES[DETECTOR], FILES[NETWORK]]


def test_three_clicks_from_nothing_to_a_restored_picture(
    open_empty: OpenEmpty, site: Site, parts: Parts, network: bytes, screenshots: Path
) -> None:
    page = open_empty(sha256=hashlib.sha256(network).hexdigest())
    clicks = Clicks(page)
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    size = (len(network) + 232_589) / 1e6
    label = f"Download both, {size:.0f} MB"
    assert button_of(page, "GPENLoadModel") == button_of(page, "GPENLoadFaceDetector") == label
    page.resize("GPENLoadModel", 340, left=700, top=300)
    page.window.screenshot(path=screenshots / "without models.png")

    with_button = page.node("GPENLoadModel", "node.size[1]")
    click_button(page, "GPENLoadModel")
    dialog(page).wait_for()
    assert "non-commercial" in dialog(page).inner_text()
    assert "MIT (OpenCV Zoo)" in dialog(page).inner_text()
    assert accept(page).inner_text() == f"Accept and download both, {size:.0f} MB"
    page.window.screenshot(path=screenshots / "licences.png")
    # Nothing was fetched before the click.
    assert site.requests == []
    assert files_of(page) == []

    gate = site.resources["/network"].gate = threading.Event()
    accept(page).click()
    assert site.resources["/network"].waiting.wait(20)
    dialog(page).get_by_text(f"{NETWORK}: 0.0 MB of").wait_for()
    assert dialog(page).get_by_text("yunet: waiting").is_visible()
    page.window.screenshot(path=screenshots / "progress.png")
    gate.set()
    dialog(page).wait_for(state="detached")
    assert files_of(page) == [FILES[DETECTOR], FILES[NETWORK]]
    wait_for_button(page, "GPENLoadModel", there=False)
    assert button_of(page, "GPENLoadFaceDetector") is None

    assert page.node("GPENLoadModel", "node.size[1]") < with_button
    page.run_to_end()
    assert clicks.number == 3
    restored = page.pictures("GPENRestoreFaces")[0]
    assert restored.shape == parts.left.shape
    assert not np.array_equal(restored, parts.left)


def test_an_interrupted_download_goes_on(open_empty: OpenEmpty, site: Site) -> None:
    page = open_empty()
    received = 300_000
    site.resources["/network"].cuts = [received, 0]
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    click_button(page, "GPENLoadModel")
    accept(page).click()
    dialog(page).get_by_text("broke off").wait_for()
    assert FILES[NETWORK] not in files_of(page)
    assert FILES[DETECTOR] in files_of(page)
    accept(page).click()
    dialog(page).wait_for(state="detached")
    assert site.requests[-1].headers["Range"] == f"bytes={received}-"
    assert files_of(page) == [FILES[DETECTOR], FILES[NETWORK]]


def test_stop_and_a_reload(open_empty: OpenEmpty, site: Site) -> None:
    page = open_empty()
    gate = site.resources["/network"].gate = threading.Event()
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    click_button(page, "GPENLoadModel")
    accept(page).click()
    assert site.resources["/network"].waiting.wait(20)
    # The download does not need the page, which shows it again.
    page.reload()
    page.clear()
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    click_button(page, "GPENLoadModel")
    stop = dialog(page).get_by_role("button", name="Stop")
    stop.wait_for()
    stop.click()
    gate.set()
    dialog(page).get_by_text(f"{NETWORK}: stopped").wait_for()
    assert FILES[NETWORK] not in files_of(page)
    page.window.keyboard.press("Escape")
    dialog(page).wait_for(state="detached")


def test_a_wrong_hash_is_refused(open_empty: OpenEmpty, screenshots: Path) -> None:
    page = open_empty(sha256="0" * 64)
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadFaceDetector")
    click_button(page, "GPENLoadModel")
    accept(page).click()
    dialog(page).get_by_text("a damaged or different file").wait_for()
    page.window.screenshot(path=screenshots / "wrong hash.png")
    assert files_of(page) == [FILES[DETECTOR]]


def test_switched_off(open_empty: OpenEmpty, site: Site, screenshots: Path) -> None:
    page = open_empty(environment={"GPEN_NO_DOWNLOADS": "1"})
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    click_button(page, "GPENLoadModel")
    dialog(page).get_by_text("switched off on this computer by the environment variable GPEN_NO_DOWNLOADS").wait_for()
    assert accept(page).is_disabled()
    page.window.screenshot(path=screenshots / "switched off.png")
    assert site.requests == []


def test_a_run_without_models_offers_them(open_empty: OpenEmpty, screenshots: Path) -> None:
    page = open_empty()
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    page.press_run()
    download_both(page, screenshots / "run without models.png")


def test_a_failed_run_of_one_node_offers_all_that_it_lacks(open_empty: OpenEmpty, screenshots: Path) -> None:
    page = open_empty()
    page.drop(ONE_NODE)
    assert page.run()["name"] == "execution_error"
    download_both(page, screenshots / "one node without models.png")
    page.window.keyboard.press("Escape")  # older versions of the page show the error in a window
    page.run_to_end()


def test_a_failed_run_offers_what_its_error_names(open_empty: OpenEmpty, network: bytes, tmp_path: Path) -> None:
    page = open_empty()
    (tmp_path / "network.pth").write_bytes(network)
    page.server.add_model(FILES[NETWORK], tmp_path / "network.pth")
    page.drop(RESTORE)
    assert page.run()["name"] == "execution_error"
    dialog(page).wait_for()
    assert accept(page).inner_text() == "Accept and download yunet, 0.2 MB"
    accept(page).click()
    dialog(page).wait_for(state="detached")
    assert files_of(page) == [FILES[DETECTOR], FILES[NETWORK]]


def test_a_node_added_to_an_empty_installation(open_empty: OpenEmpty) -> None:
    page = open_empty()
    add = "app.graph.add(LiteGraph.createNode('GPENLoadModel'))"
    page.window.evaluate(f"() => {{ {add}; }}")
    wait_for_button(page, "GPENLoadModel")
    assert not page.widget("GPENLoadModel", "model_name")
    page.resize("GPENLoadModel", 340, left=700, top=300)
    click_button(page, "GPENLoadModel")
    # Only one of both.
    dialog(page).locator('[data-model="yunet"]').uncheck()
    assert accept(page).inner_text().startswith(f"Accept and download {NETWORK}, ")
    accept(page).click()
    dialog(page).wait_for(state="detached")
    assert files_of(page) == [FILES[NETWORK]]
    assert page.widget("GPENLoadModel", "model_name") == Path(FILES[NETWORK]).name
    assert button_of(page, "GPENLoadModel") == "Download yunet, 0.2 MB"
    # What is saved holds the widgets that the server knows.
    values = page.node("GPENLoadModel", "node.serialize().widgets_values")
    assert values == [Path(FILES[NETWORK]).name, "auto"]


def test_any_model_can_be_chosen(open_empty: OpenEmpty) -> None:
    page = open_empty()
    page.window.evaluate("app.extensionManager.command.execute('GPEN.DownloadModels')")
    dialog(page).wait_for()
    assert dialog(page).locator("input").count() > 10
    assert accept(page).is_disabled()
    dialog(page).locator('[data-model="yunet"]').check()
    accept(page).click()
    dialog(page).wait_for(state="detached")
    assert files_of(page) == [FILES[DETECTOR]]


def test_the_language_of_the_page(open_empty: OpenEmpty) -> None:
    page = open_empty()
    page.set("Comfy.Locale", "zh")
    page.reload()
    page.clear()
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    assert str(button_of(page, "GPENLoadModel")).startswith("下载两个文件, ")


def test_the_button_in_the_newer_renderer(open_empty: OpenEmpty, screenshots: Path) -> None:
    page = open_empty()
    page.drop(RESTORE)
    wait_for_button(page, "GPENLoadModel")
    page.resize("GPENLoadModel", 340, left=700, top=300)
    # Not before: some versions show no node of a workflow that is dropped then.
    page.set("Comfy.VueNodes.Enabled", True)
    node = page.window.locator(f'.lg-node[data-node-id="{page.node("GPENLoadModel", "node.id")}"]')
    node.get_by_text("Download both").wait_for()
    page.window.screenshot(path=screenshots / "newer renderer.png")
    # Some versions write what it does above the button.
    node.locator("button:has-text('Download both'), div:has(> label:has-text('Download both')) button").first.click()
    accept(page).click()
    dialog(page).wait_for(state="detached")
    page.run_to_end()

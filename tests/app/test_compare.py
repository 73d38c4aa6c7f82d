"""Models side by side on the page, and a background model."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpen.app.batch import BatchRequest, run_batch
from gpen.app.engine import Engine, ModelLocator
from gpen.errors import FilesError
from gpen.images import read_picture
from gpen.options import Options
from gpen.restoration.upscaler import looks_like_upscaler
from gpen.tasks import TASKS
from tests.app.conftest import Serve, Served
from tests.app.page import AppPage
from tests.restoration.upscalers import known_upscaler

MODELS = ("small.pth", "small-colours.pth", "passthrough.pth")


def compare(page: AppPage, portrait: Path, models: tuple[str, ...] = MODELS) -> None:
    page.drop(portrait)
    page.wait_for("5 faces found")
    page.window.get_by_role("button", name="Compare models").click()
    for model in models:
        page.window.locator("#gpen-compared").get_by_label(model, exact=True).check()
    page.click("compare-run")


def place(page: AppPage, number: int) -> tuple[float, float, float]:
    """Where in its pane a result lies, and how wide it is."""
    pane = page.window.locator(".gv-pane").nth(number)
    box, sheet = pane.bounding_box(), pane.locator(".gv-sheet").bounding_box()
    return sheet["x"] - box["x"], sheet["y"] - box["y"], sheet["width"]


def test_three_models_are_seen_at_the_same_place_and_one_is_kept(
    page: AppPage, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path, screenshots: Path
) -> None:
    compare(page, portrait)
    page.wait_for("3 models side by side")
    panes = page.window.locator(".gv-pane")
    assert [pane.get_attribute("aria-label") for pane in panes.all()] == list(MODELS)
    fitted = place(page, 0)
    middle = panes.nth(1).bounding_box()
    page.window.mouse.move(middle["x"] + 100, middle["y"] + 200)
    page.window.mouse.wheel(0, -200)
    page.window.wait_for_timeout(200)
    page.window.mouse.down()
    page.window.mouse.move(middle["x"] + 60, middle["y"] + 150, steps=4)
    page.window.mouse.up()
    places = [place(page, number) for number in range(3)]
    assert places[0][2] > 1.3 * fitted[2]
    for other in places[1:]:
        assert other == pytest.approx(places[0], abs=1)
    page.window.screenshot(path=screenshots / "compare.png")
    results = [page.window.locator(".gv-pane-after").nth(number).get_attribute("src") for number in range(3)]
    assert len(set(results)) == 3
    page.window.get_by_role("button", name="Keep the result of small-colours.pth").click()
    page.wait_for("5 faces restored.")
    assert panes.count() == 0
    page.window.wait_for_function("document.querySelector('#gpen-weights input').value === 'small-colours.pth'")
    kept = tmp_path / "kept.png"
    kept.write_bytes(page.download(tmp_path).read_bytes())
    expected = tmp_path / "expected.png"
    expected.write_bytes(from_command(portrait, "--model", "small-colours.pth"))
    assert np.array_equal(read_picture(kept, 1).photo, read_picture(expected, 1).photo)


def test_closing_a_comparison_leaves_what_was_there(page: AppPage, portrait: Path, tmp_path: Path) -> None:
    page.restore(portrait, "small.pth")
    before = page.download(tmp_path).read_bytes()
    page.window.get_by_role("button", name="Compare models").click()
    boxes = page.window.locator("#gpen-compared")
    boxes.get_by_label("small.pth", exact=True).check()
    page.click("compare-run")
    assert "Tick two or three" in page.toast()
    boxes.get_by_label("small-colours.pth", exact=True).check()
    page.click("compare-run")
    page.wait_for("2 models side by side")
    assert page.window.locator("#gpen-save").is_disabled()
    # Another strength is blended into all of them.
    shown = page.window.locator(".gv-pane-after").first.get_attribute("src")
    page.set("strength", 0.5)
    page.window.wait_for_function(f"document.querySelector('.gv-pane-after').getAttribute('src') !== '{shown}'")
    assert page.window.locator(".gv-pane").count() == 2
    page.window.get_by_role("button", name="Close", exact=True).click()
    page.wait_for("5 faces restored.")
    assert page.window.locator(".gv-pane").count() == 0
    assert page.download(tmp_path).read_bytes() == before


def test_on_a_phone_the_panes_lie_below_each_other(page: AppPage, portrait: Path) -> None:
    page.window.set_viewport_size({"width": 390, "height": 844})
    compare(page, portrait, MODELS[:2])
    page.wait_for("2 models side by side")
    one, two = (page.window.locator(".gv-pane").nth(number).bounding_box() for number in range(2))
    assert one["x"] == two["x"]
    assert two["y"] >= one["y"] + one["height"] - 1
    assert place(page, 1) == pytest.approx(place(page, 0), abs=1)


@pytest.fixture(scope="session")
def with_upscaler(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of models with an upscaler in it."""
    pytest.importorskip("spandrel", reason="needs spandrel")
    folder = tmp_path_factory.mktemp("enlarging")
    for file in weights.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    known_upscaler(folder / "x2.pth")
    return folder


@pytest.fixture(scope="session")
def enlarging(serve_session: Serve, with_upscaler: Path) -> Served:
    """The page with a background model."""
    return serve_session("--models-path", with_upscaler, "--device", "cpu")


def test_a_background_model_enlarges_the_photo(
    enlarging: Served,
    with_upscaler: Path,
    browser: object,
    portrait: Path,
    from_command: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    page = AppPage(browser, enlarging.url)
    page.choose("weights", "small.pth")
    page.choose("background", "x2.pth")
    page.click("refresh")
    page.drop(portrait)
    page.wait_for("5 faces found")
    page.click("run")
    page.wait_for("5 faces restored")
    result = read_picture(page.download(tmp_path), 10)
    assert (result.width, result.height) == (602, 514)
    expected = tmp_path / "expected.png"
    upscaler = with_upscaler / "x2.pth"
    expected.write_bytes(from_command(portrait, "--model", "small.pth", "--background-model", upscaler))
    assert np.array_equal(result.photo, read_picture(expected, 10).photo)
    page.close()
    assert page.errors == []


def test_a_background_model_enlarges_the_photos_of_a_batch(
    with_upscaler: Path, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    request = BatchRequest(
        task=TASKS["restore"],
        options=Options(),
        photos=[portrait],
        most_bytes=10**7,
        model="small.pth",
        background="x2.pth",
    )
    made = run_batch(Engine(ModelLocator((with_upscaler,)), "cpu"), request, tmp_path)
    expected = from_command(portrait, "--model", "small.pth", "--background-model", with_upscaler / "x2.pth")
    with zipfile.ZipFile(made.path) as file:
        assert file.read("portrait.png") == expected


def test_background_and_aligned_portrait_are_still_chosen_after_a_reload(
    enlarging: Served, browser: object, portrait: Path
) -> None:
    page = AppPage(browser, enlarging.url)
    page.choose("background", "x2.pth")
    page.window.reload()
    page.window.wait_for_function("document.querySelector('#gpen-background input')?.value === 'x2.pth'")
    page.window.locator("#gpen-task").get_by_text("Colorize").click()
    page.window.locator("#gpen-aligned input").check()
    page.drop(portrait)
    page.wait_for("The whole picture is one face.")
    page.window.reload()
    page.wait_for("The whole picture is one face.")
    page.window.wait_for_function("document.querySelector('#gpen-aligned input')?.checked")
    page.close()
    assert page.errors == []


def test_what_is_chosen_stays_when_the_models_are_listed_again(with_upscaler: Path) -> None:
    actions = pytest.importorskip("gpen.app.model_actions", reason="needs gradio: run make test-app")
    handlers = actions.ModelActions(Engine(ModelLocator((with_upscaler,)), "cpu"))

    def listed(task: str, *chosen: Any) -> list[Any]:
        return [update["value"] for update in handlers.list_models(task, *chosen)[:3]]

    assert listed("restore", "small.pth", "x2.pth", ["small.pth", "gone.pth"]) == ["small.pth", "x2.pth", ["small.pth"]]
    assert listed("restore", "gone.pth", "gone.pth", None) == ["GPEN-BFR-512.pth", "", []]
    # It is hidden for a task without background, and there again for the next.
    assert listed("inpaint", None, "x2.pth", [])[1] == "x2.pth"


def test_upscalers_are_no_networks_for_faces(weights: Path, tmp_path: Path) -> None:
    pytest.importorskip("spandrel", reason="needs spandrel")
    upscaler = known_upscaler(tmp_path / "x2.pth")
    (tmp_path / "small.pth").write_bytes((weights / "small.pth").read_bytes())
    (tmp_path / "broken.pth").write_bytes(b"no model")
    assert looks_like_upscaler(upscaler)
    assert not any(looks_like_upscaler(tmp_path / name) for name in ("small.pth", "broken.pth", "none.pth"))
    locator = ModelLocator((tmp_path,))
    assert set(locator.networks(TASKS["restore"])) == {"small.pth", "broken.pth"}
    assert locator.upscalers() == {"x2.pth": upscaler}
    assert locator.upscaler("") is None
    assert Engine(locator, "cpu").locator.upscaler("x2.pth") == upscaler
    with pytest.raises(FilesError, match=r'"small\.pth" is not a background model\. Choose one of: x2\.pth\.'):
        locator.upscaler("small.pth")

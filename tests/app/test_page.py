"""The page in headless Chromium."""

from __future__ import annotations

import signal
import socket
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpen.errors import GpenError
from gpen.faces.detection.detector import make_detector
from gpen.images import Picture, read_picture, write_picture
from gpen.weights.checkpoint import load_model
from tests.app.conftest import SOLVAY, YUNET, Serve, Served
from tests.app.page import AppPage
from tests.images.made_formats import heic


def pixels(png: bytes, folder: Path) -> Any:
    """The samples of a picture."""
    file = folder / "read.png"
    file.write_bytes(png)
    return read_picture(file, 100).photo


def test_drop_deselect_restore_slide_download(
    page: AppPage,
    photos: Path,
    weights: Path,
    from_command: Callable[..., bytes],
    tmp_path: Path,
    screenshots: Path,
) -> None:
    page.drop(photos / SOLVAY)
    assert "29 faces found, 29 chosen." in page.wait_for("faces found")
    assert page.chosen() == list(range(29))
    photo = read_picture(photos / SOLVAY, 100)
    faces = make_detector("yunet", [weights]).detect(photo.photo)
    page.click_face(*faces[7].center, (photo.width, photo.height))
    page.window.get_by_text("28 of 29 faces chosen.").wait_for()
    assert page.chosen() == [n for n in range(29) if n != 7]
    page.click("run")
    assert "28 faces restored, 1 skipped." in page.wait_for("faces restored")
    # Dragging the line to the right shows more of the photo before.
    page.window.wait_for_timeout(500)
    middle = page.look(".gv-stage")
    line, stage = page.window.locator(".gv-line").bounding_box(), page.window.locator(".gv-stage").bounding_box()
    page.window.mouse.move(line["x"] + line["width"] / 2, stage["y"] + stage["height"] / 3)
    page.window.mouse.down()
    page.window.mouse.move(stage["x"] + stage["width"] * 0.9, stage["y"] + stage["height"] / 3, steps=8)
    page.window.mouse.up()
    assert page.window.locator(".gv-line").get_attribute("aria-valuenow") == "90"
    assert not np.array_equal(page.look(".gv-stage"), middle)
    page.window.screenshot(path=screenshots / "solvay.png")
    result = page.download(tmp_path)
    assert result.name == "Solvay_conference_1927_restored.png"
    # The download is what the command writes, but for its note of what was done, which names the chosen numbers.
    expected = from_command(photos / SOLVAY, "--only-faces", "0-6,8-28", "--model", "GPEN-BFR-512.pth")
    assert np.array_equal(pixels(result.read_bytes(), tmp_path), pixels(expected, tmp_path))


def test_strength_changes_without_running_the_network(
    page: AppPage, portrait: Path, weights: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    page.restore(portrait, "small.pth")
    full = page.download(tmp_path).read_bytes()
    # Without its file the network cannot be used, although it is in memory.
    small = weights / "small.pth"
    hidden = small.rename(small.with_suffix(".hidden"))
    try:
        page.set("strength", 0.4)
        page.window.wait_for_timeout(2000)
        changed = page.download(tmp_path).read_bytes()
    finally:
        hidden.rename(small)
    assert changed != full
    # The note of what was done has no hash of a file that is not there.
    expected = from_command(portrait, "--model", small, "--strength", 0.4)
    assert np.array_equal(pixels(changed, tmp_path), pixels(expected, tmp_path))


def test_a_broken_model_is_explained_and_the_result_stays(
    page: AppPage, portrait: Path, weights: Path, screenshots: Path, tmp_path: Path
) -> None:
    page.restore(portrait, "small.pth")
    page.choose("weights", "broken.pth")
    page.click("run")
    message = page.toast()
    with pytest.raises(GpenError) as refused:
        load_model(weights / "broken.pth")
    assert str(refused.value) in message
    page.window.screenshot(path=screenshots / "broken model.png")
    # The last result is still there.
    assert page.download(tmp_path).name == "portrait_restored.png"
    assert page.window.get_by_role("button", name="Restore", exact=True).is_visible()
    assert not page.window.locator("#gpen-stop").is_visible()


def test_restoring_without_a_chosen_face_is_an_error(page: AppPage, portrait: Path) -> None:
    page.choose("weights", "small.pth")
    page.drop(portrait)
    page.wait_for("faces found")
    page.window.get_by_role("button", name="None", exact=True).click()
    page.wait_for("0 of 5 faces chosen")
    page.click("run")
    assert "No face is chosen" in page.toast()


def test_a_file_that_is_not_a_picture_is_refused(page: AppPage, tmp_path: Path) -> None:
    wrong = tmp_path / "<b>notes.png"
    wrong.write_text("Not a picture.")
    page.drop(wrong)
    message = page.toast()
    assert "notes.png" in message
    assert str(tmp_path) not in message
    assert "gpen-app" not in message


def test_heic_is_restored(page: AppPage, portrait: Path, tmp_path: Path) -> None:
    photo = tmp_path / "IMG_1.HEIC"
    photo.write_bytes(heic(np.rint(read_picture(portrait, 10).photo * 255).astype(np.uint8)))
    page.restore(photo, "small.pth")
    assert page.download(tmp_path).name == "IMG_1_restored.png"


def test_a_file_that_is_too_large_is_refused(page: AppPage, tmp_path: Path, screenshots: Path) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(bytes(6_000_000))
    page.drop(large)
    assert "large.png is larger than the 5 MB that are allowed." in page.toast()
    page.window.screenshot(path=screenshots / "too large.png")


def test_a_batch_comes_back_as_a_zip(page: AppPage, portrait: Path, tmp_path: Path, screenshots: Path) -> None:
    archive = tmp_path / "holiday.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.write(portrait, "beach/one.png")
        file.write(portrait, "two.png")
        file.writestr("beach/broken.png", b"no picture")
    page.choose("weights", "small.pth")
    page.window.get_by_role("tab", name="Many photos").click()
    page.window.locator("#gpen-files input[type=file]").first.set_input_files(archive)
    page.window.get_by_text("holiday").first.wait_for()
    page.click("run-all")
    assert "3 photos: 2 restored, 1 failed." in page.wait_for("photos:", "batch-said")
    page.window.screenshot(path=screenshots / "batch.png")
    result = page.download(tmp_path, "#gpen-zip")
    with zipfile.ZipFile(result) as file:
        assert sorted(file.namelist()) == ["beach/one.png", "report.json", "two.png"]


def test_each_task_shows_its_own_options(page: AppPage, screenshots: Path) -> None:
    def labels() -> set[str]:
        page.window.wait_for_timeout(800)
        shown = ("strength", "upscale", "mask", "select", "damage", "protect", "aligned", "run", "preset-selfie")
        return {name for name in shown if page.window.locator(f"#gpen-{name}").first.is_visible()}

    for closed in ("Advanced", "Masks and people"):
        page.window.get_by_role("button", name=closed).click()
    assert labels() == {"strength", "upscale", "mask", "select", "protect", "run", "preset-selfie"}
    for task, expected in {
        "Colorize": {"strength", "upscale", "mask", "select", "protect", "aligned", "run"},
        "Fill in damage": {"strength", "select", "damage", "protect", "aligned", "run"},
        "Face from a map": {"run"},
    }.items():
        page.window.locator("#gpen-task").get_by_text(task).click()
        assert labels() == expected
    page.window.screenshot(path=screenshots / "map.png")


def test_a_preset_names_its_missing_model(page: AppPage) -> None:
    page.click("preset-selfie")
    assert "GPEN-BFR-2048" in page.toast()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def site(weights: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a server with the small network and YuNet."""
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "network.pth").write_bytes((weights / "small.pth").read_bytes())
    (folder / YUNET).write_bytes((weights / YUNET).read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def test_missing_models_are_named_and_downloaded(
    serve_session: Serve, browser: Any, site: str, portrait: Path, tmp_path: Path, screenshots: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    addresses = {"GPEN-BFR-512": f"{site}/network.pth", "yunet": f"{site}/{YUNET}"}
    served = serve_session("--models-path", folder, "--device", "cpu", addresses=addresses)
    page = AppPage(browser, served.url)
    message = page.wait_for("Terms", "needed")
    assert "GPEN-BFR-512" in message
    assert "yunet finds the faces: 0.2 MB" in message
    assert "non-commercial" in message
    assert "MIT" in message
    assert "gpen models" not in page.window.locator("body").inner_text()
    page.window.screenshot(path=screenshots / "without models.png")
    page.click("get-needed")
    assert "Accept the terms first" in page.toast()
    assert list(folder.iterdir()) == []
    page.drop(portrait)
    assert "yunet" in page.toast()
    page.window.locator("#gpen-accept-needed input").check()
    page.click("get-needed")
    assert "Ready: drop a photo." in page.toast()
    page.window.locator("#gpen-first").wait_for(state="hidden")
    assert sorted(file.name for file in folder.iterdir()) == ["GPEN-BFR-512.pth", YUNET]
    # In the photo that was dropped before.
    page.wait_for("5 faces found")
    page.click("run")
    page.wait_for("5 faces restored")
    page.close()
    served.close()


def test_a_model_that_is_there_is_dropped_on_the_card(
    serve_session: Serve, browser: Any, weights: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / YUNET).write_bytes((weights / YUNET).read_bytes())
    served = serve_session("--models-path", folder, "--device", "cpu")
    page = AppPage(browser, served.url)
    page.wait_for("Terms", "needed")
    page.drop(weights / "broken.pth")
    assert "broken.pth" in page.toast()
    assert not (folder / "broken.pth").exists()
    page.drop(weights / "small.pth")
    assert "small.pth was added." in page.toast()
    page.window.locator("#gpen-first").wait_for(state="hidden")
    assert page.model() == "small.pth"
    assert (folder / "small.pth").read_bytes() == (weights / "small.pth").read_bytes()
    page.close()
    served.close()


def test_only_this_computer_can_connect(app: Served) -> None:
    port = int(app.url.rstrip("/").rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5):
        pass
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", port), 5)
    assert "public" not in app.log.lower()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_soon_and_no_file_remains(
    serve_session: Serve, weights: Path, browser: Any, photos: Path, ending: int
) -> None:
    served = serve_session("--models-path", weights, "--device", "cpu")
    page = AppPage(browser, served.url)
    page.choose("weights", "passthrough.pth")
    page.drop(photos / SOLVAY)
    page.wait_for("29 faces found")
    page.click("run")
    page.window.get_by_text("of 29 faces").first.wait_for(timeout=60_000)
    assert any(served.temporary.rglob("*.png"))
    served.process.send_signal(ending)
    assert served.process.wait(60) == 0, served.log
    page.close()
    # PyTorch may leave an empty folder.
    assert [path for path in served.temporary.rglob("*") if "gpen" in path.name or path.is_file()] == []


def test_a_batch_without_photos_is_an_error_and_can_be_started_again(page: AppPage) -> None:
    page.window.get_by_role("tab", name="Many photos").click()
    page.click("run-all")
    assert "There are no photos yet" in page.toast()
    page.window.locator("#gpen-run-all").wait_for()
    assert not page.window.locator("#gpen-stop-all").is_visible()


def test_a_folder_can_be_added_to_the_batch(page: AppPage, portrait: Path, tmp_path: Path) -> None:
    folder = tmp_path / "holiday"
    (folder / "beach").mkdir(parents=True)
    for name in ("one.png", "beach/two.png"):
        (folder / name).write_bytes(portrait.read_bytes())
    (folder / "notes.txt").write_text("Nothing to see.")
    page.choose("weights", "small.pth")
    page.window.get_by_role("tab", name="Many photos").click()
    with page.window.expect_file_chooser() as chooser:
        page.click("folder")
    chooser.value.set_files(folder)
    page.window.locator("#gpen-files").get_by_text("two").first.wait_for()
    page.click("run-all")
    page.wait_for("2 photos: 2 restored.", "batch-said")
    with zipfile.ZipFile(page.download(tmp_path, "#gpen-zip")) as file:
        assert sorted(file.namelist()) == ["one.png", "report.json", "two.png"]


def test_damage_is_filled_in(page: AppPage, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path) -> None:
    mask = np.zeros((257, 301, 3), np.float32)
    mask[:, 60:120] = 1
    write_picture(tmp_path / "mask.png", Picture(mask))
    page.window.locator("#gpen-task").get_by_text("Fill in damage").click()
    page.window.locator("#gpen-damage").wait_for()
    page.choose("weights", "small-colours.pth")
    page.drop(portrait)
    page.wait_for("5 faces found")
    page.click("run")
    assert "a mask is needed" in page.toast()
    page.drop(tmp_path / "mask.png", "#gpen-damage")
    page.window.locator("#gpen-damage").get_by_text("mask").last.wait_for()
    page.click("run")
    page.wait_for("inpainted")
    expected = from_command(
        portrait, "--model", "small-colours.pth", "--damage", tmp_path / "mask.png", command="inpaint"
    )
    assert page.download(tmp_path).read_bytes() == expected


def test_what_is_protected_stays(
    page: AppPage, portrait: Path, from_command: Callable[..., bytes], tmp_path: Path
) -> None:
    for name, width in (("mask", 301), ("small", 30)):
        mask = np.zeros((257, width, 3), np.float32)
        mask[:, : width // 2] = 1
        write_picture(tmp_path / f"{name}.png", Picture(mask))
    page.choose("weights", "small-colours.pth")
    page.drop(portrait)
    page.wait_for("5 faces found")
    page.drop(tmp_path / "small.png", "#gpen-protect")
    page.window.locator("#gpen-protect").get_by_text("small").last.wait_for()
    page.click("run")
    assert "The mask of what is protected is 30 x 257 pixels, the photo 301 x 257." in page.toast()
    page.window.locator("#gpen-protect").get_by_label("Clear").click()
    page.drop(tmp_path / "mask.png", "#gpen-protect")
    page.window.locator("#gpen-protect").get_by_text("mask").last.wait_for()
    page.click("run")
    page.wait_for("5 faces restored")
    result = page.download(tmp_path)
    assert result.read_bytes() == from_command(
        portrait, "--model", "small-colours.pth", "--protect", tmp_path / "mask.png"
    )
    before, after = read_picture(portrait, 1).photo, read_picture(result, 1).photo
    assert np.array_equal(after[:, :150], before[:, :150])
    assert not np.array_equal(after[:, 150:], before[:, 150:])

"""How long a batch still takes, and its table on the page."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

import pytest

from gpen.app.batch_table import TimeLeft
from gpen.images import read_picture
from tests.app.page import AppPage


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_time_left_knows_the_faces_of_the_photo_at_work() -> None:
    clock = Clock()
    left = TimeLeft(clock)
    left.begins()
    assert left.seconds(3) is None
    for done in (1, 2, 3, 4):
        clock.now += 2
        left.face(done, 4)
    # Until one is done, the others are taken for photos like the first.
    assert left.seconds(3) == pytest.approx(24)
    left.ends()
    left.begins()
    clock.now += 2
    left.face(1, 30)
    # 29 faces, and two photos like the first: the share of photos done would say 10 / 1.03 * 2.97 = 29 s.
    assert left.seconds(2) == pytest.approx(29 * 2 + 2 * 8)


def test_each_photo_has_its_row(page: AppPage, portrait: Path, tmp_path: Path, screenshots: Path) -> None:
    names = ("one.png", "two.png", "three.png")
    for name in names:
        (tmp_path / name).write_bytes(portrait.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"no picture")
    page.choose("weights", "small.pth")
    page.window.get_by_role("tab", name="Many photos").click()
    page.window.locator("#gpen-files input[type=file]").first.set_input_files(tmp_path / "one.png")
    page.window.get_by_text("one").first.wait_for()
    with page.window.expect_file_chooser() as chooser:
        page.click("more-files")
    chooser.value.set_files([tmp_path / name for name in (*names[1:], "broken.png")])
    page.window.locator("#gpen-files").get_by_text("three").first.wait_for()
    assert page.window.locator("#gpen-zip").is_disabled()
    page.click("run-all")
    page.wait_for("4 photos: 3 restored, 1 failed.", "batch-said")
    rows = {row.locator("td").nth(1).inner_text(): row for row in page.window.locator(".gb tbody tr").all()}
    assert sorted(rows) == ["broken.png", "one.png", "three.png", "two.png"]
    for name in names:
        assert rows[name].locator(".gb-status").inner_text() == "restored"
        assert "5 faces restored" in rows[name].inner_text()
        assert rows[name].locator("td").nth(4).inner_text().endswith(" s")
        image = rows[name].locator("img")
        image.scroll_into_view_if_needed()
        page.window.wait_for_function("(image) => image.naturalWidth === 96", arg=image.element_handle())
    assert rows["broken.png"].locator(".gb-status").inner_text() == "failed"
    assert "is not a picture" in rows["broken.png"].inner_text()
    assert rows["broken.png"].locator("a, img").count() == 0
    page.window.screenshot(path=screenshots / "batch table.png")
    with page.window.expect_download() as waiting:
        rows["two.png"].get_by_role("link", name="Download the result of two.png").click()
    assert unquote(waiting.value.suggested_filename) == "two.png"
    waiting.value.save_as(tmp_path / "result.png")
    assert read_picture(tmp_path / "result.png", 1).photo.shape == read_picture(portrait, 1).photo.shape
    assert (tmp_path / "result.png").read_bytes() != portrait.read_bytes()
    assert page.download(tmp_path, "#gpen-zip").name == "gpen_restored.zip"


def test_the_table_is_still_there_after_a_reload(page: AppPage, portrait: Path, tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        (tmp_path / name).write_bytes(portrait.read_bytes())
    page.choose("weights", "small.pth")
    page.window.get_by_role("tab", name="Many photos").click()
    page.window.locator("#gpen-files input[type=file]").first.set_input_files(sorted(tmp_path.glob("*.png")))
    page.window.get_by_text("two").first.wait_for()
    page.click("run-all")
    page.wait_for("2 photos: 2 restored.", "batch-said")
    table = page.window.locator(".gb")
    assert not table.get_by_text("before the page was loaded again").is_visible()
    page.window.reload()
    page.window.get_by_role("tab", name="Many photos").click()
    table.get_by_text("before the page was loaded again").wait_for()
    assert table.locator(".gb-status").all_inner_texts() == ["restored"] * 2
    for link, name in (("Download the result of two.png", "two.png"), ("Download all", "gpen_restored.zip")):
        with page.window.expect_download() as waiting:
            table.get_by_role("link", name=link).click()
        assert unquote(waiting.value.suggested_filename) == name
    # The next batch takes its place.
    page.window.locator("#gpen-files input[type=file]").first.set_input_files(tmp_path / "one.png")
    page.window.get_by_text("one").first.wait_for()
    page.click("run-all")
    page.wait_for("1 photo: 1 restored.", "batch-said")
    assert table.locator("tbody tr").count() == 1
    assert not table.get_by_text("before the page was loaded again").is_visible()

"""The page as a visitor uses it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from tests.chromium import ChromiumPage

_LISTED = "document.querySelector('#gpen-weights input')?.value || document.querySelector('#gpen-needed strong')"
"""True once the page has listed the models."""


class AppPage(ChromiumPage):
    """A visitor's window. requests: the addresses that it asked for. errors: of its scripts.

    password: the one that the page asks for, if it asks for any.
    """

    def __init__(self, browser: Any, url: str, password: str = "") -> None:
        super().__init__(browser, timeout=30_000)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.window.on("request", lambda request: self.requests.append(request.url))
        self.window.on("pageerror", self._note)
        self.window.goto(url)
        if password:
            self.window.get_by_label("Password").fill(password)
            self.window.get_by_role("button", name="Open the page").click()
        self.window.wait_for_selector("#gpen-run", state="attached")
        self.window.wait_for_function(_LISTED)

    def _note(self, error: Any) -> None:
        # Gradio's own list of choices looks for one that is gone where they change while it is open.
        if not re.search(r"reading '0'\)\s+at http\S+/assets/Index-", error.stack or ""):
            self.errors.append(f"{error} {error.stack}")

    def drop(self, file: Path, selector: str = "") -> None:
        """Drop a file on a control, or anywhere."""
        if not selector:
            self.drop_on("#gpen-about", file)
            return
        if not self.window.locator(selector).is_visible():
            self.window.get_by_role("button", name="Masks and people").click()
        self.window.wait_for_selector(f"{selector} input[type=file]", state="attached")
        self.drop_on(f"{selector} button, {selector} [role=button]", file)

    def choose(self, control: str, value: str) -> None:
        """Choose an item of a dropdown."""
        self.window.locator(f"#gpen-{control} input").first.click()
        self.window.get_by_role("option", name=value, exact=True).click()

    def model(self) -> str:
        """The label of the chosen model."""
        return str(self.window.locator("#gpen-weights input").input_value())

    def set(self, control: str, value: float) -> None:
        """Type a number beside a slider."""
        box = self.window.locator(f"#gpen-{control} input[type=number]")
        box.fill(str(value))
        box.press("Tab")

    def click(self, control: str) -> None:
        self.window.locator(f"#gpen-{control}").first.click()

    def restore(self, photo: Path, model: str) -> None:
        """Drop a photo and restore all its faces with a model."""
        self.choose("weights", model)
        self.drop(photo)
        self.wait_for("faces found")
        self.click("run")
        self.wait_for("faces restored")

    def wait_for(self, text: str, where: str = "said", timeout: float = 120_000) -> str:
        """Wait until an element contains the text; return everything that it says."""
        element = self.window.locator(f"#gpen-{where}")
        element.get_by_text(text).first.wait_for(timeout=timeout)
        return str(element.inner_text())

    def toast(self) -> str:
        """The text of the page's message, which is closed."""
        toast = self.window.locator(".toast-body").first
        toast.wait_for(timeout=60_000)
        text = str(toast.inner_text())
        toast.locator("button").first.click()
        toast.wait_for(state="detached")
        return text

    def chosen(self) -> list[int]:
        """The numbers of the ticked faces, from 0."""
        return [number for number, box in enumerate(self.window.locator(".gv-strip input").all()) if box.is_checked()]

    def click_face(self, x: float, y: float, size: tuple[int, int]) -> None:
        """Click the photo. x, y: in pixels of the photo, which has that size."""
        box = self.window.locator(".gv-sheet").bounding_box()
        scale = box["width"] / size[0]
        self.window.mouse.click(box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale)

    def download(self, folder: Path, button: str = "#gpen-save") -> Path:
        """Click a download, and save the file under its suggested name."""
        with self.window.expect_download() as waiting:
            self.window.locator(button).first.click()
        target = folder / waiting.value.suggested_filename
        waiting.value.save_as(target)
        return target

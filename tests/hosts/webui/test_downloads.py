"""Downloads from Settings and Extras, in the modules of SD-WebUI Forge or of a relative."""

from __future__ import annotations

import importlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.hosts.conftest import Parts
from tests.hosts.webui.downloads import (
    DETECTOR,
    DETECTOR_FILE,
    NETWORK,
    Area,
    empty_folders,
    extras_area,
    offer,
    settings_area,
)
from tests.hosts.webui.host import WebUI
from tests.hosts.webui.pictures import restore_faces
from tests.weights.conftest import Site

has_settings = pytest.mark.usefixtures("checkbox")
"""For tests of hosts with the checkbox: SD.Next, without it, has no place for the button in its settings either."""
BOTH = [NETWORK, DETECTOR]
AREAS = {"settings": settings_area, "extras": extras_area}


@pytest.fixture
def site(synthetic_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    for variable in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    site = Site()
    offer(site, synthetic_models, monkeypatch)
    yield site
    site.close()


@pytest.fixture
def folder(webui: WebUI, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return empty_folders(webui, tmp_path, monkeypatch)


def names_in(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


@has_settings
@pytest.mark.parametrize("make_area", AREAS.values(), ids=AREAS)
def test_from_nothing_to_a_restored_picture(
    webui: WebUI,
    site: Site,
    folder: Path,
    parts: Parts,
    make_area: Callable[[WebUI], Area],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert np.array_equal(restore_faces(webui, parts.left), parts.left)
    assert "The button that downloads what is missing is in Settings, GPEN, and in Extras, GPEN." in caplog.text

    area = make_area(webui)
    assert area.on_load("needed") == (
        "To restore faces, <b>GPEN-BFR-512</b> (network) and <b>yunet</b> (detector) are missing."
    )
    assert area.on_load("which") == BOTH
    licences = area.on_load("licences")
    assert "non-commercial" in licences
    assert "0.2 MB. MIT (OpenCV Zoo)" in licences
    label = area.on_load("accept")
    assert label.startswith("Accept and download both, ")
    assert site.requests == []

    gate = site.resources["/network"].gate = threading.Event()
    seen = area.click("accept", BOTH)
    first = next(seen)
    assert first[0].startswith("GPEN-BFR-512: ")
    assert first[0].endswith("yunet: waiting")
    gate.set()
    *_, last = seen
    assert last[0] == "GPEN-BFR-512: downloaded<br>yunet: downloaded"
    assert last[1].startswith("Everything that restoring needs is on this computer.")
    assert names_in(folder) == [f"{NETWORK}.safetensors", DETECTOR_FILE]
    if make_area is extras_area:
        assert f"{NETWORK}.safetensors" in last[2]["choices"]
    # As after a reload of the page.
    assert area.on_load("which") == []
    assert area.on_load("accept") == "Accept and download"
    assert not np.array_equal(restore_faces(webui, parts.left), parts.left)


def test_the_choice_changes_licences_and_button(webui: WebUI, site: Site, folder: Path) -> None:
    area = extras_area(webui)
    licences, button = area.change("which", ["sface"])
    assert "Apache-2.0" in licences
    assert "non-commercial" not in licences
    assert button["value"] == "Accept and download sface, 39 MB"
    (folder / DETECTOR_FILE).write_bytes(b"there")
    assert "It is on this computer." in area.change("which", [DETECTOR])[0]
    *_, last = area.click("accept", [])
    assert "No model was chosen" in last[0]


@has_settings
def test_a_wrong_hash_is_told(webui: WebUI, site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = importlib.import_module("gpen.weights.catalog")
    monkeypatch.setitem(vars(catalog.find_published(NETWORK)), "sha256", "0" * 64)
    *_, last = settings_area(webui).click("accept", BOTH)
    assert "a damaged or different file (SHA256" in last[0]
    assert "<b>GPEN-BFR-512</b>" in last[1]
    assert names_in(folder) == [DETECTOR_FILE]


@has_settings
def test_stop(webui: WebUI, site: Site, folder: Path) -> None:
    area = settings_area(webui)
    gate = site.resources["/network"].gate = threading.Event()
    seen = area.click("accept", [NETWORK])
    next(seen)
    assert site.resources["/network"].waiting.wait(20)
    area.click("stop")
    gate.set()
    *_, last = seen
    assert "stopped; the next download goes on from here" in last[0]
    assert f"{NETWORK}.safetensors" not in names_in(folder)


@has_settings
def test_switched_off(
    webui: WebUI,
    site: Site,
    folder: Path,
    parts: Parts,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("GPEN_NO_DOWNLOADS", "1")
    area = settings_area(webui)
    assert "GPEN_NO_DOWNLOADS" in area.on_load("needed")
    *_, last = area.click("accept", BOTH)
    assert "GPEN_NO_DOWNLOADS" in last[0]
    assert site.requests == []
    restore_faces(webui, parts.left)
    assert "is on this computer" in caplog.text
    assert "The button that downloads" not in caplog.text


@has_settings
def test_without_gradios_queue_the_end_is_shown(webui: WebUI, site: Site, folder: Path) -> None:
    """Gradio takes no generators then."""
    webui.shared.cmd_opts.no_gradio_queue = True
    shown = settings_area(webui).click("accept", BOTH)
    assert shown[0] == "GPEN-BFR-512: downloaded<br>yunet: downloaded"


@has_settings
def test_nothing_of_it_is_saved(webui: WebUI, tmp_path: Path) -> None:
    area = extras_area(webui)
    settings_area(webui)
    webui.opts.save(str(tmp_path / "config.json"))
    saved = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert "gpen_strength" in saved
    assert "gpen_downloads" not in saved
    defaults = importlib.import_module("modules.ui_loadsave").UiLoadsave(str(tmp_path / "ui-config.json"))
    defaults.add_block(area.which, "extras")
    assert defaults.component_mapping == {}

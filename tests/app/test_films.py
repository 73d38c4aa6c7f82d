"""Films among the photos of a batch, and on the page."""

from __future__ import annotations

import base64
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest

from gpen.app.batch import BatchRequest, run_batch
from gpen.app.batch_table import BatchTable
from gpen.app.engine import Engine, ModelLocator
from gpen.app.films import FilmWatch
from gpen.errors import GpenError, PhotoError
from gpen.options import OPTIONS, Options
from gpen.tasks import TASKS
from gpen.video.ffmpeg import pyav
from gpen.video.source import probe
from gpen.video.still import still
from tests.app.conftest import Served
from tests.app.page import AppPage
from tests.app.test_batch import make_zip
from tests.documented import portrait
from tests.video.clips import Clip, look, make

FACE_FROM = 4
"""The first frame of the clip with a face."""


def face(number: int) -> np.ndarray:
    """A portrait that moves a little, after frames of plain grey."""
    small = cv2.resize(portrait(), (320, 256), interpolation=cv2.INTER_AREA)
    return np.roll(small, number % 5, axis=1) if number >= FACE_FROM else np.full_like(small, 90)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with clip.mp4, the same cut short, something that is no film, and an interlaced film."""
    folder = tmp_path_factory.mktemp("clips")
    whole = make(folder / "clip.mp4", Clip(frames=12, picture=face, sounds=1)).read_bytes()
    (folder / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "letter.mov").write_bytes(b"Dear all, this is no film." * 20)
    fields = Clip(
        frames=6,
        picture=lambda number: face(number + FACE_FROM),
        codec="mpeg2video",
        options={"flags": "+ildct+ilme", "top": "1"},
        time_base=Fraction(1, 25),
        steps=(1,),
    )
    make(folder / "fields.mkv", fields)
    return folder


@pytest.fixture
def engine(weights: Path) -> Iterator[Engine]:
    engine = Engine(ModelLocator((weights,)), "cpu")
    yield engine
    engine.close()


@pytest.fixture
def asked(clips: Path) -> Callable[..., BatchRequest]:
    def make_request(*names: str | Path, **more: Any) -> BatchRequest:
        values: dict[str, Any] = {
            "task": TASKS["restore"],
            "options": Options(),
            "photos": [clips / name for name in names],
            "most_bytes": 10_000_000,
            "model": "small.pth",
        }
        return BatchRequest(**{**values, **more})

    return make_request


def entries(archive: Path) -> list[dict[str, Any]]:
    with zipfile.ZipFile(archive) as file:
        return list(json.loads(file.read("report.json")))


def test_a_film_is_restored_beside_photos(
    engine: Engine, asked: Callable[..., BatchRequest], clips: Path, portrait: Path, tmp_path: Path
) -> None:
    table = BatchTable(tmp_path, "restored", 100)
    said = []

    def on_progress(done: float, text: str) -> None:
        said.append((done, text, table.value["rows"][-1]["why"] if table.value["rows"] else "", table.text))

    output = run_batch(engine, asked("clip.mp4", portrait), tmp_path, on_progress, table)
    assert output.summary == "2 files: 2 restored."
    photo, film = entries(output.path)
    assert (photo["path"], film["path"], film["output"]) == ("portrait.png", "clip.mp4", "clip.mp4")
    assert (film["status"], film["frame_count"]) == ("restored", 12)
    assert film["message"].startswith("1 face of 1 restored in 12 frames")
    result = tmp_path / "results" / "clip.mp4"
    before, after = look(clips / "clip.mp4"), look(result)
    assert after.times == before.times
    with av.open(str(result)) as container:
        assert [stream.type for stream in container.streams] == ["video", "audio"]
    # Of its first frame with a face, not of the grey before.
    row = table.value["rows"][1]
    assert (row["name"], row["kind"], row["status"], row["why"]) == ("clip.mp4", "done", "restored", film["message"])
    assert cv2.imread(str(tmp_path / "thumbnails" / "1.jpg")).std() > 30
    assert cv2.imread(str(tmp_path / "thumbnails" / "0.jpg")).shape != ()
    whys = [why for _, _, why, _ in said]
    assert any(why.startswith("Pass 1 of 2: finding faces in frame 5 of 12, ") for why in whys)
    assert any(why.startswith("Pass 2 of 2: restoring frame 5 of 12, ") and " left" in why for why in whys)
    assert "2 of 2 files" in [text for *_, text in said]
    shares = [done for done, *_ in said]
    assert shares == sorted(shares)
    # Only what was made is left.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gpen_restored.zip", "results", "thumbnails"]
    assert sorted(path.name for path in (tmp_path / "results").iterdir()) == ["clip.mp4", "portrait.png"]


def test_films_in_a_zip(engine: Engine, asked: Callable[..., BatchRequest], clips: Path, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"1985/summer.mp4": (clips / "clip.mp4").read_bytes(), "notes.txt": b""})
    output = run_batch(engine, asked(archive), tmp_path)
    assert output.summary == "1 film: 1 restored."
    assert [entry["output"] for entry in entries(output.path)] == ["1985/summer.mp4"]


def test_what_cannot_be_used_says_why(engine: Engine, asked: Callable[..., BatchRequest], tmp_path: Path) -> None:
    output = run_batch(engine, asked("clip.mp4", "cut.mp4", "fields.mkv", "letter.mov"), tmp_path)
    assert output.summary == "4 films: 1 restored, 3 failed. report.json in the zip says why."
    why = {entry["path"]: entry["message"] for entry in entries(output.path)}
    assert why["cut.mp4"].startswith("cut.mp4 cannot be read as a film: ")
    assert why["letter.mov"].startswith("letter.mov cannot be read as a film: ")
    assert why["fields.mkv"].startswith("fields.mkv is interlaced: ")
    assert not [path for path in tmp_path.rglob("*") if path.name != "gpen_restored.zip"]


def test_interlaced_films_are_deinterlaced_when_asked(
    engine: Engine, asked: Callable[..., BatchRequest], tmp_path: Path
) -> None:
    output = run_batch(engine, asked("fields.mkv", deinterlace=True), tmp_path)
    with zipfile.ZipFile(output.path) as file:
        file.extract("fields.mkv", tmp_path)
    assert not probe(tmp_path / "fields.mkv", 100).is_interlaced


@pytest.mark.parametrize(
    ("task", "more", "why"),
    [
        ("inpaint", {}, '"Fill in damage" is for photos'),
        ("restore", {"aligned": True}, "In a film faces are looked for"),
        ("restore", {"options": Options(upscale=2)}, f'A film keeps its size. Set "{OPTIONS["upscale"].label}" to 1.'),
        ("restore", {"background": "x2.pth"}, "A film's background stays as it is"),
    ],
)
def test_what_is_not_for_films(
    engine: Engine, asked: Callable[..., BatchRequest], tmp_path: Path, task: str, more: dict[str, Any], why: str
) -> None:
    with pytest.raises(PhotoError, match=f"None of 1 film could be used. {why}"):
        run_batch(engine, asked("clip.mp4", task=TASKS[task], **more), tmp_path)


@pytest.mark.parametrize("stops_at", ["Pass 1 of 2: finding faces in frame 3", "Pass 2 of 2: restoring frame 3"])
def test_a_stop_keeps_what_is_finished_and_no_half_film(
    engine: Engine, asked: Callable[..., BatchRequest], portrait: Path, tmp_path: Path, stops_at: str
) -> None:
    table = BatchTable(tmp_path, "restored", 100)

    def on_progress(done: float, text: str) -> bool:
        rows = table.value["rows"]
        return not (rows and rows[1]["why"].startswith(stops_at))

    output = run_batch(engine, asked("clip.mp4", portrait), tmp_path, on_progress, table)
    assert output.summary == "2 files: 1 restored. Stopped: the others are not in the zip."
    assert [row["status"] for row in table.value["rows"]] == ["restored", "stopped"]
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["portrait.png"]
    with pytest.raises(GpenError, match="Stopped before the first film was finished: there is no result"):
        run_batch(engine, asked("clip.mp4"), tmp_path / "results", lambda done, text: done < 0.2)


def test_how_far_a_film_is() -> None:
    now, said = [0.0], []
    watch = FilmWatch(lambda done, text: said.append((done, text)), lambda: now[0])
    watch.starts("finding faces in", 4)
    for _ in range(2):
        now[0] += 0.5
        watch.advances()
    watch.starts("restoring", 4)
    now[0] += 5
    watch.advances()
    assert said == [
        (0, "Pass 1 of 2 begins"),
        (0.125, "Pass 1 of 2: finding faces in frame 1 of 4, 2 frames per second, about 2 s left"),
        (0.25, "Pass 1 of 2: finding faces in frame 2 of 4, 2 frames per second, about 1 s left"),
        (0.5, "Pass 2 of 2 begins"),
        (0.625, "Pass 2 of 2: restoring frame 1 of 4, 0.2 frames per second, about 15 s left"),
    ]


def test_a_still_is_the_frame_at_its_time(tmp_path: Path) -> None:
    clip = make(tmp_path / "a.mkv", Clip(frames=40, picture=lambda n: np.full((64, 64, 3), 5 * n + 20, np.uint8)))
    for number in (0, 7, 39):
        assert still(clip, number / 25, 100).mean() * 255 == pytest.approx(5 * number + 20, abs=2)
    assert still(clip, 9, 100).mean() * 255 == pytest.approx(5 * 39 + 20, abs=2)


@pytest.fixture
def no_pyav(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, "av", None)
    pyav.cache_clear()
    yield
    pyav.cache_clear()


def test_without_pyav_photos_beside_a_film_are_restored_all_the_same(
    engine: Engine, clips: Path, portrait: Path, tmp_path: Path, no_pyav: None
) -> None:
    actions = pytest.importorskip("gpen.app.actions", reason="needs gradio: run make test-app")
    page = actions.Actions(engine, actions.Limits(10_000_000, 100), tmp_path)
    files = [str(clips / "clip.mp4"), str(portrait)]
    request = page.batch_request("restore", files, "small.pth", Options(), None, None, None, False)
    table = BatchTable(tmp_path, "restored", 100)
    assert run_batch(engine, request, tmp_path, table=table).summary.startswith("2 files: 1 restored, 1 failed.")
    photo, film = table.value["rows"]
    assert (photo["status"], film["status"]) == ("restored", "failed")
    assert 'Install it with: pip install "gpen-face-restore[video]"' in film["why"]


def test_limits_are_told(clips: Path) -> None:
    actions = pytest.importorskip("gpen.app.actions", reason="needs gradio: run make test-app")
    size = (clips / "clip.mp4").stat().st_size
    actions.Limits(size // 20 + 1, 100).check(clips / "clip.mp4")
    with pytest.raises(PhotoError, match=r"clip\.mp4 is larger than the 0 MB.*for a film.*gpen restore"):
        actions.Limits(size // 20 - 1, 100).check(clips / "clip.mp4")


def test_a_film_that_is_opened_where_photos_are_needs_pyav(clips: Path, tmp_path: Path, no_pyav: None) -> None:
    actions = pytest.importorskip("gpen.app.actions", reason="needs gradio: run make test-app")
    engine = Engine(ModelLocator((tmp_path,)), "cpu")
    page = actions.Actions(engine, actions.Limits(10_000_000, 100), tmp_path)
    try:
        with pytest.raises(GpenError, match=r'Install it with: pip install "gpen-face-restore\[video\]"'):
            page.take_film(str(clips / "clip.mp4"), None)
    finally:
        engine.close()


def test_programs_may_have_films_deinterlaced(app: Served, clips: Path, tmp_path: Path) -> None:
    from gradio_client import Client, handle_file

    client = Client(app.url, verbose=False, download_files=str(tmp_path))
    try:
        given = {"photos": [handle_file(clips / "fields.mkv")], "weights": "small.pth", "api_name": "/restore_many"}
        with pytest.raises(Exception, match=r"fields\.mkv is interlaced"):
            client.predict(**given)
        archive, text = client.predict(**given, deinterlace=True)
    finally:
        client.close()
    assert text == "1 film: 1 restored."
    assert [entry["frame_count"] for entry in entries(Path(archive))] == [6]


def test_a_film_dropped_on_the_one_photo_is_taken(page: AppPage, clips: Path, tmp_path: Path) -> None:
    page.choose("weights", "small.pth")
    page.drop_on("#gpen-viewer", clips / "clip.mp4")
    assert "Films are restored under Many photos" in page.toast()
    page.window.locator("#gpen-files").get_by_text("clip").first.wait_for()
    page.click("run-all")
    page.wait_for("1 film: 1 restored.", "batch-said")
    row = page.window.locator(".gb tbody tr").first
    assert row.get_attribute("data-kind") == "done"
    assert "1 face of 1 restored in 12 frames" in row.inner_text()
    assert page.window.evaluate("document.querySelector('.gb img').naturalWidth") == 96
    saved = page.download(tmp_path, ".gb tbody a")
    assert saved.name == "clip.mp4"
    assert look(saved).times == look(clips / "clip.mp4").times


def test_several_files_with_a_film_are_taken(page: AppPage, clips: Path, portrait: Path) -> None:
    page.window.evaluate(
        """(files) => {
            const dataTransfer = new DataTransfer();
            for (const [name, content] of files) {
                const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
                dataTransfer.items.add(new File([bytes], name));
            }
            const about = { bubbles: true, cancelable: true, dataTransfer };
            document.querySelector("#gpen-viewer").dispatchEvent(new DragEvent("drop", about));
        }""",
        [[file.name, base64.b64encode(file.read_bytes()).decode()] for file in (portrait, clips / "clip.mp4")],
    )
    for name in ("portrait", "clip"):
        page.window.locator("#gpen-files").get_by_text(name).first.wait_for()

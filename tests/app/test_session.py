"""What the page holds for its visitors, without the page."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpen.app.engine import Engine, ModelLocator
from gpen.app.session import PhotoSession, SessionCache, before_and_after, blend, find, open_photo, work, write_result
from gpen.errors import FaceError, FilesError, GpenError, PhotoError
from gpen.faces.identity import IdentityGuard
from gpen.images import Picture, read_picture, write_picture
from gpen.images.picture import FloatImage
from gpen.options import Options
from tests.app.conftest import YUNET


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing that lies in this user's folders be found."""
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("GPEN_MODELS_PATH", "GPEN_DETECTORS_PATH"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def engine(weights: Path) -> Engine:
    return Engine(ModelLocator((weights,), "cpu"))


@pytest.fixture
def opened(portrait: Path, tmp_path: Path) -> PhotoSession:
    return open_photo(portrait, tmp_path, 200)


@pytest.fixture
def make_opened(tmp_path: Path) -> Callable[..., PhotoSession]:
    """Opens a made photograph that has about so many bytes."""

    def make(nbytes: int = 100_000) -> PhotoSession:
        side = round((nbytes / 15) ** 0.5)
        path = tmp_path / f"{side}.png"
        write_picture(path, Picture(np.zeros((side, side, 3), np.float32)))
        return open_photo(path, tmp_path, 200)

    return make


def test_photographs_make_room_for_others(make_opened: Callable[..., PhotoSession]) -> None:
    shelf = SessionCache(room=350_000, most=10)
    keys = [shelf.put(make_opened()) for _ in range(3)]
    first = shelf.get(keys[0])  # now the second is the one that was not used for longest
    keys.append(shelf.put(make_opened()))
    assert len(shelf) == 3
    assert shelf.get(keys[0]) is first
    with pytest.raises(GpenError, match="no longer held"):
        shelf.get(keys[1])
    # One that is larger than the room is held, alone.
    large = make_opened(1_000_000)
    key = shelf.put(large)
    assert len(shelf) == 1
    assert shelf.get(key) is large
    assert not first.folder.exists()
    assert large.folder.exists()
    shelf.drop(key)
    assert not large.folder.exists()
    with pytest.raises(GpenError, match="drop one first"):
        shelf.get(None)


def test_no_more_than_so_many_are_held(make_opened: Callable[..., PhotoSession]) -> None:
    shelf = SessionCache(most=2)
    for _ in range(5):
        shelf.put(make_opened())
    assert len(shelf) == 2


def test_what_a_restoration_holds_is_counted(engine: Engine, opened: PhotoSession) -> None:
    before = opened.nbytes
    work(engine, opened, "restore", "small.pth", Options(upscale=2.0), None)
    assert opened.nbytes > before + 2 * 4 * opened.picture.photo.nbytes


def test_everything_computes_in_one_thread_and_one_at_a_time(engine: Engine) -> None:
    running, most, threads = 0, 0, set()

    def compute() -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        threads.add(threading.get_ident())
        time.sleep(0.02)
        running -= 1

    callers = [threading.Thread(target=engine.call, args=(compute,)) for _ in range(8)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert most == 1
    assert len(threads) == 1


def test_faces_are_found_once_and_again_for_other_options(
    engine: Engine, opened: PhotoSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find(engine, opened, Options()) == [0, 1, 2, 3, 4]
    faces = opened.faces
    assert find(engine, opened, Options(select="largest")) != [0, 1, 2, 3, 4]
    assert opened.faces is faces
    find(engine, opened, Options(detection_threshold=0.99))
    assert opened.faces is not faces


def test_the_face_under_a_click(engine: Engine, opened: PhotoSession) -> None:
    find(engine, opened, Options())
    for number, face in enumerate(opened.faces):
        assert opened.face_at(*face.center) == number
    assert opened.face_at(0, 0) is None


def test_chosen_faces_are_coloured_and_others_grey(engine: Engine, opened: PhotoSession) -> None:
    find(engine, opened, Options())
    colored = [np.ptp(opened.drawn(chosen).astype(int), axis=2).max() > 100 for chosen in ([], [2])]
    assert colored == [False, True]


def test_mistakes_leave_the_last_result(engine: Engine, opened: PhotoSession) -> None:
    made = work(engine, opened, "restore", "small.pth", Options(), [1])
    for weights, chosen in (("broken.pth", [1]), ("nothing.pth", [1]), ("small.pth", [])):
        with pytest.raises(GpenError):
            work(engine, opened, "restore", weights, Options(), chosen)
    assert opened.restoration is made
    again = blend(opened, 0.0)
    assert again is not None
    assert np.array_equal(again.photo, opened.picture.photo)


def test_without_its_weights_the_identity_guard_is_off_and_says_so(engine: Engine, opened: PhotoSession) -> None:
    guarded = work(engine, opened, "restore", "passthrough.pth", Options(identity_guard=0.3), None)
    assert guarded.faces
    assert "The identity guard is off. arcface (recognition_arcface_ir_se50.pth) is not on this" in guarded.summary
    assert "guard" not in engine._kept


def test_with_its_weights_the_identity_guard_judges(
    engine: Engine, opened: PhotoSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Everybody:
        def embed(self, crop: FloatImage, landmarks: Any) -> Any:
            return np.array([1.0, 0.0], np.float32)

    guard = IdentityGuard(Everybody(), 0.3, blend=True)
    monkeypatch.setattr("gpen.app_engine.make_guard", lambda *_: guard)
    work(engine, opened, "restore", "passthrough.pth", Options(identity_guard=0.3), None)
    assert opened.restoration is not None
    assert [face.identity for face in opened.restoration.faces] == [0.0] * 5


def test_only_listed_weights_are_opened(engine: Engine, weights: Path) -> None:
    for name in (str(weights / "small.pth"), "../small.pth", "/etc/passwd", YUNET):
        with pytest.raises(FilesError, match="no weight file for this task"):
            engine.model(name, "auto", "restore")
    assert engine.model("", "auto", "restore").path.name == "GPEN-BFR-512.pth"


def test_without_weights_it_is_said_what_to_get(tmp_path: Path) -> None:
    places = ModelLocator((tmp_path,), "cpu")
    assert [published.name for published in places.missing("restore")] == ["GPEN-BFR-512", "yunet"]
    assert [published.name for published in places.missing("segmentation")] == ["GPEN-Seg2face-512"]
    with pytest.raises(FilesError, match="Download GPEN-BFR-512 under"):
        places.network("", "restore")


def test_no_face_is_an_error_where_one_was_to_be_chosen(
    engine: Engine, make_opened: Callable[..., PhotoSession]
) -> None:
    nobody = make_opened()
    with pytest.raises(FaceError, match="No face was found"):
        work(engine, nobody, "restore", "small.pth", Options(), [])


def test_sixteen_bits_and_alpha_stay(engine: Engine, portrait: Path, tmp_path: Path) -> None:
    photo = read_picture(portrait, 10).photo
    alpha = np.linspace(0, 1, photo[..., 0].size, dtype=np.float32).reshape(photo.shape[:2])
    path = tmp_path / "deep.tif"
    write_picture(path, Picture(photo, alpha, bits=16))
    opened = open_photo(path, tmp_path, 200)
    work(engine, opened, "restore", "small.pth", Options(), None)
    result = write_result(opened)
    assert result.name == "deep_restored.tif"
    back = read_picture(result, 10)
    assert back.bits == 16
    assert back.alpha is not None
    assert np.abs(back.alpha - alpha).max() < 1e-4
    before, after = (read_picture(file, 10).photo for file in before_and_after(opened))
    assert before.shape == after.shape == photo.shape
    assert before[0, 0].min() > 0.9  # white shows through


def test_a_picture_that_is_too_large_is_refused(portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"^portrait\.png"):
        open_photo(portrait, tmp_path, 0.05)

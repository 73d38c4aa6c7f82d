"""Photo sessions and the engine, without the page."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gpen.app.browser_pictures import looks_like_photo
from gpen.app.engine import Engine, ModelLocator
from gpen.app.session import (
    PhotoSession,
    SessionCache,
    WorkRequest,
    blend,
    find,
    open_photo,
    show_result,
    work,
    write_result,
)
from gpen.errors import FaceError, FilesError, GpenError, PhotoError
from gpen.faces.recognition.sface import SFaceRecognizer
from gpen.images import Picture, read_picture, write_picture
from gpen.options import Options
from gpen.restoration import components
from gpen.restoration.result import Restoration
from gpen.tasks import RESTORE, TASKS
from tests.app.conftest import YUNET
from tests.images.made_formats import heic
from tests.profiles import SRGB, converted, rgb_profile
from tests.recognizers import write_sface


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Hide the user's own folders."""
    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    for variable in ("GPEN_MODELS_PATH", "GPEN_DETECTORS_PATH"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def engine(weights: Path) -> Engine:
    return Engine(ModelLocator((weights,)), "cpu")


@pytest.fixture
def session(portrait: Path, tmp_path: Path) -> PhotoSession:
    return open_photo(portrait, tmp_path, 200)


@pytest.fixture
def make_session(tmp_path: Path) -> Callable[..., PhotoSession]:
    """Opens a black photo whose session holds about so many bytes."""

    def make(nbytes: int = 100_000) -> PhotoSession:
        side = round((nbytes / 12) ** 0.5)
        path = tmp_path / f"{side}.png"
        write_picture(path, Picture(np.zeros((side, side, 3), np.float32)))
        return open_photo(path, tmp_path, 200)

    return make


def restore(
    engine: Engine,
    session: PhotoSession,
    options: Options = Options(),  # noqa: B008 - frozen
    model: str = "small.pth",
    *,
    task: str = "restore",
    chosen: Sequence[int] | None = None,
    damage: Path | None = None,
) -> Restoration:
    request = WorkRequest(task=TASKS[task], options=options, model=model, chosen=chosen, damage=damage)
    return work(engine, session, request)


def test_the_least_recently_used_session_is_evicted(make_session: Callable[..., PhotoSession]) -> None:
    cache = SessionCache(memory_budget=350_000, most=10)
    keys = [cache.put(make_session()) for _ in range(3)]
    first = cache.get(keys[0])  # now the second is the least recently used
    keys.append(cache.put(make_session()))
    assert len(cache) == 3
    assert cache.get(keys[0]) is first
    with pytest.raises(GpenError, match="no longer in memory"):
        cache.get(keys[1])
    # One that exceeds the budget is kept, alone.
    large = make_session(1_000_000)
    key = cache.put(large)
    assert len(cache) == 1
    assert cache.get(key) is large
    assert not first.folder.exists()
    assert large.folder.exists()
    cache.drop(key)
    assert not large.folder.exists()
    with pytest.raises(GpenError, match="drop one first"):
        cache.get(None)


@pytest.fixture
def wide(portrait: Path, tmp_path: Path) -> Path:
    """The portrait in ProPhoto."""
    with Image.open(portrait) as image:
        samples = np.asarray(image.convert("RGB"))
    wide = Image.fromarray(converted(samples, SRGB, rgb_profile("ProPhoto")))
    wide.save(tmp_path / "wide.png", icc_profile=rgb_profile("ProPhoto"))
    return tmp_path / "wide.png"


def test_the_page_shows_srgb_and_downloads_keep_the_profile(
    engine: Engine, session: PhotoSession, wide: Path, tmp_path: Path
) -> None:
    other = open_photo(wide, tmp_path, 200)
    find(engine, session, Options())
    find(engine, other, Options())
    assert len(other.faces) == len(session.faces)
    assert other.nbytes - session.nbytes == session.picture.photo.size  # the samples of the file
    other.faces, other.found_with = session.faces, session.found_with
    shown = []
    for each in (session, other):
        restore(engine, each)
        shown.append([read_picture(file, 10) for file in (each.before, show_result(each))])
    for one, two in zip(*shown, strict=True):
        assert two.icc is None
        assert np.abs(one.photo - two.photo).mean() * 255 < 2
    restoration = other.restoration
    assert restoration is not None
    with Image.open(wide) as before, Image.open(write_result(other)[0]) as after:
        assert after.info["icc_profile"] == rgb_profile("ProPhoto")
        kept = restoration.mask == 0
        assert np.array_equal(np.asarray(after)[kept], np.asarray(before)[kept])
        assert (np.asarray(after) != np.asarray(before)).any()


def test_the_number_of_sessions_is_bounded(make_session: Callable[..., PhotoSession]) -> None:
    cache = SessionCache(most=2)
    for _ in range(5):
        cache.put(make_session())
    assert len(cache) == 2


def test_the_memory_of_a_result_is_counted(engine: Engine, session: PhotoSession) -> None:
    before = session.nbytes
    restore(engine, session, Options(upscale=2.0))
    assert session.nbytes > before + 2 * 4 * session.picture.photo.nbytes


def test_calls_run_in_one_thread_one_after_the_other(engine: Engine) -> None:
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


def test_faces_are_detected_again_only_for_another_detector_or_threshold(
    engine: Engine, session: PhotoSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find(engine, session, Options()) == [0, 1, 2, 3, 4]
    faces = session.faces
    assert find(engine, session, Options(select="largest")) != [0, 1, 2, 3, 4]
    assert session.faces is faces
    find(engine, session, Options(detection_threshold=0.99))
    assert session.faces is not faces


def test_a_session_that_is_used_outlives_its_first_page(
    make_session: Callable[..., PhotoSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = SessionCache()
    key = cache.put(make_session())
    cache.drop_idle(key)
    assert len(cache) == 1
    cache.get(key).last_used -= 3601
    cache.drop_idle(key)
    assert len(cache) == 0
    cache.drop_idle(None)


def test_a_map_is_told_from_a_photo(portrait: Path, photos: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.kron(rng.integers(0, 256, (5, 4, 3)), np.ones((80, 80, 1)))
    path = tmp_path / "map.jpg"
    write_picture(path, Picture((labels / 255).astype(np.float32)))
    assert not looks_like_photo(read_picture(path, 10).photo)
    assert looks_like_photo(read_picture(portrait, 10).photo)
    colored = np.clip(read_picture(portrait, 10).photo * np.array([1.0, 0.8, 0.6], np.float32), 0, 1)
    assert looks_like_photo(colored)


def test_errors_keep_the_last_result(engine: Engine, session: PhotoSession) -> None:
    last = restore(engine, session, chosen=[1])
    for model, chosen in (("broken.pth", [1]), ("nothing.pth", [1]), ("small.pth", [])):
        with pytest.raises(GpenError):
            restore(engine, session, model=model, chosen=chosen)
    assert session.restoration is last
    again = blend(session, 0.0)
    assert again is not None
    assert np.array_equal(again.photo, session.picture.photo)


def test_only_faces_of_people_are_ticked_and_worked_on(
    session: PhotoSession, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = tmp_path / "recognisers"
    models.mkdir()
    write_sface(models, monkeypatch)
    monkeypatch.setattr(SFaceRecognizer, "same_person", 0.95)
    engine = Engine(ModelLocator((weights, models)), "cpu")
    find(engine, session, Options())
    people = []
    for number in (1, 3):
        x0, y0, x1, y1 = (round(v) for v in session.faces[number].box)
        photo = session.picture.photo[max(y0 - 24, 0) : y1 + 24, max(x0 - 24, 0) : x1 + 24]
        people.append(tmp_path / f"person{number}.png")
        write_picture(people[-1], Picture(np.ascontiguousarray(photo)))
    assert find(engine, session, Options(), people[:1]) == [1]
    assert find(engine, session, Options(), people) == [1, 3]
    request = WorkRequest(task=RESTORE, options=Options(), model="small.pth", people=people)
    restoration = work(engine, session, request)
    assert [face.number for face in restoration.faces] == [1, 3]
    # Who was clicked is worked on, whoever that is.
    clicked = WorkRequest(task=RESTORE, options=Options(), model="small.pth", people=people, chosen=[0])
    assert [face.number for face in work(engine, session, clicked).faces] == [0]
    nobody = tmp_path / "nobody.png"
    write_picture(nobody, Picture(np.full((64, 64, 3), 0.5, np.float32)))
    with pytest.raises(FaceError, match=r"^No face was found in nobody\.png"):
        find(engine, session, Options(), [nobody])


def test_auto_is_a_model_where_there_are_several_sizes(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "GPEN-BFR-512.pth").write_bytes((weights / "small.pth").read_bytes())
    locator = ModelLocator((tmp_path,))
    assert locator.networks(RESTORE) == ["GPEN-BFR-512.pth"]
    (tmp_path / "GPEN-BFR-1024.pth").write_bytes((weights / "small.pth").read_bytes())
    assert locator.networks(RESTORE) == ["GPEN-BFR-512.pth", "auto", "GPEN-BFR-1024.pth"]
    files = locator.network_files("auto", RESTORE)
    assert (files.first.name, [path.name for path in files.others or ()]) == ("GPEN-BFR-512.pth", ["GPEN-BFR-1024.pth"])
    assert locator.network_files("", RESTORE).others is None


def test_without_its_model_the_identity_guard_is_off_and_says_so(
    engine: Engine, session: PhotoSession, monkeypatch: pytest.MonkeyPatch, weights: Path
) -> None:
    guarded = Options(identity_guard=0.3)
    restoration = restore(engine, session, guarded, "passthrough.pth")
    assert restoration.faces
    assert "The identity guard is off. arcface (recognition_arcface_ir_se50.pth) is not on this" in restoration.summary
    # The next photo asks again: the model may have been downloaded since.
    monkeypatch.setattr(components, "find_recognizer", lambda folders: ("arcface", weights / YUNET))
    monkeypatch.setattr(components, "FaceRecognizer", SameVector)
    restoration = restore(engine, session, guarded, "passthrough.pth")
    assert [face.identity for face in restoration.faces] == [0.0] * 5
    assert "identity guard" not in restoration.summary


class SameVector:
    """A recogniser to which all faces are the same person's."""

    def __init__(self, weights: Path, device: str) -> None:
        pass

    def align(self, crop: Any, landmarks: Any) -> Any:
        return crop

    def embed(self, faces: Any) -> Any:
        return np.array([[1.0, 0.0]] * len(faces), np.float32)


def test_only_listed_models_are_loaded(engine: Engine, session: PhotoSession, weights: Path) -> None:
    for name in (str(weights / "small.pth"), "../small.pth", "/etc/passwd", YUNET):
        with pytest.raises(FilesError, match="is not a model for this task"):
            restore(engine, session, model=name)
    assert engine.locator.network_files("", RESTORE).first.name == "GPEN-BFR-512.pth"


def test_missing_models_are_named(tmp_path: Path) -> None:
    locator = ModelLocator((tmp_path,))
    assert [published.name for published in locator.missing(RESTORE)] == ["GPEN-BFR-512", "yunet"]
    assert [published.name for published in locator.missing(TASKS["synthesize"])] == ["GPEN-Seg2face-512"]
    with pytest.raises(FilesError, match="Download GPEN-BFR-512 under"):
        locator.network_files("", RESTORE)


def test_a_photo_without_faces_is_an_error(engine: Engine, make_session: Callable[..., PhotoSession]) -> None:
    with pytest.raises(FaceError, match="No face was found"):
        restore(engine, make_session(), chosen=[])


def test_a_broken_damage_mask_is_named_without_its_folder(
    engine: Engine, session: PhotoSession, tmp_path: Path
) -> None:
    missing, broken = tmp_path / "missing.png", tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    for mask in (missing, broken):
        with pytest.raises(PhotoError, match=mask.name) as refused:
            restore(engine, session, task="inpaint", damage=mask)
        assert str(tmp_path) not in str(refused.value)


def test_sixteen_bits_and_alpha_survive(engine: Engine, portrait: Path, tmp_path: Path) -> None:
    photo = read_picture(portrait, 10).photo
    alpha = np.linspace(0, 1, photo[..., 0].size, dtype=np.float32).reshape(photo.shape[:2])
    path = tmp_path / "deep.tif"
    write_picture(path, Picture(photo, alpha, bits=16))
    session = open_photo(path, tmp_path, 200)
    restore(engine, session)
    result, _ = write_result(session)
    assert result.name == "deep_restored.tif"
    back = read_picture(result, 10)
    assert back.bits == 16
    assert back.alpha is not None
    assert np.abs(back.alpha - alpha).max() < 1e-4
    before, after = (read_picture(file, 10).photo for file in (session.before, show_result(session)))
    assert before.shape == after.shape == photo.shape
    assert before[0, 0].min() > 0.9  # white shows through


def test_what_is_left_out_of_a_file_is_said(engine: Engine, portrait: Path, tmp_path: Path) -> None:
    path = tmp_path / "eyes.jpg"
    write_picture(path, Picture(read_picture(portrait, 10).photo))
    path.write_bytes(path.read_bytes() * 2)
    session = open_photo(path, tmp_path, 200)
    restored = restore(engine, session)
    assert write_result(session)[1] == f"{restored.summary} 1 further picture in its file is left out."


def test_heic_becomes_png(engine: Engine, portrait: Path, tmp_path: Path) -> None:
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(heic(np.rint(read_picture(portrait, 10).photo * 255).astype(np.uint8)))
    session = open_photo(path, tmp_path, 200)
    restore(engine, session)
    result, _ = write_result(session)
    assert result.name == "IMG_1_restored.png"
    assert np.array_equal(session.picture.photo, read_picture(portrait, 10).photo)


def test_a_missing_package_is_named(portrait: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "IMG_1.HEIC"
    path.write_bytes(heic(np.rint(read_picture(portrait, 10).photo * 255).astype(np.uint8)))
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(PhotoError, match=r"^IMG_1\.HEIC is an HEIC picture; install pi-heif \(pip install"):
        open_photo(path, tmp_path, 200)


def test_a_photo_that_is_too_large_is_refused(portrait: Path, tmp_path: Path) -> None:
    with pytest.raises(PhotoError, match=r"^portrait\.png"):
        open_photo(portrait, tmp_path, 0.05)

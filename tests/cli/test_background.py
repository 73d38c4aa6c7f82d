"""`gpen restore --background-model`: the background comes from the upscaler, in every mode of the command."""

from __future__ import annotations

import functools
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gpen.batch import stages
from gpen.batch.config import RunConfig
from gpen.batch.plan import plan
from gpen.batch.prefetch import PrefetchPipeline
from gpen.batch.ray.journal import Journal
from gpen.batch.ray.worker import Worker, as_row
from gpen.batch.report import Status
from gpen.errors import OptionError
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import Picture, read_picture, write_picture
from gpen.images.resize import resize
from gpen.options import Options
from gpen.restoration.upscaler import SMALLEST_TILE, Upscaler
from tests.restoration.upscalers import known_output, known_upscaler


@pytest.fixture(scope="session")
def upscaler(tmp_path_factory) -> Path:
    return known_upscaler(tmp_path_factory.mktemp("upscalers") / "x2.pth")


@pytest.fixture(scope="session")
def upscaler_x4(tmp_path_factory) -> Path:
    return known_upscaler(tmp_path_factory.mktemp("upscalers") / "x4.pth", 4)


def photo_in(path: Path) -> np.ndarray:
    return read_picture(path, 10).photo


def assert_background(result: np.ndarray, expected: np.ndarray, coding: float = 1.01) -> None:
    """The result is the upscaler's around the face in the middle, and not inside it."""
    height, width = expected.shape[:2]
    assert result.shape == expected.shape
    outside = np.ones((height, width), bool)
    outside[height // 8 : -height // 8, width // 8 : -width // 8] = False
    assert np.abs(result - expected)[outside].max() * 255 <= coding
    assert np.abs(result - expected)[~outside].max() > 0.05


def test_the_face_is_restored_and_the_background_upscaled(restore, album, upscaler, tmp_path):
    photo = album.add("a.png", alpha=True)
    run = restore(photo, "-o", tmp_path / "r.png", "--background-model", upscaler)
    assert run.code == 0
    assert run.err == ""
    assert "faces from " in run.out
    assert ", background from RealESRGAN Compact x2 (x2.pth).\n" in run.out
    before, after = read_picture(photo, 1), read_picture(tmp_path / "r.png", 1)
    assert_background(after.photo, known_output(before.photo))
    # The middle of the face comes from the photo, not from the background, which is tinted.
    inverted = 1 - resize(before.photo, (after.width, after.height))
    middle = slice(88, 108), slice(100, 124)
    assert np.abs(after.photo[middle] - inverted[middle]).max() * 255 <= 4
    assert np.abs(after.alpha - resize(before.alpha, (after.width, after.height))).max() * 255 <= 1.01


@pytest.mark.parametrize(("upscale", "size"), [(1, (448, 384)), (1.5, (168, 144)), (2, (224, 192)), (4, (448, 384))])
def test_the_upscale_option_decides_the_size(restore, album, upscaler_x4, tmp_path, upscale, size):
    photo = album.add("a.png")
    target = tmp_path / "r.png"
    assert restore(photo, "-o", target, "--background-model", upscaler_x4, "--upscale", upscale).code == 0
    assert_background(photo_in(target), resize(known_output(photo_in(photo), 4), size))


def test_a_background_model_that_does_not_enlarge(restore, album, tmp_path):
    photo = album.add("a.png")
    model = known_upscaler(tmp_path / "x1.pth", 1)
    assert restore(photo, "-o", tmp_path / "r.png", "--background-model", model).code == 0
    assert_background(photo_in(tmp_path / "r.png"), known_output(photo_in(photo), 1))


@pytest.mark.parametrize("flags", [[], ["--only-faces", 7]])
def test_without_faces_the_result_is_the_upscaled_photo(restore, album, upscaler, tmp_path, flags):
    photo = album.add("a.png", faces=None if flags else [])
    model = known_upscaler(tmp_path / "x1.pth", 1)
    report = tmp_path / "report.json"
    run = restore(photo, "-o", tmp_path / "out", "--background-model", model, "--report", report, *flags)
    assert run.code == 0
    assert "; the result is the background." in run.out
    assert "1 photo: 1 restored; 0 faces restored." in run.out
    assert json.loads(report.read_text())[0]["status"] == "restored"
    result = photo_in(tmp_path / "out" / "a.png")
    assert np.abs(result - known_output(photo_in(photo), 1)).max() * 255 <= 1.01
    assert (tmp_path / "out" / "a.png").read_bytes() != photo.read_bytes()


def test_the_comparison_has_two_sides_of_the_same_size(restore, album, upscaler, tmp_path):
    photo = album.add("a.png")
    assert restore(photo, "-o", tmp_path / "out", "--compare", "--background-model", upscaler).code == 0
    after, comparison = (photo_in(tmp_path / "out" / name) for name in ("a.png", "a_compare.png"))
    height, width = after.shape[:2]
    left, right = comparison[-height:, :width], comparison[-height:, -width:]
    face = slice(60, 132), slice(76, 148)
    assert np.abs(right[face] - after[face]).max() * 255 <= 1.01
    assert np.abs(left[face] - resize(photo_in(photo), (width, height))[face]).max() * 255 <= 1.01


def test_grey_and_deep_pictures_stay_so(restore, album, tmp_path):
    model = known_upscaler(tmp_path / "x2.pth", tint=(0.1, 0.1, 0.1))
    album.add("grey.png", grey=True)
    album.add("deep.tif", bits=16)
    assert restore(album.folder, "-o", tmp_path / "out", "--background-model", model).code == 0
    for name, coding in (("grey.png", 1.01), ("deep.tif", 0.01)):
        before, after = read_picture(album.folder / name, 1), read_picture(tmp_path / "out" / name, 1)
        assert (before.bits, before.grey) == (after.bits, after.grey)
        assert_background(after.photo, known_output(before.photo, tint=(0.1, 0.1, 0.1)), coding)


def test_a_batch_gives_the_same_results_as_each_photo_alone(restore, album, upscaler, tmp_path):
    for number in range(6):
        album.add(f"{number}.png")
    assert restore(album.folder, "-o", tmp_path / "all", "--background-model", upscaler).code == 0
    for number in range(6):
        name = f"{number}.png"
        alone = tmp_path / "alone" / name
        assert restore(album.folder / name, "-o", alone, "--background-model", upscaler).code == 0
        assert alone.read_bytes() == (tmp_path / "all" / name).read_bytes()
    again = restore(album.folder, "-o", tmp_path / "all", "--background-model", upscaler)
    assert "6 photos: 6 already there; 0 faces restored." in again.out


def test_a_result_that_would_be_too_large_is_refused_before_upscaling(
    restore, album, upscaler_x4, tmp_path, files_in, monkeypatch
):
    photo = album.add("a.png")
    monkeypatch.setattr("gpen.restoration.upscaler.Upscaler.__call__", None)
    limit = ["--max-megapixels", 0.15]
    run = restore(photo, "-o", tmp_path / "out", "--background-model", upscaler_x4, *limit)
    assert run.code == 1
    assert (
        "RealESRGAN Compact x4 (x4.pth) would make a picture of 0.172032 megapixels, more than the 0.15 allowed"
        in run.err
    )
    assert files_in(tmp_path / "out") == []


@pytest.fixture
def config(networks, album):
    """The configuration of a run with the faces of ``album`` and a background model."""

    def make(background: Path | None, upscale: float = 1.0) -> RunConfig:
        weights, options = networks / "negative.pth", Options(upscale=upscale)
        return RunConfig(weights=weights, options=options, faces=album.faces_file, background=background)

    return make


def test_the_memory_estimate_considers_the_scale(config, upscaler, upscaler_x4, album):
    album.add("a.png")

    def memory(background: Path | None, upscale: float = 1.0) -> int:
        return config(background, upscale).make().memory(1000)

    assert memory(upscaler_x4) == 4 * memory(upscaler) == 16 * memory(None)
    assert memory(upscaler_x4, 2.0) == memory(None, 2.0)


@pytest.mark.parametrize("name", ["lost.pth", "passthrough.pth", "page.pth"])
def test_an_unusable_background_model_is_reported_once(restore, album, networks, tmp_path, files_in, name):
    album.add("a.png")
    album.add("b.png")
    (tmp_path / "page.pth").write_text("<html></html>")
    model = networks / name if name == "passthrough.pth" else tmp_path / name
    run = restore(album.folder, "-o", tmp_path / "out", "--background-model", model)
    assert run.code == 1
    assert run.out == ""
    assert run.err.count("\n") == 1
    assert name in run.err
    assert files_in(tmp_path / "out") == []


def test_without_spandrel(restore, album, upscaler, tmp_path, monkeypatch):
    photo = album.add("a.png")
    monkeypatch.setitem(sys.modules, "spandrel", None)
    run = restore(photo, "-o", tmp_path / "out", "--background-model", upscaler)
    assert run.code == 1
    assert '"gpen-face-restore[upscale]"' in run.err
    assert restore(photo, "-o", tmp_path / "out").code == 0


def test_spandrel_is_not_imported_without_a_background_model(restore, album, tmp_path, monkeypatch):
    photo = album.add("a.png")
    monkeypatch.delitem(sys.modules, "spandrel")
    assert restore(photo, "-o", tmp_path / "out").code == 0
    assert "spandrel" not in sys.modules


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_progress_bar_shows_tiles_of_the_background(restore, album, upscaler, tmp_path, monkeypatch):
    photo = album.add("a.png")
    small_tiles = functools.partial(Upscaler, tile=SMALLEST_TILE)
    monkeypatch.setattr("gpen.restoration.upscaler.Upscaler", small_tiles)
    large = Picture(resize(photo_in(photo), (224, 192)))
    write_picture(photo, large)
    write_faces(album.faces_file, [PhotoFaces("a.png", 224, 192, tuple(album.faces["a.png"]))])
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert restore(photo, "-o", tmp_path / "out", "--background-model", upscaler).code == 0
    shown = terminal.getvalue()
    for percent, what in ((0, "background, tile 0 of 12"), (25, "background, tile 6 of 12"), (50, "face 0 of 1")):
        assert re.search(rf" {percent}%\|.{{20}}\| 1 of 1, {what}, ", shown)


def test_showing_progress_may_fail_between_tiles(config, album, upscaler, tmp_path, files_in):
    album.add("a.png")
    album.add("b.png")
    jobs, _ = plan([str(album.folder)], tmp_path / "out")
    results, calls = [], []

    def on_tile(done: int, total: int) -> None:
        calls.append((done, total))
        if len(calls) == 3:
            raise OptionError("enough")

    with pytest.raises(OptionError, match="enough"):
        PrefetchPipeline(config(upscaler).make()).run(jobs, lambda job: lambda *_: None, results.append, on_tile)
    assert [result.status for result in results] == [Status.DONE]
    assert calls == [(0, 1), (1, 1), (0, 1)]
    assert files_in(tmp_path / "out") == ["a.png"]


def test_workers_of_a_cluster_give_the_same_result(restore, config, album, upscaler, tmp_path, monkeypatch):
    album.add("a.png")
    assert restore(album.folder, "-o", tmp_path / "here", "--background-model", upscaler).code == 0
    monkeypatch.chdir(upscaler.parent)
    absolute = config(Path(upscaler.name)).absolute()
    assert absolute.background == upscaler
    monkeypatch.chdir(tmp_path)
    jobs, _ = plan([str(album.folder)], tmp_path / "there")
    journal = Journal(tmp_path / "there", "run")
    journal.open()
    rows = [as_row(number, job) for number, job in enumerate(jobs)]
    result = Worker(absolute, journal, 1)({column: [row[column] for row in rows] for column in ("number", "job")})
    assert json.loads(result["entry"][0])["status"] == "restored"
    assert (tmp_path / "there" / "a.png").read_bytes() == (tmp_path / "here" / "a.png").read_bytes()


def test_a_real_photo(gpen, networks, detector_weights, photos, tmp_path, monkeypatch, upscaler):
    """With passthrough weights: the upscaler's pixels around the face, the photo's inside."""
    kept = []
    really = stages.run_task

    def restoring(*arguments, **more):
        kept.append(really(*arguments, **more))
        return kept[-1]

    monkeypatch.setattr(stages, "run_task", restoring)
    photo, target = photos / "ffhq_00000_lq.png", tmp_path / "r.png"
    flags = ["--models-path", networks, "--models-path", detector_weights, "--detector", "yunet"]
    run = gpen("restore", photo, "-o", target, "--background-model", upscaler, "--model", "passthrough", *flags)
    assert run.code == 0, run.err
    assert "1 face restored." in run.out
    before, after = photo_in(photo), photo_in(target)
    mask = kept[0].mask
    background = known_output(before)
    assert mask.shape == after.shape[:2] == background.shape[:2]
    assert 0.05 < (mask > 0).mean() < 0.8
    assert np.abs(after - background)[mask == 0].max() * 255 <= 0.51
    # The network sees 64 pixels of a face here: colours, not details.
    face = resize(before, (after.shape[1], after.shape[0]))
    colors = [picture[mask == 1].mean(axis=0) for picture in (after, face)]
    assert np.abs(colors[0] - colors[1]).max() * 255 <= 1

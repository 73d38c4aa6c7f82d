"""`gpen restore film.mp4`: films among the paths, the flags for them, reports and what is refused."""

from __future__ import annotations

import json
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from gpen.images import Picture, read_picture, write_picture
from gpen.restoration.components import ComponentLoader
from tests.commands import upright_face
from tests.video.clips import HEIGHT, WIDTH, Clip, look, make

SHORT = Clip(frames=6, options={"preset": "ultrafast"})


class Detector:
    """Finds one face in every picture, in its middle."""

    name = "one face"

    def detect(self, photo, threshold):
        height, width = photo.shape[:2]
        return [upright_face(width / 2 - 20, height / 2 - 20, 40)]


@pytest.fixture(autouse=True)
def detector(monkeypatch):
    monkeypatch.setattr(ComponentLoader, "detector", lambda self, name: Detector())


@pytest.fixture
def film(tmp_path):
    """A film in a folder of its own."""
    (tmp_path / "films").mkdir()
    return make(tmp_path / "films" / "film.mp4", SHORT)


@pytest.fixture
def run(gpen, networks):
    """`gpen restore` with the network that inverts colours, without looking for a detector."""

    def restore(*arguments: object, task: str = "restore"):
        return gpen(task, *arguments, "--models-path", networks, "--model", "negative", "--mask", "ellipse")

    return restore


def test_a_film(run, film, tmp_path):
    done = run(film, "-o", tmp_path / "out.mp4", "--report", tmp_path / "r.json")
    assert done.code == 0, done.err
    assert "faces from one face, ellipse mask." in done.out
    assert "1 track of faces in 6 frames" in done.out
    assert f"{film} -> {tmp_path / 'out.mp4'}: 1 face of 1 restored in 6 frames, libx264 in yuv420p." in done.out
    assert look(tmp_path / "out.mp4").times == look(film).times
    (entry,) = json.loads((tmp_path / "r.json").read_text())
    assert (entry["path"], entry["status"], entry["frames"]) == (str(film), "restored", 6)
    assert entry["faces"] == [{"number": 0, "frames": 6}]
    again = run(film, "-o", tmp_path / "out.mp4")
    assert again.code == 0
    assert "already exists; the film was skipped. Use --overwrite" in again.out


def test_results_beside_films_and_in_folders(run, film, tmp_path):
    make(film.with_name("old.avi"), Clip(frames=3, codec="mpeg4", time_base=Fraction(1, 25), steps=(1,)))
    assert run(film, film.with_name("old.avi")).code == 0
    assert sorted(path.name for path in film.parent.iterdir()) == [
        *("film.mp4", "film_restored.mp4", "old.avi", "old_restored.mkv"),
    ]
    # Results of an earlier run are not restored again.
    assert run(*film.parent.glob("*")).out.count("already exists") == 2
    assert run(film, "--preview", "0.1").code == 0
    assert len(look(film.with_name("film_preview.mp4")).times) == 3
    assert run(*film.parent.glob("*")).out.count("already exists") == 2
    for name in ("film_restored.mp4", "old_restored.mkv", "film_preview.mp4"):
        film.with_name(name).unlink()
    done = run(film.parent)
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "films_restored").iterdir()) == ["film.mp4", "old.mkv"]


def test_films_and_photos_in_one_folder(run, film, tmp_path):
    write_picture(film.with_name("photo.png"), Picture(np.full((100, 100, 3), 0.4, np.float32)))
    done = run(film.parent, "-o", tmp_path / "out")
    assert done.code == 0, done.err
    assert "1 film: 1 done." in done.out
    assert "1 photo: 1 restored" in done.out
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.name[0] != ".") == [
        "film.mp4",
        "photo.png",
    ]
    both = run(film.parent, "-o", tmp_path / "out", "--report", tmp_path / "r.json")
    assert both.code == 2
    assert "give only the one or the other" in both.err


def test_a_grey_film_is_coloured(run, film, gpen, networks, tmp_path):
    done = gpen(
        *("colorize", film, "-o", tmp_path / "out.mkv", "--codec", "ffv1"),
        *("--models-path", networks, "--model", "negative", "--mask", "ellipse"),
    )
    assert done.code == 0, done.err
    before, after = look(film, planes=True), look(tmp_path / "out.mkv", planes=True)
    luma, chroma = (np.abs(before.planes[2][i].astype(int) - after.planes[2][i].astype(int)).max() for i in (0, 1))
    assert luma == 0
    assert chroma > 10


def test_a_film_without_chroma_gets_some(gpen, networks, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(frames=2, codec="ffv1", pixel_format="gray", tags=(1, 1, 1, 2)))
    done = gpen(
        *("colorize", source, "-o", tmp_path / "out.mkv", "--codec", "ffv1"),
        *("--models-path", networks, "--model", "negative", "--mask", "ellipse"),
    )
    assert done.code == 0, done.err
    after = look(tmp_path / "out.mkv", planes=True)
    assert after.about["pixels"] == "yuv420p"
    assert np.array_equal(after.planes[0][0], look(source, planes=True).planes[0][0])


def test_flags(run, film, tmp_path):
    done = run(film, "-o", tmp_path / "a.mkv", "--codec", "ffv1", "--preview", "0.1s", "--no-video")
    assert done.code == 0, done.err
    assert len(look(tmp_path / "a.mkv").times) == 3
    assert "in 3 frames, ffv1 in yuv420p" in done.out
    sizes = []
    for crf in ("10", "40"):
        assert run(film, "-o", tmp_path / f"{crf}.mp4", "--crf", crf).code == 0
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    assert sizes[0] > 1.5 * sizes[1]


def test_a_mask_of_what_is_protected(run, film, tmp_path):
    write_picture(tmp_path / "mask.png", Picture(np.ones((HEIGHT, WIDTH, 3), np.float32)))
    done = run(film, "-o", tmp_path / "a.mkv", "--codec", "ffv1", "--protect", tmp_path / "mask.png")
    assert done.code == 0, done.err
    for one, other in zip(look(film, planes=True).planes, look(tmp_path / "a.mkv", planes=True).planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (["--compare"], "--compare is for photos"),
        (["--quality", "90"], "--quality is for photos"),
        (["--selfie"], "--selfie is for photos"),
        (["--engine", "ray"], "--engine ray is for photos"),
        (["--upscale", "2"], "A film keeps its size"),
        (["--crf", "64"], "it has to be a number from 0 to 63"),
        (["--preview", "soon"], "it has to be one such as 10s"),
        (["--codec", "ffv1", "--crf", "3"], "--crf says nothing to FFV1"),
    ],
)
def test_flags_that_do_not_fit(flags, why, run, film, tmp_path):
    done = run(film, "-o", tmp_path / "out.mkv", *flags)
    assert done.code in (1, 2)
    assert why in done.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films"]


def test_flags_for_films_with_photos(run, tmp_path):
    write_picture(tmp_path / "photo.png", Picture(np.full((100, 100, 3), 0.4, np.float32)))
    done = run(tmp_path / "photo.png", "-o", tmp_path / "out.png", "--crf", "0")
    assert done.code == 2
    assert "--crf is for films" in done.err


def test_results_that_cannot_be(run, film, tmp_path):
    other = make(film.with_name("other.mp4"), SHORT)
    assert "may be several results" in run(film, other, "-o", tmp_path / "out.mp4").err
    assert "would replace" in run(film, "-o", film).err
    (film.parent / "b").mkdir()
    same = make(film.parent / "b" / "film.mp4", SHORT)
    assert "would both be written to" in run(film, same, "-o", tmp_path / "out").err
    assert "Films cannot be written as .avi" in run(film, "-o", tmp_path / "out.avi").err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films"]


def test_one_bad_film_stops_no_other(run, film, tmp_path):
    film.with_name("bad.mkv").write_bytes(b"nothing")
    done = run(film.parent, "-o", tmp_path / "out", "--report", tmp_path / "r.json")
    assert done.code == 1
    assert done.err.count("bad.mkv cannot be read as a film") == 1
    assert "2 films: 1 done, 1 failed." in done.out
    assert [entry["status"] for entry in json.loads((tmp_path / "r.json").read_text())] == ["failed", "restored"]


def test_with_the_real_detector(gpen, networks, photos, detector_weights, tmp_path, monkeypatch):
    """A camera pans over a portrait: one track of one person, through all frames."""
    monkeypatch.undo()
    portrait = read_picture(photos / "ffhq_00000_hq.png", 100).photo
    small = (cv2.resize(portrait, (240, 240), interpolation=cv2.INTER_AREA) * 255).round().astype(np.uint8)

    def frame(number: int) -> np.ndarray:
        canvas = np.full((280, 360, 3), 110, np.uint8)
        canvas[20:260, 20 + 4 * number : 260 + 4 * number] = small
        return canvas

    source = make(tmp_path / "in.mp4", Clip(frames=8, picture=frame, time_base=Fraction(1, 25), steps=(1,)))
    done = gpen(
        *("restore", source, "-o", tmp_path / "out.mp4", "--models-path", networks, "--model", "passthrough"),
        *("--models-path", detector_weights, "--detector", "yunet", "--mask", "ellipse"),
    )
    assert done.code == 0, done.err
    assert "1 track of faces in 8 frames with 0 cuts; 0 missing faces bridged." in done.out
    with av.open(str(source)) as one, av.open(str(tmp_path / "out.mp4")) as other:
        for first, second in zip(one.decode(video=0), other.decode(video=0), strict=True):
            difference = first.to_ndarray(format="gray").astype(int) - second.to_ndarray(format="gray")
            assert np.abs(difference).mean() < 3

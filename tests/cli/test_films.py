"""`gpen restore film.mp4`: films among the paths, the flags for them, reports and what is refused."""

from __future__ import annotations

import json
import re
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from gpen.cli import detect, films
from gpen.faces.faces_file import FacesFromFile, FilmFaces, FrameFaces, PhotoFaces, write_faces
from gpen.images import Picture, read_picture, write_picture
from gpen.restoration.components import ComponentLoader
from gpen.video.ffmpeg import pyav
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
    monkeypatch.setattr(detect, "make_detector", lambda *arguments: Detector())


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
    assert (entry["path"], entry["status"]) == (str(film), "restored")
    assert (entry["frame_count"], entry["tracks"]) == (6, [{"number": 0, "frames": 6}])
    assert [(frame["frame"], frame["seconds"]) for frame in entry["frames"]] == [(n, n / 25) for n in range(6)]
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


def test_faces_are_found_once_and_restored_from_the_file(run, gpen, film, tmp_path, monkeypatch):
    """As if they were found then; the report has them in the same form."""
    write_picture(film.with_name("photo.png"), Picture(np.full((100, 100, 3), 0.4, np.float32)))
    found = gpen("detect", film.parent, "--json", tmp_path / "faces.json")
    assert found.code == 0, found.err
    assert f"{film}: faces in 6 of 6 frames, at most 1 in one, of {WIDTH} x {HEIGHT}" in found.out
    assert len(FacesFromFile(tmp_path / "faces.json").faces_for("photo.png", 100, 100)) == 1
    # Frames that stand alone have no steady texture.
    lossless = ["--codec", "ffv1", "--texture", "0"]
    assert run(film, "-o", tmp_path / "a.mkv", *lossless).code == 0
    monkeypatch.setattr(ComponentLoader, "detector", None)
    flags = [*lossless, "--report", tmp_path / "r.json", "--detection-threshold", "0.95"]
    done = run(film, "-o", tmp_path / "b.mkv", "--faces", tmp_path / "faces.json", *flags)
    assert done.code == 0, done.err
    assert f"faces from {tmp_path / 'faces.json'}, ellipse mask." in done.out
    one, other = look(tmp_path / "a.mkv", planes=True), look(tmp_path / "b.mkv", planes=True)
    for first, second in zip(one.planes, other.planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))
    content = {"format": "gpen-faces", "version": 1, "films": json.loads((tmp_path / "r.json").read_text())}
    (tmp_path / "again.json").write_text(json.dumps(content))
    done = run(film, "-o", tmp_path / "c.mkv", "--faces", tmp_path / "again.json", *lossless, "--no-video")
    assert done.code == 0, done.err
    for first, second in zip(one.planes, look(tmp_path / "c.mkv", planes=True).planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def listed(path, frames):
    """A faces file about film.mp4: number and seconds of its frames with a face in their middle."""
    face = upright_face(WIDTH / 2 - 20, HEIGHT / 2 - 20, 40)
    entry = FilmFaces("film.mp4", WIDTH, HEIGHT, tuple(FrameFaces(number, when, (face,)) for number, when in frames))
    write_faces(path, [], [entry])
    return path


def test_only_listed_frames_are_restored(run, film, tmp_path):
    faces = listed(tmp_path / "faces.json", [(1, None), (4, 0.16)])
    done = run(film, "-o", tmp_path / "out.mkv", "--faces", faces, "--codec", "ffv1", "--no-video")
    assert done.code == 0, done.err
    before, after = look(film, planes=True).planes, look(tmp_path / "out.mkv", planes=True).planes
    assert [not np.array_equal(a[0], b[0]) for a, b in zip(before, after, strict=True)] == [
        *(False, True, False, False, True, False),
    ]


@pytest.mark.parametrize(
    ("frames", "why"),
    [
        (
            [(1, 0.5)],
            r"lists frame 1 of film.mp4 at 0.500 s, but in .*film.mp4 it is shown at 0.040 s. Was",
        ),
        ([(6, None)], "lists frame 6 of film.mp4, but the last one of .*film.mp4 is 5. Was the film cut?"),
    ],
)
def test_faces_of_another_film(frames, why, run, film, tmp_path):
    """The corrected file is taken at once."""
    flags = [film, "-o", tmp_path / "out.mp4", "--faces", tmp_path / "faces.json"]
    listed(tmp_path / "faces.json", frames)
    done = run(*flags)
    assert done.code == 1
    assert re.search(why, done.err)
    listed(tmp_path / "faces.json", [(1, 0.04)])
    assert run(*flags).code == 0
    write_faces(tmp_path / "faces.json", [PhotoFaces("film.mp4", WIDTH, HEIGHT, ())])
    assert "has no entry for film.mp4 among its 0" in run(*flags, "--overwrite").err
    write_faces(tmp_path / "faces.json", [], [FilmFaces("film.mp4", HEIGHT, WIDTH, ())])
    assert "lists film.mp4 with 120 x 160 pixels, but film.mp4 has 160 x 120" in run(*flags, "--overwrite").err


def test_detect_and_films_that_cannot_be_read(gpen, film, tmp_path):
    film.with_name("bad.mkv").write_bytes(b"nothing")
    done = gpen("detect", film.parent, "--json", tmp_path / "faces.json")
    assert done.code == 1
    assert "bad.mkv cannot be read as a film" in done.err
    assert [entry.path for entry in FacesFromFile(tmp_path / "faces.json").films] == ["film.mp4"]
    assert "--draw is for photos" in gpen("detect", film, "--draw", "-o", tmp_path).err


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
        (["--faces", "none.json"], "none.json cannot be read"),
        (["--compare"], "--compare is for photos"),
        (["--quality", "90"], "--quality is for photos"),
        (["--selfie"], "--selfie is for photos"),
        (["--upscale", "2"], "A film keeps its size"),
        (["--crf", "64"], "it has to be a number from 0 to 63"),
        (["--preview", "soon"], "it has to be one such as 10s"),
        (["--codec", "ffv1", "--crf", "3"], "crf says nothing to FFV1"),
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
    assert "films cannot be written as .gif" in run(film, "-o", tmp_path / "out.gif").err
    assert "the name of a picture" in run(film, other, "-o", tmp_path / "out.png").err
    assert "a file, but not a film" in run(film, "-o", __file__).err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films"]


def test_folders_may_have_dots_in_their_names(run, film, tmp_path):
    (tmp_path / "out.gif").mkdir()
    for folder in ("out.gif", "films 12.5.2020"):
        assert run(film, "-o", tmp_path / folder).code == 0
        assert (tmp_path / folder / "film.mp4").is_file()


def test_a_report_keeps_what_an_earlier_run_said(run, film, tmp_path):
    other, report = make(film.with_name("other.mp4"), SHORT), tmp_path / "r.json"
    assert run(film, "--report", report).code == 0
    first = json.loads(report.read_text())
    done = run(film, other, "--report", report)
    assert "2 films: 1 done, 1 already there." in done.out
    assert [entry["status"] for entry in json.loads(report.read_text())] == ["restored", "restored"]
    assert json.loads(report.read_text())[:1] == first
    # Another result is there, of which the report knows nothing.
    assert run(film, "-o", tmp_path / "out.mp4").code == 0
    assert run(film, "-o", tmp_path / "out.mp4", "--report", report).code == 0
    assert [entry["status"] for entry in json.loads(report.read_text())] == ["already there"]


def test_an_interrupted_run_keeps_the_entries_of_films_that_it_did_not_reach(run, film, tmp_path, monkeypatch):
    other, report = make(film.with_name("other.mp4"), SHORT), tmp_path / "r.json"
    assert run(film, other, "--report", report).code == 0
    before = json.loads(report.read_text())

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(films, "restore_film", interrupted)
    assert run(film, other, "--report", report, "--overwrite").code == 130
    assert json.loads(report.read_text()) == before


def test_an_empty_file_in_place_of_a_result_is_none(run, film, tmp_path):
    target = tmp_path / "out.mp4"
    target.touch()
    assert run(film, "-o", target).code == 0
    assert look(target).times == look(film).times


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


@pytest.fixture
def no_pyav(monkeypatch):
    """As where the package is not installed."""
    monkeypatch.setitem(sys.modules, "av", None)
    pyav.cache_clear()
    yield
    pyav.cache_clear()


def test_without_pyav_a_sentence_says_what_to_install(gpen, tmp_path, no_pyav):
    (tmp_path / "film.mp4").touch()
    run = gpen("restore", tmp_path / "film.mp4", "-o", tmp_path / "out.mp4")
    assert run.code == 1
    assert run.err.startswith("gpen: A film needs the Python package av, which is not installed.")


def test_without_pyav_photos_beside_films_are_restored_all_the_same(restore, album, tmp_path, no_pyav):
    folder = album.add("a.png").parent
    for name in ("one.mp4", "two.mov"):
        (folder / name).touch()
    run = restore(folder, "-o", tmp_path / "out")
    assert run.code == 1
    assert "2 films left out. A film needs the Python package av" in run.err
    assert (tmp_path / "out/a.png").is_file()

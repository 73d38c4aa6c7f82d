"""`gpen detect`, and `gpen restore` with the faces file that it writes."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from gpen.images import Picture, read_picture, write_picture


@pytest.fixture(scope="module")
def group(photos, tmp_path_factory):
    """Four people of the group photo."""
    whole = read_picture(photos / "Solvay_conference_1927.png", 10).photo
    path = tmp_path_factory.mktemp("group") / "group.png"
    write_picture(path, Picture(np.ascontiguousarray(whole[170:290, 350:620])))
    return path


def test_a_faces_file_restores_like_the_detector(gpen, group, networks, detector_weights, tmp_path):
    folders = ["--models-path", networks, "--models-path", detector_weights]
    listed = tmp_path / "new" / "faces.json"
    run = gpen("detect", group, "--json", listed, *folders)
    assert run.code == 0
    faces = json.loads(listed.read_text(encoding="utf-8"))["photos"][0]["faces"]
    assert len(faces) >= 3
    assert f"{group}: {len(faces)} faces" in run.out
    assert run.out.count(", score 0.") == len(faces)

    directly, by_list = tmp_path / "directly.png", tmp_path / "by_list.png"
    report = tmp_path / "report.json"
    run = gpen("restore", group, "-o", directly, *folders, "--model", "negative", "--report", report)
    assert "faces from yunet" in run.out
    assert gpen("restore", group, "-o", by_list, *folders, "--model", "negative", "--faces", listed).code == 0
    reported = json.loads(report.read_text(encoding="utf-8"))[0]["faces"]
    assert [face["box"] for face in reported] == [face["box"] for face in faces]
    one, two = (read_picture(path, 1).photo for path in (directly, by_list))
    # The file rounds to hundredths of a pixel.
    assert np.abs(one - two).max() <= 3 / 255
    assert (one != read_picture(group, 1).photo).any(axis=2).mean() > 0.1


def test_a_faces_file_edited_by_hand(gpen, group, networks, detector_weights, tmp_path):
    listed = tmp_path / "faces.json"
    gpen("detect", group, "--json", listed, "--models-path", detector_weights)
    content = json.loads(listed.read_text(encoding="utf-8"))
    del content["photos"][0]["faces"][1:]
    listed.write_text(json.dumps(content), encoding="utf-8")
    arguments = ["--models-path", networks, "--model", "negative", "--faces", listed]
    assert "1 face restored." in gpen("restore", group, "-o", tmp_path / "r.png", *arguments).out


def test_drawings(gpen, group, detector_weights, tmp_path, files_in):
    shutil.copytree(group.parent, tmp_path / "in" / "deep")
    out = tmp_path / "out"
    arguments = ["detect", tmp_path / "in", "--draw", "-o", out, "--models-path", detector_weights]
    assert gpen(*arguments).code == 0
    assert files_in(out) == ["deep/group_faces.png"]
    drawn, photo = (read_picture(path, 1).photo for path in (out / "deep" / "group_faces.png", group))
    assert drawn.shape == photo.shape
    changed = (drawn != photo).any(axis=2)
    assert 0.01 < changed.mean() < 0.4
    (out / "deep" / "group_faces.png").write_bytes(b"something else")
    run = gpen(*arguments)
    assert run.code == 1
    assert "group_faces.png already exists. Use --overwrite to replace it." in run.err
    assert (out / "deep" / "group_faces.png").read_bytes() == b"something else"
    assert gpen(*arguments, "--overwrite").code == 0
    assert np.array_equal(read_picture(out / "deep" / "group_faces.png", 1).photo, drawn)


def test_the_detection_threshold(gpen, group, detector_weights):
    run = gpen("detect", group, "--detection-threshold", 1, "--models-path", detector_weights)
    assert run.code == 0
    assert f"{group}: 0 faces" in run.out


def test_a_faces_file_of_a_folder_serves_its_subfolders(gpen, group, networks, detector_weights, tmp_path):
    for name in ("in/a.png", "in/sub/a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(group, tmp_path / name)
    # A photo of the same name, size and without faces.
    write_picture(tmp_path / "in" / "a.png", Picture(np.zeros((120, 270, 3), np.float32)))
    listed = tmp_path / "faces.json"
    gpen("detect", tmp_path / "in", "--json", listed, "--models-path", detector_weights)
    arguments = ["--models-path", networks, "--model", "negative", "--faces", listed]
    run = gpen("restore", tmp_path / "in" / "sub", "-o", tmp_path / "out", *arguments)
    assert run.code == 0
    assert "1 photo: 1 restored" in run.out
    run = gpen("restore", tmp_path / "in", "-o", tmp_path / "out2", *arguments)
    assert "2 photos: 1 restored, 1 unchanged" in run.out


def test_photos_of_one_name_are_listed_by_their_paths(gpen, group, detector_weights, tmp_path, files_in):
    paths = [tmp_path / folder / "a.png" for folder in ("x", "y")]
    for path in paths:
        path.parent.mkdir()
        shutil.copy(group, path)
    listed = tmp_path / "faces.json"
    folders = ["--models-path", detector_weights]
    assert gpen("detect", *paths, "--json", listed, *folders).code == 0
    names = [photo["path"] for photo in json.loads(listed.read_text(encoding="utf-8"))["photos"]]
    assert names == [path.as_posix() for path in paths]
    # Nor does one drawing replace the other.
    assert gpen("detect", *paths, "--draw", "-o", tmp_path / "out", *folders).code == 0
    assert len(files_in(tmp_path / "out")) == 2


def test_a_drawing_does_not_replace_a_photo(gpen, group, detector_weights, tmp_path):
    for name in ("a.png", "a_faces.png", "b.png", "b.tif"):
        write_picture(tmp_path / name, read_picture(group, 1))
    before = (tmp_path / "a_faces.png").read_bytes()
    arguments = ["--draw", "-o", tmp_path, "--models-path", detector_weights]
    run = gpen("detect", tmp_path / "a.png", tmp_path / "a_faces.png", *arguments)
    # The drawing gets another name.
    assert run.code == 0
    assert (tmp_path / "a_faces.png").read_bytes() == before
    assert (tmp_path / "a_png_faces.png").exists()
    assert gpen("detect", tmp_path / "b.png", tmp_path / "b.tif", *arguments).code == 0
    assert (tmp_path / "b_png_faces.png").exists()
    assert (tmp_path / "b_tif_faces.png").exists()


def test_a_drawing_that_would_replace_a_photo_is_refused(gpen, group, detector_weights, tmp_path):
    for name in ("a.png", "in/sub/a_faces.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(group, tmp_path / name)
    inputs = [tmp_path / "in", tmp_path / "a.png"]
    run = gpen("detect", *inputs, "--draw", "-o", tmp_path / "in" / "sub", "--models-path", detector_weights)
    assert run.code == 1
    assert "one of the input photos. Choose another output folder." in run.err
    assert (tmp_path / "in" / "sub" / "a_faces.png").read_bytes() == group.read_bytes()


def test_unreadable_photos_are_reported(gpen, group, detector_weights, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    listed = tmp_path / "faces.json"
    paths = [tmp_path / "bad.png", group, tmp_path / "lost.png"]
    run = gpen("detect", *paths, "--json", listed, "--models-path", detector_weights)
    assert run.code == 1
    assert run.err.count("\n") == 2
    assert f"{tmp_path / 'bad.png'}" in run.err
    assert "lost.png does not exist." in run.err
    assert len(json.loads(listed.read_text(encoding="utf-8"))["photos"]) == 1


def test_without_a_detector_or_photos(gpen, tmp_path):
    write_picture(tmp_path / "a.png", Picture(np.zeros((50, 50, 3), np.float32)))
    run = gpen("detect", tmp_path / "a.png", "--json", tmp_path / "faces.json")
    assert run.code == 1
    assert "gpen download yunet" in run.err
    assert not (tmp_path / "faces.json").exists()
    run = gpen("detect", tmp_path / "*.jpg")
    assert run.code == 1
    assert run.err == f"gpen: {tmp_path / '*.jpg'}: No file matches.\n"
    assert gpen("detect", tmp_path / "a.png", "--detection-threshold", 2).code == 2


def test_an_edited_faces_file_is_not_overwritten(gpen, group, detector_weights, tmp_path):
    listed = tmp_path / "faces.json"
    listed.write_text("corrected")
    folders = ("--models-path", detector_weights)
    run = gpen("detect", group, "--json", listed, *folders)
    assert run.code == 1
    assert "Use --overwrite to replace it." in run.err
    assert listed.read_text() == "corrected"
    run = gpen("detect", tmp_path / "lost.png", "--json", listed, "--overwrite", *folders)
    assert (run.code, run.out, listed.read_text()) == (1, "", "corrected")
    assert gpen("detect", group, "--json", listed, "--overwrite", *folders).code == 0
    assert json.loads(listed.read_text(encoding="utf-8"))["format"] == "gpen-faces"


def test_faces_are_not_written_over_another_kind_of_file(gpen, group, detector_weights, tmp_path):
    victim = tmp_path / "victim.png"
    shutil.copy(group, victim)
    for photo in (group, victim):
        run = gpen("detect", photo, "--json", victim, "--overwrite", "--models-path", detector_weights)
        assert run.code == 1
        assert victim.read_bytes() == group.read_bytes()

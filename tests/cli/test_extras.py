"""The further files: comparisons, faces, the report."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest

from gpen.batch.report import PhotoResult
from gpen.cli import task as task_module
from gpen.images import read_picture


def test_a_group_is_compared_face_by_face(restore, album, one_face, tmp_path):
    photo = album.add("a.png", faces=[one_face(4 + 26 * number, 28, 20) for number in range(4)])
    assert restore(photo, "-o", tmp_path / "out", "--compare").code == 0
    group = read_picture(tmp_path / "out" / "a_compare.png", 1).photo
    album.set_faces("a.png", [one_face(4, 28, 20)])
    assert restore(photo, "-o", tmp_path / "one", "--compare").code == 0
    single = read_picture(tmp_path / "one" / "a_compare.png", 1).photo
    assert group.shape[0] == single.shape[0] + 4 * (96 + 3)
    assert group.shape[1] == single.shape[1]


def test_faces_before_and_after(restore, album, tmp_path, files_in, one_face):
    photo = album.add("a.png", faces=[one_face(5, 5, 40), one_face(60, 40, 30)])
    out = tmp_path / "out"
    assert restore(photo, "-o", out, "--save-faces", model="passthrough").code == 0
    names = [f"a_face0{number}_{when}.png" for number in (0, 1) for when in ("after", "before")]
    assert files_in(out) == ["a.png", *names]
    for number in (0, 1):
        before, after = (read_picture(out / f"a_face0{number}_{when}.png", 1).photo for when in ("before", "after"))
        assert before.shape == after.shape == (64, 64, 3)
        assert np.abs(before - after).max() <= 1.01 / 255
    # A crop is the face: its middle lies near that of the face's box.
    crop, whole = read_picture(out / "a_face00_before.png", 1).photo, read_picture(photo, 1).photo
    assert np.abs(crop[28:36, 28:36].mean(axis=(0, 1)) - whole[20:30, 20:30].mean(axis=(0, 1))).max() < 0.05


def test_faces_after_went_through_the_network(restore, album, tmp_path):
    photo = album.add("a.png")
    restore(photo, "-o", tmp_path / "r.png", "--save-faces", "--select", "largest")
    before, after = (read_picture(tmp_path / f"r_face00_{when}.png", 1).photo for when in ("before", "after"))
    assert np.abs(after - (1 - before)).max() <= 2 / 255


def test_comparison(restore, album, tmp_path, files_in):
    photo = album.add("a.png")
    out = tmp_path / "out"
    restore(photo, "-o", out, "--compare", "--upscale", 2)
    assert files_in(out) == ["a.png", "a_compare.png"]
    after, comparison = (read_picture(out / name, 1).photo for name in ("a.png", "a_compare.png"))
    height, width = after.shape[:2]
    assert comparison.shape[0] > height
    assert comparison.shape[1] > 2 * width
    left, right = comparison[-height:, :width], comparison[-height:, -width:]
    # The face itself is not drawn upon on either side: no box, no landmarks.
    face = slice(60, 132), slice(76, 148)
    assert np.abs(right[face] - after[face]).max() <= 1.01 / 255
    assert np.abs(left[98, 112] - read_picture(photo, 1).photo[48:50, 55:57].mean(axis=(0, 1))).max() <= 3 / 255
    # But there is a number, the same one at the same position.
    yellow = [(np.abs(side - np.array([255, 214, 10]) / 255) < 0.01).all(axis=2) for side in (left, right)]
    assert yellow[0].sum() > 20
    assert (yellow[0] == yellow[1]).all()


def test_names_of_extras_do_not_collide(restore, album, tmp_path, files_in):
    album.add("a.png")
    album.add("a.tif")
    album.add("a_compare.png")
    album.add("b.png")
    album.add("b_face00_after.png")
    out = tmp_path / "out"
    run = restore(album.folder, "-o", out, "--compare", "--save-faces")
    assert "5 photos: 5 restored" in run.out
    assert len(files_in(out)) == 5 * 4


def test_report(restore, album, tmp_path, one_face):
    found = [one_face(5, 5, 40), one_face(60, 40, 30)]
    photo = album.add("a.png", faces=found)
    album.add("b.png", faces=[])
    report = tmp_path / "report.json"
    restore(album.folder, "-o", tmp_path / "out", "--report", report, "--min-face-size", 35)
    entries = json.loads(report.read_text(encoding="utf-8"))
    assert len(entries) == 2
    first, second = entries
    assert first["path"] == str(photo)
    assert first["output"] == str(tmp_path / "out" / "a.png")
    assert [first["status"], second["status"]] == ["restored", "unchanged"]
    assert [face["number"] for face in first["faces"]] == [0]
    for entry, face in ((first["faces"][0], found[0]), (first["skipped"][0], found[1])):
        assert entry["box"] == list(face.box)
        assert entry["score"] == face.score
        assert entry["landmarks"] == np.round(face.landmarks, 2).tolist()
    assert first["skipped"][0]["number"] == 1
    assert first["skipped"][0]["why"] == "30 x 30 pixels, smaller than 35"
    assert first["seconds"] > 0
    assert second["faces"] == second["skipped"] == []
    assert second["message"] == "No face was found; the photo is unchanged."


@pytest.mark.parametrize("flags", [[], ["--compare", "--save-faces"]])
def test_the_result_of_a_photo_holds_no_pictures(restore, album, tmp_path, monkeypatch, flags):
    kept = []
    monkeypatch.setattr(task_module, "write_report", lambda path, jobs, results, known: kept.extend(results))
    album.add("a.png")
    restore(album.folder, "-o", tmp_path / "out", "--report", tmp_path / "r", *flags)
    assert isinstance(kept[0], PhotoResult)
    reached, new = {}, [kept[0]]
    while new:
        thing = new.pop()
        if id(thing) not in reached and not isinstance(thing, type):
            reached[id(thing)] = thing
            # The garbage collector does not see what an array is a view of.
            new += gc.get_referents(thing) if not isinstance(thing, np.ndarray) else [thing.base]
    arrays = [thing for thing in reached.values() if isinstance(thing, np.ndarray)]
    assert arrays
    assert sum(array.nbytes for array in arrays) < 1000

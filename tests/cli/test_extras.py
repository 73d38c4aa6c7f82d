"""What is written besides the results: comparisons, faces, the report."""

from __future__ import annotations

import gc
import json

import numpy as np
import pytest

from gpen.batch import Entry
from gpen.images import read_picture


def test_faces_before_and_after(restore, photographs, tmp_path, files_in, one_face):
    photo = photographs.add("a.png", faces=[one_face(5, 5, 40), one_face(60, 40, 30)])
    out = tmp_path / "out"
    assert restore(photo, "-o", out, "--save-faces", model="passthrough").code == 0
    names = [f"a_face0{number}_{when}.png" for number in (0, 1) for when in ("after", "before")]
    assert files_in(out) == ["a.png", *names]
    for number in (0, 1):
        before, after = (read_picture(out / f"a_face0{number}_{when}.png", 1).photo for when in ("before", "after"))
        assert before.shape == after.shape == (64, 64, 3)
        assert np.abs(before - after).max() <= 1.01 / 255
    # A crop is the face: its middle lies near that of the face's box.
    crop, photograph = read_picture(out / "a_face00_before.png", 1).photo, read_picture(photo, 1).photo
    assert np.abs(crop[28:36, 28:36].mean(axis=(0, 1)) - photograph[20:30, 20:30].mean(axis=(0, 1))).max() < 0.05


def test_faces_after_went_through_the_network(restore, photographs, tmp_path):
    photo = photographs.add("a.png")
    restore(photo, "-o", tmp_path / "r.png", "--save-faces", "--select", "largest")
    before, after = (read_picture(tmp_path / f"r_face00_{when}.png", 1).photo for when in ("before", "after"))
    assert np.abs(after - (1 - before)).max() <= 2 / 255


def test_comparison(restore, photographs, tmp_path, files_in):
    photo = photographs.add("a.png")
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
    # But there is a number, the same one at the same place.
    yellow = [(np.abs(side - np.array([255, 214, 10]) / 255) < 0.01).all(axis=2) for side in (left, right)]
    assert yellow[0].sum() > 20
    assert (yellow[0] == yellow[1]).all()


def test_names_of_extras_do_not_collide(restore, photographs, tmp_path, files_in):
    photographs.add("a.png")
    photographs.add("a.tif")
    photographs.add("a_compare.png")
    photographs.add("b.png")
    photographs.add("b_face00_after.png")
    out = tmp_path / "out"
    run = restore(photographs.folder, "-o", out, "--compare", "--save-faces")
    assert "5 photographs: 5 restored" in run.out
    assert len(files_in(out)) == 5 * 4


def test_report(restore, photographs, tmp_path, one_face):
    found = [one_face(5, 5, 40), one_face(60, 40, 30)]
    photo = photographs.add("a.png", faces=found)
    photographs.add("b.png", faces=[])
    report = tmp_path / "report.json"
    restore(photographs.folder, "-o", tmp_path / "out", "--report", report, "--min-face-size", 35)
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
    assert second["message"] == "No face was found; the photograph is unchanged."


@pytest.mark.parametrize("flags", [[], ["--compare", "--save-faces"]])
def test_what_is_remembered_of_a_photograph_holds_no_pictures(restore, photographs, tmp_path, monkeypatch, flags):
    from gpen import photo_commands

    kept = []
    monkeypatch.setattr(photo_commands, "write_report", lambda path, jobs, entries, known: kept.extend(entries))
    photographs.add("a.png")
    restore(photographs.folder, "-o", tmp_path / "out", "--report", tmp_path / "r", *flags)
    assert isinstance(kept[0], Entry)
    reached, new = {}, [kept[0]]
    while new:
        thing = new.pop()
        if id(thing) not in reached and not isinstance(thing, type):
            reached[id(thing)] = thing
            # Arrays are no containers to the garbage collector: what they are views of is asked for.
            new += gc.get_referents(thing) if not isinstance(thing, np.ndarray) else [thing.base]
    arrays = [thing for thing in reached.values() if isinstance(thing, np.ndarray)]
    assert arrays
    assert sum(array.nbytes for array in arrays) < 1000

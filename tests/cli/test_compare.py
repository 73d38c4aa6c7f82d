"""`gpen compare`: the right face in every cell, in the right colours, and every error."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from gpen.compare.comparison import CELL
from gpen.faces.align import place
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import read_picture, write_picture
from gpen.images.picture import Picture
from tests.arrays import crop_face
from tests.compare.face_networks import restoreformer
from tests.restoration.upscalers import known_upscaler

COLOR = (0.8, 0.5, 0.1)
SIDE = 128
MIDDLE = slice(56, 80)
"""Rows or columns of a cell of that size: the middle of the face, all of it inside the mask."""


@pytest.fixture(scope="session")
def colored(tmp_path_factory) -> Path:
    """A RestoreFormer that gives every face one colour."""
    return restoreformer(tmp_path_factory.mktemp("others") / "RestoreFormer.pth", COLOR)


@pytest.fixture
def photo(album, one_face) -> Path:
    """A photo of three faces."""
    return album.add("a.png", [one_face(70, 40, 30), one_face(8, 10, 24), one_face(36, 50, 28)])


@pytest.fixture
def run(gpen, networks, album, photo, tmp_path):
    """Run ``gpen compare`` on the photo, with the network that inverts colours and cells of 128 pixels."""

    def run(*arguments: object, model: str = "negative", output: object = tmp_path / "sheet.png"):
        known = ["--models-path", networks, "--model", model, "--faces", album.faces_file, "--device", "cpu"]
        return gpen("compare", photo, "-o", output, "--cell", SIDE, *known, *arguments)

    return run


def cells(path: Path, rows: int, columns: int, side: int = SIDE) -> list[list[np.ndarray]]:
    """The pictures of a sheet, below its captions."""
    sheet = read_picture(path, 10).photo
    gap = 2
    assert sheet.shape[1] == columns * side + (columns - 1) * gap
    head = sheet.shape[0] - rows * side - (rows - 1) * gap
    assert 30 < head < 200
    for column in range(columns):
        assert sheet[:head, column * (side + gap) :][:, :side].max() > 0.9
    tops = [head + row * (side + gap) for row in range(rows)]
    lefts = [column * (side + gap) for column in range(columns)]
    return [[sheet[top : top + side, left : left + side] for left in lefts] for top in tops]


def test_every_cell_shows_its_face_restored_by_its_model(run, photo, album, colored, tmp_path):
    done = run("--with", colored, "--with", "passthrough", "--json", tmp_path / "new" / "table.json")
    assert done.code == 0
    assert done.err == ""
    rows = cells(tmp_path / "sheet.png", 3, 4)
    picture = read_picture(photo, 1).photo
    faces = sorted(album.faces["a.png"], key=lambda face: face.center)
    middles = []
    for row, face in zip(rows, faces, strict=True):
        before, inverted, other, same = (cell[MIDDLE, MIDDLE] for cell in row)
        expected = crop_face(picture, place(face, SIDE, "gpen").matrix, SIDE)
        middles.append(expected[MIDDLE, MIDDLE])
        assert np.abs(before - middles[-1]).max() * 255 <= 1.01
        assert np.abs(inverted - (1 - middles[-1])).max() * 255 <= 4
        assert np.abs(same - middles[-1]).max() * 255 <= 4
        assert np.abs(other - np.array(COLOR)).max() * 255 <= 1.5
        for cell in row[1:]:
            assert np.abs(cell - expected)[[0, 0, -1, -1], [0, -1, 0, -1]].max() * 255 <= 1.01
    assert np.abs(middles[0] - middles[1]).mean() > 0.02
    assert np.abs(middles[1] - middles[2]).mean() > 0.02

    table = json.loads((tmp_path / "new" / "table.json").read_text())
    assert table["faces"] == [0, 1, 2]
    assert table["device"] == "cpu"
    assert [entry["model"] for entry in table["models"]] == ["GPEN 64", "RestoreFormer", "GPEN 64"]
    assert [entry["file"] for entry in table["models"]] == ["negative.pth", "RestoreFormer.pth", "passthrough.pth"]
    assert [entry["in_size"] for entry in table["models"]] == [64, 512, 64]
    assert [entry["template"] for entry in table["models"]] == ["gpen", "ffhq", "gpen"]
    assert table["models"][1]["numbers"] == "float32"
    for entry in table["models"]:
        assert len(entry["seconds"]) == 3
        assert entry["seconds_per_face"] == sorted(entry["seconds"])[1]
    assert f"3 faces of {photo}, from {album.faces_file}, ellipse mask, on cpu.\n" in done.out
    assert re.search(r"^RestoreFormer +RestoreFormer\.pth +512 to 512 +ffhq +float32 +\d+\.\d{3}$", done.out, re.M)
    assert done.out.endswith(f"The sheet is in {tmp_path / 'sheet.png'}.\n")


def test_the_template_is_for_gpen_alone(run, colored, tmp_path):
    assert run("--with", colored, "--template", "ffhq", "--only-faces", 0, "--json", tmp_path / "t.json").code == 0
    templates = [entry["template"] for entry in json.loads((tmp_path / "t.json").read_text())["models"]]
    assert templates == ["ffhq", "ffhq"]


def test_faces_keep_their_numbers(run, networks, tmp_path):
    assert run("--with", "passthrough").code == 0
    everything = cells(tmp_path / "sheet.png", 3, 3)
    done = run("--with", "passthrough", "--only-faces", "1,2", "--overwrite", "--json", tmp_path / "t.json")
    assert done.code == 0
    some = cells(tmp_path / "sheet.png", 2, 3)
    assert json.loads((tmp_path / "t.json").read_text())["faces"] == [1, 2]
    # Including the numbers drawn in the first column.
    assert all(np.array_equal(a, b) for a, b in zip(everything[1] + everything[2], some[0] + some[1], strict=True))
    assert not np.array_equal(some[0][0], some[0][2])


def test_a_file_that_is_given_twice_has_one_column(run, networks, tmp_path):
    assert run("--with", networks / "negative.pth", "--with", "passthrough", "--with", "passthrough.pth").code == 0
    cells(tmp_path / "sheet.png", 3, 3)


@pytest.mark.parametrize("side", [127, 2049])
def test_cells_of_another_size_are_refused(run, tmp_path, side):
    done = run("--with", "passthrough", "--cell", side)
    assert done.code == 2
    assert f"The cells of the sheet are {side} pixels; they have to be 128 to 2048 pixels." in done.err
    assert not (tmp_path / "sheet.png").exists()


def test_a_sheet_that_would_be_too_large_is_refused_before_anything_runs(run, tmp_path, monkeypatch):
    monkeypatch.setattr("gpen.compare.models.GpenModel.__call__", None)
    done = run("--with", "passthrough", "--cell", 512, "--max-megapixels", 2)
    assert done.code == 1
    assert "A sheet of 3 faces would have 2.3593 megapixels, more than the 2 allowed." in done.err
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("name", ["upscaler.pth", "GPEN-Colorization-1024.pth", "cut.pth", "lost.pth"])
def test_an_unusable_model_is_reported_before_anything_runs(run, networks, tmp_path, files_in, monkeypatch, name):
    monkeypatch.setattr("gpen.compare.models.GpenModel.__call__", None)
    folder = tmp_path / "weights"
    folder.mkdir()
    known_upscaler(folder / "upscaler.pth")
    negative = (networks / "negative.pth").read_bytes()
    (folder / "GPEN-Colorization-1024.pth").write_bytes(negative)
    (folder / "cut.pth").write_bytes(negative[:1000])
    done = run("--with", "passthrough", "--with", folder / name, output=tmp_path / "out" / "sheet.png")
    assert done.code == 1
    assert done.out == ""
    assert done.err.count("\n") == 1
    assert name in done.err
    assert not (tmp_path / "out").exists()


def test_without_a_face(gpen, networks, album, tmp_path):
    photo = album.add("b.png", [])
    flags = ["--with", "passthrough", "--models-path", networks, "--model", "negative", "--faces", album.faces_file]
    done = gpen("compare", photo, "-o", tmp_path / "sheet.png", *flags)
    assert done.code == 1
    assert done.err.startswith("gpen: No face was found, so there is nothing to compare. Lower the detection threshold")
    assert not (tmp_path / "sheet.png").exists()


def test_without_a_chosen_face(run, tmp_path):
    done = run("--with", "passthrough", "--only-faces", 7)
    assert done.code == 1
    assert "None of 3 faces was chosen (not among faces 7)." in done.err
    assert run("--with", "passthrough", "--only-faces", "x").code == 2
    assert not (tmp_path / "sheet.png").exists()


def test_nothing_is_overwritten_without_the_flag(run, photo, album, tmp_path):
    sheet, table = tmp_path / "sheet.png", tmp_path / "table.json"
    for path in (sheet, table):
        path.write_text("mine")
        done = run("--with", "passthrough", "--json", table)
        assert done.code == 1
        assert f"{path} already exists. Use --overwrite to replace it." in done.err
        assert path.read_text() == "mine"
        path.unlink()
    before = photo.read_bytes(), album.faces_file.read_bytes()
    assert "The sheet would replace" in run("--with", "passthrough", "--overwrite", output=photo).err
    assert "The table would replace" in run("--with", "passthrough", "--overwrite", "--json", album.faces_file).err
    assert before == (photo.read_bytes(), album.faces_file.read_bytes())


@pytest.mark.parametrize(("name", "what"), [("sheet.jpg", "is written as .png"), ("folder.png", "is a folder")])
def test_a_sheet_that_is_no_png(run, tmp_path, name, what):
    (tmp_path / "folder.png").mkdir()
    done = run("--with", "passthrough", output=tmp_path / name)
    assert done.code == 1
    assert what in done.err


def test_a_model_to_compare_with_is_required(run):
    done = run()
    assert done.code == 2
    assert "--with" in done.err


def test_the_parsed_mask_needs_its_network(run):
    done = run("--with", "passthrough", "--mask", "parsed")
    assert done.code == 1
    assert "parsing_parsenet.pth" in done.err


def test_gpen_alone_needs_no_spandrel(run, colored, monkeypatch):
    monkeypatch.setitem(sys.modules, "spandrel", None)
    assert run("--with", "passthrough").code == 0
    done = run("--with", colored, "--overwrite")
    assert done.code == 1
    assert "A face model needs the Python package spandrel" in done.err


def test_names_that_are_not_ascii(gpen, networks, album, tmp_path):
    picture = album.add("Größe.png")
    flags = ["--with", "passthrough", "--models-path", networks, "--model", "negative", "--faces", album.faces_file]
    assert gpen("compare", picture, "-o", tmp_path / "sheet.png", *flags).code == 0
    assert read_picture(tmp_path / "sheet.png", 10).width == 3 * CELL + 4


def test_faces_that_a_detector_finds(gpen, networks, detector_weights, photos, tmp_path):
    """In a real photo: the sheet shows the detected face, unchanged with passthrough weights."""
    folders = ["--models-path", networks, "--models-path", detector_weights]
    source = tmp_path / "photo.png"
    write_picture(source, Picture(read_picture(photos / "ffhq_00000_lq.png", 10).photo))
    flags = ["--model", "passthrough", "--with", "negative", "--cell", SIDE, "--detector", "yunet", *folders]
    done = gpen("compare", source, "-o", tmp_path / "s.png", *flags)
    assert done.code == 0, done.err
    assert "1 face of" in done.out
    assert ", from yunet, ellipse mask, on " in done.out
    ((before, same, inverted),) = cells(tmp_path / "s.png", 1, 3)
    assert np.abs(same - before)[MIDDLE, MIDDLE].mean() < 0.03
    assert np.abs(inverted - (1 - before))[MIDDLE, MIDDLE].mean() < 0.03


def test_a_faces_file_for_another_size(run, photo, album, tmp_path):
    write_faces(album.faces_file, [PhotoFaces("a.png", 5, 5, ())])
    done = run("--with", "passthrough")
    assert done.code == 1
    assert "5 x 5 pixels" in done.err

"""`gpen compare`: the right face in every cell, in the right colours, and every refusal."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from gpen import compare as module
from gpen.compare.comparison import CELL, compare
from gpen.compare.models import load_face_model
from gpen.errors import FaceError, OptionError, PhotoError
from gpen.faces.align import crop_face, place
from gpen.faces.face import Face
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import read_picture, write_picture
from gpen.images.picture import Picture
from gpen.options import Options
from tests.compare.face_networks import restoreformer
from tests.restoration.upscalers import known_upscaler

COLOR = (0.8, 0.5, 0.1)
SIDE = 128
MIDDLE = slice(56, 80)
"""Of a cell of that side: the middle of the face, which the mask covers whole."""


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
    """The pictures of a sheet, which lies under its captions."""
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


def test_every_cell_shows_its_face_as_its_model_makes_it(run, photo, album, colored, tmp_path):
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
    assert f"3 faces of {photo}, from {album.faces_file}, on cpu.\n" in done.out
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
    # With the numbers that are drawn on the first ones.
    assert all(np.array_equal(a, b) for a, b in zip(everything[1] + everything[2], some[0] + some[1], strict=True))
    assert not np.array_equal(some[0][0], some[0][2])


def test_a_file_that_is_given_twice_has_one_column(run, networks, tmp_path):
    assert run("--with", networks / "negative.pth", "--with", "passthrough", "--with", "passthrough.pth").code == 0
    cells(tmp_path / "sheet.png", 3, 3)


class Fake:
    """A face model that does nothing, where there may be no such device."""

    title, in_size, out_size, template, dtype, path = "Fake", 64, 64, None, torch.float32, Path("fake.pth")

    def __init__(self, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self.calls = 0

    def __call__(self, crop):
        self.calls += 1
        return crop


@pytest.mark.parametrize(("device", "expected"), [("cpu", (2, 3, 4)), ("cuda", (3, 4, 5))])
def test_the_first_calls_do_not_count(album, photo, monkeypatch, device, expected):
    """On a GPU the second one neither: a graph is recorded in it."""

    class Slow(Fake):
        def __call__(self, crop):
            super().__call__(crop)
            now[0] += self.calls
            return crop

    now = [0.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    seen = []
    picture = read_picture(photo, 1).photo
    result = compare(
        picture,
        [Slow(device), Slow(device)],
        album.faces["a.png"],
        cell=SIDE,
        on_progress=lambda *n: seen.append(n),
    )
    assert [column.seconds for column in result.columns] == [expected] * 2
    assert result.columns[0].seconds_per_face == expected[1]
    assert seen == [(done, 6) for done in range(7)]


def test_a_small_face_shows_the_detail_that_a_model_made(album, photo):
    """Faces are laid over the enlarged square, not over the photo, whose pixels would hide what is compared."""

    class Stripes(Fake):
        out_size = 256

        def __call__(self, crop):
            return np.tile((np.arange(256) // 2 % 2).astype(np.float32)[None, :, None], (256, 1, 3))

    result = compare(read_picture(photo, 1).photo, [Stripes()], album.faces["a.png"], cell=256)
    for cell in result.columns[0].cells:
        assert cell[120:136, 120:136].std() > 0.3


def test_faces_of_all_proportions_are_laid_where_they_were(one_face):
    """A model that changes nothing leaves every cell as it was, with the crops of either template."""

    class Ffhq(Fake):
        in_size, out_size, template = 256, 256, "ffhq"

    noise = np.random.default_rng(0).random((200, 300, 3)).astype(np.float32)
    photo = cv2.GaussianBlur(noise, (0, 0), 3)
    photo = np.clip((photo - 0.5) * 4 + 0.5, 0, 1)
    plain, tilted = one_face(40, 50, 90), one_face(170, 60, 80)
    landmarks = tilted.landmarks + np.array([(-6, 5), (8, -9), (9, 4), (-7, 8), (5, 3)])
    faces = [plain, Face(tilted.box, 1, landmarks)]
    result = compare(photo, [Fake(), Ffhq()], faces, Options(mask="box"), cell=256)
    for column, largest in zip(result.columns, (0.12, 0.03), strict=True):
        for cell, before in zip(column.cells, result.before, strict=True):
            assert np.abs(cell - before).max() <= largest
            assert before[100:150, 100:150].std() > 0.1


@pytest.mark.parametrize("side", [127, 2049])
def test_cells_of_another_size_are_refused(run, tmp_path, side):
    done = run("--with", "passthrough", "--cell", side)
    assert done.code == 2
    assert f"The cells of the sheet are {side} pixels; they have to be 128 to 2048 pixels." in done.err
    assert not (tmp_path / "sheet.png").exists()


def test_a_sheet_that_would_be_too_large_is_not_begun(run, tmp_path, monkeypatch):
    monkeypatch.setattr("gpen.face_models.GpenModel.__call__", None)
    done = run("--with", "passthrough", "--cell", 512, "--max-megapixels", 2)
    assert done.code == 1
    assert "A sheet of 3 faces would have 2.4 megapixels, more than the 2 allowed." in done.err
    assert not (tmp_path / "sheet.png").exists()


@pytest.mark.parametrize("name", ["upscaler.pth", "GPEN-Colorization-1024.pth", "cut.pth", "lost.pth"])
def test_what_cannot_be_compared_is_said_before_anything_runs(run, networks, tmp_path, files_in, monkeypatch, name):
    monkeypatch.setattr("gpen.face_models.GpenModel.__call__", None)
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


def test_nothing_is_replaced_unasked(run, photo, album, tmp_path):
    sheet, table = tmp_path / "sheet.png", tmp_path / "table.json"
    for there in (sheet, table):
        there.write_text("mine")
        done = run("--with", "passthrough", "--json", table)
        assert done.code == 1
        assert f"{there} is there already; --overwrite replaces it." in done.err
        assert there.read_text() == "mine"
        there.unlink()
    before = photo.read_bytes(), album.faces_file.read_bytes()
    assert "The sheet would replace" in run("--with", "passthrough", "--overwrite", output=photo).err
    assert "The table would replace" in run("--with", "passthrough", "--overwrite", "--json", album.faces_file).err
    assert before == (photo.read_bytes(), album.faces_file.read_bytes())


@pytest.mark.parametrize(("name", "what"), [("sheet.jpg", "is written as .png"), ("folder.png", "is a folder")])
def test_outputs_that_are_no_pictures(run, tmp_path, name, what):
    (tmp_path / "folder.png").mkdir()
    done = run("--with", "passthrough", output=tmp_path / name)
    assert done.code == 1
    assert what in done.err


def test_it_has_to_be_told_what_to_compare_with(run):
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


def test_from_python(networks, album, photo):
    picture = read_picture(photo, 1).photo
    models = [load_face_model(networks / "negative.pth")]
    faces = album.faces["a.png"]
    before = picture.copy()
    result = compare(picture, models, faces, Options(mask="box"), cell=SIDE)
    assert [face for _, face in result.faces] == sorted(faces, key=lambda face: face.center)
    assert np.array_equal(picture, before)
    with pytest.raises(FaceError, match="No face was found"):
        compare(picture, models, [])
    with pytest.raises(OptionError, match="needs a face parser"):
        compare(picture, models, faces, Options(mask="parsed"))
    with pytest.raises(PhotoError, match="The photo"):
        compare(picture * 255, models, faces)


def test_faces_that_a_detector_finds(gpen, networks, detector_weights, photos, tmp_path):
    """In a real photo: the sheet shows what the detector found, and an unchanged face where nothing is changed."""
    places = ["--models-path", networks, "--models-path", detector_weights, "--detector", "yunet"]
    source = tmp_path / "photo.png"
    write_picture(source, Picture(read_picture(photos / "ffhq_00000_lq.png", 10).photo))
    flags = ["--model", "passthrough", "--with", "negative", "--cell", SIDE, *places]
    done = gpen("compare", source, "-o", tmp_path / "s.png", *flags)
    assert done.code == 0, done.err
    assert "1 face of" in done.out
    assert ", from yunet, on " in done.out
    ((before, same, inverted),) = cells(tmp_path / "s.png", 1, 3)
    assert np.abs(same - before)[MIDDLE, MIDDLE].mean() < 0.03
    assert np.abs(inverted - (1 - before))[MIDDLE, MIDDLE].mean() < 0.03


def test_one_entry_of_the_faces_file_belongs_to_the_photo(run, photo, album, tmp_path):
    write_faces(album.faces_file, [PhotoFaces("a.png", 5, 5, ())])
    done = run("--with", "passthrough")
    assert done.code == 1
    assert "5 x 5 pixels" in done.err

"""`gpen colorize`, `inpaint` and `synthesize` on small pictures, with networks whose output is known."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from gpen.images import Picture, read_picture, write_picture
from gpen.network.synthetic import synthetic_weights
from tests.commands import HEIGHT, SPEC, WIDTH, upright_face

REDDISH = [[0.8, 0.0, 0.1], [0.1, 0.5, 0.0], [0.0, 0.1, 0.4]]
Y = np.array([0.299, 0.587, 0.114])
NAMES = {"colorize": "GPEN-Colorization-1024", "inpaint": "GPEN-Inpainting-1024", "synthesize": "GPEN-Seg2face-512"}


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder with one small network for each task, under its published name."""
    folder = tmp_path_factory.mktemp("tasks")
    reddish = synthetic_weights(SPEC, color_matrix=REDDISH, color_bias=(0.15, -0.05, -0.25))
    torch.save(reddish, folder / "GPEN-Colorization-1024.pth")
    torch.save(synthetic_weights(SPEC), folder / "GPEN-Inpainting-1024.pth")
    torch.save(synthetic_weights(SPEC), folder / "GPEN-Seg2face-512.pth")
    torch.save(synthetic_weights(SPEC), folder / "GPEN-BFR-512.pth")
    return folder


@pytest.fixture
def do(gpen, folder, album):
    """Run a command with the networks of that folder and the faces of ``album``."""

    def run(command: str, *arguments: object, faces: bool = True):
        known = ["--faces", album.faces_file] if faces else []
        return gpen(command, *arguments, "--models-path", folder, *known)

    return run


def write_mask(path: Path, rows: slice, columns: slice, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    mask = np.zeros((*size, 3), np.float32)
    mask[rows, columns] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, Picture(mask, grey=True))
    return path


def test_a_grey_photo_gets_colours_and_keeps_its_luma(do, album, tmp_path):
    source = album.add("grey.png", grey=True)
    run = do("colorize", source, "-o", tmp_path / "out.png")
    assert run.code == 0, run.err
    assert run.out.startswith("GPEN 64 (GPEN-Colorization-1024.pth) on cpu, faces from ")
    assert "1 face colorized." in run.out
    assert "1 photo: 1 colorized; 1 face colorized." in run.out
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"
    before, after = read_picture(source, 1).photo, read_picture(tmp_path / "out.png", 1).photo
    assert np.abs(after @ Y - before @ Y).max() * 255 <= 0.501
    middle = after[44:54, 50:62]
    assert (middle[..., 0] - middle[..., 2]).min() > 0.05
    assert np.array_equal(after[0], before[0])


@pytest.mark.parametrize(
    ("name", "more"), [("a.png", {"bits": 16}), ("a.png", {"alpha": True}), ("a.tif", {"bits": 16, "alpha": True})]
)
def test_depth_and_alpha_of_a_grey_photo_stay(do, album, tmp_path, name, more):
    source = album.add(name, grey=True, **more)
    out = tmp_path / f"out{Path(name).suffix}"
    assert do("colorize", source, "-o", out).code == 0
    before, after = read_picture(source, 1), read_picture(out, 1)
    assert (after.bits, after.grey) == (before.bits, False)
    assert np.abs(after.photo @ Y - before.photo @ Y).max() * (2**after.bits - 1) <= 0.51
    if before.alpha is not None:
        assert np.array_equal(after.alpha, before.alpha)


def test_a_profile_of_greys_does_not_describe_colours(do, album, tmp_path):
    source = album.add("grey.png", grey=True)
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    picture = read_picture(source, 1)
    write_picture(source, Picture(picture.photo, grey=True, icc=bytes(profile)))
    assert read_picture(source, 1).icc
    assert do("colorize", source, "-o", tmp_path / "out.png").code == 0
    assert read_picture(tmp_path / "out.png", 1).icc is None


def test_a_grey_photo_without_a_face_is_copied(do, album, tmp_path):
    source = album.add("grey.png", faces=[], grey=True)
    run = do("colorize", source, "-o", tmp_path / "out.png")
    assert run.code == 0
    assert "No face was found; the photo is unchanged." in run.out
    assert (tmp_path / "out.png").read_bytes() == source.read_bytes()


def test_an_aligned_portrait_is_coloured_whole(do, tmp_path):
    rng = np.random.default_rng(2)
    values = np.repeat(rng.uniform(0.4, 0.6, (80, 80, 1)), 3, axis=2).astype(np.float32)
    write_picture(tmp_path / "grey.png", Picture(values, grey=True))
    run = do("colorize", tmp_path / "grey.png", "-o", tmp_path / "out.png", "--aligned", faces=False)
    assert run.code == 0, run.err
    assert run.out.startswith("GPEN 64 (GPEN-Colorization-1024.pth) on cpu.")
    after = read_picture(tmp_path / "out.png", 1).photo
    assert (after[..., 0] - after[..., 2]).min() > 0.03


def test_aligned_portraits_have_no_faces_file(do, album, tmp_path):
    run = do("colorize", album.add("a.png"), "-o", tmp_path / "out.png", "--aligned")
    assert run.code == 2
    assert "leave --faces, --region and --person out" in run.err
    assert not (tmp_path / "out.png").exists()


def test_an_aligned_portrait_that_is_no_square(do, album, tmp_path):
    run = do("colorize", album.add("a.png"), "-o", tmp_path / "out.png", "--aligned", faces=False)
    assert run.code == 1
    assert (
        f"An aligned portrait has to be a square, as the network takes it; this one is {WIDTH} x {HEIGHT}." in run.err
    )
    assert not (tmp_path / "out.png").exists()


def test_damage_becomes_what_the_network_makes_of_white(do, album, tmp_path):
    source = album.add("a.png")
    mask = write_mask(tmp_path / "mask.png", slice(40, 50), slice(45, 65))
    run = do("inpaint", source, "-o", tmp_path / "out.png", "--damage", mask)
    assert run.code == 0, run.err
    assert "1 photo: 1 inpainted; 1 face inpainted." in run.out
    before, after = read_picture(source, 1).photo, read_picture(tmp_path / "out.png", 1).photo
    assert after[43:47, 48:62].min() > 0.97
    same = (after == before).all(axis=2)
    assert same[:36].all()
    assert same[54:].all()
    assert same[:, :41].all()
    assert same[:, 69:].all()


def test_one_mask_for_each_photo_in_a_folder(do, album, tmp_path):
    for name in ("a.png", "deep/b.jpg"):
        album.add(name)
    write_mask(tmp_path / "masks/a.png", slice(40, 50), slice(45, 65))
    write_mask(tmp_path / "masks/deep/b.png", slice(50, 60), slice(45, 65))
    run = do("inpaint", album.folder, "-o", tmp_path / "out", "--damage", tmp_path / "masks")
    assert run.code == 0, run.err
    one, other = (read_picture(tmp_path / "out" / name, 1).photo for name in ("a.png", "deep/b.jpg"))
    assert one[43:47, 48:62].min() > 0.97
    assert other[53:57, 48:62].min() > 0.95
    assert other[43, 50].max() < 0.8


def test_a_photo_without_its_mask_does_not_stop_the_others(do, album, tmp_path, files_in):
    for name in ("a.png", "b.png"):
        album.add(name)
    write_mask(tmp_path / "masks/b.png", slice(40, 50), slice(45, 65))
    run = do("inpaint", album.folder, "-o", tmp_path / "out", "--damage", tmp_path / "masks")
    assert run.code == 1
    assert "There is no damage mask for this photo in" in run.err
    assert "it would be called a.png" in run.err
    assert files_in(tmp_path / "out") == ["b.png"]


def test_results_do_not_replace_masks(do, album, tmp_path):
    album.add("a.png")
    mask = write_mask(tmp_path / "masks/a.png", slice(40, 50), slice(45, 65))
    before = mask.read_bytes()
    for arguments in (["-o", tmp_path / "masks", "--damage", tmp_path / "masks"], ["-o", mask, "--damage", mask]):
        run = do("inpaint", album.folder / "a.png", *arguments, "--overwrite")
        assert run.code == 1
        assert "where the damage mask is. Choose another output folder." in run.err
    assert mask.read_bytes() == before


def test_masks_inside_the_folder_of_photos_are_no_photos(do, album, tmp_path, files_in):
    album.add("a.png")
    write_mask(album.folder / "masks/a.png", slice(40, 50), slice(45, 65))
    run = do("inpaint", album.folder, "-o", tmp_path / "out", "--damage", album.folder / "masks")
    assert run.code == 0, run.err
    assert files_in(tmp_path / "out") == ["a.png"]


def test_a_mask_of_another_size(do, album, tmp_path):
    mask = write_mask(tmp_path / "mask.png", slice(0, 9), slice(0, 9), (50, 60))
    run = do("inpaint", album.add("a.png"), "-o", tmp_path / "out.png", "--damage", mask)
    assert run.code == 1
    assert f"The mask of the damage is 60 x 50 pixels, the photo {WIDTH} x {HEIGHT}." in run.err
    assert not (tmp_path / "out.png").exists()


def test_a_missing_mask(do, album, tmp_path):
    run = do("inpaint", album.add("a.png"), "-o", tmp_path / "out.png", "--damage", tmp_path / "none.png")
    assert run.code == 1
    assert "none.png does not exist." in run.err


def test_a_mask_drawn_on_a_transparent_ground(do, album, tmp_path):
    source = album.add("a.png")
    white, alpha = np.ones((HEIGHT, WIDTH, 3), np.float32), np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[40:50, 45:65] = 1
    write_picture(tmp_path / "mask.png", Picture(white, alpha))
    assert do("inpaint", source, "-o", tmp_path / "out.png", "--damage", tmp_path / "mask.png").code == 0
    before, after = read_picture(source, 1).photo, read_picture(tmp_path / "out.png", 1).photo
    assert after[43:47, 48:62].min() > 0.97
    assert np.array_equal(after[60:], before[60:])


def test_damage_beside_the_face_is_said_and_left(do, album, tmp_path):
    source = album.add("a.png")
    mask = write_mask(tmp_path / "mask.png", slice(0, 3), slice(0, 3))
    run = do("inpaint", source, "-o", tmp_path / "out.png", "--damage", mask)
    assert run.code == 0
    assert "no damage in it" in run.out
    assert "100% of the damage lies outside the faces and stays." in run.out
    assert (tmp_path / "out.png").read_bytes() == source.read_bytes()


def test_a_segmentation_map_becomes_a_face(do, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 256, (64, 64, 3)).astype(np.float32) / 255
    write_picture(tmp_path / "map.png", Picture(labels, np.full((64, 64), 0.5, np.float32)))
    run = do("synthesize", tmp_path / "map.png", "-o", tmp_path / "face.png", faces=False)
    assert run.code == 0, run.err
    assert run.out.startswith("GPEN 64 (GPEN-Seg2face-512.pth) on cpu.")
    assert "1 photo: 1 made; 1 face made." in run.out
    made = read_picture(tmp_path / "face.png", 1)
    assert made.alpha is None
    # A wrong range on one way would show: 0 to 1 is not scaled.
    assert np.abs(made.photo - labels).max() * 255 <= 1


def test_a_map_that_is_no_square(do, album, tmp_path):
    run = do("synthesize", album.add("a.png"), "-o", tmp_path / "out.png", faces=False)
    assert run.code == 1
    assert "A segmentation map has to be a square" in run.err


@pytest.mark.parametrize("command", NAMES)
def test_wrong_weights_are_refused_with_both_names(do, album, tmp_path, command):
    mask = write_mask(tmp_path / "mask.png", slice(40, 50), slice(45, 65))
    more = ["--damage", mask] if command == "inpaint" else []
    source = album.add("a.png")
    faces = command != "synthesize"
    run = do(command, source, "-o", tmp_path / "out.png", "--model", "GPEN-BFR-512", *more, faces=faces)
    assert run.code == 1
    assert "GPEN-BFR-512.pth is a GPEN 64 face restoration network, for the task restore." in run.err
    assert f"such as {NAMES[command]}." in run.err
    assert not (tmp_path / "out.png").exists()


def test_a_network_for_another_task_does_not_restore(do, album, tmp_path):
    run = do("restore", album.add("a.png"), "-o", tmp_path / "out.png", "--model", "GPEN-Colorization-1024")
    assert run.code == 1
    assert "for the task colorize. Choose a model for the task restore, such as GPEN-BFR-512." in run.err


@pytest.mark.parametrize(("command", "name"), NAMES.items())
def test_without_weights_the_message_names_those_of_the_task(gpen, album, tmp_path, command, name):
    more = ["--damage", write_mask(tmp_path / "m.png", slice(0, 9), slice(0, 9))] if command == "inpaint" else []
    (tmp_path / "empty").mkdir()
    run = gpen(command, album.add("a.png"), "-o", tmp_path / "o.png", "--models-path", tmp_path / "empty", *more)
    assert run.code == 1
    assert f"gpen download {name}" in run.err


def test_report_comparison_faces_and_resuming(do, album, tmp_path, files_in):
    album.add("a.png", grey=True)
    album.add("b.png", faces=[upright_face(10, 10, 30), upright_face(60, 50, 30)], grey=True)
    out, report = tmp_path / "out", tmp_path / "report.json"
    arguments = [album.folder, "-o", out, "--compare", "--save-faces", "--report", report]
    assert do("colorize", *arguments).code == 0
    assert files_in(out) == [
        "a.png",
        "a_compare.png",
        "a_face00_after.png",
        "a_face00_before.png",
        "b.png",
        "b_compare.png",
        "b_face00_after.png",
        "b_face00_before.png",
        "b_face01_after.png",
        "b_face01_before.png",
    ]
    content = json.loads(report.read_text())
    assert [entry["message"] for entry in content] == ["1 face colorized.", "2 faces colorized."]
    written = zlib.crc32((out / "a.png").read_bytes())
    again = do("colorize", *arguments)
    assert "2 already there" in again.out
    assert zlib.crc32((out / "a.png").read_bytes()) == written

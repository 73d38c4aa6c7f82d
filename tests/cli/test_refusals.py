"""Every error is one sentence, and nothing is written."""

from __future__ import annotations

import shutil

import pytest
import torch

from gpen.options import OPTIONS


@pytest.fixture
def refused(restore, album, tmp_path, files_in):
    """Run gpen restore and check that it wrote nothing; returns its stderr."""

    def run(*arguments, code: int = 1, **more) -> str:
        album.faces_file.parent.mkdir(exist_ok=True)
        before = files_in(tmp_path)
        done = restore(*arguments, **more)
        assert done.code == code, done
        assert files_in(tmp_path) == before
        return done.err

    return run


def test_a_result_that_would_replace_its_photo(refused, album, tmp_path, monkeypatch):
    photo = album.add("a.png")
    album.add("sub/b.png")
    sentence = "one of the input photos. Choose another output folder."
    assert sentence in refused(photo, "-o", photo)
    assert sentence in refused(photo, "-o", album.folder)
    assert sentence in refused(photo, "-o", album.folder, "--overwrite")
    assert sentence in refused(album.folder, "-o", album.folder)
    assert sentence in refused(album.folder / "*.png", "-o", album.folder)
    assert sentence in refused(photo, album.folder / "sub" / "b.png", "-o", album.folder / "sub" / "..")
    monkeypatch.chdir(album.folder)
    assert sentence in refused("a.png", "-o", ".")
    assert sentence in refused("a.png", "-o", "sub/../a.png")


def test_a_result_that_would_replace_its_photo_through_a_link(refused, album, tmp_path):
    album.add("a.png")
    link = tmp_path / "link"
    try:
        link.symlink_to(album.folder, target_is_directory=True)
    except OSError:
        pytest.skip("links cannot be made here")
    assert "one of the input photos" in refused(album.folder, "-o", link)


def test_two_results_of_one_name(refused, album, tmp_path):
    one, two = album.add("x/a.png"), album.add("y/A.PNG")
    err = refused(one, two, "-o", tmp_path / "out")
    assert f"{one} and {two} would both be written to " in err


def test_the_name_of_one_result_for_several(refused, album, tmp_path):
    one, two = album.add("a.png"), album.add("b.png")
    for inputs in ([one, two], [album.folder], [album.folder / "*.png"]):
        assert "is the name of one picture" in refused(*inputs, "-o", tmp_path / "r.png")
    # Nor is an existing file a folder.
    (tmp_path / "r.txt").write_text("mine")
    assert "r.txt is a file, but not a picture." in refused(one, "-o", tmp_path / "r.txt")
    assert "Pictures cannot be written as .bmp." in refused(one, "-o", tmp_path / "r.bmp")


def test_an_empty_folder(refused, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").write_text("no picture")
    err = refused(tmp_path / "empty", "-o", tmp_path / "out", faces=False)
    assert err == f"gpen: {tmp_path / 'empty'}: There is no picture in this folder.\n"


def test_nothing_found(refused, album, tmp_path):
    album.add("a.png")
    assert "*.jpg: No file matches." in refused(album.folder / "*.jpg", "-o", tmp_path / "out")
    assert "does not exist" in refused(tmp_path / "lost.png", "-o", tmp_path / "out")
    assert "xxx.png" in refused("x" * 5000 + ".png", "-o", tmp_path / "out")


def test_a_pattern_without_matches_does_not_stop_the_rest(restore, album, tmp_path, files_in):
    photo = album.add("a.png")
    run = restore(photo, album.folder / "*.jpg", "-o", tmp_path / "out")
    assert run.code == 1
    assert "*.jpg: No file matches." in run.err
    assert files_in(tmp_path / "out") == ["a.png"]


BAD = [
    ("--feather", "2", "Feather is 2.0; it has to lie between 0 and 0.5."),
    ("--strength", "nan", "Strength is nan; it has to lie between 0 and 1."),
    ("--strength", "much", "Strength is 'much', which is not a number."),
    ("--min-face-size", "1.5", "Smallest face is '1.5', which is not a whole number."),
    ("--mask", "square", "Mask is 'square', which is not one of its choices: auto, ellipse, box, parsed."),
    ("--upscale", "inf", "Upscale is inf; it has to lie between 1 and 4."),
    ("--only-faces", "2-x", "Only these faces is '2-x'; it has to be numbers"),
    ("--only-faces", "5-2", "Only these faces is '5-2': the range 5-2 runs backwards."),
    ("--quality", "0", "The quality is '0'; it has to be a whole number from 1 to 100."),
    ("--quality", "best", "The quality is 'best'; it has to be a whole number from 1 to 100."),
]


@pytest.mark.parametrize(("flag", "value", "sentence"), BAD, ids=[f"{flag} {value}" for flag, value, _ in BAD])
def test_a_bad_value(refused, album, tmp_path, flag, value, sentence):
    photo = album.add("a.png")
    assert sentence in refused(photo, "-o", tmp_path / "out", flag, value, code=2)


def test_missing_arguments(gpen):
    for arguments in (["restore"], ["nonsense"], ["download"], ["compare", "a.png"]):
        assert gpen(*arguments).code == 2


def test_an_unknown_network(refused, album, tmp_path, networks):
    photo = album.add("a.png")
    err = refused(photo, "-o", tmp_path / "out", model="GPEN-BFR-4096")
    assert 'gpen: "GPEN-BFR-4096" is neither a file, nor a name from the catalogue' in err
    assert str(networks) in err
    assert "passthrough.pth" in err


def test_a_published_network_that_is_not_on_disk(refused, album, tmp_path, networks):
    photo = album.add("a.png")
    err = refused(photo, "-o", tmp_path / "out", model="GPEN-BFR-512")
    assert "gpen download GPEN-BFR-512" in err
    assert str(networks) in err


def test_no_network_at_all(gpen, album, tmp_path, files_in):
    photo = album.add("a.png")
    run = gpen("restore", photo, "-o", tmp_path / "out", "--faces", album.faces_file)
    assert run.code == 1
    assert "gpen download" in run.err
    assert not (tmp_path / "out").exists()


def test_a_network_for_another_task(refused, album, tmp_path, networks):
    photo = album.add("a.png")
    shutil.copy(networks / "passthrough.pth", tmp_path / "GPEN-Colorization-1024.pth")
    err = refused(photo, "-o", tmp_path / "out", model=str(tmp_path / "GPEN-Colorization-1024.pth"))
    assert "for the task colorize" in err
    assert "restore" in err


def test_a_file_that_is_no_network(refused, album, tmp_path):
    photo = album.add("a.png")
    (tmp_path / "page.pth").write_text("<!DOCTYPE html><html>Not found</html>")
    torch.save({"weight": torch.zeros(3)}, tmp_path / "other.pth")
    assert "page.pth" in refused(photo, "-o", tmp_path / "out", model=str(tmp_path / "page.pth"))
    assert "other.pth" in refused(photo, "-o", tmp_path / "out", model=str(tmp_path / "other.pth"))
    assert "other.pth" in refused(photo, "-o", tmp_path / "out", "--models-path", tmp_path, model="other")


@pytest.mark.parametrize("detector", ["yunet", "retinaface_resnet50"])
def test_missing_detector(refused, album, tmp_path, networks, monkeypatch, detector):
    if detector != "yunet":
        pytest.importorskip("facexlib")
    monkeypatch.setenv("GPEN_DETECTORS_PATH", str(tmp_path / "detectors"))
    photo = album.add("a.png")
    err = refused(photo, "-o", tmp_path / "out", "--detector", detector, faces=False)
    assert f"{detector} (" in err
    assert "https://" in err
    assert f"gpen download {detector}" in err
    assert str(networks) in err
    assert f"{tmp_path / 'detectors'} (does not exist)" in err


def test_parsed_mask_without_weights(refused, album, tmp_path, networks):
    photo = album.add("a.png")
    err = refused(photo, "-o", tmp_path / "out", "--mask", "parsed")
    assert "The parsed mask needs a face-parsing model, and none was found." in err
    assert "parsing_parsenet.pth" in err
    assert str(networks) in err


def test_a_bad_faces_file(refused, album, tmp_path):
    photo = album.add("a.png")
    album.faces_file.write_text("{}")
    assert "is not a faces file" in refused(photo, "-o", tmp_path / "out")
    album.faces_file.unlink()
    assert "cannot be read" in refused(photo, "-o", tmp_path / "out")


def test_an_unusable_device(refused, album, tmp_path):
    photo = album.add("a.png")
    for device in ("cuda:99", "toaster", "meta"):
        err = refused(photo, "-o", tmp_path / "out", "--device", device)
        assert f"gpen: PyTorch cannot use the device '{device}' here (" in err


def test_float16_on_a_cpu(refused, album, tmp_path):
    photo = album.add("a.png")
    assert "float16" in refused(photo, "-o", tmp_path / "out", "--device", "cpu", "--precision", "fp16")


def test_a_report_that_cannot_be_written_is_reported_before_the_work(refused, album, tmp_path):
    photo = album.add("a.png")
    err = refused(photo, "-o", tmp_path / "out", "--report", photo / "report.json")
    assert "cannot be created" in err


@pytest.mark.parametrize("flag", ["-o", "--report", "--faces", "--protect", "--models-path"])
def test_names_that_the_system_does_not_take(gpen, album, networks, tmp_path, flag):
    photo, name = album.add("a.png"), "long" * 80
    made = [flag, tmp_path / name, *([] if flag == "-o" else ["-o", tmp_path / "out"])]
    run = gpen("restore", photo, *made, "--model", networks / "negative.pth")
    assert run.code == 1
    assert name in run.err


def test_a_folder_that_cannot_be_made(refused, album, tmp_path):
    photo = album.add("a.png")
    (tmp_path / "file").write_text("mine")
    assert "The folder" in refused(photo, "-o", tmp_path / "file" / "out")


def test_more_pixels_than_memory_would_hold(refused, album, tmp_path):
    photo = album.add("a.png")
    assert OPTIONS["max_megapixels"].minimum == 0.1
    err = refused(photo, "-o", tmp_path / "out", "--max-megapixels", 0.1, "--upscale", 4)
    assert "Choose a smaller upscale, or a larger limit." in err


def test_a_report_over_something_else(refused, album, tmp_path):
    photo = album.add("a.png")
    (tmp_path / "notes.txt").write_text("mine")
    err = refused(photo, "-o", tmp_path / "out", "--report", tmp_path / "notes.txt")
    assert "The report is written as .json" in err
    assert "would replace" in refused(photo, "-o", tmp_path / "out", "--report", photo)
    assert "would replace" in refused(photo, "-o", tmp_path / "out", "--report", album.faces_file)

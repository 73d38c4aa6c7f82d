"""The mask "auto": parsed where a face parser is on disk, else an ellipse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from gpen.images import Picture, read_picture, write_picture
from tests.face_parsers import FILE, write_parser


@pytest.fixture(scope="module")
def parsers(tmp_path_factory) -> Path:
    """A folder with a parser that sees skin everywhere."""
    return write_parser(tmp_path_factory.mktemp("parsers")).parent


@pytest.fixture
def restored(restore, album, tmp_path):
    """Restores a photo, and returns the bytes of the result, what was printed and the report's entry."""
    photo = album.add("a.png")

    def run(name: str, *flags: object) -> tuple[bytes, str, dict]:
        report = tmp_path / f"{name}.json"
        done = restore(photo, "-o", tmp_path / f"{name}.png", "--report", report, *flags)
        assert done.code == 0, done.err
        assert done.err == ""
        return (tmp_path / f"{name}.png").read_bytes(), done.out, json.loads(report.read_text())[0]

    return run


def test_auto_is_the_default_and_parsed_where_a_parser_is(restored, parsers):
    there = ("--models-path", parsers)
    parsed, _, _ = restored("parsed", *there, "--mask", "parsed")
    ellipse, _, _ = restored("ellipse", *there, "--mask", "ellipse")
    assert parsed != ellipse
    for name, flags in (("auto", ["--mask", "auto"]), ("default", [])):
        result, printed, entry = restored(name, *there, *flags)
        assert result == parsed
        assert ", parsed mask" in printed
        assert entry["mask"] == "parsed"


def test_auto_is_an_ellipse_where_none_is(restored):
    ellipse, _, _ = restored("ellipse", "--mask", "ellipse")
    for name, flags in (("auto", ["--mask", "auto"]), ("default", [])):
        result, printed, entry = restored(name, *flags)
        assert result == ellipse
        assert ", ellipse mask" in printed
        assert entry["mask"] == "ellipse"


def test_without_facexlib_auto_is_an_ellipse_and_parsed_an_error(restore, restored, album, parsers, monkeypatch):
    monkeypatch.setitem(sys.modules, "facexlib.parsing.parsenet", None)
    ellipse, _, _ = restored("ellipse", "--models-path", parsers, "--mask", "ellipse")
    assert restored("auto", "--models-path", parsers)[0] == ellipse
    refused = restore(album.folder, "-o", parsers / "none", "--models-path", parsers, "--mask", "parsed")
    assert refused.code == 1
    assert "facexlib cannot be used here" in refused.err


def test_a_damaged_parser_is_an_error_and_no_reason_for_another_mask(restore, album, tmp_path, parsers):
    (tmp_path / FILE).write_bytes((parsers / FILE).read_bytes()[:100_000])
    done = restore(album.add("a.png"), "-o", tmp_path / "out", "--models-path", tmp_path)
    assert done.code == 1
    assert FILE in done.err
    assert done.err.rstrip().endswith("Or choose the mask ellipse.")
    assert not (tmp_path / "out").exists()


def test_tasks_and_portraits_without_a_choice_of_masks_load_no_parser(gpen, album, tmp_path, networks, monkeypatch):
    monkeypatch.setattr("gpen.restoration.components.FaceParser", lambda *_: pytest.fail("it was loaded"))
    write_parser(tmp_path)
    portrait = album.add("a.png")
    write_picture(portrait, Picture(read_picture(portrait, 1).photo[:64, :64]))
    report = tmp_path / "report.json"
    flags = ["--models-path", networks, "--models-path", tmp_path, "--model", "negative", "--aligned"]
    done = gpen("colorize", portrait, "-o", tmp_path / "c.png", "--report", report, *flags)
    assert done.code == 0, done.err
    assert "mask" not in done.out.splitlines()[0]
    assert "mask" not in json.loads(report.read_text())[0]


def test_a_comparison_has_the_same_mask(gpen, album, networks, tmp_path, parsers):
    photo = album.add("a.png")
    flags = ["--models-path", networks, "--models-path", parsers, "--model", "negative", "--with", "passthrough"]
    sheets = {}
    for mask in ("auto", "parsed", "ellipse"):
        sheet, more = tmp_path / f"{mask}.png", ["--faces", album.faces_file, "--mask", mask]
        done = gpen("compare", photo, "-o", sheet, "--cell", 128, *flags, *more)
        assert done.code == 0, done.err
        assert f", {'ellipse' if mask == 'ellipse' else 'parsed'} mask, on cpu" in done.out
        # Without the captions, which hold times.
        sheets[mask] = read_picture(sheet, 10).photo[-128:].tobytes()
    assert sheets["auto"] == sheets["parsed"] != sheets["ellipse"]

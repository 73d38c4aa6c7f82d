"""One hostile file among three: every command that takes a folder does the others, and says which one it left."""

from __future__ import annotations

import json
import os
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.faults.children import Children
from tests.faults.conftest import Work, assert_no_bug, assert_plain, tree


def _bomb() -> bytes:
    """A PNG file that states 60,000 x 60,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))


def _lists_itself() -> bytes:
    """A safetensors file whose header nests lists deeper than any reader follows."""
    header = b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    return struct.pack("<Q", len(header)) + header


PHOTOS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a text": lambda path: path.write_text("<html>\x1b[31mNot found</html>"),
    "cut short": lambda path: path.write_bytes((path.parent / "a.png").read_bytes()[:60]),
    "a bomb": lambda path: path.write_bytes(_bomb()),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": lambda path: os.mkfifo(path),
    "a model": lambda path: torch.save({"x": torch.zeros(4)}, path),
}

MODELS: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "a page": lambda path: path.write_text("<!DOCTYPE html>"),
    "cut short": lambda path: path.write_bytes((path.parent / "a.pth").read_bytes()[:5000]),
    "code": lambda path: path.write_bytes(b"\x80\x02cos\nsystem\nX\x0a\x00\x00\x00touch owned\x85R."),
    "nested": lambda path: path.write_bytes(_lists_itself()),
    "another network": lambda path: torch.save(torch.nn.Linear(3, 3).state_dict(), path),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.fixture
def album(folder: Path, work: Work, request: pytest.FixtureRequest) -> Path:
    """Three square pictures, of which the one in the middle is hostile."""
    album = folder / f"album-{request.node.name}"
    album.mkdir()
    shutil.copyfile(work.photos / "a.png", album / "a.png")
    for name in ("a.png", "c.png"):
        seed = np.random.default_rng(ord(name[0]))
        cv2.imwrite(str(album / name), cv2.resize(seed.uniform(80, 170, (6, 6, 3)).astype(np.uint8), (96, 96)))
    return album


@pytest.mark.parametrize("kind", PHOTOS)
def test_photos(
    children: Children, weights: Path, album: Path, folder: Path, detector_weights: Path, kind: str
) -> None:
    PHOTOS[kind](album / "b.png")
    models = ("--models-path", weights, "--model", "one")
    out = folder / f"out-{album.name}"
    aligned = ("--aligned", *models)
    commands: dict[str, list[object]] = {
        "colorize": ["colorize", album, "-o", out / "colorize", *aligned],
        "synthesize": ["synthesize", album, "-o", out / "synthesize", *models],
        "restore": ["restore", album, "-o", out / "restore", *models, "--models-path", detector_weights],
        "detect": ["detect", album, "--json", out / "faces.json", "--models-path", detector_weights],
    }
    # A folder is searched for files: a pipe is none.
    failed = 0 if kind == "a pipe" else 1
    for name, command in commands.items():
        ended = children.run(*command)
        assert ended.code == failed, (name, ended.err)
        assert_no_bug(ended)
        assert ended.err.count("b.png") == failed, (name, ended.err)
        if name == "detect":
            listed = json.loads((out / "faces.json").read_text())["photos"]
            assert sorted(each["path"] for each in listed) == ["a.png", "c.png"]
        else:
            assert sorted(tree(out / name)) == ["a.png", "c.png"], name


@pytest.mark.parametrize("kind", MODELS)
def test_models(children: Children, work: Work, weights: Path, folder: Path, kind: str) -> None:
    models = folder / f"models-{kind}"
    models.mkdir()
    for name in ("a", "c"):
        shutil.copyfile(weights / "one.pth", models / f"{name}.pth")
    bad = models / "b.pth"
    MODELS[kind](bad)
    shutil.copyfile(bad, models / "._a.pth") if bad.is_file() else None
    listed = children.run("models", "--models-path", models)
    assert listed.code == 0, listed.err
    assert_plain(listed)
    assert "._a.pth" not in listed.out
    photo = work.photos / "a.png"
    faces = folder / "faces.json"
    converted = children.run("convert", models)
    assert_no_bug(converted)
    assert "2 converted" in converted.out, converted.err
    assert "._a" not in converted.out + converted.err
    assert sorted(path.name for path in models.glob("*.safetensors")) == ["a.safetensors", "c.safetensors"]
    if not bad.is_fifo():
        inspected = children.run("inspect", bad)
        assert inspected.code == 1
        assert_no_bug(inspected)
    # The others are used all the same.
    given = ("--overwrite", "--models-path", models, "--faces", faces)
    restored = children.run("restore", photo, "-o", folder / "restored.png", "--model", "a", *given)
    assert restored.code == 0, restored.err
    compared = children.run("compare", photo, "-o", folder / "sheet.png", "--model", "a", "--with", "c", *given)
    assert compared.code == 0, compared.err
    refused = children.run("compare", photo, "-o", folder / "sheet.png", "--model", "a", "--with", "b", *given)
    assert refused.code == 1
    assert_no_bug(refused)
    assert not list(folder.rglob("owned"))
    assert not Path("owned").exists()

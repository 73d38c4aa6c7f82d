"""What results say about themselves: that a network changed them, which one, how and where."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from PIL import Image

from gpen import __version__
from gpen.images.metadata.provenance import COMPOSITE, GENERATED
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.commands import HEIGHT, WIDTH
from tests.files import xmp_of

SUFFIXES = [".jpg", ".png", ".webp", ".tif"]
EXIFTOOL = shutil.which("exiftool")
needs_exiftool = pytest.mark.skipif(EXIFTOOL is None, reason="exiftool is not installed")


def read(path: Path) -> dict[str, Any]:
    """What exiftool, which shares no code with this package, reads in a file's XMP."""
    assert EXIFTOOL is not None
    command = [EXIFTOOL, "-json", "-struct", "-G1", "-XMP:all", str(path)]
    (content,) = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert "Warning" not in json.dumps(content), content
    return dict(content)


@needs_exiftool
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_results_say_what_was_done_to_them(restore, album, networks, tmp_path, suffix):
    photo = album.add(f"a{suffix}")
    flags = ["--strength", 0.75, "--mask", "box", "--upscale", 2]
    assert restore(photo, "-o", tmp_path / "out", *flags).code == 0
    content = read(tmp_path / "out" / photo.name)
    # exiftool translates the address.
    assert content["XMP-iptcExt:DigitalSourceType"] in (COMPOSITE, "Composite Including Trained Algorithmic Media")
    (entry,) = content["XMP-gpen:History"]
    assert entry["Software"] == f"GPEN Face Restore {__version__}"
    assert entry["Task"] == "restore"
    digest = hashlib.sha256((networks / "negative.pth").read_bytes()).hexdigest()
    assert entry["Networks"] == [{"Name": "negative.pth", "Part": "faces", "Sha256": digest}]  # its spelling
    options = {name.lower(): value for name, value in entry["Options"].items()}
    assert {name: options[name] for name in ("strength", "mask", "upscale", "grain", "video")} == {
        "strength": 0.75,
        "mask": "box",
        "upscale": 2,
        "grain": 0,
        "video": False,
    }
    (box,) = entry["Faces"]
    expected = [36 / WIDTH, 28 / HEIGHT, 40 / WIDTH, 40 / HEIGHT]
    assert [float(part) for part in box["Rectangle"].split(",")] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_path_and_no_photo_is_named(restore, album, networks, tmp_path, suffix, monkeypatch):
    photo = album.add(f"grandmother ada/portrait of ada{suffix}")
    assert restore(photo, "-o", tmp_path / "ada", "--save-faces", "--compare").code == 0
    note = xmp_of(tmp_path / "ada" / photo.name)
    assert note is not None
    for name in (b"ada", b"portrait", str(networks).encode(), str(tmp_path).encode(), b"photos"):
        assert name not in note.replace(b"data", b"")


def test_no_provenance(restore, album, tmp_path):
    photo = album.add("a.png")
    assert restore(photo, "-o", tmp_path / "out", "--no-provenance").code == 0
    assert xmp_of(tmp_path / "out" / "a.png") is None
    assert restore(photo, "-o", tmp_path / "noted").code == 0
    assert xmp_of(tmp_path / "noted" / "a.png") is not None
    with Image.open(tmp_path / "out" / "a.png") as plain, Image.open(tmp_path / "noted" / "a.png") as noted:
        assert plain.tobytes() == noted.tobytes()


def test_results_in_which_no_network_changed_anything_say_nothing(restore, album, tmp_path):
    album.add("a.png", faces=[])
    album.add("b.png")
    for number, (name, flags) in enumerate(
        [("a.png", []), ("a.png", ["--upscale", 2]), ("b.png", ["--strength", 0]), ("b.png", ["--only-faces", 5])]
    ):
        target = tmp_path / f"out{number}.png"
        assert restore(album.folder / name, "-o", target, *flags).code == 0
        assert xmp_of(target) is None, (name, flags)


def test_runs_are_reproducible(restore, album, tmp_path):
    photo = album.add("a.jpg")
    for out in ("one", "two"):
        assert restore(photo, "-o", tmp_path / out).code == 0
    assert (tmp_path / "one" / "a.jpg").read_bytes() == (tmp_path / "two" / "a.jpg").read_bytes()


def test_a_result_that_is_restored_again_says_both(restore, album, tmp_path):
    photo = album.add("a.png")
    assert restore(photo, "-o", tmp_path / "out").code == 0
    album.set_faces("out/a.png", album.faces["a.png"])
    album.set_faces("a.png", album.faces["a.png"])
    assert restore(tmp_path / "out" / "a.png", "-o", tmp_path / "again", "--strength", 0.5).code == 0
    note = xmp_of(tmp_path / "again" / "a.png")
    assert note is not None
    strengths = [element.text for element in ElementTree.fromstring(note).iter() if element.tag.endswith("}strength")]
    assert strengths == ["1", "0.5"]


def test_a_damaged_packet_is_said(restore, album, tmp_path):
    photo = album.add("a.webp")
    with Image.open(photo) as image:
        image.save(photo, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'>", lossless=True)
    run = restore(photo, "-o", tmp_path / "out")
    assert run.code == 0
    assert "No note of the restoration is written: its XMP is damaged." in run.out


def test_a_picture_that_is_made_as_a_whole_says_so(gpen, tmp_path):
    spec = Spec(64, 64, channel_multiplier=2, narrow=1 / 16, style_dim=16, n_mlp=2)
    torch.save(synthetic_weights(spec), tmp_path / "GPEN-Seg2face-512.pth")
    Image.new("RGB", (64, 64), (90, 20, 30)).save(tmp_path / "map.png")
    run = gpen("synthesize", tmp_path / "map.png", "-o", tmp_path / "face.png", "--models-path", tmp_path)
    assert run.code == 0, run.err
    note = xmp_of(tmp_path / "face.png")
    assert note is not None
    assert f">{GENERATED}<".encode() in note
    assert b"gpen:Faces" not in note

"""Where a package that reads a kind of pictures is missing, a sentence names it; nothing else changes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from gpen.batch.plan import find_photos
from gpen.errors import PhotoError
from gpen.images import is_readable, read_picture, readable_suffixes
from tests.images.made import assert_samples, made, png
from tests.images.made_formats import avif, contained, dng, heic, jp2, jxl, scene

MODULES = ("pi_heif", "imagecodecs", "rawpy", "PIL._avif")


def files() -> dict[str, tuple[bytes, str]]:
    """A file of each kind, and the end of the sentence about it."""
    samples = made(48, 64, 3)
    codecs = 'install imagecodecs (pip install "gpen-face-restore[codecs]") to read it.'
    return {
        "heic": (
            heic(samples),
            'is an HEIC picture; install pi-heif (pip install "gpen-face-restore[heif]") to read it.',
        ),
        "avif": (avif(samples), f"is an AVIF picture; {codecs}"),
        "jp2": (jp2(samples), f"is a JPEG 2000 picture; {codecs}"),
        "j2k": (jp2(samples, kind="J2K"), f"is a JPEG 2000 picture; {codecs}"),
        "jxl": (jxl(samples), f"is a JPEG XL picture; {codecs}"),
        "container.jxl": (contained(jxl(samples)), f"is a JPEG XL picture; {codecs}"),
        "dng": (
            dng(scene()),
            'is a camera\'s raw file; install rawpy (pip install "gpen-face-restore[raw]") to read it.',
        ),
    }


FILES = files()


@pytest.fixture
def no_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in MODULES:
        monkeypatch.setitem(sys.modules, module, None)


@pytest.mark.usefixtures("no_packages")
@pytest.mark.parametrize("kind", FILES)
def test_a_sentence_names_the_package(tmp_path: Path, kind: str) -> None:
    data, expected = FILES[kind]
    path = tmp_path / "a.jpg"  # its name does not count
    path.write_bytes(data)
    with pytest.raises(PhotoError) as caught:
        read_picture(path, 1)
    assert str(caught.value) == f"{path} {expected}"


@pytest.mark.usefixtures("no_packages")
def test_other_pictures_are_read_all_the_same(tmp_path: Path) -> None:
    samples = made(48, 64, 3)
    (tmp_path / "a.png").write_bytes(png(samples))
    assert_samples(tmp_path / "a.png", samples)
    assert not {".heic", ".avif", ".jp2", ".jxl", ".dng"} & readable_suffixes()
    assert is_readable(".PNG")


def test_a_broken_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pi_heif.py").write_text("raise OSError('libheif.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pi_heif", raising=False)
    (tmp_path / "a.heic").write_bytes(FILES["heic"][0])
    with pytest.raises(PhotoError, match=r"pi-heif, which reads it, cannot be used here \(OSError: libheif"):
        read_picture(tmp_path / "a.heic", 1)


def folder_of(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "p"
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(b"?")
    return folder


@pytest.mark.usefixtures("no_packages")
def test_folders_count_what_a_package_would_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.jpg", "b.HEIC", "c.heif", "d.nef", "e.psd")
    photos, (problem,) = find_photos([str(folder)])
    assert [photo.name for photo in photos] == ["a.jpg"]
    assert problem.why == (
        "4 pictures are of a kind that cannot be read (2 HEIC, 1 Photoshop, 1 camera raw), and left out. "
        'To read HEIC, install pi-heif (pip install "gpen-face-restore[heif]"). '
        'To read camera raw, install rawpy (pip install "gpen-face-restore[raw]"). '
        "Convert the others to JPEG, PNG or TIFF, and use the results."
    )
    assert problem.is_notice
    (folder / "a.jpg").unlink()
    assert not find_photos([str(folder)])[1][0].is_notice


def test_folders_take_what_can_be_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, "a.jpg", "b.HEIC", "d.nef", "e.jxl", "f.avif", "g.jp2")
    photos, problems = find_photos([str(folder)])
    assert [photo.name for photo in photos] == ["a.jpg", "b.HEIC", "d.nef", "e.jxl", "f.avif", "g.jp2"]
    assert problems == []

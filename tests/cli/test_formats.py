"""Alpha, grey, 16 bits, EXIF rotation, colour profiles and metadata, through the command."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from PIL import Image, ImageCms

from gpen.images import Picture, read_picture, write_picture
from tests.images.made import made
from tests.images.made_formats import dng, exif, heic, scene
from tests.profiles import rgb_profile


@pytest.fixture
def result(restore, tmp_path):
    """Restore a photo and return it before and after."""

    def run(photo, *arguments, **more) -> tuple[Picture, Picture]:
        target = tmp_path / "out" / photo.name
        assert restore(photo, "-o", target, *arguments, **more).code == 0
        return read_picture(photo, 1), read_picture(target, 1)

    return run


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.webp"])
def test_alpha_is_kept(album, result, assert_restored, tmp_path, name):
    photo = album.add(name, alpha=True)
    before, after = result(photo)
    assert np.abs(before.alpha - after.alpha).max() == 0
    assert before.alpha.std() > 0.1
    assert_restored(tmp_path / "out" / name, photo, coding=0 if name != "a.webp" else 14)


def test_transparency_that_jpeg_cannot_hold_is_refused(restore, album, tmp_path, files_in):
    photo = album.add("a.png", alpha=True)
    run = restore(photo, "-o", tmp_path / "out" / "a.jpg")
    assert run.code == 1
    assert "JPEG has no transparency. Write it as PNG, WebP or TIFF." in run.err
    assert files_in(tmp_path / "out") == []


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.jpg"])
def test_grey_stays_grey(album, result, assert_restored, tmp_path, name):
    photo = album.add(name, grey=True)
    before, after = result(photo)
    assert before.grey
    assert after.grey
    assert Image.open(tmp_path / "out" / name).mode == "L"
    assert_restored(tmp_path / "out" / name, photo, coding=0 if name != "a.jpg" else 14)


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_survive(album, result, name):
    photo = album.add(name, bits=16)
    before, after = result(photo, model="passthrough")
    assert before.bits == after.bits == 16
    steps = np.abs(after.photo - before.photo).max(axis=2) * 65535
    assert steps[0].max() == 0
    # Far finer than 8 bits could be, also within the face, which went through the network.
    assert 0 < steps.max() < 257 / 2
    assert len(np.unique(np.rint(after.photo * 65535))) > 256


def test_a_turned_photo_is_restored_upright(album, result, assert_restored, tmp_path):
    upright = album.add("upright.jpg")
    turned = album.folder / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    exif[0x0110] = "A camera"
    image = Image.open(upright).transpose(Image.Transpose.ROTATE_90)
    image.save(turned, quality=95, subsampling=0, exif=exif)
    album.set_faces("turned.jpg", album.faces["upright.jpg"])
    before, after = result(turned)
    assert (before.width, before.height) == (after.width, after.height) == (112, 96)
    assert_restored(tmp_path / "out" / "turned.jpg", turned, coding=14)
    tags = Image.open(tmp_path / "out" / "turned.jpg").getexif()
    assert tags.get(0x0112, 1) == 1
    assert tags[0x0110] == "A camera"


def test_a_turned_photo_without_faces_is_copied(restore, album, tmp_path):
    photo = album.add("a.jpg", faces=[])
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(photo).transpose(Image.Transpose.ROTATE_270).save(photo, exif=exif)
    restore(photo, "-o", tmp_path / "b.jpg")
    assert (tmp_path / "b.jpg").read_bytes() == photo.read_bytes()


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_profile_and_exif_are_carried_over(album, result, tmp_path, suffix):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    photo = album.add(f"a{suffix}")
    exif = Image.Exif()
    exif[0x010E] = "An afternoon"
    with Image.open(photo) as image:
        image.load()
    quality = {} if suffix in (".tif", ".png") else {"quality": 95}
    image.save(photo, icc_profile=profile, exif=exif, dpi=(300, 300), **quality)
    before, after = result(photo)
    assert after.icc == before.icc == profile
    written = Image.open(tmp_path / "out" / photo.name)
    assert written.info["icc_profile"] == profile
    assert written.getexif()[0x010E] == "An afternoon"
    if suffix != ".webp":
        assert [round(float(number)) for number in written.info["dpi"]] == [300, 300]


def test_heic_becomes_png_with_its_profile_and_all_of_its_bits(restore, album, assert_restored, tmp_path):
    samples = np.rint(read_picture(album.add("a.png"), 1).photo * 1023).astype(np.uint16)
    album.set_faces("b.heic", album.faces["a.png"])
    icc = rgb_profile("Adobe RGB")
    (album.folder / "b.heic").write_bytes(heic(samples, 10, profile=icc, exif=exif(1)))
    (album.folder / "a.png").unlink()
    report = tmp_path / "report.json"
    run = restore(album.folder, "-o", tmp_path / "out", "--report", report)
    assert run.code == 0, run.err
    target = tmp_path / "out" / "b.png"
    after = read_picture(target, 1)
    assert (after.bits, after.icc) == (16, icc)
    assert Image.open(target).getexif()[0x0110] == "A camera"
    assert_restored(target, album.folder / "b.heic")
    entry = json.loads(report.read_text(encoding="utf-8"))[0]
    assert (entry["path"], entry["status"]) == (str(album.folder / "b.heic"), "restored")


def test_a_raw_file_says_how_it_was_developed(restore, album, tmp_path):
    album.folder.mkdir(exist_ok=True)
    (album.folder / "a.dng").write_bytes(dng(scene(96, 112)))
    album.set_faces("a.dng", [])
    run = restore(album.folder / "a.dng", "-o", tmp_path / "out")
    assert run.code == 0, run.err
    assert "developed with the camera's white balance and default settings" in run.out + run.err
    assert read_picture(tmp_path / "out" / "a.png", 1).bits == 16


def test_a_missing_package_is_named(restore, album, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    album.folder.mkdir(exist_ok=True)
    (album.folder / "a.heic").write_bytes(heic(made(48, 64, 3)))
    album.set_faces("a.heic", [])
    for given in (album.folder, album.folder / "a.heic"):
        run = restore(given, "-o", tmp_path / "out")
        assert run.code == 1
        assert 'install pi-heif (pip install "gpen-face-restore[heif]")' in run.err


def test_a_larger_picture_than_allowed_is_refused(restore, album, tmp_path, files_in):
    photo = album.add("a.png", faces=[])
    write_picture(photo, Picture(np.zeros((400, 400, 3), np.float32)))
    run = restore(photo, "-o", tmp_path / "out", "--max-megapixels", 0.1)
    assert run.code == 1
    assert "0.1" in run.err
    assert files_in(tmp_path / "out") == []


def test_a_library_does_not_speak_to_the_user(restore, album, tmp_path, recwarn):
    """Pillow warns about EXIF that is cut short; it is read as far as it goes."""
    photo = album.add("a.jpg")
    exif = Image.Exif()
    exif[0x010E] = "a description that is missing"
    Image.open(photo).save(photo, exif=exif.tobytes()[:-20])
    run = restore(photo, "-o", tmp_path / "out")
    assert (run.code, run.err) == (0, "")
    assert [str(warning.message) for warning in recwarn] == []

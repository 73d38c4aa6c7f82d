"""From a restoration to a file: alpha, colour profile, and what is copied byte for byte."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from gpen.errors import PhotoError
from gpen.images import Picture, read_picture
from gpen.images.metadata.metadata import Metadata
from gpen.images.resize import resize
from gpen.restoration.finish import FinishedPhoto, finish
from gpen.restoration.result import Restoration, RestoredFace, SkippedFace
from gpen.tasks import COLORIZE, INPAINT, RESTORE, SYNTHESIZE, TASKS
from tests.images.made import made
from tests.images.made_formats import heic
from tests.restoration.markers import aligned_face

FACE = aligned_face(10)
COPYRIGHT = 0x8298
"""EXIF tag."""


@pytest.fixture
def source(tmp_path) -> Path:
    """A photo with alpha, profile and EXIF, in a file that this package would not write in the same way."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[COPYRIGHT] = "somebody"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "photo.png"
    image = Image.fromarray(rng.integers(0, 256, (12, 20, 4), np.uint8))
    image.save(path, exif=exif, icc_profile=profile, compress_level=0)
    return path


@pytest.fixture
def grey_source(tmp_path) -> Path:
    path = tmp_path / "grey.png"
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[16:20] = b"GRAY"
    Image.fromarray(np.arange(240, dtype=np.uint8).reshape(12, 20)).save(path, icc_profile=bytes(profile))
    return path


def unchanged(photo: np.ndarray, factor: int = 1) -> Restoration:
    """No face was chosen."""
    larger = photo.repeat(factor, axis=0).repeat(factor, axis=1)
    return Restoration(larger, np.zeros(larger.shape[:2], np.float32), skipped=[SkippedFace(0, FACE, "not chosen")])


def changed(photo: np.ndarray, factor: int = 1) -> Restoration:
    """The first face was restored: it is black."""
    result = unchanged(photo, factor)
    result.photo[: 10 * factor, : 10 * factor] = 0
    return dataclasses.replace(result, faces=[RestoredFace(0, FACE, np.eye(2, 3))], skipped=[])


@pytest.mark.parametrize("task", [RESTORE, INPAINT, COLORIZE])
def test_a_changed_photo_keeps_its_alpha_profile_and_metadata(source, tmp_path, task):
    picture = read_picture(source, 1)
    finished = finish(task, picture, changed(picture.photo))
    assert not finished.is_unchanged
    finished.write(tmp_path / "out.png", source)
    after = read_picture(tmp_path / "out.png", 1)
    assert np.array_equal(after.alpha, picture.alpha)
    assert after.icc == picture.icc is not None
    assert (after.photo[:10, :10] == 0).all()
    assert np.array_equal(after.photo[:, 10:], picture.photo[:, 10:])
    with Image.open(tmp_path / "out.png") as image:
        assert image.getexif()[COPYRIGHT] == "somebody"
    assert (tmp_path / "out.png").read_bytes() != source.read_bytes()


def test_alpha_is_enlarged_with_the_photo_and_only_when_needed(source):
    picture = read_picture(source, 1)
    finished = finish(RESTORE, picture, changed(picture.photo, 2))
    assert finished.opaque.alpha is None
    assert finished.alpha is picture.alpha
    assert finished.opaque.photo.shape == (24, 40, 3)
    assert np.array_equal(finished.picture.alpha, resize(picture.alpha, (40, 24)))
    assert np.array_equal(finished.picture.photo, finished.opaque.photo)


def test_a_photo_without_alpha_gets_none(grey_source):
    picture = read_picture(grey_source, 1)
    finished = finish(RESTORE, picture, changed(picture.photo))
    assert finished.alpha is finished.picture.alpha is None


def test_a_colorized_grey_photo_becomes_a_colour_file_without_the_grey_profile(grey_source, tmp_path):
    picture = read_picture(grey_source, 1)
    assert picture.grey
    assert picture.icc is not None
    result = changed(picture.photo)
    result.photo[:10, :10] = (0.5, 0.25, 0)
    finished = finish(COLORIZE, picture, result)
    assert not finished.picture.grey
    assert finished.picture.icc is None
    finished.write(tmp_path / "out.png", grey_source)
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info
        assert image.getpixel((5, 5)) == (128, 64, 0)


@pytest.mark.parametrize("task", [RESTORE, INPAINT])
def test_other_tasks_keep_a_grey_photo_grey(grey_source, task):
    picture = read_picture(grey_source, 1)
    finished = finish(task, picture, changed(picture.photo)).picture
    assert finished.grey
    assert finished.icc == picture.icc


def test_a_grey_photo_without_colorized_faces_stays_grey(grey_source):
    picture = read_picture(grey_source, 1)
    enlarged = finish(COLORIZE, picture, unchanged(picture.photo, 2))
    assert enlarged.picture.grey
    assert enlarged.picture.icc == picture.icc


@pytest.mark.parametrize("task", [RESTORE, INPAINT, COLORIZE])
@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_an_unchanged_photo_is_copied_byte_for_byte(source, tmp_path, task, suffix):
    picture = read_picture(source, 1)
    finished = finish(task, picture, unchanged(picture.photo))
    assert finished.is_unchanged
    target = tmp_path / "out" / f"copy{suffix}"
    target.parent.mkdir()
    finished.write(target, source)
    assert target.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(("name", "target"), [("a.jpeg", "b.jpg"), ("a.JPG", "b.jpeg"), ("a.jfif", "b.jpg")])
def test_an_unchanged_photo_is_copied_under_another_suffix_of_its_format(tmp_path, name, target):
    """Encoding it again would lose quality."""
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / name, "JPEG", quality=60)
    picture = read_picture(tmp_path / name, 1)
    finished = finish(RESTORE, picture, unchanged(picture.photo))
    finished.write(tmp_path / target, tmp_path / name)
    assert (tmp_path / target).read_bytes() == (tmp_path / name).read_bytes()


def test_an_unchanged_photo_is_written_in_another_format(source, tmp_path):
    picture = read_picture(source, 1)
    finish(RESTORE, picture, unchanged(picture.photo)).write(tmp_path / "out.tif", source)
    after = read_picture(tmp_path / "out.tif", 1)
    assert np.array_equal(after.photo, picture.photo)
    assert np.array_equal(after.alpha, picture.alpha)


def test_an_unchanged_photo_that_is_enlarged_is_not_copied(source, tmp_path):
    picture = read_picture(source, 1)
    finished = finish(RESTORE, picture, unchanged(picture.photo, 2))
    assert not finished.is_unchanged
    finished.write(tmp_path / "out.png", source)
    after = read_picture(tmp_path / "out.png", 1)
    assert after.photo.shape == (24, 40, 3)
    assert np.array_equal(after.photo[::2, ::2], picture.photo)


def test_a_background_is_a_change_though_no_face_was_chosen(source, tmp_path):
    picture = read_picture(source, 1)
    restoration = dataclasses.replace(unchanged(1 - picture.photo), has_background=True)
    finished = finish(RESTORE, picture, restoration)
    assert not finished.is_unchanged
    finished.write(tmp_path / "out.png", source)
    assert np.abs(read_picture(tmp_path / "out.png", 1).photo - (1 - picture.photo)).max() <= 1e-6


def test_an_unchanged_photo_of_a_kind_that_is_not_written_is_not_copied(source, tmp_path):
    """Telephones name HEIC pictures .jpg when they send them."""
    samples = made(12, 20, 3)
    path = tmp_path / "a.png"
    path.write_bytes(heic(samples))
    picture = read_picture(path, 1)
    finish(RESTORE, picture, unchanged(picture.photo)).write(tmp_path / "out.png", path)
    with Image.open(tmp_path / "out.png") as image:
        assert image.format == "PNG"
        assert np.array_equal(np.asarray(image), samples)


@pytest.mark.parametrize("restoration", [changed, unchanged])
def test_a_new_picture_has_nothing_of_the_input(source, tmp_path, restoration):
    picture = read_picture(source, 1)
    result = restoration(picture.photo)
    finished = finish(SYNTHESIZE, picture, result)
    assert not finished.is_unchanged
    assert finished.picture.photo is result.photo
    assert (finished.picture.alpha, finished.picture.icc, finished.picture.exif) == (None, None, None)
    finished.write(tmp_path / "out.png", source)
    with Image.open(tmp_path / "out.png") as image:
        assert image.mode == "RGB"
        assert "icc_profile" not in image.info
        assert COPYRIGHT not in image.getexif()


def test_only_synthesis_makes_new_pictures():
    assert [task.name for task in TASKS.values() if not task.keeps_photo] == ["synthesize"]


def test_the_quality_of_lossy_files(source, tmp_path):
    picture = dataclasses.replace(read_picture(source, 1), alpha=None)
    finished = finish(RESTORE, picture, changed(picture.photo))
    sizes = []
    for quality in (10, None, 100):
        finished.write(tmp_path / "out.jpg", source, quality)
        sizes.append((tmp_path / "out.jpg").stat().st_size)
    assert sizes == sorted(set(sizes))


def test_a_copy_that_fails_leaves_nothing_behind(source, tmp_path):
    picture = read_picture(source, 1)
    finished = finish(RESTORE, picture, unchanged(picture.photo))
    with pytest.raises(PhotoError, match=r"out\.png cannot be written"):
        finished.write(tmp_path / "nowhere" / "out.png", source)
    source.unlink()
    with pytest.raises(PhotoError, match=r"out\.png cannot be written"):
        finished.write(tmp_path / "out.png", source)
    assert list(tmp_path.iterdir()) == []


def test_what_a_format_cannot_hold_is_said_and_not_logged_too(tmp_path, caplog):
    picture = Picture(np.full((8, 8, 3), 0.5, np.float32), metadata=Metadata(comments=(b"a comment",)))
    result = FinishedPhoto(picture, None, is_unchanged=False)
    assert len(result.left_out(tmp_path / "a.webp", tmp_path / "a.jpg")) == 1
    result.write(tmp_path / "a.webp", tmp_path / "a.jpg")
    assert caplog.text == ""

"""Colour profile, EXIF block and resolution survive every format."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from PIL.TiffImagePlugin import IFDRational

from gpen.images import Picture, read_picture, write_picture

SUFFIXES = [".png", ".jpg", ".webp", ".tif"]
MAKER, MODEL, DATE, COPYRIGHT = 271, 272, 306, 33432
EXIF_IFD, GPS_IFD = 34665, 34853
EXPOSURE, ISO, ORIGINAL, MAKER_NOTE, PIXELS_X, PIXELS_Y, LENS = (
    33434,
    34855,
    36867,
    37500,
    40962,
    40963,
    42036,
)


_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def srgb() -> bytes:
    """The same bytes every time: a profile holds the second in which it was made."""
    return _SRGB


def grey_profile(gamma: int = 2) -> bytes:
    """A grey profile with this gamma."""
    curve = b"curv" + bytes(4) + struct.pack(">IH", 1, gamma * 256) + bytes(2)
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    text = b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(4 + 4 + 2 + 1 + 67)
    text += bytes(-len(text) % 4)
    tags = [(b"desc", text), (b"wtpt", white), (b"kTRC", curve)]
    position = 128 + 4 + 12 * len(tags)
    index, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags:
        index += name + struct.pack(">II", position + len(bodies), len(body))
        bodies += body
    head = struct.pack(">I4sI4s4s4s", position + len(bodies), b"lcms", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + index + bodies


def exif_of(order: str = "<", orientation: int = 1, thumbnail: bool = False) -> bytes:
    """A camera's EXIF block, as Pillow writes it, without its prefix."""
    exif = Image.Exif()
    exif.endian = order
    exif[MAKER], exif[MODEL], exif[DATE] = (
        "Maker",
        "Model Ω".encode().decode("latin-1"),
        "2001:02:03 04:05:06",
    )
    exif[COPYRIGHT], exif[274] = "somebody", orientation
    exif[EXIF_IFD] = {
        EXPOSURE: IFDRational(1, 250),
        ISO: 400,
        ORIGINAL: "2001:02:03 04:05:06",
        MAKER_NOTE: bytes(range(200)),
        PIXELS_X: 4000,
        PIXELS_Y: 3000,
        LENS: "A lens 50mm",
    }
    exif[GPS_IFD] = {1: "N", 2: (IFDRational(48), IFDRational(8), IFDRational(15, 10))}
    block = exif.tobytes()[6:]
    if thumbnail:
        small = io.BytesIO()
        Image.new("RGB", (8, 8)).save(small, "JPEG")
        (link,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, link)
        link += 2 + 12 * count
        block += bytes(len(block) % 2)
        position = len(block)
        block = block[:link] + struct.pack(order + "I", position) + block[link + 4 :]
        data = position + 2 + 24 + 4
        block += struct.pack(order + "HHHIIHHIII", 2, 513, 4, 1, data, 514, 4, 1, len(small.getvalue()), 0)
        block += small.getvalue()
    return block


def tags_of(block: bytes | None) -> dict[str, Any]:
    assert block is not None
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + block)
    found: dict[str, Any] = {str(tag): value for tag, value in exif.items()}
    for pointer in (EXIF_IFD, GPS_IFD):
        found.pop(str(pointer), None)
        found |= {f"{pointer}.{tag}": value for tag, value in exif.get_ifd(pointer).items()}
    return found


def described(tags: dict[str, Any], *, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """The tags about the photo, without its size, which is corrected, and without the pixel layout."""
    kept = {tag: value for tag, value in tags.items() if "." in tag or int(tag) in (MAKER, MODEL, DATE, COPYRIGHT)}
    sizes = (f"{EXIF_IFD}.{PIXELS_X}", f"{EXIF_IFD}.{PIXELS_Y}")
    return {tag: value for tag, value in kept.items() if tag not in (*sizes, *without)}


def picture(bits: int = 8, channels: int = 3, **more: Any) -> Picture:
    samples = np.random.default_rng(2).random((40, 30, 3)).astype(np.float32)
    if channels < 3:
        samples = samples[..., :1].repeat(3, axis=2)
    alpha = np.ones((40, 30), np.float32) if channels in (2, 4) else None
    return Picture(samples, alpha, bits, channels < 3, **more)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [3, 4])
def test_profile_is_carried_over(tmp_path: Path, suffix: str, bits: int, channels: int) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, picture(bits, channels, icc=srgb()))
    assert read_picture(path, 1).icc == srgb()
    with Image.open(path) as image:
        assert image.info["icc_profile"] == srgb()


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
@pytest.mark.parametrize("profile", [srgb, grey_profile])
def test_profile_of_a_grey_picture(tmp_path: Path, suffix: str, profile: Any) -> None:
    write_picture(tmp_path / f"a{suffix}", picture(channels=1, icc=profile()))
    found = read_picture(tmp_path / f"a{suffix}", 1)
    assert found.grey
    assert found.icc == profile()


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_with_its_own_profile_is_converted_for_webp(tmp_path: Path, channels: int) -> None:
    original = picture(channels=channels)
    if original.alpha is not None:
        original.alpha[:] = 0.4
    write_picture(tmp_path / "a.png", original)
    with Image.open(tmp_path / "a.png") as image:
        image.save(tmp_path / "linear.png", icc_profile=grey_profile(gamma=1))
    write_picture(tmp_path / "a.webp", read_picture(tmp_path / "linear.png", 1), quality=100)
    found = read_picture(tmp_path / "a.webp", 1)
    assert found.icc is None
    assert (found.alpha is not None) == (channels == 2)
    linear = np.rint(original.photo.astype(np.float64) * 255) / 255
    expected = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert abs(found.photo - expected).max() < 1 / 255


def test_profiles_for_other_channels_are_dropped(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    for profile in (grey_profile(), b"no profile at all" * 20, srgb()[:16] + b"CMYK" + srgb()[20:]):
        image.save(tmp_path / "a.jpg", icc_profile=profile)
        assert read_picture(tmp_path / "a.jpg", 1).icc is None


def test_a_profile_of_several_segments(tmp_path: Path) -> None:
    large = srgb() + bytes(200_000)
    for suffix in SUFFIXES:
        write_picture(tmp_path / f"a{suffix}", picture(icc=large))
        assert read_picture(tmp_path / f"a{suffix}", 1).icc == large


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
@pytest.mark.parametrize("bits", [8, 16])
def test_exif_is_carried_over_byte_for_byte(tmp_path: Path, order: str, suffix: str, bits: int) -> None:
    block = exif_of(order)
    original = picture(bits, exif=block)
    write_picture(tmp_path / f"a{suffix}", original)
    found = read_picture(tmp_path / f"a{suffix}", 1).exif
    assert found is not None
    assert len(found) == len(block)
    changed = [at for at in range(len(block)) if block[at] != found[at]]
    tags = tags_of(found)
    assert len(changed) <= 4  # two sizes
    assert (tags[f"{EXIF_IFD}.{PIXELS_X}"], tags[f"{EXIF_IFD}.{PIXELS_Y}"]) == (30, 40)
    assert described(tags) == described(tags_of(block))
    assert described(tags)[f"{EXIF_IFD}.{MAKER_NOTE}"] == bytes(range(200))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_exif_in_tiff(tmp_path: Path, order: str, bits: int, channels: int) -> None:
    block = exif_of(order, thumbnail=True)
    path = tmp_path / "a.tif"
    write_picture(path, picture(bits, channels, exif=block, icc=srgb()))
    found = read_picture(path, 1)
    assert described(tags_of(found.exif)) == described(tags_of(block))
    write_picture(tmp_path / "b.tif", picture(bits, channels))
    np.testing.assert_array_equal(read_picture(tmp_path / "b.tif", 1).photo, found.photo)
    if (bits, channels) == (16, 2):
        return  # Pillow cannot open it
    with Image.open(path) as image:  # what other programs see
        assert getattr(image, "n_frames", 1) == 1
        assert image.getexif()[MAKER] == "Maker"
        assert image.getexif().get_ifd(EXIF_IFD)[LENS] == "A lens 50mm"
        assert image.getexif().get_ifd(EXIF_IFD)[EXPOSURE] == Fraction(1, 250)
        assert image.getexif().get_ifd(GPS_IFD)[1] == "N"


@pytest.mark.parametrize("bits", [8, 16])
def test_maker_notes_keep_their_offsets(tmp_path: Path, bits: int) -> None:
    block = exif_of(">")
    write_picture(tmp_path / "a.tif", picture(bits, exif=block))
    notes = bytes(range(200))
    assert (tmp_path / "a.tif").read_bytes().index(notes) == block.index(notes)


def test_long_texts_in_png_are_accepted(tmp_path: Path) -> None:
    """Image generators store their settings in the file, beyond Pillow's limit."""
    text = PngInfo()
    text.add_text("workflow", "x" * 3_000_000, zip=True)
    Image.new("RGB", (8, 4)).save(tmp_path / "a.png", pnginfo=text, icc_profile=srgb() + bytes(3_000_000))
    found = read_picture(tmp_path / "a.png", 1)
    assert found.icc is not None
    assert len(found.icc) == len(srgb()) + 3_000_000


def test_offsets_into_the_old_file_are_dropped(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[MAKER] = "Maker"
    exif[EXIF_IFD] = {LENS: "A lens 50mm", 40965: 70_000}  # where the interoperability tags are
    Image.new("RGB", (30, 40)).save(tmp_path / "a.jpg", exif=exif)
    assert f"{EXIF_IFD}.40965" in tags_of(read_picture(tmp_path / "a.jpg", 1).exif)
    write_picture(tmp_path / "a.tif", read_picture(tmp_path / "a.jpg", 1))
    tags = tags_of(read_picture(tmp_path / "a.tif", 1).exif)
    assert f"{EXIF_IFD}.40965" not in tags
    assert tags[f"{EXIF_IFD}.{LENS}"] == "A lens 50mm"


@pytest.mark.parametrize("first", SUFFIXES)
@pytest.mark.parametrize("second", SUFFIXES)
def test_exif_from_every_format_to_every_format(tmp_path: Path, first: str, second: str) -> None:
    write_picture(tmp_path / f"a{first}", picture(exif=exif_of(">", thumbnail=True), icc=srgb()))
    write_picture(tmp_path / f"b{second}", read_picture(tmp_path / f"a{first}", 1))
    found = read_picture(tmp_path / f"b{second}", 1)
    assert described(tags_of(found.exif)) == described(tags_of(exif_of(">")))
    assert found.icc == srgb()


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_orientation_is_reset(tmp_path: Path, order: str, orientation: int, kind: str) -> None:
    block = exif_of(order, orientation)
    Image.new("RGB", (30, 40)).save(tmp_path / "a", kind, exif=b"Exif\0\0" + block)
    found = read_picture(tmp_path / "a", 1)
    assert tags_of(found.exif).get("274", 1) == 1
    assert described(tags_of(found.exif)) == described(tags_of(block))
    for suffix in SUFFIXES:
        write_picture(tmp_path / f"b{suffix}", found)
        again = read_picture(tmp_path / f"b{suffix}", 1)
        assert again.photo.shape == found.photo.shape == ((40, 30, 3) if orientation < 5 else (30, 40, 3))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_stated_size_follows_the_picture(tmp_path: Path, suffix: str) -> None:
    enlarged = replace(picture(exif=exif_of()), photo=np.zeros((77, 99, 3), np.float32))
    write_picture(tmp_path / f"a{suffix}", enlarged)
    tags = tags_of(read_picture(tmp_path / f"a{suffix}", 1).exif)
    assert (tags[f"{EXIF_IFD}.{PIXELS_X}"], tags[f"{EXIF_IFD}.{PIXELS_Y}"]) == (99, 77)


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_old_thumbnail_is_no_longer_shown(tmp_path: Path, order: str) -> None:
    block = exif_of(order, orientation=6, thumbnail=True)
    before = Image.Exif()
    before.load(block)
    assert 513 in before.get_ifd(ExifTags.IFD.IFD1)
    Image.new("RGB", (30, 40)).save(tmp_path / "a.jpg", exif=b"Exif\0\0" + block)
    found = read_picture(tmp_path / "a.jpg", 1).exif
    assert found is not None
    after = Image.Exif()
    after.load(found)
    assert after.get_ifd(ExifTags.IFD.IFD1) == {}
    assert described(tags_of(found)) == described(tags_of(block))


def test_an_exif_block_too_long_for_jpeg_is_dropped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    long = exif_of() + bytes(70_000)
    for suffix in SUFFIXES:
        write_picture(tmp_path / f"a{suffix}", picture(exif=long))
        assert (read_picture(tmp_path / f"a{suffix}", 1).exif is None) == (suffix == ".jpg")
    assert "more than JPEG allows" in caplog.text


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_resolution(tmp_path: Path, bits: int, suffix: str) -> None:
    write_picture(tmp_path / f"a{suffix}", picture(bits, dpi=(300.0, 150.0)))
    assert read_picture(tmp_path / f"a{suffix}", 1).dpi == pytest.approx((300, 150), abs=0.02)
    with Image.open(tmp_path / f"a{suffix}") as image:
        assert [float(number) for number in image.info["dpi"]] == pytest.approx([300, 150], abs=0.02)


def test_resolution_turns_with_the_picture(tmp_path: Path) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", dpi=(300, 150), exif=b"Exif\0\0" + exif_of("<", 6))
    assert read_picture(tmp_path / "a.jpg", 1).dpi == (150, 300)


@pytest.mark.parametrize(("suffix", "dpi"), [(".png", 0.3), (".bmp", 0.2), (".tif", 90_000)])
def test_a_resolution_that_makes_no_sense_is_none(tmp_path: Path, suffix: str, dpi: float) -> None:
    Image.new("RGB", (8, 4)).save(tmp_path / f"a{suffix}", dpi=(dpi, dpi))
    assert read_picture(tmp_path / f"a{suffix}", 1).dpi is None


def test_no_metadata_is_invented(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        write_picture(tmp_path / f"a{suffix}", picture())
        found = read_picture(tmp_path / f"a{suffix}", 1)
        assert (found.icc, found.exif) == (None, None)
        assert found.format == {".jpg": "JPEG", ".tif": "TIFF"}.get(suffix, suffix[1:].upper())

"""Only faces change, to the bit, in every kind of pixels; colours go to the network and back as the film says."""

from __future__ import annotations

import av
import numpy as np
import pytest

from gpen.errors import PhotoError
from gpen.faces.selection.select import FaceChoice
from gpen.images import Picture, write_picture
from gpen.options import Options
from gpen.restoration.api import restore
from gpen.video.color import Coding, ColorTags, photo_to_pq, pq_to_photo
from gpen.video.orientation import Orientation
from gpen.video.pixels import WORKED_ON, FramePixels, Layout, planar, plane_arrays
from tests.commands import upright_face
from tests.video.clips import HEIGHT, WIDTH, Clip, look, make, pattern
from tests.video.conftest import FACE

WHOLE = slice(0, 48), slice(0, 64)
FORMATS = ("yuv420p", "yuv422p10le", "yuv444p12le", "gbrp", "gray", "yuva444p10le", "yuv411p")


def frame_of(name: str, seed: int = 0, *, low: int = 60, high: int = 180) -> av.VideoFrame:
    """A frame of noise."""
    frame = av.VideoFrame(64, 48, name)
    layout = Layout.of(name)
    rng = np.random.default_rng(seed)
    for plane in plane_arrays(frame, layout):
        plane[:] = rng.integers(low << (layout.bits - 8), high << (layout.bits - 8), plane.shape)
    return frame


def copies(frame: av.VideoFrame, name: str) -> list[np.ndarray]:
    return [plane.copy() for plane in plane_arrays(frame, Layout.of(name))]


@pytest.mark.parametrize("name", FORMATS)
def test_what_does_not_change_keeps_its_bits(name):
    frame = frame_of(name)
    before = copies(frame, name)
    pixels = FramePixels(Layout.of(name), ColorTags(1, 1, 1, 1), 64, 48)
    photo = pixels.photo(frame, WHOLE)
    pixels.change(frame, WHOLE, photo.copy(), np.ones((48, 64), np.float32))
    assert all(np.array_equal(a, b) for a, b in zip(before, copies(frame, name), strict=True))
    inverted, mask = 1 - photo, np.zeros((48, 64), np.float32)
    mask[13:30, 9:40] = 0.5
    pixels.change(frame, WHOLE, inverted, mask)
    after = copies(frame, name)
    assert not np.array_equal(after[0][13:30, 9:40], before[0][13:30, 9:40])
    layout = Layout.of(name)
    for number, (one, other) in enumerate(zip(before, after, strict=True)):
        is_chroma = number in (1, 2) and not layout.is_rgb
        across, down = (layout.across, layout.down) if is_chroma else (1, 1)
        inside = np.zeros(one.shape, bool)
        # Chroma only where all of its pixels are inside.
        inside[-(-13 // down) : 30 // down, -(-9 // across) : 40 // across] = number < 3
        assert np.array_equal(one[~inside], other[~inside])
    if layout.has_alpha:
        assert np.array_equal(before[3], after[3])


@pytest.mark.parametrize("name", FORMATS)
def test_a_changed_picture_comes_back(name):
    """What is written into the planes is what is read from them, as far as the chroma is fine enough."""
    frame = frame_of(name, low=120, high=121)
    pixels = FramePixels(Layout.of(name), ColorTags(1, 1, 1, 1), 64, 48)
    photo = pixels.photo(frame, WHOLE)
    target = photo + np.linspace(-0.1, 0.1, 64, dtype=np.float32)[None, :, None]
    if not Layout.of(name).is_grey:
        target = target + np.array([0.05, 0, -0.05], np.float32)
    pixels.change(frame, WHOLE, target, np.ones((48, 64), np.float32))
    step = 1 / (1 << (Layout.of(name).bits - 8)) / 255
    assert np.abs(pixels.photo(frame, WHOLE) - target).max() < 2.5 * step


@pytest.mark.parametrize("matrix", [1, 5, 9])
@pytest.mark.parametrize("span", [1, 2])
def test_colours_are_those_that_ffmpeg_shows(matrix, span):
    frame = frame_of("yuv444p", low=90, high=150)
    frame.colorspace, frame.color_range = matrix, span
    pixels = FramePixels(Layout.of("yuv444p"), ColorTags(1, 1, matrix, span), 64, 48)
    shown = frame.reformat(
        format="rgb24", src_colorspace=matrix, src_color_range=span, dst_color_range=2, dst_colorspace=matrix
    ).to_ndarray()
    assert np.abs(pixels.photo(frame, WHOLE) * 255 - shown).max() < 2


def test_chroma_lies_on_the_left_column():
    """A step of chroma between two of its samples is half done on the column between them."""
    frame = av.VideoFrame(64, 48, "yuv420p")
    luma, blue, red = plane_arrays(frame, Layout.of("yuv420p"))
    luma[:], blue[:], red[:] = 120, 128, 128
    red[:, 16:] = 160
    photo = FramePixels(Layout.of("yuv420p"), ColorTags(1, 1, 1, 1), 64, 48).photo(frame, WHOLE)[10, :, 0]
    assert photo[32] - photo[31] == pytest.approx(photo[31] - photo[30], rel=1e-3)
    assert photo[30] == photo[0]
    assert photo[32] == photo[-1]


def test_pq_is_inverted_exactly_and_nothing_is_clipped():
    values = np.linspace(0, 1, 4096, dtype=np.float32)
    photo = pq_to_photo(values)
    assert photo[0] == 0
    assert photo[-1] == pytest.approx(1, abs=1e-6)
    assert (np.diff(photo) > 0).mean() > 0.98
    assert np.abs(photo_to_pq(photo) - values)[40:].max() < 1 / 4096
    # Skin at a tenth of the reference white of 203 cd/m2 is as bright as in a photo, about.
    nits = 20.3 / 10000
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    code = ((c1 + c2 * nits**m1) / (1 + c3 * nits**m1)) ** m2
    assert float(pq_to_photo(np.array([code], np.float32))[0]) == pytest.approx(0.336, abs=0.01)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_orientations(degrees):
    matrices = {
        0: (65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30),
        90: (0, -65536, 0, 65536, 0, 0, 0, 0, 1 << 30),
        180: (-65536, 0, 0, 0, -65536, 0, 0, 0, 1 << 30),
        270: (0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30),
    }
    orientation = Orientation.of_matrix(matrices[degrees])
    picture = np.arange(12).reshape(3, 4)
    shown = np.rot90(picture, degrees // 90)
    assert np.array_equal(orientation.shown(picture), shown)
    assert np.array_equal(orientation.stored(shown), picture)
    height, width = shown.shape
    part = slice(1, 3), slice(0, 2)
    stored = orientation.rectangle_stored(part, width, height)
    assert sorted(picture[stored].ravel()) == sorted(shown[part].ravel())
    assert orientation.rectangle_shown(stored, 4, 3) == part
    assert orientation.size_shown(4, 3) == (width, height)


def test_formats():
    assert planar("nv12") == planar("yuvj420p") == "yuv420p"
    assert planar("p010le") == "yuv420p10le"
    assert planar("yuv422p10be") == "yuv422p10le"
    assert planar("bgra") == "gbrap"
    with pytest.raises(PhotoError, match="bayer_rggb8, which is not supported"):
        planar("bayer_rggb8")
    for name in WORKED_ON:
        layout = Layout.of(name)
        try:
            known = av.VideoFormat(name, 64, 64)
        except ValueError:  # a depth that FFmpeg has for other subsampling only
            continue
        assert layout.bits == known.components[0].bits, name
        assert (layout.across, layout.down) == (64 // known.chroma_width(), 64 // known.chroma_height()) or (
            layout.is_rgb or layout.is_grey
        ), name
    with pytest.raises(PhotoError, match="matrix 8"):
        Coding.of(ColorTags(matrix=8), 8, 1080)


@pytest.mark.parametrize("name", ["yuv420p", "yuv422p10le", "gbrp10le", "yuv444p12le"])
def test_a_film_without_loss(name, restore_clip, tmp_path):
    """Frames without faces are those of the source, bit for bit; in others only the face's rectangle differs."""
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", pixel_format=name, frames=9))
    asked = []

    def find(photo):
        asked.append(photo.shape)
        return [FACE] if len(asked) <= 4 else []

    restore_clip(source, tmp_path / "out.mkv", find=find, settings={"codec": "ffv1"})
    assert asked == [(HEIGHT, WIDTH, 3)] * 9
    before, after = look(source, planes=True), look(tmp_path / "out.mkv", planes=True)
    assert after.about["pixels"] == name
    for number, (one, other) in enumerate(zip(before.planes, after.planes, strict=True)):
        for first, second in zip(one, other, strict=True):
            scale = HEIGHT // first.shape[0], WIDTH // first.shape[1]
            face = slice(15 // scale[0], 100 // scale[0]), slice(25 // scale[1], 115 // scale[1])
            if number < 4:
                assert not np.array_equal(first[face], second[face])
                second[face] = first[face]
            assert np.array_equal(first, second)


def test_a_film_gets_the_face_that_a_photo_gets(restore_clip, film_work, tmp_path):
    """The rectangle holds all that is read: the result is that of the whole frame."""
    faces = [upright_face(4, 6, 36), upright_face(100, 50, 50)]
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", pixel_format="gbrp10le", frames=1))
    restore_clip(source, tmp_path / "out.mkv", faces=faces, settings={"codec": "ffv1"})
    green, blue, red = look(tmp_path / "out.mkv", planes=True).planes[0]
    green_in, blue_in, red_in = look(source, planes=True).planes[0]
    photo = np.stack([red_in, green_in, blue_in], axis=2).astype(np.float32) / 1023
    expected = restore(photo, film_work().restorer.components.model, faces, Options(mask="ellipse")).photo
    assert np.abs(np.stack([red, green, blue], axis=2) - expected * 1023).max() <= 0.51
    assert np.abs(expected - photo).max() > 0.1


def test_a_turned_film(restore_clip, tmp_path):
    """The faces are where they are shown, and the pixels are stored as they were."""
    upright = make(tmp_path / "up.mkv", Clip(codec="ffv1", pixel_format="gbrp10le", frames=2))
    stored = make(
        tmp_path / "in.mkv",
        Clip(codec="ffv1", pixel_format="gbrp10le", frames=2, degrees=90, picture=lambda n: np.rot90(pattern(n), -1)),
    )
    for source in (upright, stored):
        restore_clip(source, source.with_name(f"out_{source.name}"), settings={"codec": "ffv1"})
    one = look(tmp_path / "out_up.mkv", planes=True).planes
    other = look(tmp_path / "out_in.mkv", planes=True)
    assert other.about["size"] == (HEIGHT, WIDTH)
    for first, second in zip(one, other.planes, strict=True):
        assert all(np.array_equal(a, np.rot90(b)) for a, b in zip(first, second, strict=True))


def test_what_is_protected_keeps_its_bits(restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=2))
    protect = np.zeros((HEIGHT, WIDTH), np.float32)
    protect[:, 70:] = 1
    restore_clip(source, tmp_path / "out.mkv", settings={"codec": "ffv1"}, protect=protect)
    before, after = look(source, planes=True), look(tmp_path / "out.mkv", planes=True)
    for one, other in zip(before.planes, after.planes, strict=True):
        for number, (first, second) in enumerate(zip(one, other, strict=True)):
            edge = 35 if number else 70
            assert np.array_equal(first[:, edge:], second[:, edge:])
            assert not np.array_equal(first[:, :edge], second[:, :edge])
    with pytest.raises(PhotoError, match="The mask of what is protected is"):
        restore_clip(source, tmp_path / "other.mkv", protect=protect[:50])


def test_the_region_and_the_choice_apply(restore_clip, tmp_path):
    source = make(tmp_path / "in.mkv", Clip(codec="ffv1", frames=3))
    faces = [upright_face(10, 30, 30), upright_face(100, 40, 44)]
    region = np.zeros((HEIGHT, WIDTH), np.float32)
    region[:, :60] = 1
    done = restore_clip(source, tmp_path / "a.mkv", faces=faces, region=region)
    assert dict(done.outcome.restored) == {0: 3}
    assert done.as_json()["tracks"][1] == {"number": 1, "frames": 0, "skipped": done.outcome.skipped[1]}
    done = restore_clip(source, tmp_path / "b.mkv", faces=faces, choice=FaceChoice(select="largest"))
    assert dict(done.outcome.restored) == {1: 3}
    write_picture(tmp_path / "region.png", Picture(np.repeat(region[..., None], 3, axis=2)))

"""Colours mean what the profile of the file says: the same photo gives the same faces, whatever space it is stored in.

Passthrough weights see none of these faults, because what goes in comes out; a tint does.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from skimage.color import deltaE_ciede2000

from gpen.images.formats.png import decode_16
from gpen.network.synthetic import synthetic_weights
from tests.commands import HEIGHT, SPEC, WIDTH, picture, upright_face
from tests.images.made import png
from tests.profiles import SPACES, from_srgb, grey_profile, lab, light_of_srgb, rgb_profile, seen, seen_srgb

FACE = slice(44, 54), slice(50, 62)
"""Rows and columns in the middle of the album's face."""
TINT = [[0.8, 0.0, 0.1], [0.1, 0.7, 0.0], [0.0, 0.1, 0.6]]


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A folder with networks that tint what they are given, and passthrough.pth."""
    folder = tmp_path_factory.mktemp("tints")
    tint = synthetic_weights(SPEC, color_matrix=TINT, color_bias=(0.15, -0.05, -0.2))
    for name in ("GPEN-Colorization-1024", "tint"):
        torch.save(tint, folder / f"{name}.pth")
    torch.save(synthetic_weights(SPEC), folder / "passthrough.pth")
    return folder


@pytest.fixture
def do(gpen, folder, album, tmp_path):
    """Run a command on a photo of the album, and return the samples of the result (H, W, channels)."""

    def run(command: str, photo: Path, *arguments: object, model: str = "tint") -> Any:
        chosen = ["--model", model] if command == "restore" else []
        target = tmp_path / "out" / photo.name
        known = ["--models-path", folder, "--faces", album.faces_file, "--overwrite", "--precision", "fp32"]
        outcome = gpen(command, photo, "-o", target, *chosen, *known, *arguments)
        assert outcome.code == 0, outcome.err
        assert outcome.err == ""
        return samples_in(target)

    return run


@pytest.fixture
def store(album):
    """Write values (H, W, 1 or 3), [0, 1], as they are, with a profile, and with the album's face."""

    def write(name: str, values: Any, icc: bytes | None, bits: int = 8) -> Path:
        samples = np.rint(values * (2**bits - 1)).astype(np.uint8 if bits == 8 else np.uint16)
        chunks = {} if icc is None else {b"iCCP": b"profile\0\0" + zlib.compress(icc)}
        path = album.folder / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(png(samples, chunks))
        album.set_faces(path.name, [upright_face(36, 28, 40)])
        return path

    return write


def samples_in(path: Path) -> Any:
    if path.read_bytes()[24] == 16:
        return decode_16(path.read_bytes())
    with Image.open(path) as image:
        samples = np.asarray(image)
    return samples[..., None] if samples.ndim == 2 else samples


def looks(samples: Any, space: str | None) -> Any:
    """L*a*b* of samples in one of SPACES; None for sRGB."""
    values = samples / np.iinfo(samples.dtype).max
    return lab(seen_srgb(values) if space is None else seen(values, space))


def profile_in(path: Path) -> bytes | None:
    with Image.open(path) as image:
        return image.info.get("icc_profile")


@pytest.mark.parametrize(("bits", "limit"), [(16, 0.1), (8, 1)])
def test_the_same_photo_gets_the_same_face_in_every_space(do, store, bits, limit):
    photo = picture().photo.astype(float)
    expected = looks(do("restore", store("srgb", photo, None, bits)), None)
    for name in SPACES:
        source = store(name, from_srgb(photo, name), rgb_profile(name), bits)
        result = do("restore", source)
        before, after = samples_in(source), result
        difference = deltaE_ciede2000(looks(after, name), expected)
        assert difference[FACE].max() < limit, name
        # The tint is seen, and pixels outside the mask keep every bit.
        assert deltaE_ciede2000(looks(after, name), looks(before, name))[FACE].min() > 3
        assert np.array_equal(after[:20], before[:20])
        assert np.array_equal(after[:, :20], before[:, :20])
        assert profile_in(source) == rgb_profile(name)


@pytest.mark.parametrize("name", SPACES)
def test_a_network_that_changes_nothing_moves_no_level(do, store, name):
    source = store("a", from_srgb(picture().photo.astype(float), name), rgb_profile(name))
    assert np.abs(do("restore", source, model="passthrough").astype(int) - samples_in(source)).max() <= 1


@pytest.mark.parametrize("bits", [8, 16])
def test_colors_beyond_srgb_stay_where_no_face_is(do, store, bits):
    """Saturated colours all over, also at the edges of the mask, where a step would show."""
    values = 0.5 + 2.4 * (picture().photo.astype(float) - 0.5)
    values[..., 1] *= 0.3
    source = store("a", values, rgb_profile("ProPhoto"), bits)
    before = samples_in(source)
    nothing = do("restore", source, "--strength", 0)
    assert np.array_equal(nothing, before)
    faint = do("restore", source, "--strength", 0.02)
    assert deltaE_ciede2000(looks(faint, "ProPhoto"), looks(before, "ProPhoto")).max() < 2
    whole = do("restore", source)
    assert np.array_equal(whole[:20], before[:20])
    assert deltaE_ciede2000(looks(whole, "ProPhoto"), looks(before, "ProPhoto"))[FACE].min() > 3


def test_colors_beyond_srgb_stay_in_an_enlarged_photo(do, store):
    values = np.broadcast_to((0.1, 0.9, 0.1), (HEIGHT, WIDTH, 3))
    source = store("a", values, rgb_profile("ProPhoto"), 16)
    result = do("restore", source, "--upscale", 2)
    assert result.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    corner = looks(result[:40, :40], "ProPhoto")
    assert deltaE_ciede2000(corner, looks(samples_in(source)[:40, :40], "ProPhoto")).max() < 0.1


@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("bits", [8, 16])
def test_a_grey_photo_with_a_curve_of_its_own_is_colorized_as_seen(do, store, tmp_path, gamma, bits):
    light = light_of_srgb(picture(grey=True).photo.astype(float)[..., :1])
    source = store("a", light ** (1 / gamma), grey_profile(round(gamma * 256) / 256), bits)
    result = do("colorize", source)
    icc = profile_in(tmp_path / "out" / "a.png")
    assert icc is not None
    assert icc[16:20] == b"RGB "
    plain = do("colorize", store("plain", picture(grey=True).photo[..., :1], None, bits))
    assert profile_in(tmp_path / "out" / "plain.png") is None
    # In dark parts a level of gamma 1 is several of sRGB's.
    step = 0.5 if bits == 16 else 1.5
    assert deltaE_ciede2000(looks(result, None), looks(plain, None)).max() < step
    assert np.hypot(*looks(result, None)[FACE].mean((0, 1))[1:]) > 5
    assert np.hypot(*looks(result, None)[:20].mean((0, 1))[1:]) < 0.1


@pytest.mark.parametrize("name", SPACES)
def test_a_grey_scan_in_a_space_of_colors_gets_the_same_chroma(do, store, tmp_path, name):
    photo = picture(grey=True).photo.astype(float)
    expected = looks(do("colorize", store("srgb", photo, None, 16)), None)[FACE].mean((0, 1))
    for channels in (1, 3):
        values = from_srgb(photo, name)[..., :channels]
        result = do("colorize", store("a", values, rgb_profile(name), 16))
        assert profile_in(tmp_path / "out" / "a.png") == rgb_profile(name)
        assert np.abs(looks(result, name)[FACE].mean((0, 1)) - expected).max() < 0.1


def test_a_grey_photo_stays_grey_in_its_own_curve(do, store):
    photo = picture(grey=True).photo.astype(float)[..., :1]
    expected = do("restore", store("srgb", photo, None, 16)) / 65535
    result = do("restore", store("a", light_of_srgb(photo), grey_profile(1.0), 16)) / 65535
    assert result.shape == (HEIGHT, WIDTH, 1)
    assert np.abs(result - light_of_srgb(expected)).max() < 0.001


def test_pictures_beside_the_result_are_srgb(gpen, folder, album, store, tmp_path):
    photo = picture().photo.astype(float)
    plain = store("plain", photo, None, 16)
    wide = store("wide", from_srgb(photo, "ProPhoto"), rgb_profile("ProPhoto"), 16)
    known = ["--models-path", folder, "--faces", album.faces_file, "--precision", "fp32"]
    out = tmp_path / "out"
    arguments = (*known, "--model", "tint", "--compare", "--save-faces")
    assert gpen("restore", plain, wide, "-o", out, *arguments).code == 0
    for source in (plain, wide):
        sheet = out / f"{source.stem}_sheet.png"
        assert gpen("compare", source, "-o", sheet, *known, "--model", "tint", "--with", "passthrough").code == 0
    for name in ("face00_before", "face00_after", "compare"):
        one, other = (samples_in(out / f"{source.stem}_{name}.png").astype(int) for source in (plain, wide))
        assert profile_in(out / f"wide_{name}.png") is None
        assert np.abs(one - other).max() <= 1, name
    # The sheets name their photo; the cells lie below.
    one, other = (samples_in(out / f"{source.stem}_sheet.png")[-200:].astype(int) for source in (plain, wide))
    assert np.abs(one - other).max() <= 1

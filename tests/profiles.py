"""ICC profiles made for the tests, and conversions by Little CMS, independent of the package's own."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

D65, D50 = (0.3127, 0.3290), (0.3457, 0.3585)
SPACES: dict[str, tuple[tuple[tuple[float, float], ...], float, tuple[float, float]]] = {
    "Display P3": (((0.68, 0.32), (0.265, 0.69), (0.15, 0.06)), 2.2, D65),
    "Adobe RGB": (((0.64, 0.33), (0.21, 0.71), (0.15, 0.06)), 2.2, D65),
    "ProPhoto": (((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001)), 1.8, D50),
}
"""Primaries, exponent and white of wide spaces."""
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
Samples = NDArray[Any]
# As numbers: older versions of Pillow, as in Forge, have no names for these.
_RELATIVE, _NO_TABLES = 1, 0x0100


def gamma_curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def table_curve(values: Sequence[float]) -> bytes:
    return b"curv" + bytes(4) + struct.pack(f">I{len(values)}H", len(values), *[round(v * 65535) for v in values])


def parametric_curve(kind: int, *numbers: float) -> bytes:
    packed = struct.pack(f">HH{len(numbers)}i", kind, 0, *[round(number * 65536) for number in numbers])
    return b"para" + bytes(4) + packed


def xyz(values: Sequence[float]) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *[round(value * 65536) for value in values])


def profile(space: bytes, tags: dict[bytes, bytes], connection: bytes = b"XYZ ") -> bytes:
    """A profile with these tags besides its description and white."""
    described = b"desc" + bytes(4) + struct.pack(">I", 5) + b"made\0" + bytes(78)
    tags = {b"desc": described + bytes(-len(described) % 4), b"wtpt": xyz((0.9642, 1, 0.8249)), **tags}
    position = 132 + 12 * len(tags)
    index, bodies = struct.pack(">I", len(tags)), b""
    for name, body in tags.items():
        index += name + struct.pack(">II", position + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    head = struct.pack(">I4sI4s4s4s", position + len(bodies), b"lcms", 0x02400000, b"mntr", space, connection)
    head += bytes(12) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return head.ljust(128, b"\0") + index + bodies


def matrix(name: str) -> NDArray[np.float64]:
    """(3, 3): light of the primaries of one of SPACES to XYZ of D50."""
    primaries, _, white = SPACES[name]

    def light(x: float, y: float) -> NDArray[np.float64]:
        return np.array([x / y, 1, (1 - x - y) / y])

    columns = np.array([light(*point) for point in primaries]).T
    columns = columns * np.linalg.solve(columns, light(*white))
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    scale = (cones @ (0.9642, 1, 0.8249)) / (cones @ light(*white))
    return np.asarray(np.linalg.inv(cones) @ np.diag(scale) @ cones @ columns)


def rgb_profile(name: str, curve: bytes | None = None) -> bytes:
    """The profile of one of SPACES, or with another curve."""
    tags = {name: xyz(column) for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix(name).T, strict=True)}
    curve = curve or gamma_curve(SPACES[name][1])
    return profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def grey_profile(gamma: float) -> bytes:
    return profile(b"GRAY", {b"kTRC": gamma_curve(gamma)})


def converted(samples: Samples, source: bytes, target: bytes) -> Samples:
    """uint8 (H, W) or (H, W, 3) from one profile to another, by Little CMS: relative colorimetric, (H, W, 3)."""
    found = ImageCms.profileToProfile(
        Image.fromarray(samples),
        ImageCms.ImageCmsProfile(io.BytesIO(source)),
        ImageCms.ImageCmsProfile(io.BytesIO(target)),
        renderingIntent=_RELATIVE,
        outputMode="RGB",
        flags=_NO_TABLES,
    )
    return np.asarray(found)


def srgb_curve(light: Samples) -> Samples:
    """Linear light as sRGB, both [0, 1]."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * np.maximum(light, 0.0031308) ** (1 / 2.4) - 0.055)


def light_of_srgb(colors: Samples) -> Samples:
    """The inverse of :func:`srgb_curve`."""
    return np.where(colors <= 0.04045, colors / 12.92, ((np.maximum(colors, 0.04045) + 0.055) / 1.055) ** 2.4)


_SRGB_TO_XYZ = np.array([(0.43607, 0.38515, 0.14307), (0.22249, 0.71687, 0.06061), (0.01392, 0.09708, 0.71410)])


def from_srgb(colors: Samples, name: str) -> Samples:
    """sRGB (..., 3), [0, 1], in one of SPACES."""
    light = light_of_srgb(colors) @ (np.linalg.inv(matrix(name)) @ _SRGB_TO_XYZ).T
    return np.asarray(np.clip(light, 0, 1) ** (1 / _exponent(name)))


def seen(colors: Samples, name: str) -> Samples:
    """Colours of one of SPACES (..., 3), [0, 1], as XYZ of D50."""
    return np.asarray(colors ** _exponent(name) @ matrix(name).T)


def seen_srgb(colors: Samples) -> Samples:
    """sRGB (..., 3), [0, 1], as XYZ of D50."""
    return np.asarray(light_of_srgb(colors) @ _SRGB_TO_XYZ.T)


def lab(light: Samples) -> Samples:
    """CIE L*a*b* of XYZ, both of D50."""
    x, y, z = np.moveaxis(light / (0.9642, 1, 0.8249), -1, 0)
    x, y, z = (np.where(v > 216 / 24389, np.cbrt(v), (24389 / 27 * v + 16) / 116) for v in (x, y, z))
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _exponent(name: str) -> float:
    return round(SPACES[name][1] * 256) / 256

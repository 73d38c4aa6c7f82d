"""ICC profiles that work by tables of colours, such as those of scanners: their samples in sRGB, and back.

A table leads from device values to CIE XYZ or Lab (``lut8Type``, ``lut16Type`` and ``lutAToBType``); between its nodes
colours are interpolated in tetrahedra, as Little CMS does. Back to device values the table is inverted by Newton's
method: profiles of scanners hold no way back, and those of others hold one that is not exact. Source: ICC.1:2022, 10.10
to 10.12.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .icc_parts import DAMAGED, NODES, Curve, light_of_lightness, read_curve
from .srgb_light import D50, SRGB_TO_XYZ, encoded, multiplied

Values = NDArray[np.float32]
"""(N, channels), [0, 1]."""
Stage = Callable[[Values], Values]

_OTHER = "has a table of colours of a kind that is not known"
_HEAD = 48  # bytes that every table has
_BLOCK = 1 << 16  # colours converted at a time
_MOST_NODES = 1 << 24  # of a table, times its channels
_GRID = 17  # nodes a side of the cube of sRGB at which the search for device values begins
# Of the numerical derivatives, one for each step of Newton's method: the slopes of tables of bytes are rough.
_STEPS = np.float32(2.0) ** -np.array([5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 7, 9, 6, 9, 8, 9], np.float32)
_QUICK_STEPS = 5
_EXACT = 3e-5  # half a step of 14 bits
_DAMPING = np.float32(1e-5)


@dataclass(frozen=True, eq=False)
class TableConversion:
    """The conversion of a profile whose device values lead through tables."""

    channels: int
    """1 or 3."""
    stages: tuple[Stage, ...]
    """Device values to the encoded coordinates of the connection space, one after the other."""
    to_xyz: Stage
    """These coordinates to XYZ of D50."""

    @property
    def is_grey(self) -> bool:
        """See :class:`~gpen.images.color.icc.ColorConversion`."""
        return self.channels == 1

    def to_srgb(self, samples: NDArray[Any]) -> NDArray[np.float32]:
        """See :class:`~gpen.images.color.icc.ColorConversion`."""
        height, width, channels = samples.shape
        top = np.float32(np.iinfo(samples.dtype).max)
        flat = samples.reshape(-1, channels)
        result = np.empty((len(flat), 3), np.float32)
        for start in range(0, len(flat), _BLOCK):
            device = flat[start : start + _BLOCK] / top
            if channels < self.channels:
                device = np.repeat(device, self.channels, axis=1)
            result[start : start + _BLOCK] = self.seen(device)
        return result.reshape(height, width, 3)

    def from_srgb(self, colors: NDArray[np.float32]) -> NDArray[np.float32]:
        """See :class:`~gpen.images.color.icc.ColorConversion`."""
        flat = np.ascontiguousarray(colors.reshape(-1, self.channels), dtype=np.float32)
        result = np.empty_like(flat)
        for start in range(0, len(flat), _BLOCK):
            result[start : start + _BLOCK] = self._device(flat[start : start + _BLOCK])
        return result.reshape(colors.shape)

    def seen(self, device: Values) -> NDArray[np.float32]:
        """Device values (N, channels) as sRGB (N, 3), not clipped."""
        for stage in self.stages:
            device = stage(device)
        return encoded(multiplied(np.linalg.inv(SRGB_TO_XYZ), self.to_xyz(device).T))

    def _device(self, colors: NDArray[np.float32]) -> Values:
        if self.is_grey:
            shades, values = self._shades
            return np.interp(colors, shades, values).astype(np.float32)
        # Asked for a colour that is beyond the wanted one by what is amiss, the inverse gives a better one. It costs a
        # fraction of a step of Newton's method, which then has to improve little.
        inverse, asked, device = _Cube(self._inverse, 3), colors.copy(), np.empty_like(colors)
        left = np.arange(len(colors))
        for _ in range(_QUICK_STEPS):
            device[left] = np.clip(inverse(asked[left]), 0, 1)
            error = colors[left] - self.seen(device[left])
            asked[left] += error
            left = left[np.abs(error).max(axis=1) > _EXACT]
            if not len(left):
                return device
        device[left] = self._improved(device[left], colors[left])
        return device

    @cached_property
    def _shades(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Of a grey space: rising lightness in sRGB, and the device values for it."""
        values = np.linspace(0, 1, NODES, dtype=np.float32)
        seen = self.seen(values[:, None]).mean(axis=1)
        order = 1 if seen[-1] >= seen[0] else -1
        return np.maximum.accumulate(seen[::order]), values[::order]

    @cached_property
    def _inverse(self) -> NDArray[np.float32]:
        """(g, g, g, 3): device values for a grid of colours in sRGB."""
        axis = np.linspace(0, 1, _GRID, dtype=np.float32)
        nodes = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
        known = self.seen(nodes)
        nearest = np.concatenate([_nearest(part, known) for part in np.array_split(nodes, 16)])
        return self._improved(nodes[nearest], nodes).reshape(_GRID, _GRID, _GRID, 3)

    def _improved(self, device: Values, colors: NDArray[np.float32]) -> Values:
        """Device values that look more like the colours, by Newton's method with damping (Levenberg's)."""
        result = np.clip(device, 0, 1)
        left = np.arange(len(result))
        error = colors - self.seen(result)
        damping = np.full((len(result), 1, 1), _DAMPING)
        for width in _STEPS:
            kept = np.abs(error).max(axis=1) > _EXACT
            left, error, damping = left[kept], error[kept], damping[kept]
            if not len(left):
                break
            device = result[left]
            slopes = self._slopes(device, colors[left] - error, width)
            turned = slopes.transpose(0, 2, 1)
            normal = turned @ slopes + damping * np.eye(3, dtype=np.float32)
            tried = np.clip(device + np.linalg.solve(normal, turned @ error[..., None])[..., 0], 0, 1)
            after = colors[left] - self.seen(tried)
            better = (after**2).sum(axis=1) < (error**2).sum(axis=1)
            result[left[better]], error[better] = tried[better], after[better]
            damping = np.where(better[:, None, None], damping / 4, damping * 16)
        return result

    def _slopes(self, device: Values, seen: NDArray[np.float32], width: np.float32) -> NDArray[np.float32]:
        """(N, 3, 3): how each colour changes with each device value."""
        slopes = np.empty((len(device), 3, 3), np.float32)
        for channel in range(3):
            step = np.where(device[:, channel] > 0.5, -width, width)
            moved = device.copy()
            moved[:, channel] += step
            slopes[:, :, channel] = (self.seen(moved) - seen) / step[:, None]
        return slopes


def table_conversion(data: memoryview, channels: int, connection: bytes) -> TableConversion:
    """The conversion by the table in a tag.

    channels: of the device, 1 or 3. connection: b"XYZ" or b"Lab". Raises ValueError or struct.error where the table is
    damaged or unknown.
    """
    kind = bytes(data[:4])
    if kind not in _KINDS and kind.isascii() and kind.isalpha():
        raise ValueError(_OTHER)
    if kind not in _KINDS or len(data) < _HEAD or (data[8], data[9]) != (channels, 3):
        raise ValueError(DAMAGED)
    read, lab_scale = _KINDS[kind]
    to_xyz = _lab_to_xyz(lab_scale) if connection == b"Lab" else _scaled_xyz
    conversion = TableConversion(channels, tuple(read(data, channels)), to_xyz)
    grid = np.linspace(0, 1, 5, dtype=np.float32)
    corners = np.stack(np.meshgrid(*[grid] * channels), axis=-1).reshape(-1, channels)
    seen = conversion.seen(corners)
    if not np.isfinite(seen).all() or np.ptp(seen, axis=0).max() < 0.01:
        raise ValueError(DAMAGED)
    return conversion


def _with_byte_tables(data: memoryview, channels: int) -> list[Stage]:
    tables = _numbers(data, 48, channels * 256, np.uint8).reshape(channels, 256)
    cube, end = _cube(data, 48 + channels * 256, [data[10]] * channels, np.uint8)
    after = _numbers(data, end, 3 * 256, np.uint8).reshape(3, 256)
    return [_matrix(data, 12, channels), _interpolated(tables), cube, _interpolated(after)]


def _with_word_tables(data: memoryview, channels: int) -> list[Stage]:
    before, behind = struct.unpack_from(">2H", data, 48)
    if not (2 <= before <= 4096 and 2 <= behind <= 4096):
        raise ValueError(DAMAGED)
    tables = _numbers(data, 52, channels * before, np.uint16).reshape(channels, before)
    cube, end = _cube(data, 52 + 2 * channels * before, [data[10]] * channels, np.uint16)
    after = _numbers(data, end, 3 * behind, np.uint16).reshape(3, behind)
    return [_matrix(data, 12, channels), _interpolated(tables), cube, _interpolated(after)]


def _with_curves(data: memoryview, channels: int) -> list[Stage]:
    b, matrix, m, table, a = struct.unpack_from(">5I", data, 12)
    if not b or bool(table) != bool(a) or bool(matrix) != bool(m) or (not table and channels != 3):
        raise ValueError(DAMAGED)
    stages: list[Stage] = []
    if table:
        sizes = list(bytes(data[table : table + channels]))
        (precision,) = struct.unpack_from("B", data, table + 16)
        if precision not in (1, 2):
            raise ValueError(DAMAGED)
        cube, _ = _cube(data, table + 20, sizes, np.uint8 if precision == 1 else np.uint16)
        stages += [_interpolated(_curves(data, a, channels)), cube]
    if matrix:
        stages += [_interpolated(_curves(data, m, 3)), _matrix(data, matrix, 3, has_offset=True)]
    return [*stages, _interpolated(_curves(data, b, 3))]


_KINDS: dict[bytes, tuple[Callable[[memoryview, int], list[Stage]], Sequence[float]]] = {
    b"mft1": (_with_byte_tables, (100, 255, 255)),
    # Source: ICC.1:2022, 10.10, for the encoding of Lab, which is that of earlier versions.
    b"mft2": (_with_word_tables, (65535 / 652.8, 65535 / 256, 65535 / 256)),
    b"mAB ": (_with_curves, (100, 255, 255)),
}
"""For each kind of table its reader, and L*, a* and b* at 1, where a* and b* begin at -128."""


def _curves(data: memoryview, position: int, count: int) -> NDArray[np.float64]:
    curves: list[Curve] = []
    for _ in range(count):
        curve, size = read_curve(data[position:])
        position += size + -size % 4
        curves.append(curve)
    return np.stack(curves)


def _numbers(data: memoryview, position: int, count: int, kind: type[np.uint8] | type[np.uint16]) -> NDArray[Any]:
    """Numbers of one or two bytes, as float32 from 0 to 1. Raises ValueError where the data is too short."""
    dtype = np.dtype(kind).newbyteorder(">")
    if position + count * dtype.itemsize > len(data):
        raise ValueError(DAMAGED)
    return np.asarray(np.frombuffer(data, dtype, count, position) / np.float32(np.iinfo(kind).max))


def _matrix(data: memoryview, position: int, channels: int, *, has_offset: bool = False) -> Stage:
    numbers = np.array(struct.unpack_from(">9i", data, position)).reshape(3, 3) / 65536
    offset = np.array(struct.unpack_from(">3i", data, position + 36)) / 65536 if has_offset else np.zeros(3)
    if channels != 3 or (np.array_equal(numbers, np.eye(3)) and not offset.any()):
        return lambda values: values
    added = offset.astype(np.float32)
    return lambda values: multiplied(numbers, values.T) + added


def _interpolated(tables: NDArray[Any]) -> Stage:
    """A stage that looks each channel up in its own table (channels, nodes)."""
    nodes = np.linspace(0, 1, tables.shape[1])

    def stage(values: Values) -> Values:
        columns = [np.interp(values[:, channel], nodes, table) for channel, table in enumerate(tables)]
        return np.asarray(np.stack(columns, axis=1), np.float32)

    return stage


def _cube(
    data: memoryview, position: int, sizes: Sequence[int], kind: type[np.uint8] | type[np.uint16]
) -> tuple[Stage, int]:
    """The stage of a table with so many nodes along each channel, and where its data ends."""
    count = 3 * int(np.prod(sizes, dtype=np.int64))
    if min(sizes) < 2 or count > _MOST_NODES:
        raise ValueError(DAMAGED)
    table = _numbers(data, position, count, kind).reshape(*sizes, 3).astype(np.float32)
    return _Cube(table, len(sizes)), position + count * np.dtype(kind).itemsize


class _Cube:
    """Interpolates between the nodes of a table (g, 3) or (g, g, g, 3): along a line, or in tetrahedra."""

    def __init__(self, table: NDArray[np.float32], channels: int) -> None:
        self._sizes = np.array(table.shape[:channels])
        strides = np.cumprod([1, *self._sizes[:0:-1]])[::-1]
        self._strides = strides.astype(np.int64)
        self._nodes = table.reshape(-1, 3)

    def __call__(self, values: Values) -> Values:
        place = np.clip(values, 0, 1) * (self._sizes - 1).astype(np.float32)
        below = np.minimum(place.astype(np.int64), self._sizes - 2)
        part = (place - below).astype(np.float32)
        # From the lower corner along the axis of the largest part first: these four nodes hold the colour between them.
        order = np.argsort(-part, axis=1, kind="stable")
        at = below @ self._strides
        node = self._nodes[at]
        result: Values = node.copy()
        for axis in order.T:
            at = at + self._strides[axis]
            further = self._nodes[at]
            result += np.take_along_axis(part, axis[:, None], axis=1) * (further - node)
            node = further
        return result


def _nearest(colors: NDArray[np.float32], known: NDArray[np.float32]) -> NDArray[np.int64]:
    """For each colour the index of the most similar known one."""
    distances = (known**2).sum(axis=1)[None] - 2 * (colors @ known.T)
    return np.asarray(distances.argmin(axis=1))


def _scaled_xyz(values: Values) -> Values:
    return np.asarray(values * np.float32(1 + 32767 / 32768))


def _lab_to_xyz(scale: Sequence[float]) -> Stage:
    """Encoded Lab to XYZ; scale: as in :data:`_KINDS`."""
    factors, offset = np.array(scale), np.array([0.0, 128.0, 128.0])

    def stage(values: Values) -> Values:
        lightness, a, b = (values * factors - offset).T
        lightness = np.clip(lightness, 0, 100)
        middle = (lightness + 16) / 116
        parts = [middle + a / 500, middle, middle - b / 200]
        light = [light_of_lightness(116 * part - 16) for part in parts]
        return np.asarray(np.stack(light, axis=1) * np.array(D50), np.float32)

    return stage

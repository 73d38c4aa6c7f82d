"""The planes of a frame: a rectangle of them as a photo, and what changed in the photo back into the samples.

A change is added to the samples, so that a sample whose pixels did not change keeps its bits, and the fineness of the
chroma is not lost where they did.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import PhotoError
from ..images.picture import FloatImage
from .color import FULL_RANGE, PQ, Coding, ColorTags, Plane, photo_to_pq, pq_to_photo
from .orientation import Rectangle

Samples = NDArray[Any]
"""uint8 or uint16 (H, W)."""

_PLANAR = ("yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuv410p", "yuva420p", "yuva422p", "yuva444p")
_DEPTHS = (8, 9, 10, 12, 14, 16)
WORKED_ON = frozenset(
    name + ("" if bits == 8 else f"{bits}le") for name in (*_PLANAR, "gbrp", "gbrap", "gray") for bits in _DEPTHS
)
"""The pixel formats whose planes are worked on."""

_REPACKED = {
    **{f"yuvj{name}": f"yuv{name}" for name in ("420p", "422p", "444p", "440p", "411p")},
    "nv12": "yuv420p",
    "nv21": "yuv420p",
    "nv16": "yuv422p",
    "nv24": "yuv444p",
    "yuyv422": "yuv422p",
    "uyvy422": "yuv422p",
    "yvyu422": "yuv422p",
    "p010le": "yuv420p10le",
    "p012le": "yuv420p12le",
    "p016le": "yuv420p16le",
    "p210le": "yuv422p10le",
    "rgb24": "gbrp",
    "bgr24": "gbrp",
    "rgb0": "gbrp",
    "bgr0": "gbrp",
    "0rgb": "gbrp",
    "0bgr": "gbrp",
    "rgba": "gbrap",
    "bgra": "gbrap",
    "argb": "gbrap",
    "abgr": "gbrap",
    "rgb48le": "gbrp16le",
    "rgb48be": "gbrp16le",
    "rgba64le": "gbrap16le",
    "rgba64be": "gbrap16le",
}
"""Pixel formats that hold the same samples in another order, and what they become."""


def planar(name: str) -> str:
    """The pixel format in which frames of this one are worked on, with the same samples; PhotoError if none."""
    if name in WORKED_ON:
        return name
    if name in _REPACKED:
        return _REPACKED[name]
    little = name[:-2] + "le"
    if name.endswith("be") and little in WORKED_ON:
        return little
    raise PhotoError(
        f"The film's pixels are stored as {name}, which is not supported. Convert it to yuv420p or yuv444p first, with "
        "FFmpeg for instance."
    )


@dataclass(frozen=True)
class Layout:
    """What the planes of a pixel format hold."""

    name: str
    """Of the format."""
    bits: int
    """Of a sample."""
    across: int
    """Columns of luma for each of chroma."""
    down: int
    """Rows of luma for each of chroma."""
    is_rgb: bool
    """Whether the planes are green, blue and red."""
    is_grey: bool
    """Whether there is only luma."""
    has_alpha: bool
    """Whether the last plane is alpha."""

    @classmethod
    def of(cls, name: str) -> Layout:
        """Of one of the formats :data:`WORKED_ON`."""
        kind, bits = name, 8
        for depth in _DEPTHS[1:]:
            if name.endswith(f"{depth}le"):
                kind, bits = name.removesuffix(f"{depth}le"), depth
        shares = {"420": (2, 2), "422": (2, 1), "440": (1, 2), "411": (4, 1), "410": (4, 4)}
        across, down = next((share for digits, share in shares.items() if digits in kind), (1, 1))
        alpha = "yuva" in kind or kind == "gbrap"
        return cls(name, bits, across, down, kind.startswith("gbr"), kind == "gray", alpha)

    @property
    def with_chroma(self) -> Layout:
        """What a grey film becomes when it gets colours."""
        return Layout.of("yuv420p" + self.name.removeprefix("gray"))

    def grown(self, rectangle: Rectangle, width: int, height: int) -> Rectangle:
        """The rectangle, grown to whole samples of chroma, within a frame of this size."""
        rows, columns = (
            slice(part.start // step * step, min(-(-part.stop // step) * step, length))
            for part, step, length in zip(rectangle, (self.down, self.across), (height, width), strict=True)
        )
        return rows, columns


class FramePixels:
    """The pixels of the frames of one film.

    tags: their colours. keeps_luma: whether only chroma ever changes, where the film has chroma. PhotoError where the
    colours are not supported.
    """

    def __init__(self, layout: Layout, tags: ColorTags, width: int, height: int, *, keeps_luma: bool = False) -> None:
        self._keeps_luma = keeps_luma
        self._layout = layout
        self._size = width, height
        self._coding = Coding.of(tags, layout.bits, height, is_rgb=layout.is_rgb)
        self._is_pq = tags.transfer == PQ
        # Chroma lies between the columns in films of full range, as in JPEG, and on the left one in others.
        self._is_left = tags.range != FULL_RANGE

    def grown(self, rectangle: Rectangle) -> Rectangle:
        """See :meth:`Layout.grown`."""
        return self._layout.grown(rectangle, *self._size)

    def photo(self, frame: Any, rectangle: Rectangle) -> FloatImage:
        """A rectangle of a frame, grown to whole samples of chroma: float32 (h, w, 3), RGB, [0, 1]."""
        rgb = np.clip(self._rgb(frame, rectangle), 0, 1)
        return pq_to_photo(rgb) if self._is_pq else rgb

    def change(self, frame: Any, rectangle: Rectangle, after: FloatImage, mask: FloatImage) -> None:
        """Write a changed photo into a frame whose planes may be written to.

        after: what became of :meth:`photo` (h, w, 3). mask: (h, w); luma changes only where it is above 0, chroma only
        where it is for all pixels of the sample.
        """
        before = self.photo(frame, rectangle)
        changed = photo_to_pq(after) - photo_to_pq(before) if self._is_pq else after - before
        inside = mask > 0
        changed[~inside] = 0
        planes = self._planes(frame)
        rows, columns = rectangle
        span = self._coding.white - self._coding.black
        if self._layout.is_rgb:
            for plane, channel in zip(planes, (1, 2, 0), strict=True):
                self._add(plane[rows, columns], changed[..., channel] * span, inside)
            return
        if self._layout.is_grey:
            self._add(planes[0][rows, columns], self._coding.luma_of(changed) * span, inside)
            return
        luma, *chroma = self._coding.from_rgb(changed)
        if not self._keeps_luma:
            self._add(planes[0][rows, columns], luma * span, inside)
        whole = self._reduced_mask(inside)
        for plane, change in zip(planes[1:], chroma, strict=True):
            self._add(plane[self._of_chroma(rectangle)], self._reduced(change) * self._coding.chroma_span, whole)

    def _rgb(self, frame: Any, rectangle: Rectangle) -> Plane:
        coding, planes = self._coding, self._planes(frame)
        if self._layout.is_rgb:
            green, blue, red = (coding.luma(plane[rectangle]) for plane in planes)
            return np.stack([red, green, blue], axis=2)
        luma = coding.luma(planes[0][rectangle])
        if self._layout.is_grey:
            return np.repeat(luma[..., None], 3, axis=2)
        blue, red = (self._enlarged(coding.chroma(plane[self._of_chroma(rectangle)]), luma) for plane in planes[1:])
        return coding.to_rgb(luma, blue, red)

    def _planes(self, frame: Any) -> list[Samples]:
        """The planes without alpha, as views."""
        return plane_arrays(frame, self._layout)[: 1 if self._layout.is_grey else 3]

    def _of_chroma(self, rectangle: Rectangle) -> Rectangle:
        rows, columns = rectangle
        across, down = self._layout.across, self._layout.down
        return (
            slice(rows.start // down, -(-rows.stop // down)),
            slice(columns.start // across, -(-columns.stop // across)),
        )

    def _enlarged(self, chroma: Plane, luma: Plane) -> Plane:
        """Chroma at the size of luma, interpolated linearly between where its samples lie."""
        across, down = self._layout.across, self._layout.down
        if across == 2 and self._is_left:
            following = np.concatenate([chroma[:, 1:], chroma[:, -1:]], axis=1)
            chroma = np.stack([chroma, (chroma + following) / 2], axis=2).reshape(len(chroma), -1)
            across = 1
        if (across, down) != (1, 1):
            size = chroma.shape[1] * across, chroma.shape[0] * down
            chroma = np.asarray(cv2.resize(chroma, size, interpolation=cv2.INTER_LINEAR), np.float32)
        return chroma[: luma.shape[0], : luma.shape[1]]

    def _reduced(self, change: Plane) -> Plane:
        """A change of chroma at the size of luma, averaged around where the samples of chroma lie."""
        across, down = self._layout.across, self._layout.down
        change = self._padded(change)
        change = change.reshape(len(change) // down, down, -1).mean(axis=1)
        if across == 2 and self._is_left:
            before = np.concatenate([change[:, :1], change[:, 1:-1:2]], axis=1)
            return np.asarray((before + 2 * change[:, ::2] + change[:, 1::2]) / 4)
        return np.asarray(change.reshape(len(change), -1, across).mean(axis=2))

    def _reduced_mask(self, inside: NDArray[np.bool_]) -> NDArray[np.bool_]:
        across, down = self._layout.across, self._layout.down
        inside = self._padded(inside)
        blocks = inside.reshape(len(inside) // down, down, -1, across)
        return np.asarray(blocks.all(axis=(1, 3)))

    def _padded(self, values: NDArray[Any]) -> NDArray[Any]:
        """Repeated at the edge of a frame whose size is no multiple of a sample of chroma."""
        more = -values.shape[0] % self._layout.down, -values.shape[1] % self._layout.across
        return np.pad(values, ((0, more[0]), (0, more[1])), mode="edge") if any(more) else values

    def _add(self, samples: Samples, change: Plane, where: NDArray[np.bool_]) -> None:
        top = (1 << self._layout.bits) - 1
        np.copyto(samples, np.clip(np.rint(samples + change), 0, top).astype(samples.dtype), where=where)


def plane_arrays(frame: Any, layout: Layout) -> list[Samples]:
    """The planes of a frame as arrays (H, W) that share its memory."""
    kind = np.dtype(np.uint8 if layout.bits == 8 else np.uint16)
    return [
        np.frombuffer(plane, kind).reshape(plane.height, plane.line_size // kind.itemsize)[:, : plane.width]
        for plane in frame.planes
    ]

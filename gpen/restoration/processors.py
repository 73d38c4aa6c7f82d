"""What each task does with a face besides running the network: one processor for each row of :mod:`gpen.tasks`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import PhotoError
from ..faces.align import Placement, crop_face
from ..faces.face import Face
from ..faces.masks.mask import SIZE as MASK_SIZE
from ..faces.masks.mask import Area, face_mask, mask_area
from ..faces.masks.occlusion import Occluder
from ..faces.masks.protect import edge_width, soft_edge
from ..faces.paste import Canvas, CropCanvas, PostBlend, RegionMask
from ..faces.resampling.transforms import apply, corners, invert, shrinking
from ..images.picture import FloatImage
from ..images.resize import enlarge
from ..images.staging import to_device
from ..images.tensors import DevicePhoto, as_tensor, luma
from ..images.uploads import uploaded
from ..options import Options

_PREFERENCE = 8
"""Exponent of nearness: how strongly the nearest face prevails where several reach the same damage."""


class Parser(Protocol):
    """What tells a face from its background in a crop, as :class:`gpen.faces.masks.parsing.FaceParser` does."""

    def parse(self, crop: Tensor) -> Tensor:
        """Crop (S, S, 3), RGB, [0, 1], to (512, 512): 1 where there is face, else 0."""
        ...


def with_mask_chosen(options: Options, *, has_parser: bool) -> Options:
    """The options with the mask that "auto" stands for: parsed with a face parser, else ellipse."""
    if options.mask != "auto":
        return options
    return replace(options, mask="parsed" if has_parser else "ellipse")


@dataclass(frozen=True, kw_only=True, eq=False)
class PhotoInputs:
    """What belongs to one photo besides its pixels."""

    region: FloatImage | None = None
    """(H, W); only faces whose centre lies where it is above 0.5 are worked on."""
    background: FloatImage | None = None
    """The enlarged photo (H', W', 3) that faces are pasted into; its size replaces option "upscale"."""
    damage: FloatImage | None = None
    """(H, W), above 0.5 where the photo is damaged; for inpainting."""
    protect: FloatImage | None = None
    """(H, W), above 0.5 where the photo stays as it is, whatever the task."""


class FaceProcessor:
    """What a task does around the network, for one photo. This one restores faces.

    A processor for another task overrides what differs. PhotoError where the inputs do not suit the photo.
    """

    def __init__(self, photo: DevicePhoto, inputs: PhotoInputs) -> None:
        self._photo = photo
        self._background = inputs.background

    @property
    def post_blend(self) -> PostBlend | None:
        """What changes the pixels that faces were pasted over once more."""
        return None

    def canvas(self, options: Options) -> Canvas:
        """What the faces are pasted into: the background, or the photo enlarged."""
        photo = self._photo
        under = enlarge(photo.array, options.upscale) if self._background is None else self._background
        under_faces = photo if under is photo.array else DevicePhoto(under, photo.device)
        return Canvas(under_faces, self.post_blend, options.grain)

    def crop_source(self) -> DevicePhoto:
        """The picture (H, W, 3) that crops are taken from."""
        return self._photo

    def crop(self, source: DevicePhoto, placement: Placement) -> Tensor:
        """What the network is given of a face: (S, S, 3). FaceError where the face cannot be cropped."""
        return crop_face(source, placement.matrix, placement.size)

    def skip_reason(self, placement: Placement) -> str:
        """Why there is nothing to do for a face; empty where there is."""
        return ""

    def mask_shape(self, options: Options) -> str:
        """The shape of the mask, as :func:`~gpen.faces.masks.mask.face_mask` takes it.

        Options are given to a processor after :func:`with_mask_chosen`.
        """
        return options.mask

    def visible(
        self, before: Tensor, placement: Placement, options: Options, occluder: Occluder | None
    ) -> Tensor | None:
        """Where nothing covers the face in the crop that the network was given; None where that does not matter."""
        if occluder is None or options.occlusion == "none":
            return None
        return occluder.visible(before, 1 / shrinking(placement.matrix))

    def mask(
        self,
        crop: Tensor,
        placement: Placement,
        options: Options,
        parser: Parser | None,
        visible: Tensor | None = None,
    ) -> Tensor:
        """Where the crop that the network returned counts, as :func:`~gpen.faces.masks.mask.face_mask`.

        visible: as :meth:`visible` returns it.
        """
        shape = self.mask_shape(options)
        parsed = parser.parse(crop) if shape == "parsed" and parser is not None else None
        mask = face_mask(shape, placement.landmarks, options.feather, crop.device, parsed)
        return mask if visible is None else torch.minimum(mask, visible)

    def mask_area(self, placement: Placement, options: Options) -> Area:
        """Rows and columns outside of which the mask is 0."""
        return mask_area(self.mask_shape(options), placement.landmarks)

    def region_mask(self, face: Face, options: Options) -> RegionMask | None:
        """Where the face may change the photo; None: everywhere."""
        return None

    def priority(self, placement: Placement) -> Tensor | None:
        """How much the face counts where others reach as well, as :meth:`~gpen.faces.paste.Canvas.add` takes it."""
        return None

    def note(self, mask: FloatImage, options: Options) -> str:
        """What else is to be said, given how much (H, W) of each pixel is face."""
        return ""


MakeProcessor = Callable[[DevicePhoto, PhotoInputs], FaceProcessor]
PROCESSORS: dict[str, MakeProcessor] = {"restore": FaceProcessor}
"""The processor of each task, by the task's name."""


def processor(task: str) -> Callable[[type[FaceProcessor]], type[FaceProcessor]]:
    """Decorator that makes a class the processor of a task."""

    def register(cls: type[FaceProcessor]) -> type[FaceProcessor]:
        PROCESSORS[task] = cls
        return cls

    return register


@processor("colorize")
class Colorization(FaceProcessor):
    """Colours faces: the network's chroma at the photo's own luma."""

    @property
    def post_blend(self) -> PostBlend:
        """The luma stays the photo's."""
        return with_luma_of

    def crop(self, source: DevicePhoto, placement: Placement) -> Tensor:
        """Grey, as the network was trained."""
        return luma(super().crop(source, placement))[..., None].expand(-1, -1, 3).contiguous()


@processor("inpaint")
class Inpainting(FaceProcessor):
    """Fills in damage. PhotoError where the mask of the damage is missing or of another size than the photo."""

    def __init__(self, photo: DevicePhoto, inputs: PhotoInputs) -> None:
        super().__init__(photo, inputs)
        damage = inputs.damage
        if damage is None:
            raise PhotoError("To inpaint, a mask is needed that is white where the photo is damaged.")
        height, width = photo.shape[:2]
        if damage.shape != (height, width):
            shape = " x ".join(map(str, damage.shape[::-1]))
            raise PhotoError(
                f"The mask of the damage is {shape} pixels, the photo {width} x {height}. It has to be a picture of "
                "the same size, white where the photo is damaged."
            )
        self._damaged: NDArray[np.bool_] = damage > 0.5
        self._is_protected = inputs.protect is not None
        if inputs.protect is not None:
            self._damaged &= inputs.protect <= 0.5
        self._any = bool(self._damaged.any())

    def crop_source(self) -> DevicePhoto:
        """The photo with the damage painted white, as the network was trained."""
        painted: FloatImage = self._photo.array.copy()
        painted[self._damaged] = 1
        return DevicePhoto(painted, self._photo.device)

    def skip_reason(self, placement: Placement) -> str:
        """Whether no damage lies in what the network sees of the face."""
        if not self._any:
            return "nothing is damaged"
        square = apply(invert(placement.matrix), corners(placement.size, placement.size))[[0, 1, 3, 2]]
        low = np.maximum(np.floor(square.min(axis=0)).astype(int), 0)
        high = np.ceil(square.max(axis=0)).astype(int) + 1
        part: NDArray[np.bool_] = self._damaged[low[1] : max(high[1], 0), low[0] : max(high[0], 0)]
        inside = np.zeros(part.shape, np.uint8)
        if part.size:
            cv2.fillConvexPoly(inside, np.rint(square - low).astype(np.int32), 1)
        return "" if (part & (inside > 0)).any() else "no damage in it"

    def mask_shape(self, options: Options) -> str:
        """Nearly the whole crop: damage is filled in wherever the network sees it."""
        return "box"

    def region_mask(self, face: Face, options: Options) -> RegionMask:
        """1 where the photo is damaged, falling to 0 around it."""
        damaged, device = self._damaged, self._photo.device
        width = edge_width(face, options.damage_feather)

        def mask(rows: slice, columns: slice) -> Tensor:
            return to_device(as_tensor(soft_edge(lambda *part: damaged[part], width, rows, columns)), device)

        return mask

    def priority(self, placement: Placement) -> Tensor:
        """The nearest face fills in what several reach: its crop shows most of what is around."""
        eyes, mouth = placement.landmarks[:2].mean(axis=0), placement.landmarks[3:].mean(axis=0)
        middle, unit = (eyes + mouth) / 2 * MASK_SIZE, float(np.linalg.norm(mouth - eyes)) * MASK_SIZE
        steps = np.arange(MASK_SIZE)
        squared = ((steps - middle[0]) ** 2 + ((steps - middle[1]) ** 2)[:, None]) / unit**2
        return uploaded(((1 + squared) ** -float(_PREFERENCE)).astype(np.float32), self._photo.device)

    def note(self, mask: FloatImage, options: Options) -> str:
        """How much of the damage is still there."""
        if not self._any:
            return "The mask is black: nothing is marked as damaged."
        if options.strength == 0:
            return "The strength is 0: nothing was changed."
        # In the soft edge around protected pixels, damage is neither outside nor filled in.
        outside = mask == 0 if self._is_protected else mask < options.strength / 2
        left = float((self._damaged & outside).sum() / self._damaged.sum())
        return f"{left:.0%} of the damage lies outside the faces and stays." if left >= 0.005 else ""


@processor("synthesize")
class Synthesis(FaceProcessor):
    """Makes a face from a segmentation map; the photo is the map, and the result is the face alone."""

    def canvas(self, options: Options) -> CropCanvas:
        """The face takes the place of the map."""
        return CropCanvas(self._photo)

    def crop(self, source: DevicePhoto, placement: Placement) -> Tensor:
        """The map at the network's size, without mixing colours: each stands for a part of the face."""
        size = (placement.size, placement.size)
        resized = cv2.resize(source.array, size, interpolation=cv2.INTER_NEAREST_EXACT)
        return as_tensor(np.asarray(resized, dtype=np.float32)).to(source.device)


def with_luma_of(colors: Tensor, photo: Tensor) -> Tensor:
    """Colours (H, W, 3) changed so that their luma is that of ``photo``, and they lie between 0 and 1.

    All channels get the same addition; where that leads beyond 0 or 1, the colour is moved towards the grey of its
    luma until it is inside.
    """
    grey = luma(photo)[..., None]
    chroma = colors - luma(colors)[..., None]
    limit = torch.where(chroma > 0, 1 - grey, -grey)
    room = torch.where(chroma == 0, torch.inf, limit / chroma)
    scale = room.amin(dim=2, keepdim=True).clamp(0, 1)
    return (grey + scale * chroma).clamp(0, 1)

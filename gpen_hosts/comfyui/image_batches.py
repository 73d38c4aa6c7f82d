"""ComfyUI's batches of images and masks as photos, and the memory for new ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...gpen.device import is_out_of_memory
from ...gpen.errors import OutOfMemoryError, PhotoError
from ...gpen.images.picture import FloatImage
from ...gpen.images.resize import resize
from ...gpen.wording import count


@dataclass(frozen=True)
class OutputFormat:
    """Where the host wants images and masks, and in which dtype."""

    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32


FLOAT32_ON_CPU = OutputFormat()


def photo_of(frame: Tensor) -> FloatImage:
    """One frame (H, W, C) as a photo: float32 (H, W, 3), RGB. Alpha is dropped, grey becomes RGB.

    PhotoError for another number of channels.
    """
    if frame.ndim != 3 or frame.shape[2] not in (1, 3, 4):
        raise PhotoError(
            f"An image has the shape {tuple(frame.shape)}; it must be (H, W, C) with 1, 3 or 4 channels. Convert it to "
            "RGB."
        )
    channels = frame[..., :3] if frame.shape[2] > 1 else frame.expand(-1, -1, 3)
    return np.ascontiguousarray(channels.detach().to("cpu", torch.float32).numpy())


def check_not_empty(frames: Tensor) -> None:
    """PhotoError where a batch holds nothing."""
    if not len(frames):
        raise PhotoError("The batch of photos is empty; it must hold at least one. Connect a photo.")


def masks_by_frame(mask: Tensor | None, number: int, height: int, width: int) -> Callable[[int], FloatImage | None]:
    """Returns, for a frame's index, its mask at the frame's size; PhotoError for another number of masks."""
    if mask is None:
        return lambda index: None
    masks = mask.detach().to("cpu", torch.float32)
    masks = masks[None] if masks.ndim == 2 else masks
    if masks.ndim != 3 or masks.shape[0] not in (1, number):
        raise PhotoError(
            f"The mask has the shape {tuple(masks.shape)}; for {count(number, 'photo')} it must hold one mask"
            f"{'' if number == 1 else f', or {number}'}. Connect {'one' if number == 1 else 'as many'}."
        )

    def resized(index: int) -> FloatImage:
        mask = masks[index if len(masks) > 1 else 0][None, None]
        return np.asarray(torch.nn.functional.interpolate(mask, (height, width), mode="bilinear")[0, 0].numpy())

    return resized


def empty(shape: tuple[int, ...], output: OutputFormat) -> Tensor:
    """An uninitialised tensor; OutOfMemoryError with its size where memory runs out."""
    try:
        return torch.empty(shape, dtype=output.dtype, device=output.device)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"{count(shape[0], 'photo')} of {shape[2]} x {shape[1]} pixels would take "
            f"{output.dtype.itemsize * math.prod(shape) / 1e9:.1f} GB, more than the free memory. Process fewer photos "
            "at a time, or choose a smaller model or upscale."
        ) from error


def empty_results(number: int, shape: Sequence[int], has_alpha: bool, output: OutputFormat) -> tuple[Tensor, Tensor]:
    """Memory for all frames at ``shape``, (height, width), and for their masks."""
    size = (number, *shape)
    return empty((*size, 4 if has_alpha else 3), output), empty(size, output)


def put(images: Tensor, index: int, photo: FloatImage, frames: Tensor) -> None:
    """Write a result, with the alpha of its frame; PhotoError where it has another size than the first."""
    if photo.shape[:2] != images.shape[1:3]:
        raise PhotoError(
            f"Photo {index} would become {photo.shape[1]} x {photo.shape[0]} pixels, the first one is "
            f"{images.shape[2]} x {images.shape[1]}. All photos of a batch must have one size: use backgrounds of one "
            "size."
        )
    images[index, ..., :3] = torch.from_numpy(photo)
    if images.shape[3] == 4:
        alpha = np.ascontiguousarray(frames[index, ..., 3].detach().to("cpu", torch.float32).numpy())
        images[index, ..., 3] = torch.from_numpy(resize(alpha, (photo.shape[1], photo.shape[0])))

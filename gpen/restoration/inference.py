"""Runs the network on crops: the batch size, and the retries when memory runs out."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from ..device import change_dtype, dtype_name, finite_output, is_out_of_memory, release, to_float32
from ..errors import OutOfMemoryError
from ..network.memory import CPU_STRIP_BYTES, memory_estimate
from ..weights.checkpoint import Model
from ..wording import first_line

_MEGABYTE = 1 << 20
_MOST_FACES, _MOST_PIXELS = 16, 2048**2
_SHARE_OF_MEMORY = 0.5
_log = logging.getLogger(__name__)
_Key = TypeVar("_Key")


def faces_per_call(model: Model, wanted: int = _MOST_FACES) -> int:
    """The batch size: how many of ``wanted`` faces go through the network in one call.

    On CUDA as many as fit into memory, up to the pixels of one 2048 face, which alone keeps a GPU busy. Elsewhere one:
    on a CPU batches are no faster, and other devices do not say how much memory they have. If other programs hold the
    memory, :func:`run_within_memory` splits the batch.
    """
    if model.device.type != "cuda":
        return 1
    # Of the total, not of the free memory: the last digits of a result depend on the batch size, and must not vary with
    # what other programs do.
    budget = _SHARE_OF_MEMORY * torch.cuda.get_device_properties(model.device).total_memory
    faces = max(1, min(wanted, _MOST_FACES, _MOST_PIXELS // model.spec.out_size**2))
    while faces > 1 and memory_estimate(model.spec, model.dtype, faces) > budget:
        faces -= 1
    return faces


def run_within_memory(model: Model, pictures: Tensor) -> Tensor:
    """Call the model; if memory runs out, retry with smaller batches, then in small strips, then in bfloat16.

    pictures and result: as for a call of :class:`~gpen.weights.checkpoint.Model`. The model keeps the strips and the
    dtype that worked. Raises OutOfMemoryError if nothing helps.
    """
    try:
        return model(pictures)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        name = dtype_name(model.dtype)
        _log.info("Out of memory at a batch of %d in %s: %s", len(pictures), name, first_line(error))
    # Outside the handler: its traceback keeps the tensors of the failed call alive.
    release(model.device)
    if len(pictures) > 1:
        half = len(pictures) // 2
        return torch.cat([run_within_memory(model, part) for part in (pictures[:half], pictures[half:])])
    if model.device.type != "cpu" and model.network.strip_bytes is None:
        # Before changing the dtype: strips cost a little time, but the result stays the same.
        _log.info("%s continues in smaller strips.", model.spec.title)
        model.network.strip_bytes = CPU_STRIP_BYTES
        return run_within_memory(model, pictures)
    if model.device.type != "cpu" and model.dtype == torch.float32:
        _log.warning("%s does not fit into memory in float32; it continues in bfloat16.", model.spec.title)
        change_dtype(model.network, torch.bfloat16)
        return run_within_memory(model, pictures)
    needed = memory_estimate(model.spec, model.dtype, strip_bytes=CPU_STRIP_BYTES) // _MEGABYTE
    advice = "a smaller network" if model.device.type == "cpu" else "a smaller network, or the CPU"
    raise OutOfMemoryError(
        f"{model.spec.title} needs about {needed} MB of free memory on {model.device} for one face, besides "
        f"its weights, and less is available. Close other programs that use it, or choose {advice}."
    )


def restore_crops(model: Model, crops: Sequence[Tensor]) -> list[Tensor]:
    """Run the network on a batch of crops, float32 (in_size, in_size, 3), RGB, [0, 1], on one device.

    Returns as many crops (out_size, out_size, 3) on the network's device. If the network returns NaN or Inf in a dtype
    below float32, it runs again in float32, and keeps it. Raises GpenError if the result is not finite then.
    """
    if not crops:
        return []
    low, high = model.value_range
    pictures = torch.stack(list(crops)).mul_(high - low).add_(low).permute(0, 3, 1, 2)
    out = finite_output(lambda: run_within_memory(model, pictures), model.network, model.path.name, _widen)
    restored = torch.empty((len(crops), *out.shape[2:], 3), dtype=torch.float32, device=out.device)
    torch.sub(out.permute(0, 2, 3, 1), low, out=restored).div_(high - low).clamp_(0, 1)
    return list(restored)


class CropBatcher(Generic[_Key]):
    """Restores crops of any number of photos in shared calls of the network: :func:`faces_per_call` crops at a time.

    The last digits of a result depend on which crops share its call. So call :meth:`flush` where the input says so,
    such as at the last photo, and not because the next photo is late.
    """

    def __init__(self, model: Model) -> None:
        self._model = model
        self._waiting: list[tuple[_Key, Tensor]] = []

    def add(self, key: _Key, crop: Tensor) -> list[tuple[_Key, Tensor]]:
        """Add a crop, as for :func:`restore_crops`; what is restored then, in the order in which it was added.

        Mostly nothing is, until enough crops wait for a call. Raises what :func:`restore_crops` raises, for all that
        wait; they are dropped.
        """
        self._waiting.append((key, crop))
        return self.flush() if len(self._waiting) >= faces_per_call(self._model) else []

    def flush(self) -> list[tuple[_Key, Tensor]]:
        """Restore whatever waits; as :meth:`add`."""
        waiting, self._waiting = self._waiting, []
        restored = restore_crops(self._model, [crop for _, crop in waiting])
        return [(key, after) for (key, _), after in zip(waiting, restored, strict=True)]


class CropBatchers(Generic[_Key]):
    """A :class:`CropBatcher` for each network that is used."""

    def __init__(self) -> None:
        self._batchers: dict[Model, CropBatcher[_Key]] = {}

    def add(self, model: Model, key: _Key, crop: Tensor) -> list[tuple[_Key, Tensor]]:
        """Add a crop for a network; as :meth:`CropBatcher.add`."""
        return self._batchers.setdefault(model, CropBatcher(model)).add(key, crop)

    def flush(self) -> Iterator[tuple[_Key, Tensor]]:
        """Restore whatever waits."""
        for batcher in self._batchers.values():
            yield from batcher.flush()


def _widen(network: nn.Module) -> None:
    """Convert to float32 or, if there is too little memory, to bfloat16, which has the same range."""
    try:
        to_float32(network)
        return
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        _log.info("Out of memory while a network was converted to float32: %s", first_line(error))
    release(next(network.parameters()).device)
    change_dtype(network, torch.bfloat16)

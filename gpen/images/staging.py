"""Copies between host memory and a CUDA device, through a few buffers of pinned memory.

The driver copies ordinary memory in one thread, and waits for all that the device was given before. It leaves pinned
memory to the device, but pinning takes longer than copying. So a few buffers are pinned at the first use, and pictures
pass through them in pieces: PyTorch's threads fill or empty one buffer while the device copies another.
"""

from __future__ import annotations

import functools
import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from ..wording import first_line

_BUFFERS, _NUMEL = 3, 1 << 21
"""In each direction as many buffers of as many float32 numbers: 8 MiB each."""
_making = threading.Lock()
_log = logging.getLogger(__name__)

Copy = tuple[Tensor, Tensor]
"""What is copied, and where to: float32 (H, ...), of one shape. Only what is in host memory may have any strides."""


def to_device(picture: Tensor, device: torch.device) -> Tensor:
    """A picture in host memory, float32 (H, ...), on a device; on the CPU, and from a device, as ``Tensor.to``.

    It may be changed afterwards, whether or not the device has its copy by then. What the device is given to do in
    PyTorch's current stream comes after the copy.
    """
    if picture.device.type != "cpu" or device.type == "cpu":
        return picture.to(device)
    rings = _rings_of(device)
    if rings is not None and picture.dtype == torch.float32:
        copy = torch.empty(picture.shape, dtype=torch.float32, device=device)
        if _has_memory(copy) and rings.up.upload(picture, copy):
            return copy
    return picture.contiguous().to(device)


def to_host(copies: Sequence[Copy], meanwhile: Callable[[], object] = lambda: None) -> None:
    """Copy pictures, float32 (H, ...), from one device, or on the CPU, into others in host memory, in this order.

    The device is waited for once, unless the pictures do not fit into the buffers together. meanwhile: is called before
    anything is written, while the device still works.
    """
    rings = _rings_of(copies[0][0].device) if copies else None
    if (
        rings is None
        or not all(_has_memory(source) for source, _ in copies)
        or not rings.down.download(copies, meanwhile)
    ):
        meanwhile()
        for source, target in copies:
            target.copy_(source)


def on_host(pictures: Sequence[Tensor]) -> list[Tensor]:
    """Pictures of one device, float32 (H, ...), in host memory, as :func:`to_host`; those on the CPU themselves."""
    if all(picture.device.type == "cpu" for picture in pictures):
        return list(pictures)
    copies = [(picture, torch.empty(picture.shape, dtype=torch.float32, device="cpu")) for picture in pictures]
    to_host(copies)
    return [target for _, target in copies]


class Mark(Protocol):
    """A place in the order of what a device was given to do."""

    def synchronize(self) -> None:
        """Wait until the device has come there."""
        ...


class Link(Protocol):
    """What a ring needs of a device."""

    def pinned(self, numel: int) -> Tensor | None:
        """As many float32 numbers in pinned memory; None where none can be had."""
        ...

    def start(self, source: Tensor, target: Tensor) -> None:
        """Have the device copy from or into pinned memory, after all that it was given before; does not wait."""
        ...

    def mark(self) -> Mark:
        """The place after what the device was given so far."""
        ...


@dataclass(eq=False)
class _Buffer:
    memory: Tensor
    in_use: Mark | None = None
    """Up to where the device reads or writes it."""

    def staged(self, batch: Sequence[Copy]) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Each copy with its place in the buffer."""
        start = 0
        for source, target in batch:
            stop = start + source.numel()
            yield source, self.memory[start:stop].view(source.shape), target
            start = stop

    def wait(self) -> None:
        """Until the device is done with it."""
        if self.in_use is not None:
            self.in_use.synchronize()
            self.in_use = None


class Ring:
    """Buffers for copies in one direction, used in turn; for any number of threads, of which one copies at a time."""

    def __init__(self, link: Link, *, count: int = _BUFFERS, numel: int = _NUMEL) -> None:
        self._link = link
        self._count, self._numel = count, numel
        self._buffers: deque[_Buffer] = deque()
        """The first is the one that was used longest ago."""
        self._lock = threading.Lock()

    def upload(self, source: Tensor, target: Tensor) -> bool:
        """Copy from host memory to the device, which need not be done when this returns.

        False, and nothing is copied, where no memory can be pinned, or a row of the picture exceeds a buffer.
        """
        copies = [(source, target)]
        if not self._fits(copies):
            return False
        with self._lock:
            for batch in _batches(copies, self._numel):
                if not self._grow():
                    return False
                buffer = self._next()
                for given, staged, there in buffer.staged(batch):
                    staged.copy_(given)
                    self._link.start(staged, there)
                buffer.in_use = self._link.mark()
        return True

    def download(self, copies: Sequence[Copy], meanwhile: Callable[[], object]) -> bool:
        """Copy from the device into host memory, as :func:`to_host`.

        False, and nothing is copied or called, where no memory can be pinned, or a row of a picture exceeds a buffer.
        """
        if not self._fits(copies):
            return False
        with self._lock:
            batches, started = deque(_batches(copies, self._numel)), deque[tuple[_Buffer, list[Copy]]]()
            self._start(batches, started)
            if batches and not started:
                return False
            meanwhile()
            while started:
                buffer, batch = started.popleft()
                buffer.wait()
                for _, staged, there in buffer.staged(batch):
                    there.copy_(staged)
                self._start(batches, started)
        return True

    def _start(self, batches: deque[list[Copy]], started: deque[tuple[_Buffer, list[Copy]]]) -> None:
        """Have the device fill as many buffers as are free."""
        while batches and len(started) < self._grow():
            buffer, batch = self._next(), batches.popleft()
            for given, staged, _ in buffer.staged(batch):
                self._link.start(given, staged)
            buffer.in_use = self._link.mark()
            started.append((buffer, batch))

    def _fits(self, copies: Sequence[Copy]) -> bool:
        return all(source[:1].numel() <= self._numel for source, _ in copies)

    def _grow(self) -> int:
        """The number of buffers, after adding one where there should be more and memory for it can be had."""
        if len(self._buffers) < self._count:
            memory = self._link.pinned(self._numel)
            if memory is None:
                self._count = len(self._buffers)
            else:
                self._buffers.appendleft(_Buffer(memory))
        return len(self._buffers)

    def _next(self) -> _Buffer:
        """The buffer that was used longest ago, once the device is done with it."""
        buffer = self._buffers[0]
        self._buffers.rotate(-1)
        buffer.wait()
        return buffer


def _batches(copies: Sequence[Copy], room: int) -> Iterator[list[Copy]]:
    """The copies in pieces of whole rows, as many together as fit into a buffer of ``room`` numbers."""
    batch: list[Copy] = []
    left = room
    for source, target in copies:
        row, start = source[:1].numel(), 0
        while row and start < len(source):
            if left < row:
                yield batch
                batch, left = [], room
            stop = min(start + left // row, len(source))
            batch.append((source[start:stop], target[start:stop]))
            left -= (stop - start) * row
            start = stop
    if batch:
        yield batch


class CudaLink:
    """A CUDA device, also of ROCm: in the order of the stream that is current where it is called."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._refused = False

    def pinned(self, numel: int) -> Tensor | None:
        """See :class:`Link`. After it was refused once, it is not asked for again, and the log says so."""
        if self._refused:
            return None
        try:
            # In inference mode it would be a tensor that could be written to in that mode only.
            with torch.inference_mode(False):
                return torch.empty(numel, dtype=torch.float32, device="cpu", pin_memory=True)
        except RuntimeError as error:  # such as a container's limit
            self._refused = True
            _log.debug("Copies to and from %s are slow: no memory can be pinned (%s)", self._device, first_line(error))
            return None

    def start(self, source: Tensor, target: Tensor) -> None:
        """See :class:`Link`."""
        target.copy_(source, non_blocking=True)

    def mark(self) -> Mark:
        """See :class:`Link`."""
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event


class Rings(NamedTuple):
    """To a device and from it."""

    up: Ring
    down: Ring


def _rings_of(device: torch.device) -> Rings | None:
    """Those of a CUDA device, for the whole process; None for another device."""
    if device.type != "cuda" or not torch.cuda.is_available():
        return None
    with _making:
        return _made_rings(torch.cuda.current_device() if device.index is None else device.index)


def _has_memory(tensor: Tensor) -> bool:
    """Whether it is not one of PyTorch's tensors without values, which stand for others."""
    return type(tensor) is Tensor


@functools.cache
def _made_rings(index: int) -> Rings:
    link = CudaLink(torch.device("cuda", index))
    return Rings(Ring(link), Ring(link))

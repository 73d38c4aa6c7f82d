"""Repeated calls of a network on an NVIDIA GPU: recorded once as a CUDA graph, then replayed.

A call launches several hundred kernels. For a small input the GPU finishes each one before Python can launch the next;
a graph launches them all at once.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..wording import first_line

SWITCH = "GPEN_CUDA_GRAPH"
"""Environment variable that disables recording when it is "0"."""

_HEADROOM = 4
"""How many times the memory of one call has to be free before recording: a graph holds its memory while it exists."""

_log = logging.getLogger(__name__)

Call = Callable[[Tensor], Tensor]


@dataclass
class _Recording:
    replay: Call
    elements: int
    """Of its input."""
    used: int
    """When it was made or last replayed, in calls."""


class RepeatedCalls:
    """The recordings of a function for the kinds of input that repeat.

    A recording is made at the second call of a kind, unless ``most`` others without a recording were called in between,
    and is used only if it returns the result of that call bit for bit. By default there is at most one recording, made
    at the second consecutive call.

    most: how many recordings there are at most. most_elements: how many elements their inputs have together at most.
    Where there is no room, a new recording replaces those that were used longest ago, but none that was used since the
    call before of the new kind. payback: how many replays save the time that a recording takes; after the first
    ``most``, another is made only when there were so many for it. what: names the network in messages.
    """

    def __init__(
        self, most: int = 1, most_elements: int | None = None, *, payback: int = 0, what: str = "network"
    ) -> None:
        self._most, self._most_elements, self._payback, self._what = most, most_elements, payback, what
        self._clock = 0
        self._made = self._replays = 0
        self._seen: OrderedDict[Hashable, int] = OrderedDict()
        """The kinds that were called and not recorded, and when, the latest last."""
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        """The latest used last."""
        self._given_up = False
        # A recording has one input buffer: two threads would get each other's results.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Callable[..., RepeatedCalls], tuple[int, int | None]]:
        # A copy of the network has other weights.
        made = functools.partial(RepeatedCalls, payback=self._payback, what=self._what)
        return made, (self._most, self._most_elements)

    @property
    def recording(self) -> Call | None:
        """The recording that was used last, if any."""
        return next((one.replay for one in reversed(self._recordings.values())), None)

    def replayed(self, x: Tensor, state: Hashable) -> Tensor | None:
        """The result for x from a recording, if there is one for its kind and this state, as :meth:`run` takes it."""
        kind = _kind(x, state)
        with self._lock:
            recording = self._recordings.get(kind)
            if recording is None:
                return None
            self._clock += 1
            self._replays += 1
            recording.used = self._clock
            self._recordings.move_to_end(kind)
            return recording.replay(x)

    def run(self, call: Call, x: Tensor, state: Hashable, record: Callable[[Call, Tensor], Call | None]) -> Tensor:
        """The result of ``call(x)``, from a recording if there is one.

        state: what a recording depends on, besides the input's shape, dtype and device. record: makes a recording;
        returns None when there is too little free memory for one.
        """
        out = self.replayed(x, state)
        if out is not None:
            return out
        kind = _kind(x, state)
        with self._lock:
            self._clock += 1
            out = self._called(call, x)
            before = self._seen.pop(kind, None)
            if before is not None and not self._given_up and self._make_room(x.numel(), before):
                self._try(record, call, x, kind, out)
            if kind not in self._recordings:
                self._seen[kind] = self._clock
                if len(self._seen) > self._most:
                    self._seen.popitem(last=False)
            return out

    def called(self, call: Call, x: Tensor) -> Tensor:
        """The result of ``call(x)``, which is not to be recorded. If it fails, it is repeated without recordings."""
        with self._lock:
            return self._called(call, x)

    def forget(self) -> None:
        """Discard the recordings and free their memory."""
        self._seen.clear()
        self._recordings.clear()

    def _called(self, call: Call, x: Tensor) -> Tensor:
        try:
            return call(x)
        except Exception:
            if not self._recordings:
                raise
            self.forget()
        # The recordings may have held the memory that was missing.
        return call(x)

    def _make_room(self, elements: int, since: int) -> bool:
        """Whether there may be one more; discards what was not used since then."""
        most = self._most_elements
        if most is not None and elements > most:
            return False
        if self._made >= self._most and self._replays < self._payback * (self._made - self._most + 1):
            return False
        while len(self._recordings) >= self._most or (most is not None and self._elements() + elements > most):
            kind, oldest = next(iter(self._recordings.items()))
            if oldest.used > since:
                # Both are in use: they would replace each other for ever.
                return False
            del self._recordings[kind]
        return True

    def _elements(self) -> int:
        return sum(one.elements for one in self._recordings.values())

    def _try(
        self, record: Callable[[Call, Tensor], Call | None], call: Call, x: Tensor, kind: Hashable, out: Tensor
    ) -> None:
        try:
            replay = record(call, x)
            same = replay is None or torch.equal(replay(x), out)
        except Exception as error:
            # This call has its result; only later calls could have been faster.
            _log.warning("The %s's calls could not be recorded as a CUDA graph: %s", self._what, first_line(error))
            self._given_up = True
            return
        if not same:
            _log.info(
                "A CUDA graph of the %s's calls returns different values than the calls, and is not used.", self._what
            )
            self._given_up = True
        elif replay is not None:
            self._recordings[kind] = _Recording(replay, x.numel(), self._clock)
            self._made += 1


def _kind(x: Tensor, state: Hashable) -> Hashable:
    return x.shape, x.dtype, x.device, state


class GraphMemory:
    """Memory that several graphs of one device share.

    What one graph computes, another may overwrite. So they run one after the other, in whatever streams and threads,
    and each hands out a copy of its result before the next starts.
    """

    def __init__(self) -> None:
        self._graphs: weakref.WeakSet[CudaGraph] = weakref.WeakSet()
        self._done: torch.cuda.Event | None = None
        self._stream: torch.cuda.Stream | None = None
        self._lock = threading.Lock()

    def stream(self) -> torch.cuda.Stream:
        """Where graphs are recorded: PyTorch gives memory that was freed in one stream only to the same stream."""
        if self._stream is None:
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        return self._stream

    def pool(self) -> Any:
        """PyTorch's name for the memory; None if no graph holds any: the name goes with the last graph."""
        return next((graph.pool() for graph in self._graphs), None)

    def add(self, graph: CudaGraph) -> None:
        """Another graph was recorded in this memory."""
        self._graphs.add(graph)

    @contextlib.contextmanager
    def turn(self, device: torch.device) -> Iterator[None]:
        """Within it, a graph may be replayed and its result read, in the current stream of its device."""
        with self._lock:
            stream = torch.cuda.current_stream(device)
            if self._done is None:
                self._done = torch.cuda.Event()  # type: ignore[no-untyped-call]
            else:
                stream.wait_event(self._done)
            try:
                yield
            finally:
                self._done.record(stream)


class CudaGraph:
    """A call on CUDA, recorded for one input and replayed for others of its shape.

    cached: returns the tensors that the call reads besides its input and the weights; their memory must stay valid.
    memory: shared with other graphs; None for memory of its own.
    """

    def __init__(
        self, call: Call, x: Tensor, cached: Callable[[], list[Tensor]], memory: GraphMemory | None = None
    ) -> None:
        self._memory = GraphMemory() if memory is None else memory
        with torch.cuda.device(x.device), torch.inference_mode(False), torch.no_grad():
            current = torch.cuda.current_stream()
            try:
                self._input = x.clone(memory_format=torch.preserve_format)
                # Libraries that initialise at their first call on a stream cannot do so during recording.
                stream = self._memory.stream()
                stream.wait_stream(current)
                with torch.cuda.stream(stream):
                    call(self._input)
                current.wait_stream(stream)
                self._graph = torch.cuda.CUDAGraph()
                # Other threads of a host may allocate memory meanwhile, which must not break the recording.
                with torch.cuda.graph(
                    self._graph, self._memory.pool(), stream=stream, capture_error_mode="thread_local"
                ):
                    self._output = call(self._input)
            finally:
                # A recording that fails leaves its own stream behind.
                torch.cuda.set_stream(current)
            self._cached = cached()
        self._memory.add(self)

    def __call__(self, x: Tensor) -> Tensor:
        with self._memory.turn(x.device):
            self._input.copy_(x)
            self._graph.replay()
            return self._output.clone()

    def pool(self) -> Any:
        """PyTorch's name for the memory that the graph uses."""
        return self._graph.pool()


def can_record(device: torch.device, needed: int) -> bool:
    """Whether calls that need ``needed`` bytes may be recorded: on real CUDA with enough free memory."""
    if device.type != "cuda" or torch.version.hip is not None or os.environ.get(SWITCH) == "0":
        return False
    # ZLUDA translates CUDA for AMD GPUs, without graphs.
    if "ZLUDA" in torch.cuda.get_device_name(device):
        return False
    return torch.cuda.mem_get_info(device)[0] >= _HEADROOM * needed

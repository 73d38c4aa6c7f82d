"""Repeated calls of a network on an NVIDIA GPU: recorded once as a CUDA graph, then replayed.

A call launches several hundred kernels. For a small crop the GPU finishes each one before Python can launch the next;
a graph launches them all at once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from ..wording import first_line

SWITCH = "GPEN_CUDA_GRAPH"
"""Environment variable that disables recording when it is "0"."""

_HEADROOM = 4
"""How many times the memory of one call has to be free before recording: a graph holds its memory while it exists."""

_log = logging.getLogger(__name__)

Call = Callable[[Tensor], Tensor]


class RepeatedCalls:
    """The recording of a function for the kind of input that repeats.

    A recording is made at the second consecutive call of one kind, and is used only if it returns the result of that
    call bit for bit. There is at most one.
    """

    def __init__(self) -> None:
        self._last: Hashable = None
        self._recorded: tuple[Hashable, Call] | None = None
        self._given_up = False
        # A recording has one input buffer: two threads would get each other's results.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RepeatedCalls], tuple[()]]:
        # A copy of the network has other weights.
        return RepeatedCalls, ()

    @property
    def recording(self) -> Call | None:
        """The current recording, if any."""
        return None if self._recorded is None else self._recorded[1]

    def replayed(self, x: Tensor, state: Hashable) -> Tensor | None:
        """The result for x from the recording, if there is one for its kind and this state, as :meth:`run` takes it."""
        with self._lock:
            if self._recorded is None or self._recorded[0] != _kind(x, state):
                return None
            return self._recorded[1](x)

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
            out = self._called(call, x)
            if kind == self._last and not self._given_up:
                self._recorded = None
                self._try(record, call, x, kind, out)
            self._last = kind
            return out

    def forget(self) -> None:
        """Discard the recording and free its memory."""
        self._last = self._recorded = None

    def _called(self, call: Call, x: Tensor) -> Tensor:
        try:
            return call(x)
        except Exception:
            if self._recorded is None:
                raise
            self.forget()
        # The recording may have held the memory that was missing.
        return call(x)

    def _try(
        self, record: Callable[[Call, Tensor], Call | None], call: Call, x: Tensor, kind: Hashable, out: Tensor
    ) -> None:
        try:
            recorded = record(call, x)
            same = recorded is None or torch.equal(recorded(x), out)
        except Exception as error:
            # This call has its result; only later calls could have been faster.
            _log.warning("The network's calls could not be recorded as a CUDA graph: %s", first_line(error))
            self._given_up = True
            return
        if not same:
            _log.info("A CUDA graph of the network's calls returns different values than the calls, and is not used.")
            self._given_up = True
        elif recorded is not None:
            self._recorded = (kind, recorded)


def _kind(x: Tensor, state: Hashable) -> Hashable:
    return x.shape, x.dtype, x.device, state


class CudaGraph:
    """A call on CUDA, recorded for one input and replayed for others of its shape.

    cached: returns the tensors that the call reads besides its input and the weights; their memory must stay valid.
    """

    def __init__(self, call: Call, x: Tensor, cached: Callable[[], list[Tensor]]) -> None:
        with torch.cuda.device(x.device), torch.inference_mode(False), torch.no_grad():
            current = torch.cuda.current_stream()
            try:
                self._input = x.clone(memory_format=torch.preserve_format)
                # Libraries that initialise at their first call on a stream cannot do so during recording.
                stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                stream.wait_stream(current)
                with torch.cuda.stream(stream):
                    call(self._input)
                current.wait_stream(stream)
                self._graph = torch.cuda.CUDAGraph()
                # Other threads of a host may allocate memory meanwhile, which must not break the recording.
                with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                    self._output = call(self._input)
            finally:
                # A recording that fails leaves its own stream behind.
                torch.cuda.set_stream(current)
            self._cached = cached()

    def __call__(self, x: Tensor) -> Tensor:
        self._input.copy_(x)
        self._graph.replay()
        # The next replay overwrites it.
        return self._output.clone()


def can_record(device: torch.device, needed: int) -> bool:
    """Whether calls that need ``needed`` bytes may be recorded: on real CUDA with enough free memory."""
    if device.type != "cuda" or torch.version.hip is not None or os.environ.get(SWITCH) == "0":
        return False
    # ZLUDA translates CUDA for AMD GPUs, without graphs.
    if "ZLUDA" in torch.cuda.get_device_name(device):
        return False
    return torch.cuda.mem_get_info(device)[0] >= _HEADROOM * needed

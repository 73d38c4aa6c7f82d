"""Calls of a network whose shapes repeat, on an NVIDIA GPU: recorded once as a CUDA graph, then started as a whole.

A call starts several hundred kernels. For a small face a GPU is done with each sooner than the next one can be started
from Python; a graph starts them all at once.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor

from ..wording import first_line

SWITCH = "GPEN_CUDA_GRAPH"
"""Environment variable that forbids recording where it is "0"."""

_ROOM = 4
"""A graph holds its memory for as long as it exists: of what a call takes, so many times has to be free before."""

_log = logging.getLogger(__name__)

Call = Callable[[Tensor], Tensor]


class RepeatedCalls:
    """What was recorded of a function, for inputs of the kind that repeats.

    A recording is made at the second call in a row of one kind, and is used only if it returns what that call did, to
    the last bit. There is one at a time.
    """

    def __init__(self) -> None:
        self._last: Hashable = None
        self._recorded: tuple[Hashable, Call] | None = None
        self._given_up = False
        # A recording has one place for its input: two threads would get each other's results.
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[type[RepeatedCalls], tuple[()]]:
        # A copy of the network has weights elsewhere.
        return RepeatedCalls, ()

    def run(self, call: Call, x: Tensor, state: Hashable, record: Callable[[Call, Tensor], Call | None]) -> Tensor:
        """What ``call`` returns for ``x``, by a recording where there is one.

        state: what a recording holds for, besides the input's shape, dtype and device. record: makes one; None where
        there is no room for it now.
        """
        kind = (x.shape, x.dtype, x.device, state)
        with self._lock:
            if self._recorded is not None and self._recorded[0] == kind:
                return self._recorded[1](x)
            out = self._called(call, x)
            if kind == self._last and not self._given_up:
                self._recorded = None
                self._try(record, call, x, kind, out)
            self._last = kind
            return out

    def forget(self) -> None:
        """Let go of what was recorded, and of its memory."""
        self._last = self._recorded = None

    def _called(self, call: Call, x: Tensor) -> Tensor:
        try:
            return call(x)
        except Exception:
            if self._recorded is None:
                raise
            self.forget()
        # Memory may have run out for what the recording held.
        return call(x)

    def _try(
        self, record: Callable[[Call, Tensor], Call | None], call: Call, x: Tensor, kind: Hashable, out: Tensor
    ) -> None:
        try:
            recorded = record(call, x)
            same = recorded is None or torch.equal(recorded(x), out)
        except Exception as error:
            # The result is there already; only the next calls could have been faster.
            _log.warning("The network's calls could not be recorded as a CUDA graph: %s", first_line(error))
            self._given_up = True
            return
        if not same:
            _log.info("A CUDA graph of the network's calls gives other digits than the calls, and is not used.")
            self._given_up = True
        elif recorded is not None:
            self._recorded = (kind, recorded)


class CudaGraph:
    """What a call does on CUDA, recorded for one input and replayed for others of its shape.

    kept: gives what the call reads besides its input and the weights; it has to stay where it is.
    """

    def __init__(self, call: Call, x: Tensor, kept: Callable[[], list[Tensor]]) -> None:
        with torch.cuda.device(x.device), torch.inference_mode(False), torch.no_grad():
            current = torch.cuda.current_stream()
            try:
                self._input = x.clone(memory_format=torch.preserve_format)
                # Libraries that set themselves up at their first call in a stream cannot do so while recorded.
                stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
                stream.wait_stream(current)
                with torch.cuda.stream(stream):
                    call(self._input)
                current.wait_stream(stream)
                self._graph = torch.cuda.CUDAGraph()
                # Other threads of a host may ask for memory meanwhile; that concerns them alone.
                with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
                    self._output = call(self._input)
            finally:
                # A recording that fails leaves its own stream behind.
                torch.cuda.set_stream(current)
            self._kept = kept()

    def __call__(self, x: Tensor) -> Tensor:
        self._input.copy_(x)
        self._graph.replay()
        # The next replay writes over it.
        return self._output.clone()


def can_record(device: torch.device, needed: int) -> bool:
    """Whether calls that need so many bytes may be recorded there: on CUDA proper, with plenty of memory free."""
    if device.type != "cuda" or torch.version.hip is not None or os.environ.get(SWITCH) == "0":
        return False
    # Found on AMD's GPUs, where a translation passes for CUDA, without graphs.
    if "ZLUDA" in torch.cuda.get_device_name(device):
        return False
    return torch.cuda.mem_get_info(device)[0] >= _ROOM * needed


def weights_state(network: torch.nn.Module) -> Hashable:
    """Changes whenever a tensor of the network is put elsewhere, or is written to in place."""
    return tuple(_state_of(tensor) for tensor in (*network.parameters(), *network.buffers()))


def _state_of(tensor: Tensor) -> tuple[Any, ...]:
    return (tensor.data_ptr(), None if tensor.is_inference() else tensor._version)

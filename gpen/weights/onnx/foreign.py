"""Networks that are run as their ONNX files describe them: what such a file may contain, and what runs it.

The file is read as data first, without the package onnx. Only operations that compute values from values are allowed:
none that repeat or choose among graphs, make tensors of a size that a value decides, or are a vendor's own. Then ONNX
Runtime runs it, or OpenCV where that is not installed.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ...errors import FaceError
from ...wording import first_line
from ..limited import read_limited
from .runtime import cpu_session, onnx_runtime
from .wire import WireError, read_graph

_log = logging.getLogger(__name__)

_ALLOWED = frozenset(
    {
        *("Conv", "ConvTranspose", "Gemm", "MatMul"),
        *("AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"),
        *("BatchNormalization", "InstanceNormalization", "Dropout"),
        *("Clip", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Softmax", "Tanh"),
        *("Abs", "Add", "Ceil", "Div", "Exp", "Floor", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Reciprocal"),
        *("ReduceMax", "ReduceMean", "ReduceProd", "ReduceSum", "Sqrt", "Sub", "Sum"),
        *("And", "Equal", "Greater", "Less", "Not", "Or", "Where"),
        *("Cast", "Concat", "Constant", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Resize"),
        *("Shape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"),
    }
)

Picture = NDArray[np.float32]
Run = Callable[[Picture], Picture]
"""Calls a network of one input with it, and returns the first of its outputs. FaceError where that fails."""


def open_network(path: Path, what: str, largest: int) -> Run:
    """Make ready to run an ONNX file on the CPU.

    what: the network is said to be, such as "an occlusion model". largest: file, in bytes. Raises FilesError if the
    file cannot be read, FaceError if it is not such a network or contains what is not allowed.
    """
    content = read_limited(path, largest, "")
    try:
        if len(content) > largest:
            raise WireError(f"it is larger than {largest >> 20} MB")
        unknown = sorted({node.op for node in read_graph(content).nodes} - _ALLOWED)
        if unknown:
            raise WireError(f"it contains the operation {unknown[0][:60]}")
    except WireError as error:
        raise not_this(path, what, str(error)) from error
    try:
        run = _in_onnx_runtime(content)
        return _guarded(path, what, run or _in_opencv(content))
    except Exception as error:  # a file that is wrong inside fails in as many ways as there are checks
        raise not_this(path, what, first_line(error)) from error


def not_this(path: Path, what: str, why: str) -> FaceError:
    """The error that a file is something else than it should be."""
    return FaceError(f"{path} is not {what}: {why}. It may be a broken download or another network; get it again.")


def _guarded(path: Path, what: str, run: Run) -> Run:
    def guarded(picture: Picture) -> Picture:
        try:
            return run(picture)
        except Exception as error:  # the libraries' own, of which there are several
            raise not_this(path, what, first_line(error)) from error

    return guarded


def _in_onnx_runtime(content: bytes) -> Run | None:
    """None where ONNX Runtime is not there or does not import."""
    try:
        onnx_runtime()
    except ImportError as error:
        _log.info("OpenCV runs the network, not ONNX Runtime (%s).", first_line(error))
        return None
    session = cpu_session(content, torch.get_num_threads())
    inputs = session.get_inputs()
    if len(inputs) != 1:
        raise WireError(f"it has {len(inputs)} inputs")

    def run(picture: Picture) -> Picture:
        return np.asarray(session.run(None, {inputs[0].name: picture})[0], np.float32)

    return run


def _in_opencv(content: bytes) -> Run:
    network = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))

    def run(picture: Picture) -> Picture:
        network.setInput(picture)
        return np.asarray(network.forward(), np.float32)

    return run

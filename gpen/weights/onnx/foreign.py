"""Networks that are run as their ONNX files describe them: what such a file may contain, and what runs it.

The file is read as data first, without the package onnx, and refused if it contains more than :mod:`.operations`
allows. It is tried once in a process with limits, and then ONNX Runtime runs it here, or OpenCV where that is not
installed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from ...device import is_out_of_memory
from ...errors import FaceError, OutOfMemoryError
from ...wording import first_line
from ..limited import read_limited
from .limited import NoProcessError, RunError, run_once
from .operations import ALLOWED, refusal
from .runtime import cpu_session, onnx_runtime
from .wire import WireError, read_graph

_log = logging.getLogger(__name__)

_MEMORY = 2 << 30  # that a run may take, besides what the file has

Picture = NDArray[np.float32]
Run = Callable[[Picture], Picture]
"""Calls a network of one input with it, and returns the first of its outputs. FaceError where that fails."""


_tried: set[str] = set()
"""SHA256 of what was run in a process of its own."""


def open_network(path: Path, what: str, largest: int, picture: Picture) -> Run:
    """Make ready to run an ONNX file on the CPU.

    what: the network is said to be, such as "an occlusion model". largest: file, in bytes. picture: of the shape that
    the network is going to take, for the run that tries the file. Raises FilesError if the file
    cannot be read, FaceError if it is not such a network, contains what is not allowed, or fails that run;
    OutOfMemoryError if there is too little memory.
    """
    content = read_limited(path, largest, "")
    try:
        if len(content) > largest:
            raise WireError(f"it is larger than {largest >> 20} MB")
        graph = read_graph(content)
        why = refusal(graph.nodes, graph.inputs, ALLOWED)
        if why:
            raise WireError(why)
    except WireError as error:
        raise not_this(path, what, str(error)) from error
    has_runtime = _has_onnx_runtime()
    _try_once(path, what, content, picture, "onnxruntime" if has_runtime else "opencv")
    try:
        return _guarded(path, what, _in_onnx_runtime(content) if has_runtime else _in_opencv(content))
    except Exception as error:  # a file that is wrong inside fails in as many ways as there are checks
        raise _failed(path, what, error) from error


def _try_once(path: Path, what: str, content: bytes, picture: Picture, engine: str) -> None:
    digest = hashlib.sha256(content).hexdigest()
    if digest in _tried:
        return
    try:
        run_once(content, picture, engine=engine, memory=_MEMORY + 4 * len(content))
    except RunError as error:
        raise not_this(path, what, str(error)) from error
    except NoProcessError as error:
        raise FaceError(
            f"{path} is not used before it was tried in a process of its own, and here {error}. Turn it off, or run "
            "this program where Python can be started."
        ) from error
    _tried.add(digest)


def _failed(path: Path, what: str, error: Exception) -> FaceError | OutOfMemoryError:
    if is_out_of_memory(error):
        return OutOfMemoryError(f"There is too little memory to run {path}. Close other programs, or turn it off.")
    return not_this(path, what, first_line(error))


def not_this(path: Path, what: str, why: str) -> FaceError:
    """The error that a file is something else than it should be."""
    return FaceError(f"{path} is not {what}: {why}. It may be a broken download or another network; get it again.")


def _guarded(path: Path, what: str, run: Run) -> Run:
    def guarded(picture: Picture) -> Picture:
        try:
            return run(picture)
        except Exception as error:  # the libraries' own, of which there are several
            raise _failed(path, what, error) from error

    return guarded


def _has_onnx_runtime() -> bool:
    """Whether ONNX Runtime is there and can be imported."""
    try:
        onnx_runtime()
    except ImportError as error:
        _log.info("OpenCV runs the network, not ONNX Runtime (%s).", first_line(error))
        return False
    return True


def _in_onnx_runtime(content: bytes) -> Run:
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

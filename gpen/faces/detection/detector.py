"""Face detectors: which ones exist, how they are found and loaded, and one way to call them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ...device import is_out_of_memory, pick_device
from ...errors import FaceError, GpenError, OptionError, OutOfMemoryError
from ...images.picture import FloatImage
from ...images.staging import to_device
from ...images.tensors import as_tensor
from ...weights.catalog import find_published
from ...weights.search import find_files, require_file, search_folders
from ..face import Face
from ..facexlib import facexlib_module, facexlib_problem
from .network import DetectorNetwork

DEFAULT_THRESHOLD = 0.7
SMALLEST_FACE = 8
"""Faces narrower or shorter than this, in pixels of the photo, are left out: what seems to be one is mostly texture."""
_RETINAFACE = ("retinaface_resnet50", "retinaface_mobile0.25")


class FaceDetector(Protocol):
    """Finds the faces of a photo."""

    @property
    def name(self) -> str:
        """One of :data:`DETECTORS`."""
        ...

    def detect(self, photo: FloatImage | Tensor, threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """The faces of a photo (H, W, 3), float32, RGB, [0, 1], on any device, with a score of at least ``threshold``.

        Each face once, from left to right; the result is deterministic. Raises FaceError for another shape or dtype.
        """
        ...


class NetworkDetector:
    """Makes a network find faces of all sizes, and at any angle.

    turn: whether to find lying and upside-down faces too. Without it, a video's frames without faces are searched once
    instead of four times.
    """

    def __init__(self, network: DetectorNetwork, turn: bool = True) -> None:
        self._network = network
        self._turn = turn

    @property
    def name(self) -> str:
        """The network's."""
        return self._network.name

    def detect(self, photo: FloatImage | Tensor, threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """See :class:`FaceDetector`."""
        from .multiscale import Scales, moved
        from .pyramid import Pyramid, enlarged, reduced
        from .rotation import find_at_every_angle

        if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
            raise FaceError(f"The photo has the shape {tuple(photo.shape)}; it must be (H, W, 3). Pass an RGB photo.")
        if photo.dtype != (torch.float32 if isinstance(photo, Tensor) else np.float32):
            raise FaceError(f"The photo has the dtype {photo.dtype}; it must be float32, 0 to 1. Convert it first.")
        height, width = photo.shape[:2]
        with reporting_memory(self._network.device, width, height), torch.inference_mode():
            pixels = photo if isinstance(photo, Tensor) else as_tensor(photo)
            on_device = to_device(pixels, torch.device(self._network.device))
            scales = Scales.of(width, height)
            if scales.enlargement > 1:
                on_device = enlarged(reduced(on_device, 1)[None], scales.enlargement)[0]
            pyramid = Pyramid(on_device, scales.reduction, scales.detail)
            rows = find_at_every_angle(self._network, pyramid, threshold, self._turn)
        rows = moved(rows, 1 / scales.enlargement, np.zeros(2))
        faces = []
        for row in rows:
            # From coordinates of pixel edges to pixel centres at integers.
            x0, y0, x1, y1 = (float(v) - 0.5 for v in row[0:4])
            if min(x1 - x0, y1 - y0) < SMALLEST_FACE:
                continue
            score = min(max(float(row[4]), 0.0), 1.0)
            faces.append(Face((x0, y0, x1, y1), score, row[5:].reshape(5, 2) - 0.5))
        return sorted(faces, key=lambda face: (*face.center, face.width, face.score))


@contextlib.contextmanager
def reporting_memory(device: torch.device | str, width: int, height: int) -> Iterator[None]:
    """Raise OutOfMemoryError, which says what to do, where a device has too little memory for a photo of this size."""
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise OutOfMemoryError(
            f"To find faces in a photo of {width} x {height} pixels, more memory is needed than is free on {device}. "
            "Close other programs that use it, use the CPU, or make the photo smaller."
        ) from error


def make_detector(
    name: str = "auto", folders: Sequence[Path] = (), device: torch.device | str = "cpu", *, turn: bool = True
) -> FaceDetector:
    """Load a detector by name: "auto", or one of :data:`DETECTORS`.

    device: as PyTorch names it, or "auto"; GpenError if it cannot be used. Otherwise, arguments and errors are as for
    :func:`find_detector` and :func:`load_detector`.
    """
    picked = str(pick_device(device))
    return load_detector(*find_detector(name, folders, picked), picked, turn=turn)


def find_detector(name: str, folders: Sequence[Path] = (), device: str = "cpu") -> tuple[str, Path]:
    """The name of a detector and the path of its weights, which are not read.

    name: one of :data:`DETECTORS`, or "auto" for the first of RetinaFace ResNet-50, RetinaFace MobileNet and YuNet
    whose weights are on disk and whose packages can be imported; on a CPU in reverse order. folders: the host's,
    searched before those of the environment and the user's cache. device: as PyTorch names it.

    Raises OptionError for another name, FilesError if the weights are missing, FaceError if facexlib is needed and
    cannot be imported.
    """
    if name != "auto" and name not in DETECTORS:
        raise OptionError(f'The face detector "{name}" is unknown. Choose one of: {", ".join(("auto", *DETECTORS))}.')
    if name == "auto":
        found = _automatic(folders, device)
        if found is not None:
            return found
        name = "yunet"
    weights = _weights(name, folders)
    if name in _RETINAFACE:
        facexlib_module("detection.retinaface")
    return name, weights


def load_detector(name: str, weights: Path, device: str = "cpu", *, turn: bool = True) -> FaceDetector:
    """Load a detector from a file.

    name: one of :data:`DETECTORS`. device: as PyTorch names it. turn: whether to find
    lying and upside-down faces too. Raises FilesError if the file cannot be read, FaceError if it is not this detector
    or facexlib cannot be imported.
    """
    return NetworkDetector(DETECTORS[name](name, weights, device), turn)


def available_detectors(folders: Sequence[Path] = ()) -> dict[str, str | None]:
    """For "auto" and each name in :data:`DETECTORS`: None, or why it cannot be used, in sentences.

    Either the weights or a package may be missing; the weights are not read.
    """
    reasons: dict[str, str | None] = {}
    without_retinaface = facexlib_problem("detection.retinaface")
    for name in DETECTORS:
        reasons[name] = without_retinaface if name in _RETINAFACE else None
        if reasons[name] is None:
            try:
                _weights(name, folders)
            except GpenError as error:
                reasons[name] = str(error)
    # If none can be used, "auto" asks for YuNet.
    usable = any(reason is None for reason in reasons.values())
    return {"auto": None if usable else reasons["yunet"], **reasons}


def _yunet(name: str, weights: Path, device: str) -> DetectorNetwork:
    from .yunet import YuNet

    return YuNet(weights, device)


def _retinaface(name: str, weights: Path, device: str) -> DetectorNetwork:
    from .retinaface import RetinaFace

    return RetinaFace(name, weights, device)


DETECTORS: dict[str, Callable[[str, Path, str], DetectorNetwork]] = {
    "yunet": _yunet,
    **dict.fromkeys(_RETINAFACE, _retinaface),
}
"""Loads each detector of the catalogue, given its name, the path of its weights and the device."""


def _automatic(folders: Sequence[Path], device: str) -> tuple[str, Path] | None:
    order = (*_RETINAFACE, "yunet")
    if str(device).partition(":")[0] == "cpu":
        order = order[::-1]
    on_disk = find_files(map(find_published, order), search_folders(folders, kind="detector"))
    for name in order:
        if name in on_disk and (name == "yunet" or facexlib_problem("detection.retinaface") is None):
            return name, on_disk[name]
    return None


def _weights(name: str, folders: Sequence[Path]) -> Path:
    return require_file(find_published(name), search_folders(folders, kind="detector"))

"""Face detectors: which ones exist, how they are found and loaded, and one way to call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import FaceError, GpenError, OptionError
from ...weights.catalog import find_published
from ...weights.search import find_file, require_file, search_folders
from ..face import Face
from ..facexlib import facexlib_module, facexlib_problem

DEFAULT_THRESHOLD = 0.7
_PIXELS_AT_A_TIME = 1 << 16
_RETINAFACE = ("retinaface_resnet50", "retinaface_mobile0.25")


class FaceDetector(Protocol):
    """Finds the faces of a photo."""

    @property
    def name(self) -> str:
        """One of :data:`DETECTORS`."""
        ...

    def detect(self, photo: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """The faces of a photo (H, W, 3), RGB, [0, 1], with a score of at least ``threshold``.

        Each face once, from left to right; the result is deterministic. Raises FaceError for another shape.
        """
        ...


class DetectorNetwork(Protocol):
    """A network that finds upright faces within some range of sizes."""

    @property
    def name(self) -> str:
        """As in the catalogue."""
        ...

    def find(self, image: NDArray[np.uint8], threshold: float) -> NDArray[np.float64]:
        """See :data:`gpen.faces.detection.multiscale.Finder`."""
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

    def detect(self, photo: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """See :class:`FaceDetector`."""
        from .rotation import find_at_every_angle

        rows = find_at_every_angle(self._network.find, _bgr8(photo), threshold, self._turn)
        faces = []
        for row in rows:
            # From coordinates of pixel edges to pixel centres at integers.
            x0, y0, x1, y1 = (float(v) - 0.5 for v in row[0:4])
            score = min(max(float(row[4]), 0.0), 1.0)
            faces.append(Face((x0, y0, x1, y1), score, row[5:].reshape(5, 2) - 0.5))
        return sorted(faces, key=lambda face: (*face.center, face.width, face.score))


def make_detector(
    name: str = "auto", folders: Sequence[Path] = (), device: str = "cpu", *, turn: bool = True
) -> FaceDetector:
    """Load a detector by name: "auto", or one of :data:`DETECTORS`.

    Arguments and errors as for :func:`find_detector` and :func:`load_detector`.
    """
    return load_detector(*find_detector(name, folders, device), device, turn=turn)


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
        name = _automatic(folders, device)
    weights = _weights(name, folders)
    if name in _RETINAFACE:
        facexlib_module("detection.retinaface")
    return name, weights


def load_detector(name: str, weights: Path, device: str = "cpu", *, turn: bool = True) -> FaceDetector:
    """Load a detector from a file.

    name: one of :data:`DETECTORS`. device: as PyTorch names it; YuNet always runs on the CPU. turn: whether to find
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

    return YuNet(weights)


def _retinaface(name: str, weights: Path, device: str) -> DetectorNetwork:
    from .retinaface import RetinaFace

    return RetinaFace(name, weights, device)


DETECTORS: dict[str, Callable[[str, Path, str], DetectorNetwork]] = {
    "yunet": _yunet,
    **dict.fromkeys(_RETINAFACE, _retinaface),
}
"""Loads each detector of the catalogue, given its name, the path of its weights and the device."""


def _automatic(folders: Sequence[Path], device: str) -> str:
    order = (*_RETINAFACE, "yunet")
    if str(device).partition(":")[0] == "cpu":
        order = order[::-1]
    searched = search_folders(folders, kind="detector")
    for name in order:
        on_disk = find_file(find_published(name), searched) is not None
        if on_disk and (name == "yunet" or facexlib_problem("detection.retinaface") is None):
            return name
    return "yunet"


def _weights(name: str, folders: Sequence[Path]) -> Path:
    return require_file(find_published(name), search_folders(folders, kind="detector"))


def _bgr8(photo: NDArray[np.float32]) -> NDArray[np.uint8]:
    import cv2

    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise FaceError(f"The photo has the shape {photo.shape}; it must be (H, W, 3). Pass an RGB photo.")
    bgr = np.empty(photo.shape, np.uint8)
    rows = max(1, _PIXELS_AT_A_TIME // photo.shape[1])
    for start in range(0, len(photo), rows):
        block = np.fmax(photo[start : start + rows], 0)  # turns NaN into 0 too
        np.minimum(block, 1, out=block)
        block *= 255
        rounded = np.rint(block, out=block).astype(np.uint8)
        cv2.cvtColor(rounded, cv2.COLOR_RGB2BGR, dst=bgr[start : start + rows])
    return bgr

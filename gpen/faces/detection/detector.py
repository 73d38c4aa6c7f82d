"""Finding faces: which detectors there are, and one way to call each of them."""

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
    """Anything that finds faces. ``name``: one of :data:`DETECTORS`."""

    @property
    def name(self) -> str: ...

    def detect(self, photo: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """Return the faces of a photo (H, W, 3), RGB, [0, 1], that score at least ``threshold``.

        They come sorted from left to right, each once, the same ones every time. FaceError when the array
        is no photo.
        """
        ...


class DetectorNetwork(Protocol):
    """A network that finds upright faces of some sizes. ``name``: as in the catalogue."""

    @property
    def name(self) -> str: ...

    def find(self, image: NDArray[np.uint8], threshold: float) -> NDArray[np.float64]:
        """See :data:`gpen.faces.detection.multiscale.Finder`."""
        ...


class NetworkDetector:
    """A network that finds faces of some sizes, upright, made to find those of all sizes, any way round.

    ``turn`` False: lying and upside-down faces are not looked for, which spares a video's faceless frames
    three more searches.
    """

    def __init__(self, network: DetectorNetwork, turn: bool = True) -> None:
        self._network = network
        self._turn = turn

    @property
    def name(self) -> str:
        return self._network.name

    def detect(self, photo: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """See :class:`FaceDetector`."""
        from .rotation import find_at_every_turn

        rows = find_at_every_turn(self._network.find, _bgr8(photo), threshold, self._turn)
        faces = []
        for row in rows:
            # From edges to pixel centres at integers.
            x0, y0, x1, y1 = (float(v) - 0.5 for v in row[0:4])
            score = min(max(float(row[4]), 0.0), 1.0)
            faces.append(Face((x0, y0, x1, y1), score, row[5:].reshape(5, 2) - 0.5))
        return sorted(faces, key=lambda face: (*face.center, face.width, face.score))


def make_detector(
    name: str = "auto", folders: Sequence[Path] = (), device: str = "cpu", *, turn: bool = True
) -> FaceDetector:
    """Return the detector of that name (:data:`DETECTORS`, or "auto"), its weights loaded.

    As :func:`find_detector` and then :func:`load_detector`.
    """
    return load_detector(*find_detector(name, folders, device), device, turn=turn)


def find_detector(name: str, folders: Sequence[Path] = (), device: str = "cpu") -> tuple[str, Path]:
    """Return the name of a detector and the file of its weights, without reading it.

    ``folders``: the host's, searched before those of the environment and the user's cache. ``device``: as PyTorch names
    it. auto: the first whose weights are on disk and whose packages import, of RetinaFace ResNet-50, MobileNet and
    YuNet, on a CPU in the opposite order.

    OptionError for another name, FilesError when the weights are missing, FaceError when facexlib is needed and cannot
    be used.
    """
    if name != "auto" and name not in DETECTORS:
        raise OptionError(f'There is no face detector "{name}"; there are {", ".join(("auto", *DETECTORS))}.')
    if name == "auto":
        name = _automatic(folders, device)
    weights = _weights(name, folders)
    if name in _RETINAFACE:
        facexlib_module("detection.retinaface")
    return name, weights


def load_detector(name: str, weights: Path, device: str = "cpu", *, turn: bool = True) -> FaceDetector:
    """Load the detector of that name from a file; YuNet always runs on the CPU.

    FilesError when the file cannot be read, FaceError when it is not such a detector or facexlib cannot be used.
    """
    return NetworkDetector(DETECTORS[name](name, weights, device), turn)


def available_detectors(folders: Sequence[Path] = ()) -> dict[str, str | None]:
    """Return for "auto" and each name in :data:`DETECTORS` None, or why it cannot be used, in sentences.

    What is missing may be the weights or a package; the weights themselves are not read.
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
    # auto takes whichever works; where none does, it asks for YuNet.
    works = any(reason is None for reason in reasons.values())
    return {"auto": None if works else reasons["yunet"], **reasons}


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
"""How each detector of the catalogue is loaded: from its name, the file of its weights and the device."""


def _automatic(folders: Sequence[Path], device: str) -> str:
    order = (*_RETINAFACE, "yunet")
    if str(device).partition(":")[0] == "cpu":
        order = order[::-1]
    searched = search_folders(folders, kind="detector")
    for name in order:
        there = find_file(find_published(name), searched) is not None
        if there and (name == "yunet" or facexlib_problem("detection.retinaface") is None):
            return name
    return "yunet"


def _weights(name: str, folders: Sequence[Path]) -> Path:
    return require_file(find_published(name), search_folders(folders, kind="detector"))


def _bgr8(photo: NDArray[np.float32]) -> NDArray[np.uint8]:
    import cv2

    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise FaceError(f"Faces are looked for in pictures of shape (H, W, 3), not {photo.shape}.")
    bgr = np.empty(photo.shape, np.uint8)
    rows = max(1, _PIXELS_AT_A_TIME // photo.shape[1])
    for start in range(0, len(photo), rows):
        block = np.fmax(photo[start : start + rows], 0)  # 0 in place of NaN too
        np.minimum(block, 1, out=block)
        block *= 255
        rounded = np.rint(block, out=block).astype(np.uint8)
        cv2.cvtColor(rounded, cv2.COLOR_RGB2BGR, dst=bgr[start : start + rows])
    return bgr

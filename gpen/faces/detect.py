"""Finding faces: which detectors there are, and one way to call each of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import FaceError, GpenError, OptionError
from ..files.catalog import find_published
from ..files.folders import find_file, require_file, search_folders
from ..options import DETECTORS
from .face import Face

DEFAULT_THRESHOLD = 0.7
_RETINAFACE = ("retinaface_resnet50", "retinaface_mobile0.25")


class FaceDetector(Protocol):
    """Anything that finds faces. ``name``: one of the detectors in :data:`gpen.options.DETECTORS`."""

    @property
    def name(self) -> str: ...

    def detect(self, photo: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """Return the faces of a photo (H, W, 3), RGB, [0, 1], that score at least ``threshold``.

        They come sorted from left to right, each once, the same ones every time. FaceError when the array
        is no photo.
        """
        ...


class _Network(Protocol):
    @property
    def name(self) -> str: ...

    def find(self, image: NDArray[np.uint8], threshold: float) -> NDArray[np.float64]: ...


class NetworkDetector:
    """A network that finds faces of some sizes, upright, made to find those of all sizes, any way round.

    ``turn`` False: lying and upside-down faces are not looked for, which spares a video's faceless frames
    three more searches.
    """

    def __init__(self, network: _Network, turn: bool = True) -> None:
        self._network = network
        self._turn = turn

    @property
    def name(self) -> str:
        return self._network.name

    def detect(self, photo: NDArray[np.float32], threshold: float = DEFAULT_THRESHOLD) -> list[Face]:
        """See :class:`FaceDetector`."""
        from .turns import find_at_every_turn

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
    """Return the detector of that name (:data:`gpen.options.DETECTORS`), its weights loaded.

    ``folders``: the host's, searched before those of the environment and the user's cache. ``device``: as
    PyTorch names it; YuNet always runs on the CPU. auto: RetinaFace, ResNet-50 before
    MobileNet, where the device is not a CPU, its weights are on disk and facexlib imports, else YuNet.

    OptionError for another name, FilesError when the weights are missing, FaceError when they or facexlib
    cannot be used.
    """
    if name not in DETECTORS:
        raise OptionError(f'There is no face detector "{name}"; there are {", ".join(DETECTORS)}.')
    if name == "auto":
        name = _automatic(folders, device)
    if name == "yunet":
        from .yunet import YuNet

        return NetworkDetector(YuNet(_weights(name, folders)), turn)
    from .retinaface import RetinaFace

    return NetworkDetector(RetinaFace(name, _weights(name, folders), device), turn)


def available_detectors(folders: Sequence[Path] = ()) -> dict[str, str | None]:
    """Return for each name in :data:`gpen.options.DETECTORS` None, or why it cannot be used, in sentences.

    What is missing may be the weights or a package; the weights themselves are not read.
    """
    reasons: dict[str, str | None] = {}
    facexlib = _facexlib_trouble()
    for name in DETECTORS[1:]:
        reasons[name] = facexlib if name in _RETINAFACE else None
        if reasons[name] is None:
            try:
                _weights(name, folders)
            except GpenError as error:
                reasons[name] = str(error)
    # On which device is not known here: auto always works if what it falls back to does.
    return {"auto": reasons["yunet"], **reasons}


def _automatic(folders: Sequence[Path], device: str) -> str:
    if str(device).partition(":")[0] == "cpu":
        return "yunet"
    searched = search_folders(folders, kind="detector")
    for name in _RETINAFACE:
        if find_file(find_published(name), searched) is not None:
            return name if _facexlib_trouble() is None else "yunet"
    return "yunet"


def _weights(name: str, folders: Sequence[Path]) -> Path:
    return require_file(find_published(name), search_folders(folders, kind="detector"))


def _facexlib_trouble() -> str | None:
    from .facexlib import facexlib_module

    try:
        facexlib_module("detection.retinaface")
    except FaceError as error:
        return str(error)
    return None


def _bgr8(photo: NDArray[np.float32]) -> NDArray[np.uint8]:
    if photo.ndim != 3 or photo.shape[2] != 3 or 0 in photo.shape:
        raise FaceError(f"Faces are looked for in pictures of shape (H, W, 3), not {photo.shape}.")
    bgr = np.empty(photo.shape, np.uint8)
    for channel in range(3):  # one at a time: a third of the memory for the floats in between
        plane = np.nan_to_num(photo[:, :, 2 - channel], nan=0.0)
        bgr[:, :, channel] = np.rint(np.clip(plane, 0, 1) * 255)
    return bgr

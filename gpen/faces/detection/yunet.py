"""YuNet, run by OpenCV; it needs nothing else but a file of 230 kB."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import FaceError, FilesError
from .multiscale import COLUMNS, Detections, Image

_NMS_THRESHOLD = 0.3
_TOP_K = 5000


class YuNet:
    """The YuNet network.

    weights: its ONNX file. Raises FilesError if it cannot be read, FaceError if it is not YuNet.
    """

    name = "yunet"

    def __init__(self, weights: Path) -> None:
        weights = Path(weights)
        try:
            data = np.frombuffer(weights.read_bytes(), np.uint8)
        except OSError as error:
            raise FilesError(
                f"The detector file {weights} cannot be read: {error.strerror}. Check the file, or get it again."
            ) from error
        self._lock = threading.Lock()  # an OpenCV detector is not thread-safe
        try:
            self._net = _create(data, weights)
            self.find(np.zeros((64, 64, 3), np.uint8), 0.5)
        except (cv2.error, IndexError, ValueError) as error:
            raise FaceError(
                f"{weights} is not the face detector YuNet: OpenCV cannot load or run it. It may be a "
                "broken download or another network; get face_detection_yunet_2023mar.onnx again."
            ) from error

    def find(self, image: Image, threshold: float) -> Detections:
        """See :data:`gpen.faces.detection.multiscale.Finder`."""
        with self._lock:
            self._net.setInputSize((image.shape[1], image.shape[0]))
            self._net.setScoreThreshold(threshold)
            found = self._net.detect(image)[1]
        if found is None:
            return np.zeros((0, COLUMNS))
        # OpenCV: x, y, width, height, ten landmark coordinates, score
        faces = np.asarray(found, np.float64)
        return np.concatenate([faces[:, 0:2], faces[:, 0:2] + faces[:, 2:4], faces[:, 14:15], faces[:, 4:14]], 1)


def _create(data: NDArray[np.uint8], weights: Path) -> cv2.FaceDetectorYN:
    size = (320, 320)
    try:
        # From a buffer, because OpenCV cannot open every path.
        with _quiet_opencv():
            return cv2.FaceDetectorYN.create("onnx", data, np.empty(0, np.uint8), size, 0.5, _NMS_THRESHOLD, _TOP_K)
    except TypeError:  # OpenCV 4.8 lacks this overload
        return cv2.FaceDetectorYN.create(str(weights), "", size, 0.5, _NMS_THRESHOLD, _TOP_K)


@contextmanager
def _quiet_opencv() -> Iterator[None]:
    """Silence the warning that OpenCV 5 prints about its own default target."""
    logging = getattr(cv2.utils, "logging", None)  # not in every OpenCV 4
    if logging is None:
        yield
        return
    level = logging.getLogLevel()
    logging.setLogLevel(logging.LOG_LEVEL_ERROR)
    try:
        yield
    finally:
        logging.setLogLevel(level)

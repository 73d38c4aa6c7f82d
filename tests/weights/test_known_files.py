"""Of files whose bytes are known, no native code sees any others; of YuNet's, only the weights are read."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from gpen.errors import FaceError, FilesError
from gpen.faces.detection.yunet_weights import load_yunet
from gpen.faces.masks.occlusion import OcclusionModel
from gpen.faces.recognition import sface
from gpen.weights.catalog import find_published
from tests.waiting import end_of_waiting


def test_any_changed_byte_of_sface_is_refused_before_opencv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = Random(0).randbytes(300)
    digest = hashlib.sha256(content).hexdigest()
    known = dataclasses.replace(find_published("sface"), sha256=digest, size=len(content))
    monkeypatch.setattr(sface, "find_published", lambda name: known)
    seen = []
    monkeypatch.setattr(sface.cv2.FaceRecognizerSF, "create", lambda *given: seen.append(given))
    path = tmp_path / "sface.onnx"
    for at in range(len(content)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(FaceError, match="its SHA256 is another one"):
            sface.SFaceRecognizer(path)
    for other in (content[:-1], content + b"\0", b""):
        path.write_bytes(other)
        with pytest.raises(FaceError):
            sface.SFaceRecognizer(path)
    assert not seen
    path.write_bytes(content)
    sface.SFaceRecognizer(path)
    assert len(seen) == 1


def test_a_changed_yunet_is_another_network_or_none(detector_weights: Path, tmp_path: Path) -> None:
    """Of 7,608 changes to one byte, 213 crashed OpenCV: here the graph of a file is never run."""
    content = (detector_weights / "face_detection_yunet_2023mar.onnx").read_bytes()
    rng, path = Random(0), tmp_path / "yunet.onnx"
    refused = 0
    for _ in range(150):
        at = rng.randrange(len(content))
        path.write_bytes(content[:at] + rng.randbytes(1) + content[at + 1 :])
        try:
            network = load_yunet(path)
        except FaceError:
            refused += 1
        else:
            assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert refused < 150


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("load", [sface.SFaceRecognizer, load_yunet, OcclusionModel])
def test_a_pipe_is_not_waited_for(
    load: Callable[[Path], object], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    end_of_waiting(request, 20)
    path = tmp_path / "a.onnx"
    os.mkfifo(path)
    with pytest.raises(FilesError, match="a device or a pipe"):
        load(path)

"""Detection as it works on a GPU: how much it launches and waits for, and that its results are those of the CPU.

Counted on a pretended device, computed on the CPU with the operations and recordings of CUDA, and on a GPU if there is
one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.gpu_check.device import Device
from bench.kernels import count, pretended_device
from gpen.faces.detection import network, pyramid, recorded, retinaface, yunet
from gpen.faces.detection.detector import NetworkDetector
from gpen.faces.detection.multiscale import find_at_every_size
from gpen.faces.detection.pyramid import Pyramid
from gpen.faces.detection.recorded import RecordedCalls
from gpen.faces.detection.yunet import YuNet
from gpen.faces.detection.yunet_folded import FoldedYuNet
from gpen.faces.detection.yunet_network import YuNetNetwork
from gpen.network.cuda_graph import SWITCH
from tests.recorder import Recorder

WEIGHTS = "face_detection_yunet_2023mar.onnx"


def random_network(device: str = "cpu") -> YuNetNetwork:
    """Biases of both signs, as large as what is added to."""
    generator = torch.Generator().manual_seed(3)
    made = YuNetNetwork()
    for parameter in made.parameters():
        parameter.copy_(torch.randn(parameter.shape, generator=generator) / max(1.0, parameter[0].numel()) ** 0.5)
    return made.to(device)


def portrait(photos: Path, side: int) -> np.ndarray:
    image = cv2.imdecode(np.fromfile(photos / "ffhq_00000_hq.png", np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
    return cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


# The network with fewer kernels


@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 96, 160)])
def test_the_folded_network_computes_the_same(shape: tuple[int, int, int]) -> None:
    plain = random_network()
    count_, height, width = shape
    batch = torch.rand((count_, 3, height, width), generator=torch.manual_seed(1))
    for folded, expected in zip(FoldedYuNet(plain)(batch), plain(batch), strict=True):
        assert folded.shape == expected.shape
        assert (folded - expected).abs().max() < 1e-5 * expected.abs().max()


class _Biases(TorchDispatchMode):
    """How many convolutions have a bias, which is another kernel."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default and args[2] is not None:
            self.number += 1
        return func(*args, **(kwargs or {}))


def kernels(call: Callable[[], Any]) -> int:
    with _Biases() as biases:
        counted = count(call)
    return counted.kernels + biases.number


def test_a_call_takes_two_thirds_of_the_kernels() -> None:
    with pretended_device():
        with torch.device("cuda"):
            plain = YuNetNetwork()
        batch = torch.empty(1, 512, 384, 3, device="cuda").permute(0, 3, 1, 2)
        folded = FoldedYuNet(plain)
        assert kernels(lambda: plain(batch)) == 93
        assert kernels(lambda: folded(batch)) == 59


# What is launched, copied and waited for


class _FetchedError(Exception):
    """What a detector copies to the host."""

    def __init__(self, tensors: list[torch.Tensor]) -> None:
        super().__init__()
        self.tensors = tensors


class _Transfers(TorchDispatchMode):
    """How many tensors are copied between devices."""

    number = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        given = {one.device.type for one in args if isinstance(one, torch.Tensor) and one.dim()}
        self.number += isinstance(out, torch.Tensor) and bool(given - {out.device.type})
        return out


@pytest.fixture
def pretended(monkeypatch: pytest.MonkeyPatch) -> Iterator[YuNet]:
    """YuNet on a pretended device, where a search ends with what it copies to the host."""

    def on_host(tensors: list[torch.Tensor]) -> None:
        raise _FetchedError(tensors)

    monkeypatch.setenv(SWITCH, "0")
    monkeypatch.setattr(yunet, "load_yunet", lambda path: YuNetNetwork())
    monkeypatch.setattr(yunet, "on_host", on_host)
    # Pretended parameters cannot be exchanged, and are on the device already.
    monkeypatch.setattr(torch.nn.Module, "to", lambda network, *args, **kwargs: network)
    with pretended_device():
        with torch.device("cuda"):
            found = YuNet(Path(WEIGHTS), "cuda")
        yield found


def fetched(call: Callable[[], Any]) -> list[torch.Tensor]:
    with pytest.raises(_FetchedError) as caught:
        call()
    return caught.value.tensors


def test_all_levels_of_a_photo_of_12_megapixels_are_searched_before_anything_is_waited_for(pretended: YuNet) -> None:
    photo = torch.empty(4000, 3000, 3, device="cuda")

    def search() -> list[torch.Tensor]:
        return fetched(lambda: find_at_every_size(pretended, [Pyramid(photo, 2)], 0.7))

    with _Transfers() as transfers:
        found = search()
    assert [tuple(one.shape) for one in found] == [(2, 5000, 16), (1, 5000, 16), (1, 4032, 16), (1, 1008, 16)]
    assert {one.device.type for one in found} == {"cuda"}
    assert transfers.number == 0
    assert kernels(search) == 287


def test_the_turned_photos_are_searched_together(pretended: YuNet) -> None:
    photo = Pyramid(torch.empty(500, 375, 3, device="cuda"))

    def search() -> list[torch.Tensor]:
        turned = [photo.rotated(degrees)[0] for degrees in (90, 180, 270)]
        return fetched(lambda: find_at_every_size(pretended, turned, 0.7))

    assert sorted(len(one) for one in search()) == [1, 1, 2, 2]
    assert kernels(search) == 287


def test_the_views_of_faces_take_one_small_copy_to_the_device(pretended: YuNet) -> None:
    photo = Pyramid(torch.empty(900, 1200, 3, device="cuda"))
    squares = [np.array([[1.0, 0.0, 7.0], [0.0, 1.0, 5.0]])] * 12

    def look() -> list[torch.Tensor]:
        return fetched(lambda: pretended.find(list(photo.parts(squares, 160, "border")), 0.3))

    with _Transfers() as transfers:
        (found,) = look()
    assert found.shape == (12, 525, 16)
    assert transfers.number == 1
    assert kernels(look) == 80


# The results


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Recorder]:
    """Detectors use the operations of CUDA, and their calls are recorded on a tape."""
    recorder = Recorder()
    for module in (network, pyramid, yunet):
        monkeypatch.setattr(module, "on_cpu", lambda picture: False)
    for module in (yunet, retinaface):
        monkeypatch.setattr(module, "RecordedCalls", lambda device: RecordedCalls("cuda"))
    monkeypatch.setattr(yunet, "in_onnx_runtime", FoldedYuNet)
    monkeypatch.setattr(recorded, "can_record", lambda device, needed: True)
    monkeypatch.setattr(recorded, "CudaGraph", lambda call, batch, cached, memory: recorder(call, batch))
    return recorder


@pytest.mark.parametrize("name", ["yunet", "retinaface_mobile0.25"])
def test_the_faces_are_those_of_the_cpu(
    detector_weights: Path, photos: Path, as_on_a_gpu: Recorder, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Also from recordings: those of the second photo are made for the first, which has other faces."""
    if name != "yunet":
        pytest.importorskip("facexlib")
    first = portrait(photos, 900)
    second = np.ascontiguousarray(np.pad(portrait(photos, 600), ((200, 100), (100, 200), (0, 0)))[:, ::-1])
    detector = made(name, detector_weights)
    found = [detector.detect(photo) for photo in (first, first, second, first)]
    assert as_on_a_gpu.recorded >= 4
    assert as_on_a_gpu.replayed >= 3 * as_on_a_gpu.recorded
    monkeypatch.undo()
    plain = made(name, detector_weights)
    for photo, faces in zip((first, first, second, first), found, strict=True):
        expected = plain.detect(photo)
        assert len(faces) == len(expected) == 1
        assert abs(faces[0].score - expected[0].score) < 1e-3
        assert np.abs(np.subtract(faces[0].box, expected[0].box)).max() < 0.05
        assert np.abs(faces[0].landmarks - expected[0].landmarks).max() < 0.05


def made(name: str, folder: Path) -> NetworkDetector:
    if name == "yunet":
        return NetworkDetector(YuNet(folder / WEIGHTS))
    return NetworkDetector(retinaface.RetinaFace(name, folder / "detection_mobilenet0.25_Final.pth"))


@pytest.mark.parametrize(
    ("faces", "views"), [(1, 1), (2, 2), (3, 3), (5, 6), (6, 6), (7, 8), (9, 12), (12, 12), (13, 16), (36, 36)]
)
def test_few_numbers_of_views_occur(faces: int, views: int) -> None:
    """36 would become 48, which together are too large to be recorded."""
    squares = list(torch.rand(faces, 160, 160, 3))
    filled = RecordedCalls("cuda").filled(squares)
    assert len(filled) == views
    assert all(one is other for one, other in zip(filled, squares, strict=False))
    assert len(RecordedCalls("cpu").filled(squares)) == faces


def test_large_calls_are_not_recorded(as_on_a_gpu: Recorder) -> None:
    calls = RecordedCalls("cuda")
    for _ in range(3):
        calls.run(lambda batch: batch * 2, torch.zeros(1, 3, 1024, 1056))
    assert (as_on_a_gpu.recorded, as_on_a_gpu.replayed) == (0, 0)


def test_a_large_call_that_fails_is_repeated_without_recordings(as_on_a_gpu: Recorder) -> None:
    """They may hold the memory that was missing."""
    calls = RecordedCalls("cuda")
    small = torch.zeros(1, 3, 64, 64)
    for _ in range(2):
        calls.run(lambda batch: batch * 2, small)

    def short_of_memory(batch: torch.Tensor) -> torch.Tensor:
        if calls._repeated.recording is not None:
            raise RuntimeError("CUDA out of memory")
        return batch * 2

    assert calls._repeated.recording is not None
    large = torch.ones(1, 3, 1024, 1056)
    assert torch.equal(calls.run(short_of_memory, large), 2 * large)
    assert calls._repeated.recording is None


# On a GPU


@pytest.mark.cuda
def test_on_a_gpu_the_folded_network_computes_the_same() -> None:
    plain = random_network("cuda")
    batch = torch.rand((2, 96, 160, 3), generator=torch.manual_seed(1)).to("cuda").permute(0, 3, 1, 2)
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        for folded, expected in zip(FoldedYuNet(plain)(batch), plain(batch), strict=True):
            assert (folded - expected).abs().max() < 1e-4 * expected.abs().max()
    finally:
        torch.backends.cudnn.allow_tf32 = before


@pytest.mark.cuda
def test_on_a_gpu_recordings_return_what_calls_return() -> None:
    """In turn, of several shapes, with and without a choice of the best cells, also while another stream uses them."""
    folded = FoldedYuNet(random_network("cuda"))

    def call(batch: torch.Tensor) -> torch.Tensor:
        return yunet._best(folded(batch))

    calls = RecordedCalls("cuda")
    generator = torch.Generator().manual_seed(2)
    shapes = [(1, 3, 640, 768), (2, 3, 256, 192), (12, 3, 160, 160)]
    for _ in range(4):
        batches = [torch.rand(shape, generator=generator).to("cuda") for shape in shapes]
        expected = [call(batch) for batch in batches]
        other = torch.cuda.Stream()
        other.wait_stream(torch.cuda.current_stream())
        with torch.inference_mode():
            results = [calls.run(call, batch) for batch in batches]
            with torch.cuda.stream(other):
                again = [calls.run(call, batch) for batch in reversed(batches)][::-1]
        torch.cuda.synchronize()
        for one, two, three in zip(results, again, expected, strict=True):
            assert torch.equal(one, three)
            assert torch.equal(two, three)
    assert calls._repeated.recording is not None
    assert not calls._repeated._given_up


@pytest.mark.cuda
def test_on_a_gpu_a_search_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yunet, "load_yunet", lambda path: random_network())
    detector = YuNet(Path(WEIGHTS), "cuda")
    photo = Pyramid(torch.rand(900, 1200, 3, device="cuda"))
    squares = [np.array([[scale, 0.0, 7.0], [0.0, scale, 5.0]]) for scale in (1.0, 4.0, 1.0)]

    def look() -> list[torch.Tensor]:
        return list(photo.parts(squares, 160, "border"))

    def search() -> None:
        detector.find([photo.level(1), photo.level(2), *look()], 0.5)

    for _ in range(4):  # plain calls, recordings, replays
        search()
    device = Device("cuda")
    assert device.synchronizations(look) == 0
    assert device.synchronizations(search) <= 1

"""Copies between host and device: on a pretended device that copies as late as it may, and on a real one."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from gpen.faces.resampling.transforms import translation
from gpen.images import staging
from gpen.images.picture import FloatImage
from gpen.images.staging import CudaLink, Ring, Rings, on_host, to_device, to_host
from gpen.images.tensors import DevicePhoto, as_tensor
from tests.arrays import Canvas

CUDA = torch.device("cuda")
NUMEL = 100
"""Of a buffer in these tests: four rows of the pictures and a bit."""


class LateLink:
    """A device that does nothing before it is waited for, and then no more than it has to."""

    def __init__(self, buffers: int = 3) -> None:
        self.buffers = buffers
        self.events: list[str] = []
        self._waiting: list[Callable[[], object]] = []
        self._lock = threading.Lock()

    def pinned(self, numel: int) -> Tensor | None:
        self.buffers -= 1
        return None if self.buffers < 0 else torch.full((numel,), torch.nan)

    def start(self, source: Tensor, target: Tensor) -> None:
        self.events.append("start")
        with self._lock:
            self._waiting.append(lambda: target.copy_(source))

    def mark(self) -> LateMark:
        with self._lock:
            mark = LateMark(self)
            self._waiting.append(lambda: setattr(mark, "is_reached", True))
        return mark

    def work(self, until: Callable[[], bool] = lambda: False) -> None:
        with self._lock:
            while self._waiting and not until():
                self._waiting.pop(0)()


class LateMark:
    def __init__(self, link: LateLink) -> None:
        self.link = link
        self.is_reached = False

    def synchronize(self) -> None:
        self.link.events.append("wait")
        self.link.work(until=lambda: self.is_reached)


def picture(*shape: int, seed: int = 0) -> FloatImage:
    return np.random.default_rng(seed).random(shape, np.float32)


def read_only(array: FloatImage) -> FloatImage:
    array.flags.writeable = False
    return array


PICTURES: dict[str, Callable[[int], FloatImage]] = {
    "a colour photo": lambda n: picture(29 * n, 7 * n, 3),
    "a mask": lambda n: picture(29 * n, 21 * n),
    "one row": lambda n: picture(1, 33 * n, 3),
    "one column": lambda n: picture(101 * n, 1, 3),
    "exactly full buffers": lambda n: picture(8 * n, 25),
    "no rows": lambda n: picture(0, 5 * n, 3),
    "no columns": lambda n: picture(5 * n, 0, 3),
    "a part": lambda n: picture(40 * n, 50 * n, 3)[5 * n : 34 * n, 11 * n : 18 * n],
    "every other column": lambda n: picture(29 * n, 14 * n, 3)[:, ::2],
    "without its alpha": lambda n: picture(29 * n, 7 * n, 4)[..., :3],
    "turned": lambda n: picture(7 * n, 29 * n, 3).transpose(1, 0, 2),
    "upside down": lambda n: picture(29 * n, 7 * n, 3)[::-1],
    "mirrored": lambda n: picture(29 * n, 7 * n, 3)[:, ::-1],
    "read-only": lambda n: read_only(picture(29 * n, 7 * n, 3)),
    "one colour": lambda n: np.broadcast_to(np.float32([0.1, 0.2, 0.3]), (29 * n, 7 * n, 3)),
}
"""The larger the number, the larger the picture."""
each_picture = pytest.mark.parametrize("make", PICTURES.values(), ids=PICTURES.keys())


@each_picture
@pytest.mark.parametrize("buffers", [3, 1])
def test_an_upload_is_the_picture_as_it_was(make: Callable[[int], FloatImage], buffers: int) -> None:
    link, given = LateLink(buffers), make(1)
    ring, expected, target = Ring(link, numel=NUMEL), given.copy(), torch.full(given.shape, torch.nan)
    assert ring.upload(as_tensor(given), target)
    if given.flags.writeable:
        given[...] = -1
    link.work()
    assert np.array_equal(target.numpy(), expected)


def test_an_upload_waits_for_nothing_but_buffers() -> None:
    link = LateLink()
    ring, target = Ring(link, numel=NUMEL), torch.empty(12, 25)
    assert ring.upload(torch.rand(12, 25), target)
    assert link.events == ["start"] * 3
    assert ring.upload(torch.rand(4, 25), target[:4])
    assert link.events[3:] == ["wait", "start"]


def test_uploads_of_several_threads_do_not_mix() -> None:
    ring = Ring(LateLink(), numel=NUMEL)

    def upload(seed: int) -> bool:
        given = torch.from_numpy(picture(29, 7, 3, seed=seed))
        link, target = ring._link, torch.empty(29, 7, 3)
        assert ring.upload(given, target)
        assert isinstance(link, LateLink)
        link.work()
        return torch.equal(target, given)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(upload, range(40)))


def copies(*parts: tuple[slice, slice], into: Tensor) -> list[tuple[Tensor, Tensor]]:
    return [
        (torch.from_numpy(picture(*into[part].shape, seed=seed)), into[part])
        for seed, part in enumerate(parts, start=1)
    ]


@pytest.mark.parametrize("buffers", [3, 1])
def test_a_download_starts_everything_before_it_waits(buffers: int) -> None:
    link, into = LateLink(buffers), torch.zeros(40, 50)
    ring = Ring(link, numel=NUMEL)
    # Together they fit into three buffers; the last overwrites some of the first.
    parts = [np.s_[2:7, 3:16], np.s_[20:25, 30:49], np.s_[5:15, 10:18]]
    wanted = copies(*parts, into=into)
    expected = into.clone()
    for part, (source, _) in zip(parts, wanted, strict=True):
        expected[part] = source
    before = into.clone()

    def meanwhile() -> None:
        link.events.append("meanwhile")
        assert torch.equal(into, before)

    assert ring.download(wanted, meanwhile)
    assert torch.equal(into, expected)
    assert link.events.count("meanwhile") == 1
    assert "wait" not in link.events[: link.events.index("meanwhile")]
    if buffers == 3:
        assert "start" not in link.events[link.events.index("meanwhile") :]


def test_what_meanwhile_writes_is_written_over() -> None:
    into = torch.zeros(40, 50)
    wanted = copies(np.s_[2:38, 3:48], into=into)
    assert Ring(LateLink(), numel=NUMEL).download(wanted, lambda: into.fill_(7))
    assert torch.equal(into[2:38, 3:48], wanted[0][0])
    assert (into[:2] == 7).all()


def test_after_an_exception_buffers_are_used_only_once_they_are_free() -> None:
    link, into = LateLink(), torch.zeros(40, 50)
    ring = Ring(link, numel=NUMEL)

    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ring.download(copies(np.s_[2:38, 3:48], into=into), fail)
    given, target = torch.rand(12, 25), torch.empty(12, 25)
    assert ring.upload(given, target)
    link.work()
    assert torch.equal(target, given)
    assert not into.any()


def test_without_pinned_memory_nothing_is_done() -> None:
    ring, into = Ring(LateLink(0), numel=NUMEL), torch.zeros(9, 9)
    assert not ring.upload(torch.rand(9, 9), into)
    assert not ring.download(copies(np.s_[:, :], into=into), pytest.fail)
    assert not into.any()


def test_a_row_longer_than_a_buffer_is_left_to_pytorch() -> None:
    ring, into = Ring(LateLink(), numel=NUMEL), torch.zeros(2, NUMEL + 1)
    assert not ring.upload(torch.rand(2, NUMEL + 1), into)
    assert not ring.download(copies(np.s_[:, :], into=into), pytest.fail)
    assert not into.any()


def test_the_log_says_once_that_no_memory_can_be_pinned(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> Tensor:
        raise RuntimeError("CUDA error: out of memory\nmore about it")

    monkeypatch.setattr(torch, "empty", refuse)
    link = CudaLink(torch.device("cuda", 0))
    with caplog.at_level(logging.DEBUG):
        assert [link.pinned(8), link.pinned(8)] == [None, None]
    (record,) = caplog.records
    assert record.levelno == logging.DEBUG
    assert record.getMessage().endswith("(CUDA error: out of memory)")


@pytest.mark.parametrize("in_place", [False, True])
def test_blending_writes_the_same_through_buffers(monkeypatch: pytest.MonkeyPatch, in_place: bool) -> None:
    def blended() -> tuple[FloatImage, FloatImage]:
        canvas = Canvas(picture(60, 80, 3))
        for x, y in ((10, 5), (20, 12), (50, 30)):
            canvas.add(picture(32, 32, 3, seed=x), translation(-x, -y), np.ones((512, 512), np.float32))
        return canvas.blend(0.7, in_place=in_place)

    expected = blended()
    link = LateLink()
    monkeypatch.setattr(staging, "_rings_of", lambda _: Rings(Ring(LateLink(0)), Ring(link, numel=256)))
    for found, wanted in zip(blended(), expected, strict=True):
        assert np.array_equal(found, wanted)
    assert "wait" in link.events


def test_pretended_tensors_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where there is a GPU, whose buffers would become pretended ones."""
    link = LateLink()
    monkeypatch.setattr(staging, "_rings_of", lambda _: Rings(Ring(link), Ring(link)))
    with FakeTensorMode(allow_non_fake_inputs=True):
        there = to_device(torch.from_numpy(picture(29, 7, 3)), CUDA)
        (back,) = on_host([there])
    assert there.device.type == "cuda"
    assert back.device.type == "cpu"
    assert link.buffers == 3


def test_on_the_cpu_nothing_is_copied() -> None:
    mask, photo = torch.rand(4, 5), torch.rand(5, 6, 3)[:, ::2]
    assert to_device(photo, torch.device("cpu")) is photo
    kept = on_host([mask, photo])
    assert kept[0] is mask
    assert kept[1] is photo


@pytest.fixture
def no_waiting() -> Iterator[None]:
    """PyTorch raises at calls that wait for all that the device was given."""
    torch.cuda.set_sync_debug_mode("error")
    yield
    torch.cuda.set_sync_debug_mode("default")


@pytest.mark.cuda
@pytest.mark.usefixtures("no_waiting")
@pytest.mark.parametrize("size", [1, 100])
@each_picture
def test_on_a_gpu_is_the_picture_as_it_was(make: Callable[[int], FloatImage], size: int) -> None:
    given = make(size)
    expected = given.copy()
    photo = DevicePhoto(given, CUDA)
    rows, columns = slice(given.shape[0] // 3, given.shape[0]), slice(1, max(1, given.shape[1] - 1))
    part, whole = photo.part(rows, columns), photo.whole()
    if given.flags.writeable:
        given[...] = -1
    found_part, found = on_host([part, whole])
    assert whole.is_contiguous()
    assert np.array_equal(found.numpy(), expected)
    assert np.array_equal(found_part.numpy(), expected[rows, columns])


@pytest.mark.cuda
@pytest.mark.usefixtures("no_waiting")
def test_on_a_gpu_large_pictures_of_several_threads_do_not_mix() -> None:
    def there_and_back(seed: int) -> bool:
        given = picture(2100, 1501, 3, seed=seed)
        photo = DevicePhoto(given.copy(), CUDA)
        whole = photo.whole()
        photo.array[...] = -1
        part = whole[100:2000, 7:1400]
        target = np.zeros_like(given)
        to_host([(part, as_tensor(target)[100:2000, 7:1400])])
        return np.array_equal(target[100:2000, 7:1400], given[100:2000, 7:1400]) and not target[:100].any()

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(there_and_back, range(12)))


@pytest.mark.cuda
def test_on_a_gpu_no_memory_to_pin_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaLink, "pinned", lambda *_: None)
    link = CudaLink(torch.device("cuda", torch.cuda.current_device()))
    monkeypatch.setattr(staging, "_rings_of", lambda _: Rings(Ring(link), Ring(link)))
    given = picture(1200, 1001, 3)
    (found,) = on_host([DevicePhoto(given[:, ::-1], CUDA).whole()])
    assert np.array_equal(found.numpy(), given[:, ::-1])

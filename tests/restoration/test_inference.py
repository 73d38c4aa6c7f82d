"""The batch size, and what happens when memory runs out."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch

from gpen.errors import GpenError, OutOfMemoryError
from gpen.network.memory import CPU_STRIP_BYTES, memory_estimate
from gpen.network.spec import Spec
from gpen.restoration.inference import faces_per_call, run_within_memory
from tests.memory_errors import OUT_OF_MEMORY


class Network(torch.nn.Module):
    """Doubles its input, in any dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([2.0]))
        self.strip_bytes: int | None = None


class FakeModel:
    """A model on a pretended GPU that runs out of memory above ``limit`` bytes of input."""

    spec = Spec(256, 256)

    def __init__(self, limit: float, error: Exception | None = None, device: str = "cuda") -> None:
        self.network = Network()
        self.limit = limit
        self.error = error or OUT_OF_MEMORY[0]
        self.device = torch.device(device)
        self.calls: list[tuple[int, torch.dtype]] = []
        self.strips: list[int | None] = []

    @property
    def dtype(self) -> torch.dtype:
        return self.network.weight.dtype

    def __call__(self, pictures):
        self.calls.append((len(pictures), self.dtype))
        self.strips.append(self.network.strip_bytes)
        in_strips = 0.75 if self.network.strip_bytes else 1
        if pictures.numel() * self.dtype.itemsize * in_strips > self.limit:
            raise self.error
        return (pictures * self.network.weight.float()).float()


@pytest.fixture
def pictures():
    return torch.arange(7 * 3 * 4 * 4, dtype=torch.float32).reshape(7, 3, 4, 4) / 100


ONE = 3 * 4 * 4 * 4  # bytes of one picture in float32


def test_a_batch_that_fits_runs_once(pictures):
    model = FakeModel(7 * ONE)
    assert torch.equal(run_within_memory(model, pictures), pictures * 2)
    assert model.calls == [(7, torch.float32)]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_batches_are_split_until_they_fit(pictures, error, device):
    model = FakeModel(2 * ONE, error, device)
    assert torch.equal(run_within_memory(model, pictures), pictures * 2)
    assert [count for count, _ in model.calls] == [7, 3, 1, 2, 4, 2, 2]
    assert model.dtype == torch.float32


def test_then_in_strips(pictures):
    model = FakeModel(0.75 * ONE)
    assert torch.equal(run_within_memory(model, pictures), pictures * 2)
    assert model.dtype == torch.float32
    # The strips stay: later calls do not run out of memory first.
    model.calls.clear()
    model.strips.clear()
    run_within_memory(model, pictures[:1])
    assert (model.calls, model.strips) == ([(1, torch.float32)], [CPU_STRIP_BYTES])


def test_then_half_the_precision(pictures):
    model = FakeModel(ONE / 2)
    assert torch.equal(run_within_memory(model, pictures), pictures * 2)
    assert model.dtype == torch.bfloat16
    model.calls.clear()
    run_within_memory(model, pictures[:1])
    assert model.calls == [(1, torch.bfloat16)]


def test_out_of_memory_error_when_nothing_helps(pictures):
    model = FakeModel(10)
    with pytest.raises(OutOfMemoryError) as caught:
        run_within_memory(model, pictures[:1])
    text = str(caught.value)
    assert text.startswith("GPEN 256 needs about ")
    needed = memory_estimate(model.spec, torch.bfloat16, strip_bytes=CPU_STRIP_BYTES)
    assert f"{needed >> 20} MB of free memory on cuda" in text
    assert text.endswith("choose a smaller network, or the CPU.")
    assert model.calls == [(1, torch.float32), (1, torch.float32), (1, torch.bfloat16)]
    assert model.strips == [None, CPU_STRIP_BYTES, CPU_STRIP_BYTES]


def test_on_a_cpu_neither_strips_nor_bfloat16_are_tried(pictures):
    model = FakeModel(10, device="cpu")
    with pytest.raises(OutOfMemoryError, match=r"or choose a smaller network\.$"):
        run_within_memory(model, pictures)
    assert {dtype for _, dtype in model.calls} == {torch.float32}


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory"), GpenError("no")])
def test_other_errors_propagate(pictures, error):
    model = FakeModel(10, error)
    with pytest.raises(type(error)) as caught:
        run_within_memory(model, pictures)
    assert caught.value is error
    assert len(model.calls) == 1


def test_a_failed_call_keeps_nothing_alive(pictures):
    model = FakeModel(2 * ONE)
    left = []

    def call(batch):
        scratch = torch.zeros(1000)
        left.append(weakref.ref(scratch))
        if len(batch) == 7:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        gc.collect()
        assert left[0]() is None
        return batch * 2

    class Model(FakeModel):
        def __call__(self, batch):
            return call(batch)

    model = Model(0)
    assert torch.equal(run_within_memory(model, pictures), pictures * 2)


def with_memory(monkeypatch, total, free=0):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (int(free), int(total)))


def memory_for(faces):
    """Memory of a GPU half of which is just enough for that many faces."""
    return memory_estimate(FakeModel.spec, torch.float32, faces) * 2.01


@pytest.mark.parametrize("faces", [1, 2, 5, 9])
@pytest.mark.parametrize("free", [0, 1e12])
def test_the_batch_size_follows_the_total_memory(monkeypatch, faces, free):
    """Not the free memory, so that the result does not depend on it."""
    with_memory(monkeypatch, memory_for(faces), free)
    assert faces_per_call(FakeModel(0), 29) == faces
    assert faces_per_call(FakeModel(0), 2) == min(faces, 2)


def test_the_batch_size_is_at_least_1(monkeypatch):
    with_memory(monkeypatch, 0)
    assert faces_per_call(FakeModel(0), 29) == 1


@pytest.mark.parametrize(("size", "expected"), [(256, 16), (512, 16), (1024, 4), (2048, 1)])
def test_the_batch_size_is_at_most_what_keeps_a_gpu_busy(monkeypatch, size, expected):
    with_memory(monkeypatch, 1e12)
    model = FakeModel(0)
    model.spec = Spec(size, size)
    assert faces_per_call(model, 29) == expected


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu"])
def test_the_batch_size_is_1_on_other_devices(device):
    assert faces_per_call(FakeModel(0, device=device), 29) == 1

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
    """Doubles its input; remembers what it was converted to."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([2.0]))
        self.strip_bytes: int | None = None


class FakeModel:
    """A model that runs out of memory over ``room`` bytes of input, on a device that is said to be a GPU."""

    spec = Spec(256, 256)

    def __init__(self, room: float, error: Exception | None = None, device: str = "cuda") -> None:
        self.network = Network()
        self.room = room
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
        if pictures.numel() * self.dtype.itemsize * in_strips > self.room:
            raise self.error
        return (pictures * self.network.weight.float()).float()


@pytest.fixture
def pictures():
    return torch.arange(7 * 3 * 4 * 4, dtype=torch.float32).reshape(7, 3, 4, 4) / 100


ONE = 3 * 4 * 4 * 4  # bytes of one picture in float32


def test_what_fits_runs_once(pictures):
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
    # It stays there: what comes later is not tried in vain.
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


def test_at_last_a_sentence(pictures):
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


def test_on_a_cpu_there_is_no_way_back_and_none_is_offered(pictures):
    model = FakeModel(10, device="cpu")
    with pytest.raises(OutOfMemoryError, match=r"or choose a smaller network\.$"):
        run_within_memory(model, pictures)
    assert {dtype for _, dtype in model.calls} == {torch.float32}


@pytest.mark.parametrize("error", [RuntimeError("shapes do not match"), ValueError("out of memory"), GpenError("no")])
def test_other_errors_pass_through(pictures, error):
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
    """Memory of a GPU that so many faces may take half of, and not one more."""
    return memory_estimate(FakeModel.spec, torch.float32, faces) * 2.01


@pytest.mark.parametrize("faces", [1, 2, 5, 9])
@pytest.mark.parametrize("free", [0, 1e12])
def test_as_many_faces_at_a_time_as_the_gpu_has_memory_for(monkeypatch, faces, free):
    """Whatever of it is free, so that the result does not depend on that."""
    with_memory(monkeypatch, memory_for(faces), free)
    assert faces_per_call(FakeModel(0), 29) == faces
    assert faces_per_call(FakeModel(0), 2) == min(faces, 2)


def test_one_face_at_least_is_tried(monkeypatch):
    with_memory(monkeypatch, 0)
    assert faces_per_call(FakeModel(0), 29) == 1


@pytest.mark.parametrize(("size", "expected"), [(256, 16), (512, 16), (1024, 4), (2048, 1)])
def test_no_more_faces_at_a_time_than_keep_a_gpu_busy(monkeypatch, size, expected):
    with_memory(monkeypatch, 1e12)
    model = FakeModel(0)
    model.spec = Spec(size, size)
    assert faces_per_call(model, 29) == expected


@pytest.mark.parametrize("device", ["cpu", "mps", "xpu"])
def test_elsewhere_one_face_at_a_time(device):
    assert faces_per_call(FakeModel(0, device=device), 29) == 1

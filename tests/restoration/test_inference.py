"""The batch size, and what happens when memory runs out."""

from __future__ import annotations

import gc
import logging
import weakref
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gpen.errors import GpenError, OutOfMemoryError
from gpen.network.memory import CPU_STRIP_BYTES, memory_estimate
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.restoration import inference
from gpen.restoration.inference import CropBatcher, faces_per_call, restore_crops, run_within_memory
from gpen.weights.checkpoint import load_model
from tests.memory_errors import OUT_OF_MEMORY


class Network(torch.nn.Module):
    """Doubles its input, in any dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([2.0]), requires_grad=False)
        self.strip_bytes: int | None = None


class FakeModel:
    """A model on a pretended GPU that runs out of memory above ``limit`` bytes of input."""

    spec = Spec(256, 256)
    path = Path("tiny.pth")
    value_range = (-1.0, 1.0)

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
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=int(total)))


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


class HalfModel(FakeModel):
    """Computes on the CPU, in the dtype of its weight, and multiplies by more than float16 can hold."""

    FACTOR = 300.0

    def __init__(self, dtype: torch.dtype = torch.float16, limit: float = 1e9, device: str = "cpu") -> None:
        super().__init__(limit, device=device)
        self.network.to(dtype)

    def __call__(self, pictures):
        return (super().__call__(pictures).to(self.dtype) * self.FACTOR).float() / (2 * self.FACTOR)


def crop(value):
    return torch.full((4, 4, 3), value)


def test_an_output_beyond_float16_is_computed_again_in_float32_and_so_are_all_later_ones(caplog):
    model = HalfModel()
    model.FACTOR = 1e5
    for value in (0.25, 1.0):
        (restored,) = restore_crops(model, [crop(value)])
        assert (restored - value).abs().max() <= 1e-6
    assert model.calls == [(1, torch.float16), (1, torch.float32), (1, torch.float32)]
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert warnings == ["tiny.pth returned NaN or Inf in float16; it continues in float32."]


def test_a_network_that_overflows_inside_returns_its_picture_in_float32(tmp_path, caplog):
    """Passthrough weights, with the picture enlarged on its way through the network."""
    weights = synthetic_weights(Spec(64, 64, 1, 0.125))
    weights["ecd0.0.0.weight"] *= 3.7e4
    weights["generator.to_rgbs.3.conv.weight"] /= 3.7e4
    torch.save(weights, tmp_path / "large.pth")
    model = load_model(tmp_path / "large.pth", "cpu", torch.float16, runs_on="meta")
    assert model.dtype == torch.float16
    picture = torch.rand((64, 64, 3), generator=torch.Generator().manual_seed(0))
    (restored,) = restore_crops(model, [picture])
    assert (restored - picture).abs().max() <= 1e-3
    assert caplog.messages == ["large.pth returned NaN or Inf in float16; it continues in float32."]
    assert model.for_task("restore").dtype == torch.float32
    assert torch.equal(restore_crops(model, [picture])[0], restored)
    assert len(caplog.messages) == 1


def test_an_output_within_float16_stays_in_it(caplog):
    model = HalfModel()
    (restored,) = restore_crops(model, [crop(0.25)])
    assert (restored - 0.25).abs().max() <= 1e-6
    assert (model.calls, model.dtype, caplog.records) == ([(1, torch.float16)], torch.float16, [])


def test_one_crop_beyond_float16_repeats_the_whole_call():
    model = HalfModel()
    model.FACTOR = 50000.0
    restored = restore_crops(model, [crop(0.5), crop(1.0), crop(0.75)])
    for value, after in zip((0.5, 1.0, 0.75), restored, strict=True):
        assert (after - value).abs().max() <= 1e-6
    assert model.calls == [(3, torch.float16), (3, torch.float32)]


def test_in_float32_memory_may_run_out_which_then_leads_to_bfloat16(caplog):
    """bfloat16 has the range of float32 and the size of float16."""
    model = HalfModel(limit=ONE / 2, device="cuda")
    model.FACTOR = 1e5
    (restored,) = restore_crops(model, [crop(1.0)])
    assert (restored - 1).abs().max() <= 1e-2
    assert [dtype for _, dtype in model.calls] == [torch.float16, torch.float32, torch.float32, torch.bfloat16]
    assert model.strips == [None, None, CPU_STRIP_BYTES, CPU_STRIP_BYTES]
    assert [text.split(" it continues in ")[1] for text in caplog.messages if "continues in" in text] == [
        "float32.",
        "bfloat16.",
    ]


def test_without_memory_for_weights_in_float32_the_network_continues_in_bfloat16(monkeypatch, caplog):
    def too_large(network):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(inference, "to_float32", too_large)
    model = HalfModel()
    model.FACTOR = 1e5
    (restored,) = restore_crops(model, [crop(1.0)])
    assert (restored - 1).abs().max() <= 1e-2
    assert [dtype for _, dtype in model.calls] == [torch.float16, torch.bfloat16]
    assert "it continues in bfloat16." in caplog.text


def test_another_error_while_weights_become_float32_is_not_hidden(monkeypatch):
    def fails(network):
        raise RuntimeError("an illegal instruction")

    monkeypatch.setattr(inference, "to_float32", fails)
    model = HalfModel()
    model.FACTOR = 1e5
    with pytest.raises(RuntimeError, match="illegal instruction"):
        restore_crops(model, [crop(1.0)])


def test_a_damaged_network_is_an_error_whatever_its_dtype():
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        model = HalfModel(dtype)
        model.FACTOR = float("nan")
        with pytest.raises(GpenError, match=r"^tiny\.pth returned NaN or Inf\. The model file is damaged"):
            restore_crops(model, [crop(0.5)])


def batched(crops, sizes):
    """Add crops with their index as the key; ``sizes``: of the calls of the network."""
    model = FakeModel(1e9)
    model.device = torch.device("cpu")
    batcher = CropBatcher(model)
    for index in range(crops):
        yield from batcher.add(("photo", index), crop(0.5 + index / 1000))
    assert [count for count, _ in model.calls] == sizes[: len(model.calls)]
    yield from batcher.flush()
    assert [count for count, _ in model.calls] == sizes
    assert batcher.flush() == []


@pytest.mark.parametrize(
    ("crops", "together", "sizes"), [(7, 3, [3, 3, 1]), (6, 3, [3, 3]), (2, 3, [2]), (3, 1, [1] * 3), (0, 3, [])]
)
def test_crops_of_several_photos_share_calls(monkeypatch, crops, together, sizes):
    monkeypatch.setattr(inference, "faces_per_call", lambda model: together)
    results = list(batched(crops, sizes))
    assert [key for key, _ in results] == [("photo", index) for index in range(crops)]
    for index, (_, after) in enumerate(results):
        # The network doubles numbers from -1 to 1.
        assert (after - (0.5 + 2 * index / 1000)).abs().max() <= 1e-5


def test_on_a_cpu_each_crop_is_restored_at_once():
    model = HalfModel(torch.float32)
    batcher = CropBatcher(model)
    for index in range(3):
        assert [key for key, _ in batcher.add(index, crop(0.5))] == [index]
    assert [count for count, _ in model.calls] == [1, 1, 1]


def test_crops_of_a_failed_call_are_dropped(monkeypatch):
    monkeypatch.setattr(inference, "faces_per_call", lambda model: 2)
    model = HalfModel(torch.float32)
    batcher = CropBatcher(model)
    assert batcher.add("a", crop(0.5)) == []
    with pytest.raises(GpenError, match="NaN or Inf"):
        batcher.add("b", crop(float("nan")))
    assert batcher.add("c", crop(0.5)) == []
    assert [key for key, _ in batcher.flush()] == ["c"]

"""Devices and precisions."""

from __future__ import annotations

import contextlib
import logging
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

import gpen
from gpen.device import change_dtype, exact_float32, finite_output, is_out_of_memory, pick_device, pick_dtype
from gpen.errors import FilesError, GpenError
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from tests.memory_errors import OUT_OF_MEMORY


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
def test_out_of_memory_is_recognised(error):
    assert is_out_of_memory(error)
    assert not is_out_of_memory(KeyError(str(error)))


def test_the_cpu_is_always_available():
    assert pick_device("cpu") == torch.device("cpu")
    assert torch.zeros(1, device=pick_device("auto")).item() == 0


@pytest.mark.parametrize(
    ("available", "expected"),
    [((), "cpu"), (("mps",), "mps"), (("mps", "xpu"), "xpu"), (("mps", "xpu", "cuda"), "cuda")],
)
def test_the_best_device_is_chosen(monkeypatch, available, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: "cuda" in available)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: "mps" in available)
    if hasattr(torch, "xpu"):
        monkeypatch.setattr(torch.xpu, "is_available", lambda: "xpu" in available)
    elif expected == "xpu":
        pytest.skip("this PyTorch knows no xpu")
    assert pick_device() == torch.device(expected)
    assert pick_device("auto") == torch.device(expected)


@pytest.mark.parametrize("name", ["toaster", "", "cuda:99", "meta", "cpu:x", "hpu", "vulkan"])
def test_an_unusable_device_is_refused(name):
    with pytest.raises(GpenError) as caught:
        pick_device(name)
    text = str(caught.value)
    assert text.startswith(f"PyTorch cannot use the device {name!r} here (")
    assert text.endswith("). Use auto or cpu.")
    assert "\n" not in text


LOADING = {
    "detector": lambda path, device: gpen.make_detector("yunet", [path], device),
    "parser": lambda path, device: gpen.make_parser([path], device),
    "guard": lambda path, device: gpen.make_guard(Options(identity_guard=0.3), [path], device),
    "people": lambda path, device: gpen.make_people([], Options(), [path], device),
}


@pytest.mark.parametrize("what", LOADING)
def test_what_is_loaded_by_name_refuses_an_unusable_device(what, tmp_path):
    with pytest.raises(GpenError, match="PyTorch cannot use the device 'toaster' here"):
        LOADING[what](tmp_path, "toaster")


def test_the_best_device_is_found_for_whatever_is_loaded_by_name(monkeypatch, tmp_path, detector_weights):
    monkeypatch.setattr("gpen.device._best_device", lambda: torch.device("cpu"))
    detector = gpen.make_detector("yunet", [detector_weights], "auto")
    assert detector.detect(np.zeros((40, 40, 3), np.float32)) == []
    assert gpen.make_guard(Options(identity_guard=0.3), [tmp_path], "auto") is None
    assert gpen.make_people([], Options(), [tmp_path], torch.device("cpu")) is None
    with pytest.raises(FilesError, match="parsenet"):
        gpen.make_parser([tmp_path], "auto")
    spec = Spec(8, 8, 2, 1 / 64, 8, 1)
    torch.save(synthetic_weights(spec), tmp_path / "m.pth")
    assert gpen.load_model(tmp_path / "m.pth", "auto").device == torch.device("cpu")


@pytest.mark.parametrize("name", ["fp32_precision", "allow_tf32"])
def test_products_are_exact_while_any_thread_needs_it_and_the_hosts_afterwards(monkeypatch, name):
    setting = SimpleNamespace(**{name: "the host's"})
    monkeypatch.setattr(torch.backends.cuda, "matmul", setting)
    cuda, begun, seen = torch.device("cuda"), threading.Event(), []
    monkeypatch.setattr("gpen.device.without_autocast", lambda device: contextlib.nullcontext())

    def outlasted():
        with exact_float32(cuda):
            begun.set()
            ended.wait(20)

    def lasting():
        with exact_float32(cuda):
            ended.set()
            first.join(20)
            seen.append(getattr(setting, name))

    ended = threading.Event()
    first, second = threading.Thread(target=outlasted), threading.Thread(target=lasting)
    first.start()
    assert begun.wait(20)
    second.start()
    second.join(20)
    assert seen == [{"fp32_precision": "ieee", "allow_tf32": False}[name]]
    assert getattr(setting, name) == "the host's"


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps", "xpu"])
def test_precisions(monkeypatch, device):
    has_tiles(monkeypatch, False)
    has_gpu(monkeypatch, available=False)
    where = torch.device(device)
    assert pick_dtype("auto", where) == pick_dtype("fp32", where) == torch.float32
    assert pick_dtype("bf16", where) == torch.bfloat16
    assert pick_dtype("fp16", where) == torch.float16


def has_gpu(monkeypatch, name="NVIDIA GeForce RTX 2060", capability=(7, 5), hip=None, available=True):
    """Let PyTorch see this GPU as the device 1."""

    def of_device(value):
        return lambda device: value if device == torch.device("cuda", 1) else pytest.fail(str(device))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(torch.version, "hip", hip)
    monkeypatch.setattr(torch.cuda, "get_device_name", of_device(name))
    monkeypatch.setattr(torch.cuda, "get_device_capability", of_device(capability))


@pytest.mark.parametrize(
    ("gpu", "expected"),
    [
        ({"capability": (6, 1)}, torch.float32),
        ({"capability": (7, 0)}, torch.float16),
        ({"capability": (9, 0)}, torch.float16),
        ({"capability": (12, 0)}, torch.float16),
        ({"capability": (11, 0), "hip": "6.4"}, torch.float32),
        ({"capability": (8, 6), "name": "AMD Radeon RX 6800 [ZLUDA]"}, torch.float32),
    ],
)
def test_auto_is_float16_on_nvidia_gpus_with_matrix_units_for_it(monkeypatch, gpu, expected):
    has_gpu(monkeypatch, **gpu)
    assert pick_dtype("auto", torch.device("cuda", 1)) == expected
    assert pick_dtype("fp32", torch.device("cuda", 1)) == torch.float32


def has_tiles(monkeypatch, there: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: there, raising=False)


def test_cpus_that_are_fast_in_bfloat16_use_it(monkeypatch):
    has_tiles(monkeypatch, True)
    assert pick_dtype("auto", torch.device("cpu")) == torch.bfloat16
    assert pick_dtype("fp32", torch.device("cpu")) == torch.float32
    assert pick_dtype("auto", torch.device("mps")) == torch.float32


def test_avx512_bf16_without_amx_is_not_enough(monkeypatch):
    has_tiles(monkeypatch, False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32


def test_pytorch_too_old_to_report_amx(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32


class Doubling(nn.Module):
    """Doubles numbers in its dtype."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0], dtype=dtype))
        self.calls: list[torch.dtype] = []

    def forward(self, x):
        self.calls.append(self.weight.dtype)
        return (x.to(self.weight.dtype) * self.weight).float()


TOO_LARGE = torch.tensor([1.0, 40000.0])  # for float16, when it is doubled


def test_a_finite_output_costs_one_call_and_one_transfer():
    network = Doubling(torch.float16)
    transfers = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            if func is torch.ops.aten._local_scalar_dense.default:
                transfers.append(func)
            return func(*args, **(kwargs or {}))

    with Watch():
        out = finite_output(lambda: network(torch.tensor([[1.0, -3.0]])), network, "tiny.pth")
    assert torch.equal(out, torch.tensor([[2.0, -6.0]]))
    assert network.calls == [torch.float16]
    assert len(transfers) == 1


@pytest.mark.parametrize("inference", [False, True])
def test_an_output_beyond_float16_is_computed_in_float32_from_then_on(caplog, inference):
    network = Doubling(torch.float16)
    with torch.inference_mode(inference):
        for _ in range(2):
            out = finite_output(lambda: network(TOO_LARGE), network, "tiny.pth")
            assert torch.equal(out, 2 * TOO_LARGE)
    assert network.calls == [torch.float16, torch.float32, torch.float32]
    assert not network.weight.is_inference()
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "tiny.pth returned NaN or Inf in float16; it continues in float32."
    ]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("dtype", "calls"), [(torch.float32, 1), (torch.bfloat16, 2), (torch.float16, 2)])
def test_what_is_not_finite_in_float32_either_is_a_damaged_file(value, dtype, calls):
    network = Doubling(dtype)
    with pytest.raises(GpenError) as caught:
        finite_output(lambda: network(torch.tensor([1.0, value])), network, "tiny.pth")
    assert str(caught.value) == "tiny.pth returned NaN or Inf. The model file is damaged: get it again."
    assert len(network.calls) == calls


def test_what_is_not_finite_where_float32_does_not_fit():
    network = Doubling(torch.float16)
    with pytest.raises(GpenError, match="It computed in bfloat16, because memory ran out in float32") as caught:
        finite_output(
            lambda: network(torch.tensor([float("nan")])),
            network,
            "tiny.pth",
            lambda net: change_dtype(net, torch.bfloat16),
        )
    assert network.calls == [torch.float16, torch.bfloat16]
    assert "damaged" not in str(caught.value)


def test_a_network_that_runs_out_of_memory_while_it_is_converted_stays_as_it_was(monkeypatch):
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)).requires_grad_(False).half()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    to = torch.Tensor.to
    converted = []

    def limited(tensor, *args, **kwargs):
        if torch.float32 in args:
            converted.append(tensor)
            if len(converted) == 3:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", limited)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        change_dtype(network, torch.float32)
    assert len(converted) == 3
    after = network.state_dict()
    assert all(after[name].dtype == torch.float16 and torch.equal(after[name], before[name]) for name in before)

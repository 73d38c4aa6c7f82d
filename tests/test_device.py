"""Devices and precisions."""

from __future__ import annotations

import pytest
import torch

from gpen.device import is_out_of_memory, pick_device, pick_dtype
from gpen.errors import GpenError
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


@pytest.mark.parametrize("name", ["toaster", "", "cuda:99", "meta", "cpu:x", "hpu", "vulkan"])
def test_an_unusable_device_is_refused(name):
    with pytest.raises(GpenError) as caught:
        pick_device(name)
    text = str(caught.value)
    assert text.startswith(f"PyTorch cannot use the device {name!r} here (")
    assert text.endswith("). Use auto or cpu.")
    assert "\n" not in text


@pytest.mark.parametrize("device", ["cpu", "cuda", "mps"])
def test_precisions(monkeypatch, device):
    has_tiles(monkeypatch, False)
    where = torch.device(device)
    assert pick_dtype("auto", where) == pick_dtype("fp32", where) == torch.float32
    assert pick_dtype("bf16", where) == torch.bfloat16
    assert pick_dtype("fp16", where) == torch.float16


def has_tiles(monkeypatch, there: bool) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: there, raising=False)


def test_cpus_that_are_fast_in_bfloat16_use_it(monkeypatch):
    has_tiles(monkeypatch, True)
    assert pick_dtype("auto", torch.device("cpu")) == torch.bfloat16
    assert pick_dtype("fp32", torch.device("cpu")) == torch.float32
    assert pick_dtype("auto", torch.device("cuda")) == torch.float32


def test_avx512_bf16_without_amx_is_not_enough(monkeypatch):
    has_tiles(monkeypatch, False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32


def test_pytorch_too_old_to_report_amx(monkeypatch):
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert pick_dtype("auto", torch.device("cpu")) == torch.float32

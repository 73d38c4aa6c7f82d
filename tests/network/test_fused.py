"""The fused kernels: in Triton's interpreter, compiled for a GPU that is not here, and when they are not used."""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from bench.kernels import network_count
from gpen.network import agreement, fusion
from gpen.network.fusion import SWITCH, kernels_for, using_fused

ROOT = Path(__file__).resolve().parents[2]
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed here")

# Of one face in float16: kernels and MB.
LIMITS = {256: (117, 194), 512: (128, 1245), 1024: (142, 2309), 2048: (156, 4479)}

INTERPRET = """
import json, torch
from gpen.network import fused
from gpen.network.agreement import _difference, difference, small_network
from gpen.network.fusion import using_fused

fused.ELEMENTS = 1 << 15  # the interpreter takes as long for a large block as for a small one
cpu = torch.device("cpu")
found = {f"{dtype} {batch}": difference(cpu, dtype, batch)
         for dtype, batch in ((torch.float32, 1), (torch.float32, 2), (torch.float16, 1))}
# In strips of 2 rows, and in strips whose height does not divide the map's.
network, x = small_network(cpu, torch.float32), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
whole = network.forward_together(x)
with using_fused(True):
    for strip_bytes in (1, 2 * 128 * 32 * 4 * 10):
        network.strip_bytes = strip_bytes
        error = (network.forward_together(x) - whole).abs().max() / whole.abs().max()
        found[f"strips of {strip_bytes}"] = float(error), 1e-5
# Weights that were made in inference mode keep their memory layout, whatever a convolution reads.
with torch.inference_mode():
    found["weights of inference mode"] = _difference(cpu, torch.float32, 1)
print(json.dumps(found))
"""


@needs_triton
def test_in_the_interpreter_they_agree_with_the_plain_operations() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", INTERPRET], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert len(found) == 6
    for name, (error, bound) in found.items():
        # Half precisions round at other places; none means that the fused kernels did not run.
        assert 0 < error <= bound, name


FINISH = {"has_after": False, "has_encoded": True, "from_picture": False, "stored": True, "in_rgb": False}
VARIANTS = [
    ("finish_kernel", FINISH | {"filtered": True, "count": 4, "block": 16, "at_once": 64}),
    ("finish_kernel", FINISH | {"filtered": True, "from_picture": True, "count": 4, "block": 64, "at_once": 16}),
    (
        "finish_kernel",
        FINISH | {"filtered": False, "has_after": True, "in_rgb": True, "count": 1, "block": 4, "at_once": 512},
    ),
    ("filter_kernel", {"count": 4, "block": 16, "at_once": 64}),
    ("filter_kernel", {"count": 1, "block": 32, "at_once": 64}),
    ("picture_kernel", {"block": 128, "at_once": 16}),
    ("activate_kernel", {"block": 32, "at_once": 64}),
]


@needs_triton
@pytest.mark.parametrize(("name", "constants"), VARIANTS)
def test_they_compile_for_a_gpu(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, constants: dict[str, int]
) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from gpen.network import fused_kernels

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kernel = getattr(fused_kernels, name)
    # Strides and sizes are integers; what is left is tensors.
    numbers = {"rows", "columns", "row", "padding", "channels", "height", "width", "pixels", *"nchw"}
    signature = {
        one: "constexpr" if one in constants else "i32" if one.split("_")[-1] in numbers else "*fp16"
        for one in kernel.arg_names
    }
    places = {(kernel.arg_names.index(one),): value for one, value in constants.items()}
    source = ASTSource(fn=kernel, signature=signature, constexprs=places)
    compiled = triton.compile(source, target=GPUTarget("cuda", 80, 32))
    assert compiled.asm["cubin"]


@needs_triton
@pytest.mark.parametrize("size", LIMITS)
def test_kernels_and_bytes(size: int) -> None:
    kernels, megabytes = LIMITS[size]
    with using_fused(True):
        counted = network_count(size, torch.float16)
    assert counted.kernels <= kernels
    assert counted.bytes <= megabytes * 1e6


@pytest.fixture
def decided(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    fusion._work.cache_clear()
    yield
    fusion._work.cache_clear()


def on_cuda(dtype: torch.dtype = torch.float16) -> torch.Tensor:
    """A tensor of which only device and dtype are asked."""

    class Tensor:
        device = torch.device("cuda")

    Tensor.dtype = dtype
    return Tensor()  # type: ignore[return-value]


@needs_triton
@pytest.mark.usefixtures("decided")
def test_they_are_used_on_nvidia_gpus_unless_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agreement, "difference", lambda device, dtype: (0.0, 1.0))
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.delenv(SWITCH, raising=False)
    assert kernels_for(on_cuda()) is not None
    assert kernels_for(torch.empty(1)) is None
    monkeypatch.setenv(SWITCH, "0")
    assert kernels_for(on_cuda()) is None
    monkeypatch.setattr(torch.version, "hip", "6.0")
    monkeypatch.delenv(SWITCH)
    assert kernels_for(on_cuda()) is None
    monkeypatch.setenv(SWITCH, "1")
    assert kernels_for(on_cuda()) is not None
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert kernels_for(on_cuda()) is None


@pytest.mark.usefixtures("decided")
@pytest.mark.parametrize(("switch", "level"), [(None, "INFO"), ("1", "WARNING")])
def test_without_triton_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, switch: str | None, level: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv(SWITCH, raising=False)
    if switch:
        monkeypatch.setenv(SWITCH, switch)
    with caplog.at_level(logging.INFO):
        assert [kernels_for(on_cuda()) for _ in range(3)] == [None] * 3
    (record,) = caplog.records
    assert record.levelname == level
    assert "Triton is not installed" in record.message


@pytest.mark.usefixtures("decided")
@pytest.mark.parametrize("found", [0.5, float("nan")])
def test_they_are_not_used_where_they_differ(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, found: float
) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(agreement, "difference", lambda device, dtype: (found, 0.1))
    with caplog.at_level(logging.WARNING):
        assert [kernels_for(on_cuda()) for _ in range(3)] == [None] * 3
    assert len(caplog.records) == 1
    assert "differ" in caplog.text


@pytest.mark.usefixtures("decided")
def test_they_are_not_used_where_they_do_not_compile(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def failing(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
        raise RuntimeError("no C compiler found\nmore")

    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(agreement, "difference", failing)
    assert kernels_for(on_cuda()) is None
    assert "no C compiler found" in caplog.text


@pytest.mark.cuda
@needs_triton
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 2])
def test_on_a_gpu_they_agree_with_the_plain_operations(dtype: torch.dtype, batch: int) -> None:
    error, bound = agreement.difference(torch.device("cuda"), dtype, batch)
    assert 0 < error <= bound

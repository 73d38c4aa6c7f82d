"""Peak memory of loading, measured in a process of its own on files of published size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from gpen.network.spec import Spec
from gpen.weights.state_dict import expected_shapes

GPEN_512 = Spec(512, 512)
ROOT = Path(__file__).resolve().parents[2]

MEASURE = """
import json, os, sys, torch
from gpen.weights.checkpoint import inspect, load_model

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

def measure(tiny, path, dtype):
    load_model(tiny)  # memory that PyTorch takes once, at its first use, does not count
    before = status("VmRSS")
    inspect(path)
    header = status("VmHWM") - before
    model = load_model(path, dtype=getattr(torch, dtype))
    parameters = sum(t.numel() * t.element_size() for t in model.network.state_dict().values())
    print(json.dumps({"header": header, "peak": status("VmHWM") - before, "parameters": parameters}), flush=True)

# A fork starts with its own high-water mark, and with PyTorch imported.
for path, dtype in json.loads(sys.argv[2]):
    if os.fork() == 0:
        measure(sys.argv[1], path, dtype)
        os._exit(0)
    assert os.wait()[1] == 0
"""

CASES = [
    ("zip.pth", "float32", False),
    ("legacy.pth", "float32", False),
    ("x.safetensors", "float32", False),
    ("views.pth", "float32", False),
    ("zip.pth", "bfloat16", True),
    ("x.safetensors", "bfloat16", True),
    ("half.pth", "float32", True),
]
"""File, dtype to load it in, whether that is another than the stored one."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPEN 512 in each container, and a tiny network to warm up with."""
    folder = tmp_path_factory.mktemp("weights")
    state = {name: torch.randn(shape) for name, shape in expected_shapes(GPEN_512).items()}
    torch.save(state, folder / "zip.pth")
    torch.save(state, folder / "legacy.pth", _use_new_zipfile_serialization=False)
    save_file(state, folder / "x.safetensors")
    torch.save({"g_ema": {name: t.half() for name, t in state.items()}}, folder / "half.pth")
    block = torch.cat([t.flatten() for t in state.values()])
    views = block.split([t.numel() for t in state.values()])
    torch.save({n: v.view(t.shape) for (n, t), v in zip(state.items(), views, strict=True)}, folder / "views.pth")
    tiny = {n: torch.randn(s) for n, s in expected_shapes(Spec(8, 8, 2, 1 / 64, 8, 1)).items()}
    torch.save(tiny, folder / "tiny.pth")
    return folder


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_peak_memory(folder: Path) -> None:
    """At most 1.3 times the file, or file and parameters if the dtype changes; almost nothing for the header."""
    jobs = json.dumps([(str(folder / name), dtype) for name, dtype, _ in CASES])
    command = [sys.executable, "-c", MEASURE, str(folder / "tiny.pth"), jobs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    for (name, dtype, changes), line in zip(CASES, done.stdout.splitlines(), strict=True):
        measured = json.loads(line)
        size = (folder / name).stat().st_size
        allowed = size + measured["parameters"] if changes else size
        ratio = measured["peak"] / allowed
        print(f"{name} as {dtype}: {measured['peak'] / 1e6:.0f} MB, {ratio:.2f} of {allowed / 1e6:.0f} MB")
        assert measured["peak"] >= 0.95 * measured["parameters"], "the measurement missed the parameters"
        assert ratio <= 1.3, name
        assert measured["header"] < 8e6, name

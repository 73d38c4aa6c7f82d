"""Networks in the hands of ComfyUI's model management: its own modules, without a server, each time in a new process.

Where weights must be seen to move, the device "meta" stands for a GPU. It keeps no values.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from gpen.network.synthetic import synthetic_weights
from tests.hosts.comfyui.server import comfyui_folder
from tests.hosts.conftest import SPEC
from tests.hosts.loading import ROOT

Run = Callable[[str], Any]

PRELUDE = f"""
import importlib.util, json, sys
path, base = sys.argv[1:]
sys.argv = ["main.py", "--cpu", "--base-directory", base]
import pathlib
import torch
import comfy.options
comfy.options.enable_args_parsing()
# As main.py: later another module takes the name "utils".
import utils.extra_config
from comfy import model_management as management
spec = importlib.util.spec_from_file_location("loading", {str(ROOT / "tests/hosts/loading.py")!r})
loading = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loading)
device = loading.from_checkout("gpen.device")
GpenError = loading.from_checkout("gpen.errors").GpenError
comfyui = loading.from_checkout("gpen_hosts.comfyui")

def managed(precision="fp32"):
    # As the host runs nodes.
    with torch.inference_mode():
        return comfyui.ManagedModel(pathlib.Path(path), precision)

def load(model):
    with torch.inference_mode():
        model.load()

def places(model):
    network = model.model.network
    return sorted({{tensor.device.type for tensor in (*network.parameters(), *network.buffers())}})

def on_a_gpu(state):
    management.vram_state = management.VRAMState[state]
    management.get_torch_device = lambda: torch.device("meta")
    leave(8 << 30)
    torch.nn.Module.to = to

def leave(memory):
    management.get_free_memory = lambda device, torch_free_too=False: (memory, 0) if torch_free_too else memory

def to(module, place, plain=torch.nn.Module.to):
    # PyTorch refuses to copy from "meta", where there are no values.
    return module.to_empty(device=place) if isinstance(place, torch.device) else plain(module, place)
"""


@pytest.fixture
def in_comfyui(network_file: Path, tmp_path: Path) -> Run:
    """Runs code in a new process that has ComfyUI's modules; what it prints as JSON."""

    def answer(code: str) -> Any:
        run = subprocess.run(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(code), str(network_file), str(tmp_path)],
            cwd=comfyui_folder(),
            env={**os.environ, "OMP_WAIT_POLICY": "passive", "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert run.returncode == 0, run.stderr
        return json.loads(run.stdout.splitlines()[-1])

    return answer


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that returns what it gets."""
    file = tmp_path_factory.mktemp("network") / "passthrough.safetensors"
    save_file(synthetic_weights(SPEC), file)
    return file


def test_the_host_is_asked_for_the_whole_network_and_room_for_one_face(in_comfyui: Run) -> None:
    code = """
        on_a_gpu("NORMAL_VRAM")
        asked = []
        def load_models_gpu(models, plain=management.load_models_gpu, **more):
            asked.append([len(models), more])
            plain(models, **more)
        management.load_models_gpu = load_models_gpu
        answers = []
        for precision in ("fp32", "bf16", "fp16"):
            model = managed(precision)
            load(model)
            needed = device.memory_estimate(model.model.spec, model.model.dtype)
            answers.append([asked.copy(), needed])
            asked.clear()
        print(json.dumps(answers))
    """
    answers = in_comfyui(code)
    for asked, needed in answers:
        assert asked == [[1, {"memory_required": needed, "force_full_load": True}]]
    float32, bfloat16, float16 = (needed for _, needed in answers)
    assert bfloat16 == float16 < float32


def test_after_the_host_took_memory_back_the_whole_network_is_loaded_again(in_comfyui: Run) -> None:
    code = """
        def take_half(model):
            # As for a larger model in the same graph.
            leave(0)
            management.free_memory(model._patcher.model_size() / 2, management.get_torch_device())

        def take_all(model):
            management.unload_all_models()

        def watch(state):
            on_a_gpu(state)
            model = managed()
            yield places(model)
            load(model)
            yield places(model)
            for take in (take_half, take_all, lambda model: model._patcher.detach()):
                take(model)
                yield places(model)
                load(model)
                yield places(model)
            take_all(model)

        print(json.dumps({state: list(watch(state)) for state in ("NORMAL_VRAM", "LOW_VRAM", "NO_VRAM")}))
    """
    cpu, half, gpu = ["cpu"], ["cpu", "meta"], ["meta"]
    seen = in_comfyui(code)
    assert seen["NORMAL_VRAM"] == seen["LOW_VRAM"] == [cpu, gpu, half, gpu, cpu, gpu, cpu, gpu]
    # Here the host counts nothing as loaded, and so takes all.
    assert seen["NO_VRAM"] == [cpu, gpu, cpu, gpu, cpu, gpu, cpu, gpu]


def test_networks_make_room_for_a_detector_where_there_is_too_little(in_comfyui: Run) -> None:
    code = """
        def after_make_room(memory):
            load(model)
            leave(memory)
            comfyui.make_room()
            return places(model)

        asked = []
        free_memory, management.free_memory = management.free_memory, lambda *more: asked.append(more)
        comfyui.make_room()
        management.free_memory = free_memory
        on_a_gpu("NORMAL_VRAM")
        model = managed()
        print(json.dumps([asked, after_make_room(8 << 30), after_make_room(1 << 20), after_make_room(8 << 30)]))
    """
    assert in_comfyui(code) == [[], ["meta"], ["cpu"], ["meta"]]


def test_unloading_and_loading_again_keeps_the_network_s_answer(in_comfyui: Run) -> None:
    code = """
        model = managed()
        generator = torch.Generator().manual_seed(0)
        faces = torch.rand((1, 3, 256, 256), generator=generator) * 2 - 1
        load(model)
        before = model.model(faces)
        model._patcher.partially_unload(model._patcher.offload_device, model._patcher.model_size() / 2)
        model._patcher.detach()
        load(model)
        after = model.model(faces)
        print(json.dumps([torch.equal(before, after), (after - faces).abs().max().item()]))
    """
    same, error = in_comfyui(code)
    assert same
    assert error < 1e-3


def test_two_networks_of_one_file_do_not_share_their_weights(in_comfyui: Run) -> None:
    code = """
        first, second = managed(), managed("bf16")
        faces = torch.rand((1, 3, 256, 256), generator=torch.Generator().manual_seed(0)) * 2 - 1
        answers = []
        for model in (first, second, first):
            load(model)
            answers.append(model.model(faces))
        errors = [(answer - faces).abs().max().item() for answer in answers]
        on_a_gpu("NORMAL_VRAM")
        first, second = managed(), managed()
        load(first)
        load(second)
        both = [places(first), places(second)]
        first._patcher.detach()
        print(json.dumps([errors, both, [places(first), places(second)]]))
    """
    errors, both, one = in_comfyui(code)
    assert errors[0] == errors[2] < 1e-3
    assert 1e-3 < errors[1] < 0.1
    assert both == [["meta"], ["meta"]]
    assert one == [["cpu"], ["meta"]]


def test_float16_is_for_gpus_and_may_wait_on_the_cpu(in_comfyui: Run) -> None:
    code = """
        try:
            managed("fp16")
        except GpenError as error:
            refused = str(error)
        on_a_gpu("NORMAL_VRAM")
        model = managed("fp16")
        tensors = list(model.model.network.parameters())
        kept = [places(model), sorted({str(tensor.dtype) for tensor in tensors})]
        finite = all(tensor.isfinite().all().item() for tensor in tensors)
        inference = any(tensor.is_inference() for tensor in tensors)
        load(model)
        print(json.dumps([refused, *kept, finite, inference, places(model), str(model.model.dtype)]))
    """
    refused, *more = in_comfyui(code)
    assert refused.startswith("float16 cannot be used on a CPU: ")
    assert more == [["cpu"], ["torch.float16"], True, False, ["meta"], "torch.float16"]

"""Networks under ComfyUI's model management: its own modules, without a server, in a new process for each test.

Where weights move, the device "meta" stands in for a GPU; it stores no values.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
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
memory = loading.from_checkout("gpen.network.memory")
GpenError = loading.from_checkout("gpen.errors").GpenError
host = loading.from_checkout("gpen_hosts.comfyui.host")

def managed(precision="fp32"):
    # As the host runs nodes.
    with torch.inference_mode():
        return host.ManagedModel(pathlib.Path(path), precision)

def load(model):
    with torch.inference_mode():
        model.load()

def devices(model):
    network = model.model.network
    return sorted({{tensor.device.type for tensor in (*network.parameters(), *network.buffers())}})

def on_a_gpu(state):
    management.vram_state = management.VRAMState[state]
    management.get_torch_device = lambda: torch.device("meta")
    leave(8 << 30)
    torch.nn.Module.to = to

def leave(memory):
    management.get_free_memory = lambda device, torch_free_too=False: (memory, 0) if torch_free_too else memory

def to(module, device, plain=torch.nn.Module.to):
    # PyTorch refuses to copy from "meta", where there are no values.
    return module.to_empty(device=device) if isinstance(device, torch.device) else plain(module, device)
"""


@pytest.fixture
def in_comfyui(network_file: Path, tmp_path: Path) -> Run:
    """Runs code in a new process with ComfyUI's modules; returns what it prints as JSON."""

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
    """A network that returns its input."""
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
            needed = memory.memory_estimate(model.model.spec, model.model.dtype)
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
            management.free_memory(model.patcher.model_size() / 2, management.get_torch_device())

        def take_all(model):
            management.unload_all_models()

        def watch(state):
            on_a_gpu(state)
            model = managed()
            yield devices(model)
            load(model)
            yield devices(model)
            for take in (take_half, take_all, lambda model: model.patcher.detach()):
                take(model)
                yield devices(model)
                load(model)
                yield devices(model)
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
        def after_make_room(bytes_left):
            load(model)
            leave(bytes_left)
            host.make_room()
            return devices(model)

        asked = []
        free_memory, management.free_memory = management.free_memory, lambda *more: asked.append(more)
        host.make_room()
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
        model.patcher.partially_unload(model.patcher.offload_device, model.patcher.model_size() / 2)
        model.patcher.detach()
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
        both = [devices(first), devices(second)]
        first.patcher.detach()
        print(json.dumps([errors, both, [devices(first), devices(second)]]))
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
        kept = [devices(model), sorted({str(tensor.dtype) for tensor in tensors})]
        finite = all(tensor.isfinite().all().item() for tensor in tensors)
        inference = any(tensor.is_inference() for tensor in tensors)
        load(model)
        print(json.dumps([refused, *kept, finite, inference, devices(model), str(model.model.dtype)]))
    """
    refused, *more = in_comfyui(code)
    assert refused.startswith("float16 cannot be used on a CPU")
    assert more == [["cpu"], ["torch.float16"], True, False, ["meta"], "torch.float16"]


def test_auto_is_float16_unless_comfyui_avoids_it(in_comfyui: Run) -> None:
    code = """
        chosen = []
        device = torch.device("cuda", 0)
        host.pick_dtype = lambda precision, device, plain=host.pick_dtype: (
            torch.float16 if precision == "auto" and device.type == "cuda" else plain(precision, device)
        )
        for avoids in (False, True):
            management.should_use_fp16 = lambda on: [device] != [on] or not avoids
            chosen.append([str(host.dtype_for(name, device)) for name in ("auto", "fp16", "bf16", "fp32")])
        print(json.dumps(chosen))
    """
    float16, *others = "torch.float16", "torch.float16", "torch.bfloat16", "torch.float32"
    assert in_comfyui(code) == [[float16, *others], ["torch.float32", *others]]


def test_after_the_dtype_changed_the_host_counts_the_weights_again(in_comfyui: Run) -> None:
    code = """
        import logging
        change_dtype = loading.from_checkout("gpen.device").change_dtype
        RESTORE = loading.from_checkout("gpen.tasks").RESTORE
        class Messages(logging.Handler):
            def emit(self, record):
                said.append(record.getMessage())
        said = []
        logging.getLogger(host.__name__).addHandler(Messages())
        on_a_gpu("NORMAL_VRAM")

        def counted(model):
            load(model)
            network = model.model.network
            size = sum(tensor.nbytes for tensor in (*network.parameters(), *network.buffers()))
            return [devices(model), model.patcher.model_size() / size, model.patcher.loaded_size() / size]

        def run(dtype=None):
            model = managed("fp16")
            seen = [counted(model)]
            if dtype is not None:
                change_dtype(model.model.network, dtype)
                seen.append(counted(model))
            said.clear()
            model.for_run(RESTORE)
            return seen, said.copy()

        print(json.dumps([run(), run(torch.float32), run(torch.bfloat16)]))
    """
    right = [["meta"], 1, 1]
    same, wider, smaller = in_comfyui(code)
    assert same == [[right], []]
    title = "GPEN 256"
    assert wider == [[right, right], [f"{title} runs in float32: its values were too large for float16."]]
    assert smaller == [[right, right], [f"{title} runs in bfloat16: memory ran out in float16."]]


@pytest.fixture
def helpers(tmp_path: Path, detector_weights: Path) -> Path:
    """ComfyUI's folder with detectors, and with ParseNet and ArcFace of random weights."""
    arcface = pytest.importorskip("facexlib.recognition.arcface_arch", reason="facexlib does not import here")
    parsenet = pytest.importorskip("facexlib.parsing.parsenet", reason="facexlib does not import here")
    folder = tmp_path / "models/facedetection"
    folder.mkdir(parents=True)
    for file in detector_weights.iterdir():
        if file.suffix in {".onnx", ".pth"}:
            shutil.copyfile(file, folder / file.name)
    torch.save(arcface.Backbone(50, 0.6, "ir_se").state_dict(), folder / "recognition_arcface_ir_se50.pth")
    network = parsenet.ParseNet(in_size=512, out_size=512, parsing_ch=19)
    torch.save(network.state_dict(), folder / "parsing_parsenet.pth")
    return folder


def test_detector_parser_and_recogniser_are_read_once(in_comfyui: Run, helpers: Path) -> None:
    """Neither a second execution nor another limit of the identity guard reads a file; a changed file is read again."""
    code = """
        from os.path import basename
        host.register_folders()
        Options = loading.from_checkout("gpen.options").Options
        RESTORE = loading.from_checkout("gpen.tasks").RESTORE
        opened = []
        def hear(event, arguments):
            if event == "open" and "facedetection" in str(arguments[0]):
                opened.append(basename(str(arguments[0])))
        sys.addaudithook(hear)
        model = managed()

        def execute(detector="retinaface_mobile0.25", **options):
            # As the host runs nodes.
            opened.clear()
            with torch.inference_mode():
                found = host.detector_of(detector)
                components = host.components_for(RESTORE, model, Options(mask="parsed", **options))
            assert components.guard is not None, components.guard_problem
            return sorted(set(opened)), found, components.parser

        (first, detector, parser), (again, same, alike) = execute(identity_guard=0.3), execute(identity_guard=0.3)
        kept = [detector is same, parser is alike]
        limit, *_ = execute(identity_guard=0.5, identity_action="keep")
        parsing = pathlib.Path(base, "models/facedetection/parsing_parsenet.pth")
        parsing.write_bytes(parsing.read_bytes())
        changed, *_ = execute(identity_guard=0.5)
        print(json.dumps([first, again, kept, limit, changed]))
    """
    first, again, kept, limit, changed = in_comfyui(code)
    assert first == ["detection_mobilenet0.25_Final.pth", "parsing_parsenet.pth", "recognition_arcface_ir_se50.pth"]
    assert again == []
    assert kept == [True, True]
    assert limit == []
    assert changed == ["parsing_parsenet.pth"]


def test_moved_weights_still_count_their_changes(in_comfyui: Run) -> None:
    """Tensors of inference mode do not, and then the network would compute what it caches again in every call."""
    code = """
        on_a_gpu("NORMAL_VRAM")
        model = managed()
        seen = []
        for _ in range(2):
            load(model)
            seen.append([devices(model), any(tensor.is_inference() for tensor in model.model.network.parameters())])
            with torch.inference_mode():
                management.unload_all_models()
        print(json.dumps(seen))
    """
    assert in_comfyui(code) == [[["meta"], False]] * 2

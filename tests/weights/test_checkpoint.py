"""Every checkpoint layout in circulation loads as the same network."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gpen.errors import CheckpointError, GpenError
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.weights import tensors as weights
from gpen.weights.checkpoint import inspect, load_model
from gpen.weights.state_dict import expected_shapes
from tests.weights.checkpoint_files import TINY, random_state

State = dict[str, Tensor]

STATE = random_state()


def parts(state: State) -> dict[str, State]:
    def strip(name: str) -> str:
        return name.removeprefix("generator.")

    return {
        "encoder": {n: t for n, t in state.items() if n.startswith(("ecd", "final_linear"))},
        "mapper": {strip(n): t for n, t in state.items() if n.startswith("generator.style")},
        "generator": {strip(n): t for n, t in state.items() if n.startswith("generator.") and ".style." not in n},
    }


def numbered_mapper(state: State, first: int) -> dict[str, State]:
    layout = parts(state)
    mapper = {f"{int(n.split('.')[1]) - 1 + first}.{n.split('.')[2]}": t for n, t in layout["mapper"].items()}
    return layout | {"mapper": mapper}


def prefixed(prefix: str, state: State) -> State:
    return {prefix + n: t for n, t in state.items()}


OTHER = {"convs.0.0.weight": torch.ones(3, 3), "final_conv.0.weight": torch.ones(2)}

LAYOUTS = {
    "flat": lambda s: s,
    "ordered": lambda s: OrderedDict(s),
    "g_ema": lambda s: {"g": random_state(TINY, 9), "d": OTHER, "g_ema": s, "iter": 5},
    "g": lambda s: {"d": OTHER, "g": s},
    "params_ema": lambda s: {"params": random_state(TINY, 9), "params_ema": s},
    "params": lambda s: {"params": s},
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s},
    "nested wrappers": lambda s: {"model": {"state_dict": s}},
    "module.": lambda s: prefixed("module.", s),
    "g_ema and module.": lambda s: {"g_ema": prefixed("module.", s)},
    "flattened g_ema.": lambda s: {**prefixed("d.", OTHER), **prefixed("g_ema.", s)},
    "parameters": lambda s: {n: nn.Parameter(t) if t.is_floating_point() else t for n, t in s.items()},
    "optimizer beside": lambda s: {"g_ema": s, "g_optim": {"state": {0: {"step": 1}}, "param_groups": [{}]}},
    "parts": lambda s: {**parts(s), "args": argparse.Namespace(size=8, out_dir="x")},
    "parts in a wrapper": lambda s: {"state_dict": parts(s)},
    "parts with modules": lambda s: {k: prefixed("module.", v) for k, v in parts(s).items()},
    "parts named twice": lambda s: {k: prefixed(f"{k}.", v) for k, v in parts(s).items()},
    "parts, mapper from 1": lambda s: numbered_mapper(s, 1),
    "parts, mapper from 0": lambda s: numbered_mapper(s, 0),
    "no kernels": lambda s: {n: t for n, t in s.items() if not n.endswith(".kernel")},
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("container", ["torch-zip", "torch-legacy"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_loads_the_same_network(layout: str, container: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    content = LAYOUTS[layout]({n: t.to(dtype) for n, t in STATE.items()})
    torch.save(content, path, _use_new_zipfile_serialization=container == "torch-zip")
    if "args" in content and not hasattr(torch.serialization, "safe_globals"):
        pytest.skip("refused before PyTorch 2.5; see test_an_old_pytorch_refuses_a_namespace")
    info = inspect(path)
    assert (info.spec, info.container) == (TINY, container)
    assert info.dtypes == (str(dtype).removeprefix("torch."),)
    loaded = load_model(path).network.state_dict()
    assert list(loaded) == list(STATE)
    for name, tensor in STATE.items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.to(dtype).float()), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("layout", ["flat", "module.", "flattened g_ema.", "no kernels"])
def test_safetensors_loads_the_same_network(layout: str, dtype: torch.dtype, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"  # the name does not decide
    save_file(LAYOUTS[layout]({n: t.to(dtype) for n, t in STATE.items()}), path, {"note": "hello"})
    info = inspect(path)
    assert (info.container, info.metadata) == ("safetensors", {"note": "hello"})
    loaded = load_model(path).network.state_dict()
    assert all(torch.equal(loaded[name], tensor.to(dtype).float()) for name, tensor in STATE.items())


def test_flattened_parts_in_safetensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({f"{part}.{n}": t for part, state in parts(STATE).items() for n, t in state.items()}, path)
    loaded = load_model(path).network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in STATE.items())


def test_torch_file_with_a_safetensors_name(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    torch.save(STATE, path)
    assert inspect(path).container == "torch-zip"
    assert torch.equal(load_model(path).network.state_dict()["final_linear.0.bias"], STATE["final_linear.0.bias"])


@pytest.mark.parametrize("legacy", [False, True])
def test_views_of_one_storage(legacy: bool, tmp_path: Path) -> None:
    """Tensors that share memory in the file do not share it in the network, nor keep the rest of it alive."""
    total = sum(t.numel() for t in STATE.values())
    block = torch.zeros(10 * total)
    views, begin = {}, total
    for name, tensor in STATE.items():
        views[name] = block[begin : begin + tensor.numel()].view(tensor.shape).copy_(tensor)
        begin += tensor.numel()
    views["generator.style.2.bias"] = views["generator.style.1.bias"]
    torch.save(views, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    loaded = load_model(tmp_path / "x.pth").network.state_dict()
    assert torch.equal(loaded["generator.style.2.bias"], STATE["generator.style.1.bias"])
    pointers = {t.untyped_storage().data_ptr() for t in loaded.values()}
    assert len(pointers) == len(loaded)
    assert all(t.untyped_storage().nbytes() == t.numel() * 4 for t in loaded.values())


def test_a_view_does_not_keep_a_larger_storage_alive(tmp_path: Path) -> None:
    state = {**STATE, "ecd0.0.1.bias": torch.zeros(1 << 20)[8:16]}
    torch.save(state, tmp_path / "x.pth")
    loaded = load_model(tmp_path / "x.pth").network.state_dict()
    assert loaded["ecd0.0.1.bias"].untyped_storage().nbytes() == 32


def test_views_that_fill_a_storage_are_not_copied(tmp_path: Path) -> None:
    block = torch.cat([t.flatten() for t in STATE.values()])
    pieces = block.split([t.numel() for t in STATE.values()])
    views = {n: p.view(t.shape) for (n, t), p in zip(STATE.items(), pieces, strict=True)}
    torch.save(views, tmp_path / "x.pth")
    loaded = load_model(tmp_path / "x.pth").network.state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in STATE.items())
    assert len({t.untyped_storage().data_ptr() for t in loaded.values()}) == 1


def test_strided_tensors_become_contiguous(tmp_path: Path) -> None:
    strided = {n: t.t().contiguous().t() if t.ndim == 2 else t for n, t in STATE.items()}
    torch.save(strided, tmp_path / "x.pth")
    for name, tensor in load_model(tmp_path / "x.pth").network.state_dict().items():
        # Weights of convolutions have the layout that convolutions read.
        assert tensor.is_contiguous() or tensor.ndim > 2
        assert torch.equal(tensor, STATE[name])


@pytest.mark.parametrize(
    "spec",
    [
        Spec(32, 32, 2, 1 / 32, style_dim=8, n_mlp=3),
        Spec(64, 64, 2, 1 / 32, style_dim=8, n_mlp=1),
        Spec(64, 64, 1, 1 / 32, style_dim=8, n_mlp=1),
        Spec(128, 128, 1, 1 / 16, style_dim=8, n_mlp=1),
        Spec(128, 128, 0.5, 1 / 16, style_dim=8, n_mlp=1),
        Spec(32, 128, 2, 1 / 32, style_dim=8, n_mlp=1),
        Spec(8, 256, 4, 1 / 64, style_dim=8, n_mlp=1),
        Spec(16, 16, 2, 1 / 32, style_dim=24, n_mlp=9),
    ],
    ids=str,
)
def test_spec_is_inferred(spec: Spec, tmp_path: Path) -> None:
    torch.save(GPEN(spec).state_dict(), tmp_path / "x.pth")
    assert inspect(tmp_path / "x.pth").spec == spec


@pytest.mark.parametrize(
    ("name", "size", "multiplier", "narrow", "parameters"),
    [
        ("gpen-256", 256, 1, 0.5, 18_879_010),
        ("gpen-512", 512, 2, 1, 71_005_223),
        ("gpen-1024", 1024, 2, 1, 71_210_540),
        ("gpen-2048", 2048, 2, 1, 71_294_769),
    ],
)
def test_published_shapes_are_recognised(
    name: str, size: int, multiplier: float, narrow: float, parameters: int, shared: Path, tmp_path: Path
) -> None:
    """A sparse file with the published names and shapes: inspect reads only the header."""
    shapes = json.loads((shared / "reference" / f"{name}.shapes.json").read_text())
    header, end = {}, 0
    for tensor, shape in shapes.items():
        begin, end = end, end + 4 * torch.Size(shape).numel()
        header[tensor] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    head = json.dumps(header).encode()
    with (tmp_path / "GPEN-BFR.safetensors").open("wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        file.truncate(8 + len(head) + end)
    info = inspect(tmp_path / "GPEN-BFR.safetensors")
    assert info.spec == Spec(size, size, multiplier, narrow)
    assert (info.parameters, info.what) == (parameters, f"GPEN {size} face restoration network")
    assert {n: list(s) for n, s in expected_shapes(info.spec).items()} == shapes


@pytest.mark.parametrize(
    ("file_name", "task", "value_range"),
    [
        ("GPEN-BFR-512.pth", "restore", (-1.0, 1.0)),
        ("GPEN-Colorization-1024.pth", "colorize", (-1.0, 1.0)),
        ("GPEN-Inpainting-1024.pt", "inpaint", (-1.0, 1.0)),
        ("gpen-seg2face-512.pth", "synthesize", (0.0, 1.0)),
        ("anything.ckpt", "restore", (-1.0, 1.0)),
    ],
)
def test_task_follows_from_the_file_name(
    file_name: str, task: str, value_range: tuple[float, float], tmp_path: Path
) -> None:
    torch.save(STATE, tmp_path / file_name)
    info, model = inspect(tmp_path / file_name), load_model(tmp_path / file_name)
    assert (info.task, info.value_range) == (model.task, model.value_range) == (task, value_range)
    assert inspect(tmp_path / file_name, task="inpaint").task == "inpaint"
    with pytest.raises(GpenError, match=r"'sing'.*restore, colorize, inpaint, synthesize"):
        inspect(tmp_path / file_name, task="sing")


def test_info(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"g_ema": STATE, "iter": 7, "args": argparse.Namespace(size=8, lr=0.5)}, path)
    info = inspect(str(path))
    assert info.path == path
    assert info.file_size == path.stat().st_size
    assert info.wrapper == "g_ema"
    assert info.parameters == sum(t.numel() for n, t in STATE.items() if not n.endswith(".kernel"))
    assert info.metadata == {"iter": "7", "args.size": "8", "args.lr": "0.5"}
    assert info.sha256() == hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_model_computes_what_the_network_does(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pth")
    model = load_model(tmp_path / "x.pth")
    reference = GPEN(TINY)
    reference.load_state_dict(STATE)
    x = torch.rand(3, 3, 8, 8) * 2 - 1
    out = model(x)
    assert torch.equal(out, reference(x))
    assert (out.shape, out.dtype) == ((3, 3, 8, 8), torch.float32)
    assert model(x.double()).dtype == model(x.half()).dtype == torch.float32
    assert not any(p.requires_grad for p in model.network.parameters())
    assert not model.network.training
    assert (model.spec, model.dtype, model.device) == (TINY, torch.float32, torch.device("cpu"))


def test_a_call_leaves_the_weights_where_loading_has_put_them(tmp_path: Path) -> None:
    """What a call frees, and does not use again, would count as its memory."""
    torch.save(STATE, tmp_path / "m.pth")
    network = load_model(tmp_path / "m.pth").network
    before = {name: weight.data_ptr() for name, weight in network.named_parameters()}
    network(torch.rand(1, 3, TINY.in_size, TINY.in_size))
    assert {name: weight.data_ptr() for name, weight in network.named_parameters()} == before


def test_passthrough_weights_in_bfloat16(tmp_path: Path) -> None:
    torch.save(synthetic_weights(TINY), tmp_path / "x.pth")
    model = load_model(tmp_path / "x.pth", dtype=torch.bfloat16)
    x = torch.rand(1, 3, 8, 8) * 2 - 1
    out = model(x)
    assert (model.dtype, out.dtype) == (torch.bfloat16, torch.float32)
    assert 1e-5 < (out - x).abs().max() < 0.1


@pytest.mark.parametrize("dtype", [torch.float64, torch.int8, "float32"])
def test_a_dtype_in_which_no_network_computes_is_refused(dtype: Any, tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pth")
    with pytest.raises(GpenError, match=f"cannot compute in {dtype!r}. Choose torch.float32, torch.bfloat16 or"):
        load_model(tmp_path / "x.pth", dtype=dtype)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 4, 8, 8), (1, 3, 8, 16), (1, 3, 512, 512), (0, 3, 8, 8)])
def test_pictures_of_another_shape_are_refused(shape: tuple[int, ...], tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pth")
    model = load_model(tmp_path / "x.pth")
    with pytest.raises(GpenError, match=r"GPEN 8 .*\(N, 3, 8, 8\)"):
        model(torch.zeros(shape))
    with pytest.raises(GpenError, match="floating-point"):
        model(torch.zeros((1, 3, 8, 8), dtype=torch.uint8))


def test_global_torch_settings_do_not_affect_the_network(tmp_path: Path) -> None:
    """Hosts set inference mode and a default dtype while loading, and autocast while running."""
    torch.save(STATE, tmp_path / "x.pth")
    x = torch.rand(1, 3, 8, 8)
    expected = load_model(tmp_path / "x.pth")(x)
    save_file(LAYOUTS["no kernels"](STATE), tmp_path / "x.safetensors")
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            models = [load_model(tmp_path / "x.pth"), load_model(tmp_path / "x.safetensors")]
    finally:
        torch.set_default_dtype(torch.float32)
    for model in models:
        assert {t.dtype for t in model.network.state_dict().values()} == {torch.float32}
        assert not any(t.is_inference() for t in model.network.state_dict().values())
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(model(x), expected)


def test_the_file_may_be_replaced_after_loading(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    save_file(STATE, path)
    model = load_model(path)
    with path.open("r+b") as file:
        file.write(b"\xff" * path.stat().st_size)
    assert all(torch.equal(t, STATE[n]) for n, t in model.network.state_dict().items())


def test_dtypes_and_devices(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({n: t.half() for n, t in STATE.items()}, path)
    assert load_model(path).dtype == torch.float32
    assert load_model(path, device="meta").dtype == torch.float16
    with pytest.raises(GpenError, match=r"float16 .* CPU.*float32.*bfloat16"):
        load_model(path, dtype=torch.float16)
    with pytest.raises(GpenError, match=r"int8.*float32"):
        load_model(path, dtype=torch.int8)
    with pytest.raises(GpenError, match=r"'toaster'.*cpu"):
        load_model(path, device="toaster")
    if not torch.cuda.is_available():
        with pytest.raises(GpenError, match=r"cuda.*cpu"):
            load_model(path, device="cuda")


def test_float16_may_wait_on_a_cpu_for_a_device_that_computes_in_it(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pth")
    model = load_model(tmp_path / "x.pth", "cpu", torch.float16, runs_on="meta")
    assert (model.dtype, model.device) == (torch.float16, torch.device("cpu"))
    for name, tensor in model.network.state_dict().items():
        assert torch.equal(tensor, STATE[name].half())
    with pytest.raises(GpenError, match=r"float16 .* CPU"):
        load_model(tmp_path / "x.pth", "meta", torch.float16, runs_on="cpu")
    with pytest.raises(GpenError, match=r"'toaster'.*cpu"):
        load_model(tmp_path / "x.pth", runs_on="toaster")


@pytest.mark.parametrize(
    ("largest", "expected"), [(65504.0, torch.float16), (-65504.0, torch.float16), (7e4, None), (-7e4, None)]
)
def test_weights_that_float16_cannot_hold_are_kept_in_float32(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, largest: float, expected: torch.dtype | None
) -> None:
    state = {name: tensor.clone() for name, tensor in STATE.items()}
    state["generator.conv1.conv.weight"][0, 0, 0, 0, 0] = largest
    torch.save(state, tmp_path / "x.pth")
    model = load_model(tmp_path / "x.pth", "cpu", torch.float16, runs_on="meta")
    assert model.dtype == (expected or torch.float32)
    loaded = model.network.state_dict()
    assert all(torch.equal(loaded[name], tensor.to(model.dtype)) for name, tensor in state.items())
    assert loaded["generator.conv1.conv.weight"].isfinite().all()
    said = ["x.pth has weights that are too large for float16; it runs in float32."]
    assert caplog.messages == ([] if expected else said)


def test_a_host_that_rejects_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SD-WebUI's replacement of torch.load returns None, and takes no second positional argument."""
    seen: list[object] = []

    def checked(file: object, **options: object) -> None:
        seen.append((type(file) is str, options))

    torch.save(STATE, tmp_path / "x.pth")
    monkeypatch.setattr(torch, "load", checked)
    with pytest.raises(CheckpointError, match="gpen convert"):
        load_model(tmp_path / "x.pth")
    assert seen == [(False, {"map_location": "cpu", "weights_only": True})]
    assert inspect(tmp_path / "x.pth").spec == TINY


def test_an_old_pytorch_refuses_a_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(weights.torch.serialization, "safe_globals", raising=False)
    torch.save({"g_ema": STATE, "args": argparse.Namespace(size=8)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"argparse\.Namespace.*gpen convert"):
        load_model(tmp_path / "x.pth")
    torch.save({"g_ema": STATE}, tmp_path / "x.pth")
    load_model(tmp_path / "x.pth")

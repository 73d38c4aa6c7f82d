"""Upscalers: their output, tiles without seams, and files that are refused."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import math
import os
import pickle
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.GFPGAN import GFPGAN

import gpen
from gpen.errors import CheckpointError, GpenError, OutOfMemoryError, PhotoError
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration import upscaler as upscaler_module
from gpen.restoration.upscaler import HALO, SMALLEST_TILE, Upscaler, load_upscaler, spans
from gpen.weights.spandrel import repeatable, usable_dtype
from tests.restoration.upscalers import known_output, known_upscaler, published_names, random_upscaler


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).random((height, width, 3), dtype=np.float32)


def in_tiles(upscaler: Upscaler, tile: int) -> Upscaler:
    return Upscaler(upscaler.descriptor, upscaler.path, tile)


@pytest.mark.parametrize("scale", [1, 2, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (3, 40), (150, 211)])
def test_the_known_upscaler_gives_the_known_output(tmp_path, scale, size):
    upscaler = load_upscaler(known_upscaler(tmp_path / "known.pth", scale))
    photo = noise(*size)
    before = photo.copy()
    result = upscaler(photo)
    assert upscaler.scale == scale
    assert upscaler.title == f"RealESRGAN Compact x{scale} (known.pth)"
    assert result.dtype == np.float32
    assert np.abs(result - known_output(photo, scale)).max() <= 1e-6
    assert np.array_equal(photo, before)


# The one that folds 4 x 4 pixels into one has a receptive field four times as large, larger than the halo.
@pytest.mark.parametrize(("scale", "shuffle", "largest"), [(4, 1, 1e-6), (2, 2, 1e-5), (1, 4, 1e-3)])
@pytest.mark.parametrize("size", [(141, 277), (90, 331), (129, 128)])
def test_tiles_leave_no_seams(tmp_path, scale, shuffle, largest, size):
    upscaler = load_upscaler(random_upscaler(tmp_path / "random.pth", scale, shuffle))
    photo = noise(*size)
    whole = upscaler(photo)
    assert whole.shape == (size[0] * scale, size[1] * scale, 3)
    assert whole.std() > 0.01
    for tile in (128, 250):
        seen = []
        tiled = in_tiles(upscaler, tile)(photo, on_tile=lambda done, total, seen=seen: seen.append((done, total)))
        assert np.abs(tiled - whole).max() <= largest
        assert seen == [(done, len(seen) - 1) for done in range(len(seen))]
        assert len(seen) > 2 or tile > max(size)


def test_without_a_halo_there_are_seams(tmp_path, monkeypatch):
    """Shows that the test above could fail: the network looks beyond single pixels."""
    upscaler = in_tiles(load_upscaler(random_upscaler(tmp_path / "random.pth", 2)), 128)
    photo = noise(200, 200)
    whole = upscaler(photo)
    monkeypatch.setattr(upscaler_module, "HALO", 1)
    assert np.abs(upscaler(photo) - whole).max() > 1e-3


@given(
    length=st.integers(1, 5000),
    tile=st.integers(SMALLEST_TILE, 1024),
    multiple=st.sampled_from([1, 4, 8, 64, 128]),
    minimum=st.integers(0, 100),
)
def test_spans_cover_a_length_once(length, tile, multiple, minimum):
    unit = max(HALO, multiple)
    found = list(spans(length, tile, unit, minimum))
    assert [begin for _, begin, _, _ in found] == [0, *(end for _, _, end, _ in found)][:-1]
    assert found[-1][2] == length
    for first, begin, end, last in found:
        assert 0 <= first <= begin < end <= last <= length
        assert first % unit == 0
        assert first == 0 or begin - first >= HALO
        assert last == length or last - end >= HALO
        assert last - first >= min(minimum, length)
        assert last - first <= max(tile, unit) + 2 * unit + minimum


def test_on_tile_stops_it_between_tiles(tmp_path):
    upscaler = in_tiles(load_upscaler(known_upscaler(tmp_path / "known.pth")), 128)
    with pytest.raises(GpenError, match=r"was stopped after 3 of \d+ tiles\.$"):
        upscaler(noise(300, 300), on_tile=lambda done, total: done < 3)

    def fail(done: int, total: int) -> None:
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        upscaler(noise(300, 300), on_tile=fail)
    assert upscaler(noise(3, 3)).shape == (6, 6, 3)


def test_out_of_memory_halves_the_tiles(tmp_path):
    upscaler = load_upscaler(known_upscaler(tmp_path / "known.pth"))
    largest, sizes = [150], []
    really = upscaler.descriptor._call_fn

    def small_only(network, pixels):
        sizes.append(max(pixels.shape[2:]))
        if sizes[-1] > largest[0]:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 1 GiB")
        return really(network, pixels)

    upscaler.descriptor._call_fn = small_only
    photo = noise(400, 530)
    assert np.abs(upscaler(photo) - known_output(photo)).max() <= 1e-6
    assert sizes[0] > sizes[1] > 150 >= max(sizes[2:])
    sizes.clear()
    upscaler(photo)
    assert max(sizes) <= 150  # the tile size that worked is kept
    largest[0] = 20
    with pytest.raises(OutOfMemoryError, match=r"needs more memory than is free on cpu, even for tiles of 128 x 128"):
        upscaler(photo)


def test_other_errors_of_a_network_propagate(tmp_path):
    upscaler = load_upscaler(known_upscaler(tmp_path / "known.pth"))
    upscaler.descriptor._call_fn = lambda network, pixels: 1 / 0
    with pytest.raises(ZeroDivisionError):
        upscaler(noise(8, 8))


def test_nan_is_an_error(tmp_path):
    network = Compact(num_feat=4, num_conv=1, upscale=2)
    network.body[0].weight.data[0, 0, 0, 0] = torch.nan
    torch.save(network.state_dict(), tmp_path / "nan.pth")
    with pytest.raises(GpenError, match=r"\(nan\.pth\) returned NaN or Inf\. The model file is damaged"):
        load_upscaler(tmp_path / "nan.pth")(noise(8, 8))


def test_values_beyond_float16_make_it_continue_in_float32(tmp_path, caplog):
    upscaler = load_upscaler(known_upscaler(tmp_path / "known.pth"))
    upscaler.descriptor.model.body[0].weight.data.fill_(60000)
    upscaler.descriptor.model.half()
    for _ in range(2):
        assert np.abs(upscaler(noise(8, 8)) - known_output(noise(8, 8))).max() <= 1e-3
    assert upscaler.descriptor.dtype == torch.float32
    assert caplog.messages == [f"{upscaler.title} returned NaN or Inf in float16; it continues in float32."]


@pytest.mark.parametrize("photo", [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32), noise(4, 4) * 255])
def test_an_invalid_photo_is_refused(tmp_path, photo):
    with pytest.raises(PhotoError, match=r"^The photo"):
        load_upscaler(known_upscaler(tmp_path / "known.pth"))(photo)


def test_a_background_has_the_size_of_the_model_or_of_the_option(tmp_path):
    upscaler = load_upscaler(known_upscaler(tmp_path / "known.pth", 4))
    photo = noise(20, 31)
    assert np.array_equal(upscaler.background(photo, Options()), upscaler(photo))
    assert upscaler.background(photo, Options(upscale=1.5)).shape == (30, 46, 3)
    assert upscaler.background(photo, Options(upscale=4)).shape == (80, 124, 3)


@pytest.mark.parametrize(("scale", "factor"), [(4, 1.0), (4, 1.5), (2, 4.0)])
def test_a_background_that_is_too_large_is_refused_before_it_is_made(tmp_path, scale, factor):
    upscaler = load_upscaler(known_upscaler(tmp_path / "known.pth", scale))
    upscaler.descriptor = None
    limits = Options(max_megapixels=0.1, upscale=factor)
    with pytest.raises(PhotoError, match=r"would make a picture of 0\.16 megapixels, more than the 0\.1 allowed"):
        upscaler.background(noise(100, 100), limits)


def test_random_noise_is_repeatable_and_leaves_the_global_generator_alone(tmp_path):
    upscaler = load_upscaler(known_upscaler(tmp_path / "known.pth"))
    really = upscaler.descriptor._call_fn
    upscaler.descriptor._call_fn = lambda network, pixels: really(network, pixels + 0.1 * torch.rand_like(pixels))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first, second = upscaler(noise(8, 8)), upscaler(noise(8, 8))
    assert np.array_equal(first, second)
    assert not np.array_equal(first, known_output(noise(8, 8)))
    assert torch.equal(torch.rand(3), expected)


def test_on_the_cpu_no_gpus_generator_is_seeded(monkeypatch):
    for name in ("manual_seed", "manual_seed_all"):
        monkeypatch.setattr(torch.cuda, name, lambda seed: pytest.fail("was seeded"))
    with repeatable(torch.device("cpu")):
        first = torch.rand(3)
    with repeatable(torch.device("cpu")):
        assert torch.equal(torch.rand(3), first)


def test_the_devices_own_generator_is_seeded_and_left_alone(monkeypatch):
    state = {"meta": "the host's"}
    module = SimpleNamespace(
        get_rng_state=lambda device: state[device.type],
        set_rng_state=lambda new, device: state.update({device.type: new}),
        manual_seed=lambda seed: state.update(meta=seed),
        device=contextlib.nullcontext,
    )
    monkeypatch.setattr(torch, "meta", module, raising=False)
    with contextlib.suppress(KeyError), repeatable(torch.device("meta")):
        assert state == {"meta": 0}
        raise KeyError
    assert state == {"meta": "the host's"}


def test_safetensors_and_wrapped_files(tmp_path):
    state = torch.load(random_upscaler(tmp_path / "flat.pth", 2), weights_only=True)
    expected = load_upscaler(tmp_path / "flat.pth")(noise(16, 16))
    save_file(state, tmp_path / "a.safetensors")
    torch.save({"params_ema": state, "params": {name: torch.zeros(1) for name in state}}, tmp_path / "wrapped.pth")
    torch.save({f"module.{name}": value.half() for name, value in state.items()}, tmp_path / "half.pth")
    for name, tolerance in (("a.safetensors", 0), ("wrapped.pth", 0), ("half.pth", 1e-2)):
        upscaler = load_upscaler(tmp_path / name)
        assert upscaler.descriptor.dtype == torch.float32
        assert np.abs(upscaler(noise(16, 16)) - expected).max() <= tolerance


@pytest.mark.parametrize(("scale", "shuffle"), [(4, 1), (2, 2), (1, 4)])
def test_published_names(tmp_path, scale, shuffle):
    """The tensor names of RealESRNet_x4plus.pth, and of the realesrnet_x1, x2 and x4 that GPEN's authors use."""
    random_upscaler(tmp_path / "old.pth", scale, shuffle)
    state = published_names(torch.load(tmp_path / "old.pth", weights_only=True))
    torch.save({"params_ema": state}, tmp_path / "realesrnet.pth")
    photo = noise(21, 34)
    old, new = (load_upscaler(tmp_path / name) for name in ("old.pth", "realesrnet.pth"))
    assert new.title == f"ESRGAN x{scale} (realesrnet.pth)"
    assert np.array_equal(old(photo), new(photo))


def test_it_can_be_loaded_and_used_in_inference_mode(tmp_path):
    known_upscaler(tmp_path / "known.pth")
    with torch.inference_mode(), torch.autocast("cpu"):
        upscaler = load_upscaler(tmp_path / "known.pth")
        result = upscaler(noise(8, 8))
    assert np.abs(result - known_output(noise(8, 8))).max() <= 1e-6
    assert not next(upscaler.descriptor.model.parameters()).is_inference()
    assert upscaler.descriptor.model.training is False


def test_the_package_exports_it(tmp_path):
    assert isinstance(gpen.load_upscaler(str(known_upscaler(tmp_path / "known.pth")), "auto"), gpen.Upscaler)


@pytest.mark.parametrize(
    ("precision", "half", "bfloat", "expected"),
    [
        ("auto", True, True, torch.float16),
        ("auto", False, True, torch.float32),
        ("fp32", True, True, torch.float32),
        ("fp16", True, True, torch.float16),
        ("fp16", False, True, torch.float32),
        ("bf16", True, True, torch.bfloat16),
        ("bf16", True, False, torch.float32),
    ],
)
def test_precision_on_a_gpu_and_on_a_cpu(monkeypatch, precision, half, bfloat, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA L4")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))

    class Descriptor:
        supports_half = half
        supports_bfloat16 = bfloat

    assert usable_dtype(precision, torch.device("cuda"), Descriptor()) == expected
    assert usable_dtype(precision, torch.device("cpu"), Descriptor()) == torch.float32


def test_a_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"^There is no file .*lost\.pth\.$"):
        load_upscaler(tmp_path / "lost.pth")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_gpen_network_is_refused(tmp_path, wrapped):
    weights = synthetic_weights(Spec(64, 64, 2, 1 / 16, 16, 2))
    torch.save({"g_ema": weights} if wrapped else weights, tmp_path / "mine.pth")
    with pytest.raises(CheckpointError, match=r"^mine\.pth is a GPEN 64 network, which restores faces\. A background"):
        load_upscaler(tmp_path / "mine.pth")


def test_a_gfpgan_network_is_refused(tmp_path):
    with torch.device("meta"):
        network = GFPGAN(
            out_size=512, num_style_feat=512, channel_multiplier=2, fix_decoder=False, input_is_latent=True
        )
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    numbers = torch.zeros(max(map(math.prod, shapes.values())))  # shared by all tensors, to save 350 MB
    state = {name: numbers[: math.prod(shape)].view(shape) for name, shape in shapes.items()}
    torch.save(state, tmp_path / "GFPGANv1.4.pth")
    with pytest.raises(
        CheckpointError, match=r"^GFPGANv1\.4\.pth is a network of the kind GFPGAN, which restores faces"
    ):
        load_upscaler(tmp_path / "GFPGANv1.4.pth")


def test_grey_upscalers_are_refused(tmp_path):
    torch.save(Compact(num_in_ch=1, num_out_ch=1, num_feat=4, num_conv=1).state_dict(), tmp_path / "grey.pth")
    with pytest.raises(CheckpointError, match="with 1 channels in and 1 out instead of 3"):
        load_upscaler(tmp_path / "grey.pth")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("position_emb", "idx_pred_layer.weight", "ft_layers.0.weight"), "a CodeFormer network"),
        (("convs.0.weight", "final_conv.0.weight", "final_linear.0.weight"), "the discriminator of a GPEN network"),
        (("a", "b"), "another network"),
    ],
)
def test_other_networks_are_refused(tmp_path, names, what):
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"^x\.pth is {what}.*does not read as an upscaler\. A background"):
        load_upscaler(tmp_path / "x.pth")


def test_a_network_that_only_looks_like_an_upscaler(tmp_path):
    state = Compact(num_feat=4, num_conv=1).state_dict()
    del state["body.2.bias"]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(
        CheckpointError, match=r"a compact upscaler \(SRVGGNet\), and spandrel cannot load it as an upscaler"
    ):
        load_upscaler(tmp_path / "x.pth")


class Bomb:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("bare", [False, True])
def test_code_in_a_file_is_not_run(tmp_path, bare):
    content = {"body.0.weight": torch.zeros(3), "body.1.weight": Bomb(tmp_path / "bomb")}
    if bare:
        (tmp_path / "evil.pth").write_bytes(pickle.dumps({"params": Bomb(tmp_path / "bomb")}))
    else:
        torch.save(content, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match=r"evil\.pth wants to run code"):
        load_upscaler(tmp_path / "evil.pth")
    assert not (tmp_path / "bomb").exists()


def test_damaged_files(tmp_path):
    whole = random_upscaler(tmp_path / "whole.pth", 2).read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.pth").write_text("<!doctype html><html></html>")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name, pattern in (("cut", "is cut short"), ("page", "is a web page"), ("empty", "is empty")):
        with pytest.raises(CheckpointError, match=rf"^{name}\.pth {pattern}"):
            load_upscaler(tmp_path / f"{name}.pth")


def test_without_spandrel_the_error_says_what_to_install(tmp_path, monkeypatch):
    known_upscaler(tmp_path / "known.pth")
    monkeypatch.delitem(sys.modules, "spandrel")
    really = builtins.__import__

    def missing(name, *more):
        if name == "spandrel":
            raise ModuleNotFoundError("No module named 'spandrel'", name="spandrel")
        return really(name, *more)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(GpenError, match=r'not installed\. Install it: pip install "gpen-face-restore\[upscale\]"$'):
        load_upscaler(tmp_path / "known.pth")


def test_if_spandrel_is_broken_the_error_says_why(tmp_path, monkeypatch):
    known_upscaler(tmp_path / "known.pth")
    (tmp_path / "spandrel.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "spandrel")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(GpenError, match=r"spandrel cannot be used here \(RuntimeError: operator torchvision::nms does"):
        load_upscaler(tmp_path / "known.pth")

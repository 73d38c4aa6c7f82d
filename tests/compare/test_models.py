"""Face models: the input and output of each network, and files that are refused."""

from __future__ import annotations

import builtins
import importlib
import os
import sys

import numpy as np
import pytest
import torch
from spandrel import ModelLoader

from gpen.compare.models import FIDELITY, SIZE, load_face_model
from gpen.errors import CheckpointError, GpenError, OutOfMemoryError
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from tests.compare.face_networks import codeformer, gfpgan, restoreformer
from tests.restoration.upscalers import known_upscaler

COLOR = (0.8, 0.5, 0.1)
SMALL = Spec(64, 64, 2, 1 / 16, 16, 2)


def crop(size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(0).random((size, size, 3), dtype=np.float32)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A RestoreFormer with random weights."""
    return restoreformer(tmp_path_factory.mktemp("networks") / "RestoreFormer.pth")


@pytest.mark.parametrize("make", [restoreformer, gfpgan, codeformer])
def test_colours_and_ranges(tmp_path, make):
    """The network sees RGB in [-1, 1], as it was trained, and its output in [-1, 1] becomes [0, 1]."""
    model = load_face_model(make(tmp_path / "network.pth", COLOR))
    assert model.title.casefold() == make.__name__
    assert (model.in_size, model.out_size, model.template) == (512, 512, "ffhq")
    assert (model.dtype, model.device.type, model.path.name) == (torch.float32, "cpu", "network.pth")
    seen = []

    def look(network, given, named):
        seen.append((given, named))

    model.descriptor.model.register_forward_pre_hook(look, with_kwargs=True)
    before = crop()
    kept = before.copy()
    after = model(before)
    ((pixels,), named) = seen[0]
    assert np.abs(pixels[0].permute(1, 2, 0).numpy() - (2 * before - 1)).max() <= 1e-6
    assert named == ({"weight": FIDELITY} if make is codeformer else {})
    assert after.shape == (512, 512, 3)
    assert after.dtype == np.float32
    assert np.abs(after - np.array(COLOR)).max() <= 1e-3
    assert np.array_equal(before, kept)


def test_spandrels_own_call_converts_ranges_for_restoreformer_alone(small, tmp_path):
    """For RestoreFormer the results agree; of GFPGAN's output spandrel clips half."""
    expected = ModelLoader().load_from_file(small).eval()
    before = crop()
    pixels = torch.from_numpy(before).permute(2, 0, 1)[None]
    assert np.abs(load_face_model(small)(before) - expected(pixels)[0].permute(1, 2, 0).numpy()).max() <= 1e-5
    raw = ModelLoader().load_from_file(gfpgan(tmp_path / "GFPGANv1.4.pth", COLOR)).eval().float()
    assert raw(pixels)[0, :, 0, 0].tolist() == pytest.approx([0.6, 0, 0], abs=1e-3)


def test_random_noise_is_repeatable_and_leaves_the_global_generator_alone(small):
    model = load_face_model(small)
    really = model.descriptor.model.forward
    model.descriptor.model.forward = lambda pixels: really(pixels + 0.1 * torch.rand_like(pixels))
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    assert np.array_equal(model(crop()), model(crop()))
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("spec", [SMALL, Spec(128, 128, 2, 1 / 16, 16, 2)])
def test_a_gpen_network_is_a_face_model(tmp_path, spec):
    torch.save({"g_ema": synthetic_weights(spec)}, tmp_path / "mine.pth")
    model = load_face_model(tmp_path / "mine.pth", precision="fp32")
    assert (model.title, model.template) == (spec.title, None)
    assert model.in_size == model.out_size == spec.in_size
    assert np.abs(model(crop(spec.in_size)) - crop(spec.in_size)).max() <= 1e-5


def test_nan_is_an_error(small):
    model = load_face_model(small)
    model.descriptor.model.forward = lambda pixels: (pixels * torch.nan,)
    with pytest.raises(GpenError, match=r"^RestoreFormer \(RestoreFormer\.pth\) returned NaN or Inf\."):
        model(crop())


def test_values_beyond_float16_make_it_continue_in_float32(small):
    model = load_face_model(small)
    model.descriptor.model.half()
    model.descriptor.model.forward = lambda pixels: (pixels * 1e6 / 1e6,)
    assert np.abs(model(crop()) - crop()).max() <= 1e-6
    assert model.dtype == torch.float32


def test_too_little_memory(small):
    model = load_face_model(small)

    def fail(pixels):
        raise torch.cuda.OutOfMemoryError("CUDA out of memory.")

    model.descriptor.model.forward = fail
    with pytest.raises(OutOfMemoryError, match=r"^RestoreFormer \(RestoreFormer\.pth\) needs more memory than is free"):
        model(crop())
    model.descriptor.model.forward = lambda pixels: 1 / 0
    with pytest.raises(ZeroDivisionError):
        model(crop())


def test_an_upscaler_is_refused(tmp_path):
    known_upscaler(tmp_path / "RealESRGAN_x2.pth")
    with pytest.raises(
        CheckpointError,
        match=r"^RealESRGAN_x2\.pth is a network of the kind RealESRGAN Compact, which does not restore faces",
    ):
        load_face_model(tmp_path / "RealESRGAN_x2.pth")


def test_a_gpen_network_for_another_task_is_refused(tmp_path):
    torch.save(synthetic_weights(SMALL), tmp_path / "GPEN-Colorization-1024.pth")
    with pytest.raises(GpenError, match=r"^GPEN-Colorization-1024\.pth is a .*for the task colorize\. Choose a model"):
        load_face_model(tmp_path / "GPEN-Colorization-1024.pth")


@pytest.mark.parametrize(
    ("names", "what"),
    [
        (("convs.0.weight", "final_conv.0.weight", "final_linear.0.weight"), "the discriminator of a GPEN network"),
        (("ClassHead.0.weight", "BboxHead.0.weight"), "a RetinaFace network, which detects faces"),
        (("quantize.weight", "main_branch.weight"), "a VQFR network"),
        (("a", "b"), "another network"),
    ],
)
def test_other_networks_are_refused(tmp_path, names, what):
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=rf"^x\.pth is {what}, .*spandrel does not read as a face model\. A"):
        load_face_model(tmp_path / "x.pth")


def test_missing_and_damaged_files(small, tmp_path):
    whole = small.read_bytes()
    (tmp_path / "cut.pth").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "page.pth").write_text("<!doctype html><html></html>")
    (tmp_path / "graph.onnx").write_bytes(b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x80\x01")
    for name, what in (("cut.pth", "is cut short"), ("page.pth", "is a web page"), ("graph.onnx", "is an ONNX file")):
        with pytest.raises(CheckpointError, match=rf"^{name} {what}"):
            load_face_model(tmp_path / name)
    with pytest.raises(CheckpointError, match=r"^There is no file .*lost\.pth\.$"):
        load_face_model(tmp_path / "lost.pth")
    state = torch.load(small, weights_only=True)["params"]
    del state["decoder.conv_in.bias"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(CheckpointError, match=r"a RestoreFormer network, and spandrel cannot load it as a face model"):
        load_face_model(tmp_path / "part.pth")


class Bomb:
    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("name", ["stylegan_decoder.x", "ecd0.0.0.weight", "position_emb"])
def test_code_in_a_file_is_not_run(tmp_path, name):
    torch.save({name: torch.zeros(3), "bomb": Bomb(tmp_path / "bomb")}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="wants to run code"):
        load_face_model(tmp_path / "evil.pth")
    assert not (tmp_path / "bomb").exists()


@pytest.fixture
def without(monkeypatch):
    """Makes a package seem missing."""

    def remove(package: str) -> None:
        monkeypatch.delitem(sys.modules, package, raising=False)
        really = builtins.__import__

        def missing(name, *more):
            if name == package:
                raise ModuleNotFoundError(f"No module named {package!r}", name=package)
            return really(name, *more)

        monkeypatch.setattr(builtins, "__import__", missing)

    return remove


@pytest.fixture
def like_codeformer(tmp_path):
    names = ("position_emb", "idx_pred_layer.1.weight", "ft_layers.0.weight")
    torch.save({name: torch.zeros(2) for name in names}, tmp_path / "codeformer.pth")
    return tmp_path / "codeformer.pth"


def test_without_spandrel_the_error_says_what_to_install(small, like_codeformer, without):
    without("spandrel")
    for path in (small, like_codeformer):
        with pytest.raises(
            GpenError, match=r'^A face model needs the Python package spandrel.*face-restore\[upscale\]"$'
        ):
            load_face_model(path)


def test_without_the_package_of_codeformer_the_error_says_what_its_licence_allows(small, like_codeformer, without):
    without("spandrel_extra_arches")
    with pytest.raises(
        GpenError,
        match=r"^codeformer\.pth is a CodeFormer network, which needs the Python package spandrel-extra-arches, which "
        r'is not installed\. .*S-Lab License 1\.0.*non-commercial use only.*install "gpen-face-restore\[codeformer\]"$',
    ):
        load_face_model(like_codeformer)
    assert load_face_model(small).title == "RestoreFormer"


def test_if_the_package_of_codeformer_is_broken_the_error_says_why(like_codeformer, tmp_path, monkeypatch):
    (tmp_path / "spandrel_extra_arches.py").write_text("raise RuntimeError('made for another spandrel')")
    monkeypatch.delitem(sys.modules, "spandrel_extra_arches", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    with pytest.raises(GpenError, match=r"which does not import here \(made for another spandrel\)"):
        load_face_model(like_codeformer)


def test_a_file_that_only_looks_like_codeformer(like_codeformer):
    with pytest.raises(
        CheckpointError, match=r"^codeformer\.pth is a CodeFormer network, which spandrel does not read"
    ):
        load_face_model(like_codeformer)

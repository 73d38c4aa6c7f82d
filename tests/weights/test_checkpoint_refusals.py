"""Files that are not GPEN networks: the error says what each is and what to do."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from gpen.errors import CheckpointError
from gpen.network.gpen import GPEN
from gpen.weights.checkpoint import inspect, load_model
from tests.weights.checkpoint_files import STATE, TINY


def refused(path: Path, pattern: str) -> str:
    """Both readers refuse the file, in the same words."""
    with pytest.raises(CheckpointError, match=pattern) as by_inspect:
        inspect(path)
    with pytest.raises(CheckpointError) as by_load:
        load_model(path)
    assert str(by_inspect.value) == str(by_load.value)
    text = str(by_load.value)
    assert path.name in text
    assert text.endswith(".")
    return text


def named(*names: str) -> dict[str, Tensor]:
    return {name: torch.zeros(2) for name in names}


OTHER_NETWORKS: dict[str, tuple[Any, str]] = {
    "discriminator": (
        named("convs.0.0.weight", "convs.1.conv1.0.weight", "final_conv.0.weight", "final_linear.0.weight"),
        "discriminator of a GPEN network.*without -D",
    ),
    "gfpgan": (
        {"params_ema": named("conv_body_first.weight", "toRGB.0.weight", "stylegan_decoder.style_mlp.1.weight")},
        "a GFPGAN network",
    ),
    "codeformer": (
        {
            "params_ema": named(
                "position_emb",
                "idx_pred_layer.1.weight",
                "quantize.embedding.weight",
                "ft_layers.0.self_attn.in_proj_weight",
                "encoder.blocks.0.weight",
                "generator.blocks.0.weight",
            )
        },
        "a CodeFormer network",
    ),
    "restoreformer": (
        named("quantize.embedding.weight", "encoder.conv_in.weight", "quant_conv.weight", "decoder.conv_out.weight"),
        "a RestoreFormer network",
    ),
    "restoreformer++": (
        {
            "state_dict": named(
                "vqvae.quantize.embedding.weight", "vqvae.encoder.conv_in.weight", "vqvae.decoder.conv_in.weight"
            )
        },
        "a RestoreFormer network",
    ),
    "stable diffusion": (
        {
            "state_dict": named(
                "model.diffusion_model.input_blocks.0.0.weight",
                "first_stage_model.encoder.conv_in.weight",
                "cond_stage_model.transformer.text_model.embeddings.position_ids",
            )
        },
        "a Stable Diffusion checkpoint",
    ),
    "lora": (
        named("lora_unet_down_blocks_0.lora_up.weight", "lora_te_text_model.lora_down.weight"),
        "a LoRA",
    ),
    "vae": (
        named("encoder.down_blocks.0.resnets.0.conv1.weight", "decoder.up_blocks.0.weight", "quant_conv.weight"),
        "the VAE of a diffusion model",
    ),
    "unet": (
        named("conv_in.weight", "down_blocks.0.resnets.0.conv1.weight", "time_embedding.linear_1.weight"),
        "a part of a diffusion model",
    ),
    "controlnet": (
        named("control_model.zero_convs.0.0.weight", "control_model.input_blocks.0.0.weight"),
        "a ControlNet",
    ),
    "stylegan2": (
        {
            "g": named("style.1.weight"),
            "g_ema": named("style.1.weight", "input.input", "convs.0.conv.weight", "to_rgbs.0.conv.weight"),
            "latent_avg": torch.zeros(4),
        },
        "a StyleGAN2 generator without GPEN's encoder",
    ),
    "esrgan": (
        {"params_ema": named("conv_first.weight", "body.0.rdb1.conv1.weight", "conv_last.weight")},
        "an ESRGAN upscaler",
    ),
    "esrgan of old": (named("model.0.weight", "model.1.sub.0.RDB1.conv1.0.weight"), "an ESRGAN upscaler"),
    "compact": ({"params": named("body.0.weight", "body.1.weight", "body.2.weight")}, "SRVGGNet"),
    "retinaface": (
        named("module.body.conv1.weight", "module.fpn.output1.0.weight", "module.ClassHead.0.conv1x1.weight"),
        "a RetinaFace network",
    ),
    "parsenet": (named("encoder.0.conv2d.weight", "out_mask_conv.conv2d.weight"), "ParseNet"),
    "bisenet": (named("cp.resnet.conv1.weight", "ffm.convblk.conv.weight", "conv_out.conv.conv.weight"), "BiSeNet"),
    "resnet": (named("conv1.weight", "layer1.0.conv1.weight", "layer4.0.conv1.weight", "fc.weight"), "a ResNet"),
    "unknown": (named("foo.weight", "bar.weight"), r"another network: 2 tensors such as bar\.weight, foo\.weight"),
    "no tensors": ({"epoch": 3, "name": "x"}, "no tensors were found in it, only epoch, name"),
    "list": ([torch.ones(2)], "no tensors were found"),
}


@pytest.mark.parametrize("kind", OTHER_NETWORKS)
def test_other_networks_are_named(kind: str, tmp_path: Path) -> None:
    content, pattern = OTHER_NETWORKS[kind]
    torch.save(content, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", pattern)
    if isinstance(content, dict) and all(isinstance(value, Tensor) for value in content.values()):
        save_file(content, tmp_path / "x.safetensors")
        refused(tmp_path / "x.safetensors", pattern)


def test_lightning_objects_do_not_hide_stable_diffusion(tmp_path: Path) -> None:
    content = {**OTHER_NETWORKS["stable diffusion"][0], "callback": nn.Linear(1, 1)}
    torch.save(content, tmp_path / "sd.ckpt")
    text = refused(tmp_path / "sd.ckpt", "a Stable Diffusion checkpoint")
    assert "wants to run code" in text
    assert "torch.nn.modules.linear.Linear" in text


def zipped(**entries: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tarred() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


OTHER_FORMATS = {
    "empty": (b"", "is empty.*Download"),
    "zeros": (bytes(2000), "only zeros.*Download"),
    "html": (b"\n <!DOCTYPE html><html><head><title>404</title>", "a web page.*Download"),
    "html without doctype": (b"<HTML><body>Not found</body></HTML>", "a web page"),
    "xml": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "XML.*error message"),
    "json": (b'{"error": "Entry not found"}', "JSON.*error message"),
    "text": (b"Invalid username or password", "a text file"),
    "text with a full stop": (b"Entry not found.", "not a model file"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 284085738\n", "Git LFS.*git lfs pull"),
    "onnx": (b"\x08\x06\x12\x07pytorch\x1a\x051.9:\xd4\x9e", "ONNX.*gpen convert.*onnx"),
    "onnx runtime": (b"\x20\0\0\0ORTM" + bytes(20), "ONNX Runtime"),
    "tar": (tarred(), "tar archive"),
    "gzip": (gzip.compress(b"x" * 100), "gzip"),
    "7z": (b"7z\xbc\xaf\x27\x1c" + bytes(90), "7-Zip"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(90), "picture"),
    "jpeg": (b"\xff\xd8\xff\xe0" + bytes(90), "picture"),
    "some zip": (zipped(**{"GPEN-BFR-512.pth": b"abc"}), "zip archive.*unpack"),
    "noise": (bytes(range(200, 256)) * 9, "not a model file"),
    "plain pickle": (pickle.dumps({"a": 1}), "not a model file"),
    "a zip's start": (b"PK\x03\x04" + bytes(100), "cut short"),
    "short": (b"\x80", "not a model file"),
}


@pytest.mark.parametrize("kind", OTHER_FORMATS)
def test_other_formats_are_recognised(kind: str, tmp_path: Path) -> None:
    content, pattern = OTHER_FORMATS[kind]
    (tmp_path / "GPEN-BFR-512.pth").write_bytes(content)
    refused(tmp_path / "GPEN-BFR-512.pth", pattern)


def test_paths_without_a_file(tmp_path: Path) -> None:
    refused(tmp_path, "is a folder")
    refused(tmp_path / "absent.pth", "no file")
    if Path("/dev/null").exists():
        refused(Path("/dev/null"), "device")


def test_torchscript(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.trace(nn.Linear(2, 2), torch.ones(1, 2)), tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "TorchScript")


def test_whole_pickled_model(tmp_path: Path) -> None:
    torch.save(GPEN(TINY), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", r"wants to run code.*gpen\.network\.gpen\.GPEN.*nothing was executed")


def test_newer_pickle_protocol(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "x.pth", pickle_protocol=4)
    refused(tmp_path / "x.pth", "Save it again with torch.save")


@pytest.mark.parametrize("part", [0.02, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
def test_truncated_downloads(container: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    if container == "safetensors":
        save_file(STATE, path)
    else:
        torch.save(STATE, path, _use_new_zipfile_serialization=container == "zip")
    load_model(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(part * len(whole))])
    refused(path, "cut short.*download it again")


def test_appended_bytes(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "x.safetensors")
    with (tmp_path / "x.safetensors").open("ab") as file:
        file.write(b"\0")
    refused(tmp_path / "x.safetensors", "1 bytes more")


def change(**changes: Any) -> dict[str, Tensor]:
    state = dict(STATE)
    for name, value in changes.items():
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


def test_missing_tensors(tmp_path: Path) -> None:
    gone = [n for n in STATE if n.startswith("generator.convs.1")]
    torch.save(change(**dict.fromkeys(gone)), tmp_path / "x.pth")
    text = refused(tmp_path / "x.pth", rf"looks like GPEN 8,.* {len(gone)} missing: ")
    assert "generator.convs.1.conv.weight (1 x 8 x 16 x 3 x 3)" in text
    assert f"and {len(gone) - 4} more" in text


def test_unknown_tensors(tmp_path: Path) -> None:
    torch.save(change(**{"extra.weight": torch.ones(3, 2)}), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", r"1 unknown: extra\.weight \(3 x 2\)\.")


def test_misshapen_tensors(tmp_path: Path) -> None:
    torch.save(change(**{"final_linear.0.weight": torch.ones(16, 5)}), tmp_path / "x.pth")
    refused(
        tmp_path / "x.pth",
        r"1 of another shape: final_linear\.0\.weight \(found 16 x 5, expected 16 x 128\)",
    )


def test_all_three_at_once(tmp_path: Path) -> None:
    state = change(**{"ecd1.0.2.bias": None, "foo": torch.ones(1), "ecd0.0.1.bias": torch.ones(9)})
    torch.save(state, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", r"1 missing: ecd1\.0\.2\.bias.*1 unknown: foo.*1 of another shape: ecd0\.0\.1")


def test_an_encoder_alone(tmp_path: Path) -> None:
    torch.save({n: t for n, t in STATE.items() if n.startswith("ecd")}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "too few to tell which: 2 encoder blocks")


def test_integer_weights(tmp_path: Path) -> None:
    torch.save({n: t.to(torch.int8) for n, t in STATE.items()}, tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "int8.*Expected float32, float16 or bfloat16")


@pytest.mark.parametrize("blocks", [12, 99, 10**12])
def test_absurd_sizes(blocks: int, tmp_path: Path) -> None:
    torch.save(change(**{f"ecd{blocks}.0.2.bias": torch.ones(8)}), tmp_path / "x.pth")
    refused(tmp_path / "x.pth", "GPEN")


def test_parts_of_another_network(tmp_path: Path) -> None:
    resnet = OTHER_NETWORKS["resnet"][0]
    content = {
        "encoder": resnet,
        "mapper": {n: t for n, t in STATE.items() if ".style." in n},
        "generator": {n: t for n, t in STATE.items() if n.startswith("generator.") and ".style." not in n},
    }
    torch.save(content, tmp_path / "GPEN-BFR-2048.pth")
    text = refused(tmp_path / "GPEN-BFR-2048.pth", "its encoder is not GPEN's: found 4 tensors such as conv1.weight")
    assert "looks like a ResNet" in text
    assert "expected ecd0.0.0.weight" in text
    content["encoder"] = {n: t for n, t in STATE.items() if n.startswith(("ecd", "final"))}
    torch.save(content, tmp_path / "GPEN-BFR-2048.pth")
    inspect(tmp_path / "GPEN-BFR-2048.pth")
    content["generator"] = named("blocks.0.weight")
    torch.save(content, tmp_path / "GPEN-BFR-2048.pth")
    refused(tmp_path / "GPEN-BFR-2048.pth", r"its generator is not GPEN's.*expected input\.input")


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**9, 10**9]},
        {"shape": [-1, -8]},
        {"shape": [8.0]},
        {"shape": [True] * 8},
        {"shape": [8] + [1] * 8},
        {"dtype": "F99"},
        {"data_offsets": [0, 10**15]},
        {"data_offsets": [4, 36]},
        {"data_offsets": [0]},
    ],
    ids=str,
)
def test_damaged_safetensors_headers(change: dict[str, Any], tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [8], "data_offsets": [0, 32]} | change
    head = json.dumps({"ecd0.0.1.bias": entry}).encode()
    (tmp_path / "x.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(32))
    refused(tmp_path / "x.safetensors", "damaged")


@pytest.mark.parametrize(
    "head",
    [
        b'{"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}}',
        b'{"__metadata__":{"x":3}}',
        b'{"__metadata__":[]}',
        b'{"a":[]}',
        b"{" + b'"a":{' * 5000,
        b"{nonsense}",
    ],
)
def test_damaged_safetensors_json(head: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(len(head).to_bytes(8, "little") + head + bytes(4))
    refused(tmp_path / "x.safetensors", "damaged")


def test_overlong_safetensors_header(tmp_path: Path) -> None:
    with (tmp_path / "x.safetensors").open("wb") as file:
        file.write((100 << 20).to_bytes(8, "little") + b"{")
        file.truncate(200 << 20)
    refused(tmp_path / "x.safetensors", "far longer than any real one")


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "GPEN-BFR-512-2-of-12.safetensors"])
def test_a_part_of_a_model_in_several_files(tmp_path: Path, name: str) -> None:
    """What a part lacks makes it look like another network, which it is not."""
    save_file({key: STATE[key].contiguous() for key in list(STATE)[:20]}, tmp_path / name)
    part, of = {"m": (1, 2), "G": (2, 12)}[name[0]]
    said = refused(tmp_path / name, f"is part {part} of {of} of a model that was saved in several files")
    assert "GPEN's networks are single files" in said


def test_a_whole_model_may_be_named_like_a_part(tmp_path: Path) -> None:
    for name in ("model-00001-of-00001.safetensors", "model-00001-of-00002.safetensors"):
        save_file({key: value.contiguous() for key, value in STATE.items()}, tmp_path / name)
        assert inspect(tmp_path / name).spec == TINY


@pytest.mark.parametrize(
    "content", ['{"weight_map":{}}', '\n{"metadata": {"total_size": 9},\n "weight_map": {"a": "b"}}']
)
def test_the_index_of_a_model_in_several_files(tmp_path: Path, content: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(content)
    said = refused(tmp_path / "model.safetensors.index.json", "is the index of a model that was saved in several files")
    assert "GPEN's networks are single files" in said

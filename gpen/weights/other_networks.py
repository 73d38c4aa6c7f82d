"""Recognises other networks by the names of their tensors, so that a mix-up gets a useful answer."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class _Foreign:
    """Networks of one kind: what they are called, patterns that must all begin some tensor's name, advice."""

    what: str
    patterns: tuple[str, ...]
    advice: str = ""


_OWN_TOOL = "It works in tools made for it"

_FOREIGN = (
    _Foreign(
        "the discriminator of a GPEN network, which is needed for training alone",
        (r"convs\.0\.", r"final_conv\.", r"final_linear\."),
        "Use the file of the same name without -D.",
    ),
    _Foreign("a GFPGAN network", (r"stylegan_decoder\.",), f"{_OWN_TOOL}, such as GFPGAN's own."),
    _Foreign(
        "a CodeFormer network",
        (r"position_emb$", r"idx_pred_layer\.", r"ft_layers\."),
        f"{_OWN_TOOL}, such as CodeFormer's own.",
    ),
    _Foreign(
        "a VQFR network",
        (r"quantizer\.|quantize\.", r"texture_|main_branch|inpfeat_"),
        f"{_OWN_TOOL}.",
    ),
    _Foreign(
        "a RestoreFormer network",
        (r"(vqvae\.)?quantize\.embedding\.", r"(vqvae\.)?encoder\.", r"(vqvae\.)?decoder\."),
        f"{_OWN_TOOL}, such as RestoreFormer's own.",
    ),
    _Foreign(
        "a LoRA for a diffusion model",
        (r".*\.?lora_(up|down|A|B)\b|lora_(unet|te\d?)_",),
        "It goes into the LoRA folder.",
    ),
    _Foreign(
        "a Stable Diffusion checkpoint",
        (r"(model\.)?diffusion_model\.|conditioner\.embedders\.|cond_stage_model\.",),
        "It goes into the checkpoints folder of the program that draws with it.",
    ),
    _Foreign(
        "a ControlNet of a diffusion model",
        (r"(control_model\.)?(zero_convs|input_hint_block|controlnet_)",),
        "It goes into the ControlNet folder.",
    ),
    _Foreign(
        "a part of a diffusion model (its U-Net or transformer)",
        (r"(down_blocks|double_blocks|joint_blocks|transformer_blocks|input_blocks)\.\d+\.",),
        "It goes into the folder for diffusion models.",
    ),
    _Foreign(
        "the VAE of a diffusion model",
        (
            r"(first_stage_model\.)?encoder\.(down|down_blocks|conv_in)\b",
            r"(first_stage_model\.)?decoder\.(up|up_blocks|conv_in)\b",
        ),
        "It goes into the VAE folder.",
    ),
    _Foreign(
        "a StyleGAN2 generator without GPEN's encoder",
        (r"(generator\.|decoder\.)?convs\.0\.conv\.", r"(generator\.|decoder\.)?(to_rgbs\.0|style)\."),
        "It draws faces, but cannot restore them.",
    ),
    _Foreign(
        "an ESRGAN upscaler",
        (r"(body|RRDB_trunk)\.0\.(rdb|RDB)1\.|model\.1\.sub\.0\.RDB1\.",),
        "It goes into the folder for upscalers (upscale_models, ESRGAN or RealESRGAN).",
    ),
    _Foreign(
        "an upscaler with a transformer (SwinIR, HAT, DAT or alike)",
        (r"conv_first\.", r"layers\.0\."),
        "It goes into the folder for upscalers.",
    ),
    _Foreign(
        "a RetinaFace network, which finds faces",
        (r"(ClassHead|BboxHead|LandmarkHead)\.",),
        "It belongs in a detectors' folder, and is chosen with the face detector.",
    ),
    _Foreign(
        "a face-parsing network (ParseNet)",
        (r"out_mask_conv\.|out_img_conv\.",),
        "It belongs in a detectors' folder, and is used by the mask `parsed`.",
    ),
    _Foreign(
        "a face-parsing network (BiSeNet)",
        (r"cp\.resnet\.", r"ffm\."),
        "It belongs in a detectors' folder, and is used by the mask `parsed`.",
    ),
    _Foreign("a face recognition network (ArcFace)", (r"input_layer\.", r"output_layer\.", r"body\.0\."), ""),
    _Foreign(
        "a face recognition network (ArcFace)",
        (
            r"layer1\.0\.",
            r"(bn4|fc5|bn5|prelu)\.",
        ),
        "",
    ),
    _Foreign(
        "a ResNet, an image classifier or the encoder of another network",
        (r"layer1\.0\.", r"layer4\.0\."),
        "",
    ),
    _Foreign("a YOLO detector", (r"model\.\d+\.(cv1|conv|m)\.",), "It finds objects or faces, and restores none."),
    _Foreign(
        "a compact upscaler (SRVGGNet)",
        (r"body\.0\.weight$", r"body\.1\.weight$"),
        "It goes into the folder for upscalers.",
    ),
)


def identify(names: Set[str]) -> str | None:
    """Return what the network with these tensors is, and what to do with it, or None.

    The text continues a sentence such as "x.pth is".
    """
    found = _find(names)
    return f"{found.what}, not a GPEN network. {found.advice}".rstrip() if found else None


def describe(names: Set[str]) -> str | None:
    """Return what the network with these tensors is, such as "a GFPGAN network", or None."""
    found = _find(names)
    return found.what if found else None


def _find(names: Set[str]) -> _Foreign | None:
    for foreign in _FOREIGN:
        if all(any(re.match(pattern, name) for name in names) for pattern in foreign.patterns):
            return foreign
    return None

"""Recognises other networks by the names of their tensors, so that a mix-up gets a useful answer."""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

OWN_TOOL = "Use a tool made for it"
FOR_DETECTION = "It belongs in a folder for detectors, and is chosen as the face detector."
_FOR_PARSED_MASK = "It belongs in a folder for detectors, and is used by the mask `parsed`."


@dataclass(frozen=True)
class _Kind:
    """Networks of one kind."""

    what: str
    """Its name with the article, such as "a GFPGAN network"."""
    patterns: tuple[str, ...]
    """Regular expressions; each must match the beginning of some tensor's name."""
    advice: str = ""
    """What to do with such a file."""
    enlarges: bool = False
    """Whether they are upscalers."""


_KINDS = (
    _Kind(
        "the discriminator of a GPEN network, which only training needs",
        (r"convs\.0\.", r"final_conv\.", r"final_linear\."),
        "Use the file of the same name without -D.",
    ),
    _Kind("a GFPGAN network", (r"stylegan_decoder\.",), f"{OWN_TOOL}, such as GFPGAN's own."),
    _Kind(
        "a CodeFormer network",
        (r"position_emb$", r"idx_pred_layer\.", r"ft_layers\."),
        f"{OWN_TOOL}, such as CodeFormer's own.",
    ),
    _Kind(
        "a VQFR network",
        (r"quantizer\.|quantize\.", r"texture_|main_branch|inpfeat_"),
        f"{OWN_TOOL}.",
    ),
    _Kind(
        "a RestoreFormer network",
        (r"(vqvae\.)?quantize\.embedding\.", r"(vqvae\.)?encoder\.", r"(vqvae\.)?decoder\."),
        f"{OWN_TOOL}, such as RestoreFormer's own.",
    ),
    _Kind(
        "a LoRA for a diffusion model",
        (r".*\.?lora_(up|down|A|B)\b|lora_(unet|te\d?)_",),
        "It goes into the LoRA folder.",
    ),
    _Kind(
        "a Stable Diffusion checkpoint",
        (r"(model\.)?diffusion_model\.|conditioner\.embedders\.|cond_stage_model\.",),
        "It goes into the checkpoints folder of the program that uses it.",
    ),
    _Kind(
        "a ControlNet of a diffusion model",
        (r"(control_model\.)?(zero_convs|input_hint_block|controlnet_)",),
        "It goes into the ControlNet folder.",
    ),
    _Kind(
        "a part of a diffusion model (its U-Net or transformer)",
        (r"(down_blocks|double_blocks|joint_blocks|transformer_blocks|input_blocks)\.\d+\.",),
        "It goes into the folder for diffusion models.",
    ),
    _Kind(
        "the VAE of a diffusion model",
        (
            r"(first_stage_model\.)?encoder\.(down|down_blocks|conv_in)\b",
            r"(first_stage_model\.)?decoder\.(up|up_blocks|conv_in)\b",
        ),
        "It goes into the VAE folder.",
    ),
    _Kind(
        "a StyleGAN2 generator without GPEN's encoder",
        (r"(generator\.|decoder\.)?convs\.0\.conv\.", r"(generator\.|decoder\.)?(to_rgbs\.0|style)\."),
        "It generates faces but cannot restore them.",
    ),
    _Kind(
        "an ESRGAN upscaler",
        (r"(body|RRDB_trunk)\.0\.(rdb|RDB)1\.|model\.1\.sub\.0\.RDB1\.",),
        "It goes into the folder for upscalers (upscale_models, ESRGAN or RealESRGAN).",
        enlarges=True,
    ),
    _Kind(
        "a transformer upscaler (SwinIR, HAT, DAT or similar)",
        (r"conv_first\.", r"layers\.0\."),
        "It goes into the folder for upscalers.",
        enlarges=True,
    ),
    _Kind(
        "a RetinaFace network, which detects faces",
        (r"(ClassHead|BboxHead|LandmarkHead)\.",),
        FOR_DETECTION,
    ),
    _Kind(
        "a face-parsing network (ParseNet)",
        (r"out_mask_conv\.|out_img_conv\.",),
        _FOR_PARSED_MASK,
    ),
    _Kind(
        "a face-parsing network (BiSeNet)",
        (r"cp\.resnet\.", r"ffm\."),
        _FOR_PARSED_MASK,
    ),
    _Kind("a face recognition network (ArcFace)", (r"input_layer\.", r"output_layer\.", r"body\.0\.")),
    _Kind(
        "a face recognition network (ArcFace)",
        (r"layer1\.0\.", r"(bn4|fc5|bn5|prelu)\."),
    ),
    _Kind(
        "a ResNet, an image classifier or the encoder of another network",
        (r"layer1\.0\.", r"layer4\.0\."),
    ),
    _Kind("a YOLO detector", (r"model\.\d+\.(cv1|conv|m)\.",), "It detects objects or faces and restores none."),
    _Kind(
        "a compact upscaler (SRVGGNet)",
        (r"body\.0\.weight$", r"body\.1\.weight$"),
        "It goes into the folder for upscalers.",
        enlarges=True,
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


def is_upscaler(names: Set[str]) -> bool:
    """Whether the network with these tensors enlarges pictures."""
    found = _find(names)
    return found is not None and found.enlarges


def _find(names: Set[str]) -> _Kind | None:
    for kind in _KINDS:
        if all(any(re.match(pattern, name) for name in names) for pattern in kind.patterns):
            return kind
    return None

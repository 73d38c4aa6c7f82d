"""The inputs of the commands in :mod:`bench.outputs`: small photos, masks, frames, and networks.

The networks have synthetic weights (:mod:`gpen.network.synthetic`) with noise in every ToRGB, so that every tensor
affects the picture. Photos and detectors come from ../shared.
"""

from __future__ import annotations

import pickle
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from facexlib.parsing.parsenet import ParseNet
from facexlib.recognition.arcface_arch import Backbone
from numpy.typing import NDArray
from PIL import Image, ImageCms
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.RestoreFormer import RestoreFormer
from torch import Tensor

from gpen.faces.detection.detector import make_detector
from gpen.faces.face import Face
from gpen.faces.faces_file import PhotoFaces, write_faces
from gpen.images import Picture, read_picture, write_picture
from gpen.network.gpen import GPEN
from gpen.network.spec import Spec
from gpen.network.synthetic import IDENTITY, SHARPEN, synthetic_weights

from .clip import solvay_clip
from .measure import random_weights
from .photos import DETECTORS, PHOTO, SHARED
from .textbook import Textbook

Pixels = NDArray[np.uint8]

SMALL = Spec(64, 64, 2, 1 / 8, style_dim=32, n_mlp=2)
MIDDLE = Spec(128, 128, 2, 1 / 8, style_dim=32, n_mlp=2)
WIDE = Spec(64, 64, 2, 1, style_dim=64, n_mlp=2)
"""Wide enough that the largest maps are convolved by Winograd's method."""
GROWING = Spec(64, 128, 2, 1 / 8, style_dim=32, n_mlp=2)
LARGE = Spec(512, 512, 2, 1 / 4)
"""Computed in several strips."""
TINT = (0.2, -0.05, -0.2)
NOISE = 0.02


def prepare(folder: Path) -> None:
    """Write everything into a new folder."""
    for name in ("photos", "formats", "tree", "frames", "masks", "networks", "detectors", "others"):
        (folder / name).mkdir(parents=True)
    group, portraits = _photos(folder / "photos")
    _formats(folder / "formats", portraits)
    _tree(folder / "tree", group, portraits)
    _frames(folder / "frames")
    _masks(folder / "masks", group.shape[:2])
    _faces(folder)
    _networks(folder / "networks")
    _detectors(folder / "detectors")
    _others(folder / "others")


def _photos(folder: Path) -> tuple[Pixels, list[Pixels]]:
    """Nine people, three portraits, a scene without faces; in 16 bits, which show what 8 would round away."""
    grey_group = np.asarray(Image.open(PHOTO).convert("RGB"))[60:330, 300:700]
    group = _tinted(grey_group)
    names = ("ffhq_00000_lq", "ffhq_00001_lq", "gray_106000")
    portraits = [_reduced(np.asarray(Image.open(SHARED / "photos" / f"{name}.png")), 240) for name in names]
    aligned = _reduced(portraits[2][20:220, 20:220], 160)
    pictures = {"group": group, "grey_group": grey_group, "portrait": portraits[0], "aligned": _grey(aligned)}
    for name, pixels in pictures.items():
        write_picture(folder / f"{name}.png", Picture(_fine(pixels), bits=16, grey=name == "aligned"))
    Image.fromarray(portraits[2]).convert("L").save(folder / "grey.png")
    waves = np.linspace(0, 12, 160)
    scene = 127 + 60 * np.sin(waves)[:, None] * np.cos(waves)
    Image.fromarray(scene.astype(np.uint8)).save(folder / "place.png")
    return group, portraits


def _formats(folder: Path, portraits: Sequence[Pixels]) -> None:
    """A face in every kind of picture file."""
    first, second, third = (Image.fromarray(portrait) for portrait in portraits)
    fine = _fine(portraits[1])
    alpha = np.tile(np.linspace(0.2, 1, 240, dtype=np.float32), (240, 1))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = Image.Exif()
    exif[0x010E], exif[0x0110] = "An afternoon", "A camera"
    write_picture(folder / "sixteen.png", Picture(fine, bits=16, icc=profile))
    write_picture(folder / "sixteen_alpha.tif", Picture(fine, alpha, bits=16, dpi=(300, 300), exif=exif.tobytes()[6:]))
    write_picture(folder / "sixteen_grey.tif", Picture(_grey(fine), bits=16, grey=True))
    write_picture(folder / "alpha.png", Picture(fine, alpha))
    first.save(folder / "lossy.webp", quality=90)
    first.convert("CMYK").save(folder / "cmyk.jpg", quality=92)
    first.save(folder / "points.bmp")
    second.quantize(64).save(folder / "palette.gif")
    third.convert("L").save(folder / "grey.jpg", quality=92, icc_profile=None)
    exif[0x0112] = 6  # shown after a quarter turn clockwise
    turned = second.transpose(Image.Transpose.ROTATE_90)
    turned.save(folder / "turned.jpg", quality=92, exif=exif, icc_profile=profile, dpi=(72, 72))


def _tree(folder: Path, group: Pixels, portraits: Sequence[Pixels]) -> None:
    """Photos in a tree of folders, with a broken one, a hidden one, and a text file."""
    (folder / "sub" / "deeper").mkdir(parents=True)
    Image.fromarray(group[:, :200]).save(folder / "a.jpg", quality=90)
    Image.fromarray(group[:, 200:]).save(folder / "sub" / "b.png")
    Image.fromarray(portraits[1]).save(folder / "sub" / "deeper" / "c.webp", quality=90)
    Image.fromarray(portraits[0]).save(folder / "sub" / ".hidden.png")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "broken.jpg").write_bytes(whole[: len(whole) // 10])
    (folder / "notes.txt").write_text("No photograph.\n", encoding="utf-8")


def _frames(folder: Path) -> None:
    """A clip that begins to shake, then a cut; one frame is so blurred that faces are missed."""
    clip = [frame.picture for frame in solvay_clip(read_picture(PHOTO, 100).photo, 14)]
    for number, picture in enumerate(clip):
        shift = round(12 * np.sin(np.pi * number / 3)) if 4 < number < 11 else 0
        seen = picture[:, 16 + shift : 464 + shift]
        if number == 2:
            seen = _blurred(seen, 9)
        if number > 10:
            seen = np.ascontiguousarray(seen[:, ::-1])
        # frame10 follows frame9.
        write_picture(folder / f"frame{number + 1}.png", Picture(seen, bits=16))


def _masks(folder: Path, size: tuple[int, int]) -> None:
    """Masks of damage for a photo and for the tree, a region, segmentation maps."""
    damage = np.zeros(size, np.uint8)
    for start, end in (((10, 20), (230, 120)), ((60, 170), (390, 150)), ((310, 0), (345, 260))):
        cv2.line(damage, start, end, 255, 5)
    region = np.zeros_like(damage)
    region[:, : size[1] // 2] = 255
    square = np.zeros((160, 160), np.uint8)
    cv2.circle(square, (70, 90), 18, 255, -1)
    pictures = {"damage": damage, "region": region, "square": square, "tree/a": damage[:, :200]}
    # The tree's third photo has no mask.
    pictures["tree/sub/b"] = damage[:, 200:]
    pictures |= {"map64": _map(64), "map150": _map(150)}
    (folder / "tree" / "sub").mkdir(parents=True)
    for name, picture in pictures.items():
        Image.fromarray(picture).save(folder / f"{name}.png")


def _map(size: int) -> Pixels:
    """A head in flat colours."""
    drawing = np.full((size, size, 3), (60, 60, 80), np.uint8)
    parts = ((50, 48, 38, 44, (90, 50, 30)), (50, 54, 27, 35, (220, 160, 130)), (40, 47, 5, 3, (240, 240, 240)))
    for x, y, wide, high, color in (*parts, (60, 47, 5, 3, (240, 240, 240)), (50, 73, 10, 4, (180, 60, 70))):
        center, axes = (x * size // 100, y * size // 100), (wide * size // 100, high * size // 100)
        cv2.ellipse(drawing, center, axes, 0, 0, 360, color, -1)
    return drawing


def _faces(folder: Path) -> None:
    """Faces as if corrected by hand: some removed, one moved, one tilted and over the border."""
    photo = read_picture(folder / "photos" / "group.png", 1).photo
    faces = make_detector("yunet", [DETECTORS]).detect(photo, 0.7)[::2]
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    tilted = (faces[2].landmarks - faces[2].center) @ turn.T + np.array([390.0, 235.0])
    moved = Face(faces[1].box, 0.3, faces[1].landmarks + np.array([2.5, -1.25]))
    listed = (faces[0], moved, faces[3], Face((365.0, 205.0, 415.0, 265.0), 1.0, tilted))
    height, width = photo.shape[:2]
    write_faces(folder / "faces.json", [PhotoFaces("group.png", width, height, listed)])


def _networks(folder: Path) -> None:
    """Networks of several sizes, containers and tasks, under the names by which they are found."""
    sharpen: dict[str, Any] = {"kernel": SHARPEN}
    torch.save(_made(SMALL, **sharpen), folder / "small.pth")
    torch.save({"g_ema": _made(MIDDLE, **sharpen)}, folder / "middle.pth")
    save_file({name: tensor.half() for name, tensor in _made(WIDE).items()}, folder / "wide.safetensors")
    torch.save(_random(GROWING), folder / "growing.pt")
    torch.save(_made(Spec(256, 256, 1, 1 / 4), **sharpen), folder / "GPEN-BFR-256.pth")
    torch.save(_made(LARGE, **sharpen), folder / "GPEN-BFR-512.pth")
    torch.save(_made(MIDDLE, **sharpen, seed=1), folder / "GPEN-BFR-2048.pth")
    tinted = _made(MIDDLE, seed=2, color_matrix=_times(0.8), color_bias=TINT)
    torch.save(tinted, folder / "GPEN-Colorization-1024.pth")
    filling = _made(MIDDLE, seed=3, color_matrix=_times(0.3), color_bias=TINT)
    torch.save(filling, folder / "GPEN-Inpainting-1024.pth")
    torch.save(_made(SMALL, seed=4), folder / "GPEN-Seg2face-512.pth")


def _made(spec: Spec, **more: Any) -> dict[str, Tensor]:
    more = {"color_matrix": _times(0.7)} | more
    weights = synthetic_weights(spec, **more)
    generator = torch.Generator().manual_seed(spec.out_size)
    for name, tensor in weights.items():
        if ".to_rgb" in name and name.endswith("conv.weight"):
            weights[name] = tensor + NOISE * torch.randn(tensor.shape, generator=generator)
    return weights


def _random(spec: Spec) -> dict[str, Tensor]:
    """Random weights, for networks whose output is larger than their input: there are no synthetic ones."""
    generator = torch.Generator().manual_seed(0)
    weights = GPEN(spec).state_dict()
    for name, tensor in weights.items():
        random = torch.randn(tensor.shape, generator=generator)
        if name.endswith("modulation.bias"):
            weights[name] = 1 + 0.1 * random
        elif not name.endswith(".kernel"):
            weights[name] = random * (0.1 if name.endswith("bias") or ".to_rgb" in name else 1)
    return weights


def _times(factor: float) -> list[list[float]]:
    return [[factor * value for value in row] for row in IDENTITY]


def _detectors(folder: Path) -> None:
    """The real detectors; a parser and a recogniser with random weights, in float16 to be small."""
    for name in ("face_detection_yunet_2023mar.onnx", "detection_mobilenet0.25_Final.pth"):
        shutil.copy(DETECTORS / name, folder)
    torch.manual_seed(0)
    parser, recognizer = ParseNet(in_size=512, out_size=512, parsing_ch=19), Backbone(50, 0.6, "ir_se")
    for layer in recognizer.modules():
        if isinstance(layer, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            layer.momentum = None
    with torch.no_grad():
        recognizer(torch.rand(4, 3, 112, 112) * 2 - 1)  # sets its normalisation, so that it distinguishes faces
    torch.save(parser.half().state_dict(), folder / "parsing_parsenet.pth")
    torch.save(recognizer.half().state_dict(), folder / "recognition_arcface_ir_se50.pth")


def _others(folder: Path) -> None:
    """Networks of other projects, an ONNX graph, and files that have to be refused."""
    torch.manual_seed(0)
    torch.save({"params": Compact(num_feat=8, num_conv=2, upscale=2).state_dict()}, folder / "upscaler.pth")
    channels: dict[str, Any] = {"ch": 32, "ch_mult": (1, 1, 1, 1, 1, 1), "z_channels": 32}
    restorer = RestoreFormer(n_embed=16, embed_dim=32, num_res_blocks=1, **channels)
    torch.save({"params": restorer.state_dict()}, folder / "restoreformer.pth")
    _graph(folder / "GPEN-Seg2face-512.onnx")
    (folder / "mixed").mkdir()
    torch.save(_made(SMALL, seed=5), folder / "mixed" / "GPEN-BFR-256.pth")
    shutil.copy(folder / "upscaler.pth", folder / "mixed")
    (folder / "mixed" / "short.pth").write_bytes((folder / "upscaler.pth").read_bytes()[:2000])
    (folder / "code.pth").write_bytes(pickle.dumps(_Code()))


class _Code:
    """Harmless code that must not be run when a model file is opened."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("This was run.",)


def _graph(path: Path) -> None:
    """The textbook formulation as an ONNX file."""
    spec = Spec(64, 64, 2, 1 / 32, style_dim=16, n_mlp=2)
    network = Textbook(spec)
    network.load_state_dict(random_weights(spec))
    picture = torch.zeros(1, 3, spec.in_size, spec.in_size)
    with warnings.catch_warnings():
        # Shapes become constants, and the exporter is the older one, which made the graphs in circulation.
        warnings.simplefilter("ignore")
        torch.onnx.export(network.requires_grad_(False).eval(), (picture,), str(path), dynamo=False)


def _reduced(picture: Pixels, size: int) -> Pixels:
    return np.asarray(cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA), np.uint8)


def _tinted(grey: Pixels) -> Pixels:
    """Colours that vary across and down the picture, so that no two channels are equal."""
    height, width = grey.shape[:2]
    down, across = np.meshgrid(np.linspace(0, 1, height), np.linspace(0, 1, width), indexing="ij")
    factors = np.stack([1 - 0.3 * across, 0.85 + 0.1 * down, 0.7 + 0.25 * across * down], axis=2)
    return np.rint(grey * factors).astype(np.uint8)


def _fine(pixels: Pixels) -> NDArray[np.float32]:
    """The picture with values between the steps of 8 bits."""
    return _blurred(pixels / np.float32(255), 0.4)


def _blurred(picture: NDArray[np.float32], sigma: float) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _grey(picture: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(picture[..., 1:2], 3, axis=2)

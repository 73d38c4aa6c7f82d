"""Face parsing: which pixels of a crop are face, by facexlib's networks."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ...device import exact_float32, pick_device
from ...errors import FaceError, FilesError
from ...images.resize import resized_square
from ...weights.catalog import find_published
from ...weights.search import find_file, require_file, search_folders
from ..facexlib import facexlib_module, load_network
from ..folding import fold_batch_norm
from ..workers import in_one_thread
from .parsenet import TiledParseNet, parsenet_scores

SIZE = 512
"""Height and width of the networks' input, in pixels."""
PARSERS = ("parsenet", "bisenet")

# The same 19 labels, in different orders.
_LABELS = {
    "parsenet": (
        *("background", "skin", "nose", "glasses", "left eye", "right eye", "left brow", "right brow"),
        *("left ear", "right ear", "mouth", "upper lip", "lower lip", "hair", "hat", "earring"),
        *("necklace", "neck", "cloth"),
    ),
    "bisenet": (
        *("background", "skin", "left brow", "right brow", "left eye", "right eye", "glasses"),
        *("left ear", "right ear", "earring", "nose", "mouth", "upper lip", "lower lip"),
        *("neck", "necklace", "cloth", "hair", "hat"),
    ),
}
# As in GPEN's published code.
_NOT_FACE = ("background", "hat", "necklace", "cloth")
# Mean and standard deviation that normalise the input, RGB.
_NORMALIZED = {
    "parsenet": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "bisenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


class FaceParser:
    """A face-parsing network.

    name: one of :data:`PARSERS`. device: as PyTorch names it. Raises FilesError if the weights cannot be read,
    FaceError if they are for another network or facexlib cannot be imported.
    """

    def __init__(self, name: str, weights: Path, device: str = "cpu") -> None:
        self.name = name
        self._device = torch.device(device)
        self.network: Callable[[Tensor], Tensor] = _load(name, weights, self._device)
        """From normalised pictures (N, 3, 512, 512) to the scores of the labels (N, 19, 512, 512)."""
        labels = enumerate(_LABELS[name])
        face = [number for number, label in labels if label not in _NOT_FACE]
        self._face = torch.tensor(face, device=self._device)
        self._not_face = torch.tensor(sorted(set(range(len(_LABELS[name]))) - set(face)), device=self._device)
        mean, deviation = torch.tensor(_NORMALIZED[name], dtype=torch.float32, device=self._device)
        self._mean, self._deviation = mean, deviation

    def parse(self, crop: Tensor) -> Tensor:
        """The mask (512, 512), 1 where the crop (S, S, 3), RGB, [0, 1], shows the face, else 0; on the device.

        Skin, brows, eyes, glasses, nose, mouth, lips, ears, earrings, neck and hair count as face where one of them has
        a higher score than everything else. Raises FaceError for another shape.
        """
        if crop.dim() != 3 or crop.shape[0] != crop.shape[1] or crop.shape[2] != 3 or 0 in crop.shape:
            raise FaceError(
                f"The crop to parse has the shape {tuple(crop.shape)}; it must be (S, S, 3). Pass an RGB crop."
            )
        pictures = torch.empty((1, SIZE, SIZE, 3), dtype=torch.float32, device=self._device).permute(0, 3, 1, 2)
        mask = torch.empty((SIZE, SIZE), dtype=torch.float32, device=self._device)
        in_one_thread(self._device, lambda: pictures.copy_(self._normalized(crop.to(self._device))))
        with torch.inference_mode(), exact_float32(self._device):
            scores = self.network(pictures)
        in_one_thread(self._device, lambda: mask.copy_(self._shows_face(scores[0])))
        return mask

    def _normalized(self, crop: Tensor) -> Tensor:
        """(3, 512, 512)."""
        normal: Tensor = (resized_square(crop, SIZE).clamp(0, 1) - self._mean) / self._deviation
        return normal.permute(2, 0, 1)

    def _shows_face(self, scores: Tensor) -> Tensor:
        """(512, 512), for scores (19, 512, 512)."""
        face, others = (scores.index_select(0, labels).amax(dim=0) for labels in (self._face, self._not_face))
        return face > others


def _load(name: str, weights: Path, device: torch.device) -> Callable[[Tensor], Tensor]:
    network: Any
    if name == "parsenet":
        parsenet = facexlib_module("parsing.parsenet").ParseNet
        network = load_network(lambda: parsenet(in_size=SIZE, out_size=SIZE, parsing_ch=19), weights, "ParseNet")
        fold_batch_norm(network)
        if device.type == "cpu":
            return TiledParseNet(network, SIZE)
        scores = parsenet_scores
    else:
        bisenet = facexlib_module("parsing.bisenet").BiSeNet
        network = load_network(lambda: bisenet(num_class=19), weights, "BiSeNet")
        fold_batch_norm(network)
        scores = _bisenet_scores
    return functools.partial(scores, network.to(device, memory_format=torch.channels_last))


def _bisenet_scores(network: Any, pictures: Tensor) -> Tensor:
    """Without the scores at the smaller sizes, which only training needs."""
    shallow, deep, _ = network.cp(pictures)
    scores, _ = network.conv_out(network.ffm(shallow, deep))
    return F.interpolate(scores, (SIZE, SIZE), mode="bilinear", align_corners=True)


def make_parser(folders: Sequence[Path] = (), device: torch.device | str = "cpu") -> FaceParser:
    """Load ParseNet if its weights are on disk, else BiSeNet.

    device: as PyTorch names it, or "auto"; GpenError if it cannot be used. Otherwise, arguments and errors are as for
    :func:`find_parser` and :class:`FaceParser`.
    """
    picked = str(pick_device(device))
    return FaceParser(*find_parser(folders), picked)


def find_parser(folders: Sequence[Path] = ()) -> tuple[str, Path]:
    """The name of a parser, one of :data:`PARSERS`, and the path of its weights, which are not read.

    folders: the host's, searched before those of the environment and the user's cache. Raises FilesError, which says
    what to get, if neither parser's weights are found; FaceError if facexlib cannot be imported.
    """
    name, weights = _found(folders)
    facexlib_module(f"parsing.{name}")
    return name, weights


def _found(folders: Sequence[Path]) -> tuple[str, Path]:
    searched = search_folders(folders, kind="parser")
    for name in PARSERS:
        weights = find_file(find_published(name), searched)
        if weights is not None:
            return name, weights
    try:
        return PARSERS[0], require_file(find_published(PARSERS[0]), searched)
    except FilesError as error:
        other = find_published(PARSERS[1])
        raise FilesError(
            f"The parsed mask needs a face-parsing model, and none was found. {error}\n"
            f"{other.name} ({other.saved_as}) works too."
        ) from error

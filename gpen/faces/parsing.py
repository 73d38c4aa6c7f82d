"""Face parsing: which pixels of a crop are face, by facexlib's networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import FaceError, FilesError
from ..weights.catalog import find_published
from ..weights.search import find_file, require_file, search_folders
from .facexlib import facexlib_module, load_weights

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
        self._device = device
        network: Any
        if name == "parsenet":
            module = facexlib_module("parsing.parsenet")
            network = module.ParseNet(in_size=SIZE, out_size=SIZE, parsing_ch=19)
            load_weights(network, weights, "ParseNet")
        else:
            network = facexlib_module("parsing.bisenet").BiSeNet(num_class=19)
            load_weights(network, weights, "BiSeNet")
        self.network = network.to(device)
        """The network, on the device."""
        self._is_face = np.array([label not in _NOT_FACE for label in _LABELS[name]], np.float32)

    def parse(self, crop: NDArray[np.float32]) -> NDArray[np.float32]:
        """The mask (512, 512), 1 where the crop (S, S, 3), RGB, [0, 1], shows the face, else 0.

        Skin, brows, eyes, glasses, nose, mouth, lips, ears, earrings, neck and hair count as face. Raises FaceError for
        another shape.
        """
        import torch

        if crop.ndim != 3 or crop.shape[2] != 3 or 0 in crop.shape:
            raise FaceError(f"The crop to parse has the shape {crop.shape}; it must be (S, S, 3). Pass an RGB crop.")
        if crop.shape[:2] != (SIZE, SIZE):
            how = cv2.INTER_AREA if max(crop.shape[:2]) > SIZE else cv2.INTER_CUBIC
            crop = cv2.resize(crop, (SIZE, SIZE), interpolation=how)  # type: ignore[assignment]
        mean, deviation = (np.array(v, np.float32) for v in _NORMALIZED[self.name])
        normal = np.ascontiguousarray(((np.clip(crop, 0, 1) - mean) / deviation).transpose(2, 0, 1))
        with torch.inference_mode():
            scores = self.network(torch.from_numpy(normal)[None].to(self._device))[0]
            labels = scores[0].argmax(dim=0).cpu().numpy()
        return np.asarray(self._is_face[labels])


def make_parser(folders: Sequence[Path] = (), device: str = "cpu") -> FaceParser:
    """Load ParseNet if its weights are on disk, else BiSeNet. Arguments and errors as for :func:`find_parser`."""
    return FaceParser(*find_parser(folders), device)


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

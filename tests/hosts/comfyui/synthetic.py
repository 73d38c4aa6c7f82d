"""Synthetic frames, faces and networks for the tests of batches, all from the checkout as ComfyUI loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.hosts.loading import from_checkout

Face = from_checkout("gpen.faces.face").Face
Model = from_checkout("gpen.weights.checkpoint").Model
GPEN = from_checkout("gpen.network.gpen").GPEN
Spec = from_checkout("gpen.network.spec").Spec
Components = from_checkout("gpen.restoration.components").Components
TEMPLATES = from_checkout("gpen.faces.align").TEMPLATES
frames_module = from_checkout("gpen_hosts.comfyui.frames")
synthetic_weights = from_checkout("gpen.network.synthetic").synthetic_weights

HEIGHT, WIDTH = 160, 420


def frames(number: int, channels: int = 3, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """Smooth frames (number, height, width, channels); each channel of each has its own waves."""
    y, x = torch.meshgrid(torch.linspace(0, 2, height), torch.linspace(0, 5, width), indexing="ij")
    waves = [
        0.5 + 0.15 * torch.sin((2 + channel) * x + frame) + 0.15 * torch.cos(3 * y - channel + 2 * frame)
        for frame in range(number)
        for channel in range(channels)
    ]
    return torch.stack(waves).reshape(number, channels, height, width).permute(0, 2, 3, 1).clone()


def face_at(x: float, y: float = 80, scale: float = 0.35, score: float = 0.9) -> Any:
    """An upright face around (x, y), whose landmarks are those of the template."""
    landmarks = (TEMPLATES["gpen"] - 0.55) * 256 * scale + (x, y)
    return Face((x - 90 * scale, y - 110 * scale, x + 90 * scale, y + 110 * scale), score, landmarks)


def broken_face(x: float) -> Any:
    """A face that cannot be aligned: its landmarks coincide."""
    return Face((x - 30, 50, x + 30, 110), 0.9, np.full((5, 2), x))


class Detector:
    """Returns the given faces: a list for the first frame, one for the second, …; records the frames."""

    name = "yunet"

    def __init__(self, *faces: list[Any]) -> None:
        self.faces = faces
        self.seen: list[tuple[Any, float]] = []

    def detect(self, photo: Any, threshold: float = 0.7) -> list[Any]:
        self.seen.append((photo, threshold))
        return self.faces[len(self.seen) - 1]


def found(*faces: list[Any], height: int = HEIGHT, width: int = WIDTH) -> Any:
    """Faces chosen in as many frames as there are lists."""
    chosen = [
        frames_module.FrameFace(frame, number, face)
        for frame, those in enumerate(faces)
        for number, face in enumerate(those)
    ]
    return frames_module.FoundFaces(len(faces), width, height, tuple(chosen))


def components(**weights: Any) -> Any:
    """Components with a small network of synthetic weights; without arguments it passes its input through."""
    spec = Spec(256, 256, 2, 1 / 16)
    network = GPEN(spec)
    network.load_state_dict(synthetic_weights(spec, **weights))
    return Components(model=Model(network.eval(), "restore", Path("synthetic.pth")))


def passed_through(images: torch.Tensor, mask: torch.Tensor, expected: torch.Tensor, largest: float = 2) -> None:
    """Inside the masks the expected frames to within ``largest`` 255ths; outside exactly."""
    inside = mask > 0
    error = (images - expected).abs().amax(dim=-1) * 255
    assert inside.any()
    assert not inside.all()
    assert (error[~inside] == 0).all()
    assert error[inside].max() <= largest
    # Not the input itself: the faces were resampled, which shows in the last digits.
    assert error[inside].max() > 0

"""Subject for :mod:`bench.worker`: cropping, masking and pasting one face, beside the network in the same process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gpen.faces.align import Placement, crop_face, place
from gpen.faces.face import Face
from gpen.faces.mask import face_mask
from gpen.faces.paste import Canvas
from gpen.options import Options

from .measure import seconds, threads
from .portrait import portrait
from .worker import Measure

if TYPE_CHECKING:
    from torch import Tensor

MEGAPIXELS = (1, 12)
OPTIONS = Options()


@dataclass(frozen=True, eq=False)
class OneFace:
    """A photo with one face, on its device, and what the pipeline does to it around the network."""

    photo: Tensor
    """(H, W, 3), changed by :meth:`paste` as by the command line, which needs no copy."""
    placement: Placement

    @classmethod
    def of(cls, megapixels: float, size: int, device: str = "cpu") -> OneFace:
        """A portrait of this many megapixels, for a network of this size."""
        import torch

        pixels, face = portrait(megapixels)
        return cls(torch.from_numpy(pixels).to(device), place(face, size, OPTIONS.template))

    @property
    def face(self) -> Face:
        """Where the face is."""
        return self.placement.face

    def crop(self) -> Tensor:
        """What the network is given."""
        return crop_face(self.photo, self.placement.matrix, self.placement.size)

    def mask(self) -> Tensor:
        """The mask that is the default."""
        return face_mask(OPTIONS.mask, self.placement.landmarks, OPTIONS.feather, device=self.photo.device)

    def paste(self, crop: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The photo with the crop pasted, and the mask."""
        canvas = Canvas(self.photo)
        canvas.add(crop, self.placement.matrix, mask)
        return canvas.blend(OPTIONS.strength, in_place=True)

    def around(self) -> None:
        """All of that; the network's result is taken to be its input, which has the same size."""
        self.paste(self.crop(), self.mask())


def around_network(weights: str, size: int, halves: list[str]) -> Measure:
    """Seconds of the network in float32, and in other dtypes; and of everything around it for each photo."""
    import torch

    from gpen.weights.checkpoint import load_model

    from .measure import picture

    torch.set_num_threads(threads())
    models = {name: load_model(weights, dtype=getattr(torch, name)) for name in ("float32", *halves)}
    x = torch.from_numpy(picture(size))
    faces = {f"{megapixels} MP": OneFace.of(megapixels, size) for megapixels in MEGAPIXELS}

    def measure() -> dict[str, Any]:
        network = {name: seconds(lambda model=model: model(x)) for name, model in models.items()}
        return network | {name: seconds(face.around) for name, face in faces.items()}

    measure()
    return measure

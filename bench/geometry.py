"""Subject for :mod:`bench.worker`: cropping, masking and pasting one face, beside the network in the same process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .measure import picture, seconds, threads
from .worker import Measure

if TYPE_CHECKING:
    from torch import Tensor

    from gpen.faces.paste import Canvas
    from gpen.images.picture import FloatImage

MEGAPIXELS = (1, 12)


class OneFace:
    """A portrait and its face, and what the pipeline does to it around the network, with the default options.

    size: the network's, in pixels. device: where the network is; the photo is in host memory until it is needed there.
    """

    def __init__(self, megapixels: float, size: int, device: str = "cpu") -> None:
        import torch

        from gpen.faces.align import place
        from gpen.images.tensors import DevicePhoto
        from gpen.options import Options
        from gpen.restoration.processors import FaceProcessor, PhotoInputs

        from .portrait import portrait

        self._options = Options(mask="ellipse")
        self.pixels, self.face = portrait(megapixels)
        self.placement = place(self.face, size, self._options.template)
        self.photo = DevicePhoto(self.pixels, torch.device(device))
        self._processor = FaceProcessor(self.photo, PhotoInputs())

    def crop(self) -> Tensor:
        """What the network is given: (size, size, 3), on the device."""
        return self._processor.crop(self._processor.crop_source(), self.placement)

    def mask(self, crop: Tensor) -> Tensor:
        """Where the crop counts."""
        return self._processor.mask(crop, self.placement, self._options, None)

    def add(self, crop: Tensor, mask: Tensor) -> Canvas:
        """A canvas with the crop, still on the device."""
        canvas = self._processor.canvas(self._options)
        canvas.add(crop, self.placement.matrix, mask, area=self._processor.mask_area(self.placement, self._options))
        return canvas

    def blend(self, canvas: Canvas) -> tuple[FloatImage, FloatImage]:
        """The photo with the crop pasted, and the mask, both in host memory.

        It is pasted into the photo itself, as the command line does, which needs no copy.
        """
        return canvas.blend(self._options.strength, in_place=True)

    def around(self) -> None:
        """All of that; the network's result is taken to be its input, which has the same size."""
        crop = self.crop()
        self.blend(self.add(crop, self.mask(crop)))


def around_network(weights: str, size: int, halves: list[str]) -> Measure:
    """Seconds of the network in float32, and in other dtypes; and of everything around it for each photo."""
    import torch

    from gpen.weights.checkpoint import load_model

    torch.set_num_threads(threads())
    models = {name: load_model(weights, dtype=getattr(torch, name)) for name in ("float32", *halves)}
    x = torch.from_numpy(picture(size))
    faces = {f"{megapixels} MP": OneFace(megapixels, size) for megapixels in MEGAPIXELS}

    def measure() -> dict[str, Any]:
        network = {name: seconds(lambda model=model: model(x)) for name, model in models.items()}
        return network | {name: seconds(face.around) for name, face in faces.items()}

    measure()
    return measure

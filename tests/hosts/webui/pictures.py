"""Pictures as the host takes and returns them: 8-bit pixels, in the panel or in base64."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.hosts.webui.host import WebUI

Pixels = NDArray[np.uint8]


def bytes_of(photo: NDArray[np.float32]) -> Pixels:
    """A photo from 0 to 1 as pixels from 0 to 255."""
    return np.rint(photo * 255).astype(np.uint8)


def encoded(pixels: Pixels) -> str:
    """A PNG file of the pixels in base64."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def decoded(response: Any) -> Pixels:
    """The pixels of a response's picture, which has to be a PNG file."""
    assert response.status_code == 200, response.text
    picture = Image.open(io.BytesIO(base64.b64decode(response.json()["image"])))
    assert picture.format == "PNG"
    return np.asarray(picture)


def run_panel(host: WebUI, image: Image.Image, arguments: dict[str, Any]) -> Any:
    """Run Extras with arguments for our panel, as the host's API does: those not given are None."""
    runner = host.scripts.scripts_postproc
    picture = host.scripts_postprocessing.PostprocessedImage(image)
    runner.run(picture, runner.create_args_for_run({"GPEN": arguments}))
    return picture


def restore_faces(host: WebUI, pixels: Pixels) -> Any:
    """Restore a picture as the host's checkbox does, or in a host without one its panel."""
    if not host.checkbox:
        return np.asarray(run_panel(host, Image.fromarray(pixels), {"enable": True, "upscale": 1.0}).image)
    return host.face_restoration.restore_faces(pixels)


def choices_of(control: Any) -> list[str]:
    """The values that a control offers: since Gradio 4 each has a label as well."""
    return [choice[1] if isinstance(choice, tuple) else choice for choice in control.choices]


def known_facts(picture: Any) -> dict[str, Any]:
    """The infotext of a picture from the panel, without empty entries."""
    return {name: value for name, value in picture.info.items() if value is not None}

"""Makes gpen/cli/portrait.jpg, the portrait that `gpen doctor` gives to each network on disk.

It is NASA's photo of the astronaut Eileen Collins, in the public domain, which scikit-image ships: cropped and aligned
as GPEN's networks take faces, 256 x 256 pixels.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import numpy as np  # noqa: E402 - needs the checkout on sys.path
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from skimage import data  # noqa: E402

from gpen.faces.align import crop_face, place  # noqa: E402
from gpen.faces.faces_file import FacesFromFile  # noqa: E402
from gpen.images.tensors import DevicePhoto  # noqa: E402

PORTRAIT = HERE.parent / "gpen" / "cli" / "portrait.jpg"
SIZE = 256


def portrait() -> bytes:
    """The portrait as a JPEG file."""
    photo = data.astronaut().astype(np.float32) / 255
    (face,) = FacesFromFile(HERE / "astronaut_faces.json").faces_for("astronaut.png", 512, 512)
    crop = crop_face(DevicePhoto(photo, torch.device("cpu")), place(face, SIZE, "gpen").matrix, SIZE)
    packed = io.BytesIO()
    Image.fromarray(np.rint(crop.numpy() * 255).clip(0, 255).astype(np.uint8)).save(packed, "JPEG", quality=80)
    return packed.getvalue()


if __name__ == "__main__":
    PORTRAIT.write_bytes(portrait())
    print(f"{PORTRAIT}: {PORTRAIT.stat().st_size} bytes")

"""`make pictures`, docs/paste.png: what is left of the paste when the network changes nothing, beside a naive paste.

The network has synthetic weights with which it returns its input, so the photo itself is the right result, and every
difference comes from cropping and pasting. The naive paste cuts the face's square out with OpenCV's bilinear warp, and
warps it back over the photo. Given a file, the picture is written there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from options import CELL, HERE, SPEC, VIEW, network, portrait, portrait_face

import gpen
from demo import drawing_of
from gpen.faces.align import crop_matrix
from gpen.faces.drawing import Drawing, grid
from gpen.images.picture import FloatImage

TIMES = 32
"""How much larger differences are shown."""


def main(path: Path = HERE.parent / "docs" / "paste.png") -> None:
    photo = portrait()
    result = gpen.restore(photo, network(SPEC, {}), [portrait_face()], gpen.Options(mask="ellipse"))
    naive = naive_paste(photo)
    outside, face = result.mask == 0, result.mask == 1
    assert (result.photo[outside] == photo[outside]).all()
    parts = [
        (photo, "the photo", "and the crop's outline"),
        (difference(naive, photo), f"naive paste, off x {TIMES}", f"RMS in the face: {off(naive, photo, face)} of 255"),
        (
            difference(result.photo, photo),
            f"gpen restore, off x {TIMES}",
            f"RMS in the face: {off(result.photo, photo, face)} of 255",
        ),
        (np.repeat(result.mask[..., None], 3, axis=2), "the mask of gpen restore", "black: not a bit has changed"),
    ]
    drawings = [close(drawing_of(part)) for part, *_ in parts]
    cv2.polylines(drawings[0], [outline()], True, (255, 214, 10), 2, cv2.LINE_AA)
    sheet = grid([drawings], [lines for _, *lines in parts])
    gpen.write_picture(path, gpen.Picture(sheet.astype(np.float32) / 255))
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def naive_paste(photo: FloatImage) -> FloatImage:
    """The square through OpenCV's bilinear warp and back."""
    matrix = crop_matrix(portrait_face(), SPEC.in_size, "gpen")
    crop = cv2.warpAffine(photo, matrix, (SPEC.in_size, SPEC.in_size), borderMode=cv2.BORDER_REFLECT_101)
    height, width = photo.shape[:2]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back = cv2.warpAffine(crop, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones_like(crop[..., 0]), cv2.invertAffineTransform(matrix), (width, height)) > 0
    return np.where(inside[..., None], back, photo)


def off(result: FloatImage, photo: FloatImage, where: NDArray[np.bool_]) -> str:
    """The root mean square of the difference, in 255ths."""
    return f"{255 * float(np.square(result - photo)[where].mean()) ** 0.5:.1f}"


def difference(result: FloatImage, photo: FloatImage) -> FloatImage:
    return np.clip(np.abs(result - photo) * TIMES, 0, 1)


def close(drawing: Drawing) -> Drawing:
    return np.asarray(cv2.resize(drawing[VIEW], (CELL, CELL), interpolation=cv2.INTER_CUBIC), np.uint8)


def outline() -> NDArray[np.int32]:
    """The corners of the crop in the picture of a part."""
    corners = np.array([[(0, 0), (1, 0), (1, 1), (0, 1)]], float) * SPEC.in_size
    in_photo = cv2.transform(corners, cv2.invertAffineTransform(crop_matrix(portrait_face(), SPEC.in_size, "gpen")))[0]
    rows, columns = VIEW
    scale = CELL / (rows.stop - rows.start)
    return np.rint((in_photo - (columns.start, rows.start)) * scale).astype(np.int32)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))

"""What covers a face stays the photo's bit for bit, with every mask; the rest of the face is the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from gpen.errors import OptionError
from gpen.faces.masks.occlusion import OcclusionModel, make_occluder
from gpen.images.picture import FloatImage
from gpen.options import Options
from gpen.restoration.api import colorize, inpaint, paste, restore
from tests.made_occluder import COVER, write_occluder
from tests.restoration.markers import BIAS, MATRIX
from tests.restoration.test_paste_crops import crops_of

pytestmark = pytest.mark.usefixtures("each_implementation")


class WholeFace:
    """A face parser for which the whole crop is face."""

    def parse(self, crop: Tensor) -> Tensor:
        return torch.ones((512, 512), device=crop.device)


@pytest.fixture(scope="module")
def marker(make_model: Any) -> Any:
    """A network whose output differs from its input everywhere."""
    return make_model(256, color_matrix=MATRIX.tolist(), color_bias=BIAS.tolist())


@pytest.fixture
def occluder(tmp_path: Path) -> OcclusionModel:
    write_occluder(tmp_path / "xseg_2.onnx")
    return make_occluder(folders=[tmp_path])


@pytest.fixture
def covered(photo_with_face: Any) -> tuple[FloatImage, Any, Any]:
    """The photo with a hand from below and a bar across the face, its faces, and what is covered."""
    photo, faces = photo_with_face
    cover = np.zeros(photo.shape[:2], np.uint8)
    cover[170:300, 100:150] = 1
    cv2.line(cover, (90, 110), (230, 140), 1, 12)
    photo = np.minimum(photo, 0.7)
    photo[cover > 0] = COVER
    return photo, faces, cover > 0


@pytest.mark.parametrize("mask", ["ellipse", "box", "parsed"])
def test_restoring(covered: Any, marker: Any, occluder: OcclusionModel, mask: str) -> None:
    photo, faces, cover = covered
    models: Any = {"occluder": occluder, "parser": WholeFace()}
    free = restore(photo, marker, faces, Options(mask=mask), **models)
    kept = restore(photo, marker, faces, Options(mask=mask, occlusion="auto"), **models)
    assert (np.abs(free.photo - photo).max(axis=2) > 0.02)[cover].sum() > 500
    assert np.array_equal(kept.photo[cover], photo[cover])
    assert not kept.mask[cover].any()
    distance = cv2.distanceTransform((~cover).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    far = distance > 12
    assert (np.abs(free.photo - photo).max(axis=2) > 0.02)[far].sum() > 2000
    assert np.abs(kept.photo[far] - free.photo[far]).max() < 1e-3


def test_colorizing(covered: Any, make_model: Any, occluder: OcclusionModel) -> None:
    photo, faces, cover = covered
    model = make_model(256, task="colorize", color_bias=(0.3, 0.0, -0.3))
    kept = colorize(photo, model, faces, Options(occlusion="xseg_2"), occluder=Grey(occluder))
    assert np.array_equal(kept.photo[cover], photo[cover])
    assert (np.abs(kept.photo - photo).max(axis=2) > 0.02).sum() > 2000


class Grey:
    """Takes what is as bright as the covering colour's grey for what covers a face."""

    def __init__(self, occluder: OcclusionModel) -> None:
        self._occluder = occluder

    def visible(self, crop: Tensor, pixel: float = 1.0) -> Tensor:
        green = float(np.float32(0.587) * COVER[1])
        covers = (crop - green).abs().amax(dim=2) < 0.02
        color = torch.tensor(COVER)
        return self._occluder.visible(torch.where(covers[..., None], color, crop * 0.5), pixel)


def test_pasting_crops(covered: Any, occluder: OcclusionModel) -> None:
    photo, faces, cover = covered
    crops = [(placement, 1 - crop) for placement, crop in crops_of(photo, faces=faces)]
    result, mask = paste(photo, crops, Options(mask="box", occlusion="auto"), occluder=occluder)
    assert np.array_equal(result[cover], photo[cover])
    assert not mask[cover].any()
    assert (np.abs(result - photo).max(axis=2) > 0.02).sum() > 2000


def test_without_a_model_or_the_option(covered: Any, marker: Any, occluder: OcclusionModel) -> None:
    photo, faces, _ = covered
    with pytest.raises(OptionError, match="Occlusion needs an occlusion model, and there is none"):
        restore(photo, marker, faces, Options(occlusion="auto"))
    with pytest.raises(OptionError, match="Occlusion needs an occlusion model"):
        paste(photo, [], Options(occlusion="xseg_1"))
    free, off = restore(photo, marker, faces), restore(photo, marker, faces, occluder=occluder)
    assert np.array_equal(free.photo, off.photo)


def test_damage_is_filled_in_whatever_covers_the_face(covered: Any, make_model: Any) -> None:
    photo, faces, cover = covered
    model = make_model(256, task="inpaint", color_bias=(0.2, 0.2, 0.2))
    damage = cover.astype(np.float32)
    one, two = (inpaint(photo, damage, model, faces, Options(occlusion=name)) for name in ("none", "auto"))
    assert np.array_equal(one.photo, two.photo)
    assert not np.array_equal(one.photo[cover], photo[cover])

"""What is noted of a restoration: which files made it."""

from __future__ import annotations

import os

import pytest
import torch

from gpen.images import Picture
from gpen.network.spec import Spec
from gpen.network.synthetic import synthetic_weights
from gpen.options import Options
from gpen.restoration.api import face_source
from gpen.restoration.components import ComponentLoader
from gpen.restoration.needs import Needs
from gpen.restoration.pipeline import PhotoWork, run_task
from gpen.restoration.processors import PhotoInputs
from gpen.restoration.provenance import provenance
from gpen.tasks import RESTORE
from gpen.weights.download import sha256_of
from tests.restoration.upscalers import known_upscaler

SPEC = Spec(64, 64, 2, 1 / 16, 16, 2)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_hash_is_noted_only_of_the_file_that_was_loaded(tmp_path, photo_with_face, replaced):
    """Another file may have taken its name since."""
    photo, faces = photo_with_face
    network, upscaler = tmp_path / "network.pth", known_upscaler(tmp_path / "upscaler.pth")
    torch.save(synthetic_weights(SPEC), network)
    loader = ComponentLoader([], "cpu")
    loaded = loader.load(RESTORE, network, Options(), Needs(upscaler=upscaler))
    hashes = [sha256_of(network), sha256_of(upscaler)]
    if replaced:
        torch.save(synthetic_weights(SPEC, seed=1), network)
        known_upscaler(upscaler, tint=(0.5, 0, 0))
        for path in (network, upscaler):
            os.utime(path, ns=(0, 0))  # a clock may be too coarse to tell
    work = PhotoWork(
        photo=photo,
        source=face_source(RESTORE, Options(), faces),
        inputs=PhotoInputs(background=loaded.upscaler(photo)),
    )
    noted = provenance(RESTORE, Picture(photo), run_task(RESTORE, work, loaded, Options()))
    assert [used.name for used in noted.networks] == ["network.pth", "upscaler.pth"]
    assert [used.sha256 for used in noted.networks] == ([None, None] if replaced else hashes)

"""The fixtures of tests/commands.py, and a PhotoProcessor."""

from __future__ import annotations

import pytest

from gpen.batch.config import RunConfig
from gpen.batch.stages import OutputOptions, PhotoProcessor
from gpen.options import Options
from tests.commands import (
    album,
    arguments,
    assert_restored,
    empty_home,
    files_in,
    gpen,
    networks,
    one_face,
    restore,
    start,
)

__all__ = [
    "album",
    "arguments",
    "assert_restored",
    "empty_home",
    "files_in",
    "gpen",
    "networks",
    "one_face",
    "restore",
    "start",
]


@pytest.fixture
def processor(networks, album):
    """A PhotoProcessor as the command makes it, with the network that inverts colours."""

    def make(**output) -> PhotoProcessor:
        weights, output = networks / "negative.pth", OutputOptions(**output)
        return RunConfig(weights=weights, options=Options(), output=output, faces=album.faces_file).make()

    return make

"""The fixtures of tests/commands.py."""

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

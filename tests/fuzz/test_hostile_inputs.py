"""Inputs of strangers, made from fixed numbers: each is taken, or refused by an error for people, within limits.

``make fuzz MINUTES=30`` tries further ones. Those of the page are in ``tests/app``, where its package is.
"""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.attack import assert_no_escape
from tests.fuzz.targets import TARGETS


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
@pytest.mark.parametrize("name", [name for name in TARGETS if name != "page"])
def test_every_input_is_taken_or_refused(name: str) -> None:
    assert_no_escape(name)

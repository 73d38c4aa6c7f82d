"""Requests of strangers to the page's API: each is answered, or refused by a sentence; only uploads are read."""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.attack import assert_no_escape


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
def test_every_request_is_taken_or_refused() -> None:
    assert_no_escape("page")

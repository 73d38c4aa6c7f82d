"""Inputs of strangers, made from fixed numbers: each is taken, or refused by an error for people, within limits.

``make fuzz MINUTES=30`` tries further ones.
"""

from __future__ import annotations

import sys

import pytest

from tests.fuzz.attack import attack
from tests.fuzz.targets import TARGETS


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits")
@pytest.mark.parametrize("name", TARGETS)
def test_every_input_is_taken_or_refused(name: str) -> None:
    if missing := TARGETS[name].missing:
        pytest.skip(f"needs the package {missing[0]}")
    outcome = attack(name, 0, TARGETS[name].inputs)
    shown = "\n".join(f"{name} {number}: {what}" for number, what in outcome.escapes.items())
    assert not outcome.escapes, f"{shown}\nTo see one again: python -m tests.fuzz {name} NUMBER"
    assert outcome.counts.total() >= TARGETS[name].inputs
    assert len(outcome.counts) > 1  # some are refused
    print(name, dict(outcome.counts), outcome.megabytes, "MB")

"""What a pickle may cost: the steps to read it, what it copies of itself, and what it has hashed."""

from __future__ import annotations

from typing import Any

MAX_STEPS = 500_000
"""Some 30 per tensor; this is room for fifteen thousand, and takes seconds."""

TEXT_ITEM = 32
"""Characters of a text that count as one item where it is copied."""


class PickleError(Exception):
    """The pickle is damaged, or holds what no model file holds. The text continues "the file …"."""


class CopyBudget:
    """Counts items that are copied from values that stay: a few bytes of a pickle can ask for each copy."""

    def __init__(self) -> None:
        self._copied = 0

    def charge(self, items: int) -> None:
        """PickleError once more are copied than a pickle could hold."""
        self._copied += items
        if self._copied > MAX_STEPS:
            raise PickleError("has a table of contents that copies parts of itself far more often than any model file")

    def charge_call(self, given: Any, levels: int = 3) -> None:
        """Count what a call is given, and the tuples in it down to so many levels: PyTorch may copy them for each."""
        if isinstance(given, str | bytes):
            self.charge(len(given) // TEXT_ITEM)
        elif isinstance(given, tuple | list | dict):
            self.charge(len(given))
            if isinstance(given, tuple) and levels:
                for item in given:
                    self.charge_call(item, levels - 1)


def check_key(key: Any) -> None:
    """PickleError for what is hashed at a cost that a file can choose.

    Hashing a tuple nested a million deep overflows the C stack, and large numbers and tuples of numbers can be chosen
    so that all have the same hash.
    """
    is_small = not isinstance(key, int) or -(1 << 63) <= key < 1 << 63
    if not (is_small and isinstance(key, str | int | float | bytes | None)):
        raise PickleError("has a table of contents with keys that no model file has")

"""Words that sentences for people are put together from."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number of things whose plural ends in s: "1 face", "3 faces"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""Words that sentences for people are put together from."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number of things whose plural ends in s: "1 face", "3 faces"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line of at most 200 characters; its type's name where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__

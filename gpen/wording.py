"""Parts of messages for users."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """A number with its noun, whose plural ends in s: "1 face", "3 faces"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def megabytes(number: int) -> str:
    """A number of bytes in MB: "0.2 MB", "284 MB"."""
    return f"{number / 1e6:.1f} MB" if number < 10e6 else f"{number / 1e6:,.0f} MB"


def first_line(error: BaseException) -> str:
    """The first line of an error's text, at most 200 characters; the name of its type if it has none."""
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__

"""The texts of errors, which may quote files of strangers, and reach terminals."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from gpen.cli import main
from gpen.errors import LONGEST, GpenError

LETTERS = [*map(chr, range(32)), "\x7f", "\x9b", "\u202e", "\u2028", "\ud800"]
"""What a terminal obeys, or a text cannot show."""


@pytest.mark.parametrize("letter", [letter for letter in LETTERS if letter != "\n"], ids=ascii)
def test_what_a_terminal_would_obey_is_escaped(letter: str) -> None:
    text = str(GpenError(f"The tensor {letter}[31mred\nis unknown."))
    assert text.replace("\n", "").isprintable()
    assert text.startswith("The tensor \\")
    assert text.endswith("[31mred\nis unknown.")


def test_other_letters_stay() -> None:
    text = "Ein Gerät\nweiß, 照片: a photo."
    assert str(GpenError(text)) == text


@pytest.mark.parametrize("letter", ["x", "\x1b", "\U000e0001"])
def test_a_long_text_keeps_its_beginning_and_its_end(letter: str) -> None:
    text = str(GpenError(f"The tensor {letter * 7_000_000} is unknown. Get the right file."))
    assert len(text) <= LONGEST
    assert text.startswith("The tensor ")
    assert text.endswith(" is unknown. Get the right file.")


def test_a_name_in_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    header = b'{"ecd0.0.0.\\u001b[31mweight":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    assert main(["inspect", str(path)]) == 1
    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "\\x1b[31mweight" in told.out + told.err

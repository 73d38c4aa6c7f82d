"""The list of texts that users read."""

from __future__ import annotations

import pytest

from bench import strings
from gpen.options import OPTIONS

SOURCE = '''
"""Docstrings are for developers."""

class Broken(FaceError):
    """An error that tells what is broken."""

def load(path):
    if not path:
        raise Broken(f"{path.name} is broken.")
    if path == "a key":
        raise ValueError("a bug")
    log(f"Loading {path}, which takes a while.")
    return Input("image", tooltip="A photo.")
'''


def test_messages_tooltips_and_prose_are_listed_and_nothing_else() -> None:
    errors = strings.error_classes([SOURCE, "class FaceError(GpenError): ..."])

    assert errors == {"GpenError", "FaceError", "Broken"}
    assert list(strings.texts_of_source(SOURCE, errors)) == [
        ("9", "{path.name} is broken."),
        ("12", "Loading {path}, which takes a while."),
        ("13", "A photo."),
    ]


def test_options_commands_and_messages_are_in_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    strings.main([])

    printed = capsys.readouterr().out
    for option in OPTIONS.values():
        assert f"  {option.name}: {option.label}: {option.help}\n" in printed
    assert (
        "  restore --compare: also write before and after side by side, with close-ups of a group's faces\n" in printed
    )
    assert "\ngpen/options.py\n" in printed
    assert "is unknown. Choose one of: {', '.join(PRESETS)}.\n" in printed


def test_the_list_of_one_folder(capsys: pytest.CaptureFixture[str]) -> None:
    strings.main([str(strings.ROOT / "gpen" / "faces")])

    titles = [line for line in capsys.readouterr().out.splitlines() if line and not line.startswith(" ")]
    assert titles
    assert all(title.startswith("gpen/faces/") for title in titles)

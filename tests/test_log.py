"""What the log is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODULES = sorted([*(ROOT / "gpen").rglob("*.py"), *(ROOT / "gpen_hosts").rglob("*.py"), *ROOT.glob("nodes*.py")])


def test_a_message_takes_the_text_of_an_error_not_the_error() -> None:
    """Whoever keeps a message would keep, by the error's traceback, the pictures of the functions that it passed."""
    found = [call for path in MODULES for call in _given_an_error(path)]
    assert found == []


def _given_an_error(path: Path) -> Iterator[str]:
    """The calls of the log in a module's handlers of errors that are given the error."""
    for handler in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(handler, ast.ExceptHandler) or not handler.name:
            continue
        for call in ast.walk(handler):
            if not isinstance(call, ast.Call) or not ast.unparse(call.func).startswith("_log."):
                continue
            if any(handler.name in _values(argument) for argument in call.args):
                yield f"{path.relative_to(ROOT)}:{call.lineno}: {ast.unparse(call)}"


def _values(argument: ast.expr) -> list[str]:
    """The names whose values an argument may have."""
    among = argument.values if isinstance(argument, ast.BoolOp) else [argument]
    return [value.id for value in among if isinstance(value, ast.Name)]

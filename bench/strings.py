"""Every text that a user may read, in one list to be proofread: ``python -m bench.strings [PATH ...]``.

Listed are the options' labels and help texts, the help of each command, and by file and line the texts in the source:
messages of errors, tooltips and descriptions of nodes, and everything else that reads like prose. Docstrings and the
browser side (web/) are left out. PATH: only these files or folders.
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from gpen.cli.parser import make_parser
from gpen.options import ALIGNED, OPTIONS, PRESETS

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("nodes.py", "nodes_tasks.py", "nodes_video.py", "install.py", "preload.py", "scripts", "gpen", "gpen_hosts")
SHOWN = frozenset({"description", "display_name", "help", "info", "label", "placeholder", "title", "tooltip"})
"""Keyword arguments that are shown to users, however short."""
_PROSE = re.compile(r"[A-Za-z,}]{2,} [a-z{]+ ")

Text = tuple[str, str]
"""Where a text is from, such as a line number or the name of an option, and the text."""


def texts_of_options() -> Iterator[Text]:
    """Label and help of every option and preset."""
    for option in (*OPTIONS.values(), ALIGNED):
        yield option.name, f"{option.label}: {option.help}"
    for name, preset in PRESETS.items():
        yield name, f"{preset.label}: {preset.help}"


def texts_of_commands() -> Iterator[Text]:
    """What ``gpen COMMAND --help`` says of each argument, but for the options."""
    commands = next(
        action for action in make_parser()._actions if isinstance(action, argparse._SubParsersAction)
    ).choices
    for name, parser in commands.items():
        yield name, parser.description or ""
        for action in parser._actions:
            shown = action.help not in (None, argparse.SUPPRESS) and not isinstance(action, argparse._HelpAction)
            if shown and action.dest not in OPTIONS:
                yield f"{name} {' '.join(action.option_strings) or action.dest}", str(action.help)


def texts_of_source(source: str, errors: frozenset[str] = frozenset()) -> Iterator[Text]:
    """The line and text of messages, tooltips and prose in a module. errors: names of exception classes."""
    return ((str(line), text) for line, text in sorted(set(_texts(ast.parse(source), errors, False))))


def _texts(node: ast.AST, errors: frozenset[str], shown: bool) -> Iterator[tuple[int, str]]:
    """shown: whether even the shortest text in this node is shown to users."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.Constant | ast.JoinedStr):
        text = _text(node)
        if text.strip(" .,:;") and (shown or _PROSE.search(f"{text} ")):
            yield node.lineno, text
        return
    if isinstance(node, ast.Call):
        shown = isinstance(node.func, ast.Name) and node.func.id in errors
    if isinstance(node, ast.keyword):
        shown = node.arg in SHOWN
    for child in ast.iter_child_nodes(node):
        yield from _texts(child, errors, shown)


def _text(node: ast.Constant | ast.JoinedStr) -> str:
    """The text, with expressions in braces; empty for what is no text."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    parts = (_text(part) if isinstance(part, ast.Constant) else f"{{{_code(part)}}}" for part in node.values)
    return "".join(parts)


def _code(part: ast.expr) -> str:
    return ast.unparse(part.value if isinstance(part, ast.FormattedValue) else part)


def error_classes(sources: Iterable[str]) -> frozenset[str]:
    """Names of the classes that derive from GpenError in these modules."""
    bases: dict[str, set[str]] = {}
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {base.id for base in node.bases if isinstance(base, ast.Name)}
    names = {"GpenError"}
    while more := {name for name, parents in bases.items() if parents & names} - names:
        names |= more
    return frozenset(names)


def source_files() -> list[Path]:
    """The modules whose texts are shown to users."""
    paths = (ROOT / name for name in SOURCES)
    return [file for path in paths for file in ([path] if path.is_file() else sorted(path.rglob("*.py")))]


def main(arguments: list[str]) -> None:
    """Print the list."""
    parser = argparse.ArgumentParser(prog="python -m bench.strings", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="only the texts of these files or folders")
    chosen = [path.resolve() for path in parser.parse_args(arguments).paths]
    files = {path: path.read_text(encoding="utf-8") for path in source_files()}
    errors = error_classes(files.values())
    if not chosen:
        _print("options", texts_of_options())
        _print("gpen --help", texts_of_commands())
    for path, source in files.items():
        if not chosen or any(path == one or one in path.parents for one in chosen):
            _print(path.relative_to(ROOT).as_posix(), texts_of_source(source, errors))


def _print(title: str, texts: Iterable[Text]) -> None:
    lines = [f"  {where}: {text!r}" if "\n" in text else f"  {where}: {text}" for where, text in texts]
    if lines:
        print(title, *lines, sep="\n", end="\n\n")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Rows about the time before the first face."""

from __future__ import annotations

from .. import startup
from ..worker import measured_once
from .row import MORE_ROUNDS, MOST_ROUNDS, Files, Rounds, Row, Taken, ratios


def start(_: Files, arguments: tuple[str, ...]) -> Taken:
    for before in (startup.PASS, arguments):
        startup.start_seconds(before)
    beyond, own = [], []
    for _ in range(MOST_ROUNDS):
        own.append(startup.start_seconds(startup.PASS))
        beyond.append(startup.start_seconds(arguments) - own[-1])
    failed = "imports PyTorch" if startup.imports_torch(arguments) else ""
    return Taken(beyond, failed=failed, details={"own_start_seconds": own})


def load(files: Files, size: int) -> Taken:
    path = files.weights(size)
    taken: Rounds = {"load_model": [], "load_file": []}
    for _ in range(MORE_ROUNDS):
        for function, times in taken.items():
            times.append(measured_once("startup.loading", function, path))
    others = {
        f"ratio_{key}": ratios(taken, "load_model", "load_file", key) for key in ("every_page_read", "own_memory")
    }
    return Taken(ratios(taken, "load_model", "load_file"), details=others | taken)


ROWS = (
    Row("import", "import gpen, beyond Python's own start", 0.15, "s", lambda files: start(files, startup.IMPORT)),
    Row("help", "gpen --help, beyond Python's own start", 0.15, "s", lambda files: start(files, startup.HELP)),
    Row("load", "load_model, 2048 / safetensors' load_file", 1.5, "×", lambda files: load(files, 2048)),
)

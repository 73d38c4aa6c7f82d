"""What is different in SD.Next, of SD-WebUI's relatives the one that has gone furthest from it.

It has a Process tab for Extras, which turns pictures to RGB first, and no Face Restoration checkbox.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging


def is_sdnext() -> bool:
    """Whether the host is SD.Next."""
    return importlib.util.find_spec("modules.detailer") is not None


class _Forward(logging.Handler):
    """Gives records to SD.Next's logger, whose handlers are other ones after every script that is loaded."""

    def __init__(self, target: logging.Logger) -> None:
        super().__init__()
        self.target = target

    def emit(self, record: logging.LogRecord) -> None:
        if self.target.isEnabledFor(record.levelno):
            # Its handlers change messages; a handler after this one could not format the arguments any more.
            self.target.handle(logging.makeLogRecord(vars(record) | {"msg": record.getMessage(), "args": None}))


def show_messages() -> None:
    """Have what the extension and the package log shown in SD.Next, whose root logger discards everything."""
    if not is_sdnext():
        return
    target = importlib.import_module("modules.logger").log
    for name in ("gpen", "gpen_hosts"):
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.handlers[:] = [_Forward(target)]

"""What the browser keeps of a page while its tab is open, for when the page is loaded again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..errors import GpenError
from ..options import Options
from ..tasks import TASKS
from .actions import CONTROLS


def kept_settings(text: str | None) -> Mapping[str, Any] | None:
    """What a JSON text holds; None for nothing, or what another version kept.

    The key of the session, the numbers of the chosen faces, the task, the model, the model for the background, whether
    the photo is one face ("aligned"), and the values of the controls.
    """
    try:
        values = json.loads(text or "null")
        given = dict(zip(CONTROLS, values["controls"], strict=True))
        Options(**given)
        if values["task"] not in TASKS or not all(isinstance(number, int) for number in values["chosen"]):
            return None
    except (ValueError, TypeError, KeyError, RecursionError, GpenError):
        return None
    return {
        **values,
        "key": values.get("key"),
        "model": values.get("model"),
        "background": values.get("background"),
        "aligned": values.get("aligned") is True,
    }

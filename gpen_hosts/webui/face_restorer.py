"""The Face Restoration checkbox of SD-WebUI."""

from __future__ import annotations

from typing import Any

import numpy as np
from modules import scripts, shared
from numpy.typing import NDArray

from .host import (
    NAME,
    PictureRequest,
    engine,
    facts_of,
    failure,
    job,
    network_path,
    options_from,
    samples_of,
    setting,
)

try:
    from modules.face_restoration import FaceRestoration
except ImportError:  # newer versions of SD.Next, which ask for the methods alone
    FaceRestoration = object


class GpenFaceRestorer(FaceRestoration):  # type: ignore[misc]
    """What the checkbox runs when "GPEN" is chosen in Settings, Face restoration."""

    def name(self) -> str:
        """As the settings page lists it."""
        return NAME

    def restore(self, np_image: NDArray[np.uint8], p: Any = None, *_: Any) -> NDArray[np.uint8]:
        """Restore a picture (H, W, 3), RGB, which keeps its size; where that fails it comes back as it is.

        p: the generation, which only SD.Next passes.
        """
        if p is not None:
            job.begin(p)
        try:
            # What is generated is composited by its size: enlarging belongs to Extras.
            request = PictureRequest(weights=network_path(setting("model")), options=options_from({"upscale": 1.0}))
            result = engine.run(np_image, request)
            restored = samples_of(result.photo)
        except Exception as error:
            # Nothing around this catches it, and the user's generation would be lost.
            job.note(failure(error))
            return np_image
        job.note(facts_of(result, request))
        return restored


def register_restorer() -> None:
    """Put it into the host's list; scripts run again on Reload UI, while the list is not cleared."""
    for listed in (getattr(shared, "face_restorers", None), getattr(shared, "detailers", None)):
        if listed is not None:
            listed[:] = [restorer for restorer in listed if restorer.name() != NAME]
            listed.append(GpenFaceRestorer())


class RememberJob(scripts.Script):
    """Tells the face restorer which generation runs, so that the infotext can say what became of the faces."""

    create_group = False

    def title(self) -> str:
        """As the API lists it."""
        return "GPEN infotext"

    def show(self, is_img2img: bool) -> Any:
        """In every generation, without controls."""
        return scripts.AlwaysVisible

    def process(self, p: Any, *args: Any) -> None:
        """Before a generation."""
        job.begin(p)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """After it."""
        job.end()

"""The Face Restoration checkbox of SD-WebUI."""

from __future__ import annotations

import functools
import logging
from typing import Any

import numpy as np
from modules import scripts
from numpy.typing import NDArray

from .host import (
    NAME,
    PictureRequest,
    engine,
    facts_of,
    failure,
    job,
    network_files,
    options_from,
    restorer_lists,
    setting,
    to_samples,
)

try:
    from modules.face_restoration import FaceRestoration
except ImportError:  # newer versions of SD.Next, which need only the methods
    FaceRestoration = object


_log = logging.getLogger(__name__)


class GpenFaceRestorer(FaceRestoration):
    """What the checkbox runs when "GPEN" is chosen in Settings, Face restoration."""

    def name(self) -> str:
        """The name on the settings page."""
        return NAME

    def restore(self, np_image: NDArray[np.uint8], p: Any = None, *_: Any) -> NDArray[np.uint8]:
        """Restore a picture (H, W, 3), RGB, without enlarging it. On an error it is returned unchanged.

        p: the generation, which only SD.Next passes.
        """
        if p is not None:
            job.begin(p)
        try:
            # The host composites the result into a picture of the same size: enlarging belongs to Extras.
            request = PictureRequest(networks=network_files(setting("model")), options=options_from({"upscale": 1.0}))
            result = engine.run(np_image, request)
            restored = to_samples(result.photo)
        except Exception as error:
            # The host does not catch it: the user's generation would be lost.
            job.note(failure(error))
            return np_image
        job.note(facts_of(result, request))
        return restored


def register_restorer() -> None:
    """Add the restorer to the host's list, once: Reload UI runs scripts again without clearing the list."""
    lists = restorer_lists()
    for restorers in lists:
        restorers[:] = [restorer for restorer in restorers if restorer.name() != NAME]
        restorers.append(GpenFaceRestorer())
    if not lists:
        _say_where_else()


@functools.cache
def _say_where_else() -> None:
    """Log what to use in place of the checkbox; once, not on every Reload UI."""
    _log.info(
        "This WebUI has no face restorers to choose from. GPEN is in the Process tab; to have it in txt2img and "
        'img2img as well, add it in Settings, Postprocessing, to "Additional postprocessing operations", and restart '
        "the UI."
    )


class RememberJob(scripts.Script):
    """Tells the face restorer which generation is running, whose infotext it writes to."""

    create_group = False

    def title(self) -> str:
        """The name in the API's list of scripts."""
        return "GPEN infotext"

    def show(self, is_img2img: bool) -> Any:
        """Run in every generation, without controls."""
        return scripts.AlwaysVisible

    def process(self, p: Any, *args: Any) -> None:
        """Called before a generation."""
        job.begin(p)

    def postprocess(self, p: Any, processed: Any, *args: Any) -> None:
        """Called after it."""
        job.end(p)

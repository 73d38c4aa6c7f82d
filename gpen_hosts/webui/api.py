"""GPEN's routes of SD-WebUI's API: POST /gpen/restore and GET /gpen/models."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import secrets
import tempfile
from pathlib import Path
from typing import Any, Literal, Optional

import numpy as np
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from modules import shared
from modules.call_queue import queue_lock
from numpy.typing import NDArray
from pydantic import BaseModel, Field, create_model

from gpen.errors import FilesError, GpenError, OutOfMemoryError
from gpen.images import read_picture, write_picture
from gpen.images.masks import DamageMasks
from gpen.options import ALIGNED, FRAME_OPTIONS, OPTIONS, Option
from gpen.restoration.finish import finish
from gpen.restoration.result import Restoration
from gpen.tasks import TASKS, Task, find_task

from .host import PictureRequest, default_model, engine, network_path, networks, options_from, samples_of, setting

MOST_CHARACTERS = 256 << 20
"""Of a picture in base64."""


def _field(option: Option) -> tuple[Any, Any]:
    kind: Any = Literal[option.choices] if option.choices else option.kind
    about = f"{option.label}. {option.help} Not given: the setting, or {option.default!r}."
    return Optional[kind], Field(None, ge=option.minimum, le=option.maximum, description=about)  # noqa: UP045


TASK_NAMES = tuple(name for task in TASKS.values() for name in (task.name, *task.aliases))

RestoreRequest: Any = create_model(
    "GpenRestoreRequest",
    image=(str, Field(..., description="The picture, as base64 of its file; a data URL will do.")),
    task=(Literal[TASK_NAMES], Field("restore", description="What is done.")),
    model=(  # "model" of another task than restoring has no setting.
        Optional[str],  # noqa: UP045
        Field(None, description="One of GET /gpen/models. Not given: the setting, or what suits the task."),
    ),
    damage=(
        Optional[str],  # noqa: UP045
        Field(None, description="To inpaint: a picture of equal size, white where the first is damaged, in base64."),
    ),
    aligned=(bool, Field(ALIGNED.default, description=f"To colorize or inpaint: {ALIGNED.label}. {ALIGNED.help}")),
    # There are no frames here, only single pictures.
    **{name: _field(option) for name, option in OPTIONS.items() if name not in FRAME_OPTIONS},
)


class RestoreResponse(BaseModel):
    """The result of POST /gpen/restore."""

    image: str = Field(..., description="The picture as base64 of a PNG file.")
    faces: int = Field(..., description="How many faces were restored.")
    summary: str = Field(..., description="What was done, in a sentence.")


class ModelsResponse(BaseModel):
    """The result of GET /gpen/models."""

    models: list[str] = Field(..., description='What "model" may be to restore.')
    models_of_tasks: dict[str, list[str]] = Field(..., description="The same for each task.")
    default: str = Field(..., description="The one in the settings.")


def add_routes(_demo: Any, app: FastAPI) -> None:
    """Called once the host's server runs; it has an API only with --api or --nowebui."""
    if not (getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False)):
        return
    guarded = [Depends(_authenticated)] if getattr(shared.cmd_opts, "api_auth", None) else []
    add: Any = app.add_api_route
    add("/gpen/models", list_models, methods=["GET"], response_model=ModelsResponse, dependencies=guarded)
    add("/gpen/restore", restore_picture, methods=["POST"], response_model=RestoreResponse, dependencies=guarded)


def list_models() -> Any:
    """The networks that are there."""
    of_tasks = {name: networks(find_task(name)) for name in TASK_NAMES}
    return ModelsResponse(models=of_tasks["restore"], models_of_tasks=of_tasks, default=setting("model"))


def restore_picture(request: RestoreRequest) -> Any:  # type: ignore[valid-type]
    """Restore the faces of a picture, or do another task to it."""
    values: dict[str, Any] = vars(request)
    if max(len(values["image"]), len(values["damage"] or "")) > MOST_CHARACTERS:
        raise HTTPException(413, f"The picture has more than {MOST_CHARACTERS >> 20} MB in base64.")
    with tempfile.TemporaryDirectory() as name:
        source, mask, target = (Path(name) / file for file in ("image", "damage", "restored.png"))
        source.write_bytes(_bytes_of(values["image"]))
        try:
            options = options_from(values)
            picture, damage = read_picture(source, options.max_megapixels), None
            if values["damage"] is not None:
                mask.write_bytes(_bytes_of(values["damage"]))
                damage = DamageMasks(mask, options.max_megapixels).of(source.name)
            task = find_task(values["task"])
            asked = PictureRequest(
                task=task,
                weights=_weights(values["model"], task),
                options=options,
                damage=damage,
                aligned=values["aligned"],
            )
            result = _in_turn(samples_of(picture.photo), asked)
            write_picture(target, dataclasses.replace(finish(task, picture, result).picture, bits=8))
        except GpenError as error:
            told = str(error).replace(str(source), "The image").replace(str(mask), "The mask of the damage")
            raise HTTPException(_status(error), told) from error
        encoded = base64.b64encode(target.read_bytes()).decode("ascii")
    return RestoreResponse(image=encoded, faces=len(result.faces), summary=result.summary)


def _weights(name: str | None, task: Task) -> Path:
    """Only what is listed: a path would let anybody who may ask read the server's files."""
    if name is not None and not any(name in networks(other) for other in TASKS.values()):
        raise FilesError(f"There is no model {name!r}. GET /gpen/models lists those that are there.")
    return network_path(name or default_model(task), task)


def _in_turn(samples: NDArray[np.uint8], asked: PictureRequest) -> Restoration:
    """After what else the host has to do, as a job of its own: Interrupt of the one before does not count."""
    with queue_lock:
        shared.state.begin("gpen")
        try:
            return engine.run(samples, asked)
        finally:
            shared.state.end()


def _bytes_of(text: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(422, "The picture is not base64.") from error


def _status(error: GpenError) -> int:
    if isinstance(error, FilesError):
        return 404
    return 503 if isinstance(error, OutOfMemoryError) else 422


def _authenticated(credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> None:  # noqa: B008 - FastAPI's way
    """As the host's own routes ask for it: any of the pairs in --api-auth."""
    given = f"{credentials.username}:{credentials.password}".encode()
    allowed = [pair.strip().encode() for pair in shared.cmd_opts.api_auth.split(",")]
    if not any([secrets.compare_digest(given, pair) for pair in allowed]):  # noqa: C419 - as long for each
        raise HTTPException(401, "Incorrect username or password", headers={"WWW-Authenticate": "Basic"})

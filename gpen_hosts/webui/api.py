"""GPEN's routes of SD-WebUI's API: POST /gpen/restore and GET /gpen/models."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Optional, Union

import numpy as np
from fastapi import Depends, FastAPI, HTTPException
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from modules import shared
from modules.call_queue import queue_lock
from numpy.typing import NDArray
from pydantic import BaseModel, Field, create_model

from gpen.errors import FilesError, GpenError, OutOfMemoryError
from gpen.images import left_out, read_picture, write_picture
from gpen.images.masks import PhotoMasks
from gpen.images.picture import FloatImage
from gpen.options import ALIGNED, FRAME_OPTIONS, OPTIONS, Option, Options
from gpen.restoration.finish import finish
from gpen.restoration.result import Restoration
from gpen.tasks import RESTORE, TASKS, Task, find_task
from gpen.weights.search import NetworkFiles, search_folders
from gpen.wording import first_line

from .host import (
    PictureRequest,
    default_model,
    engine,
    folders,
    network_files,
    networks,
    options_from,
    setting,
    to_samples,
)

MOST_CHARACTERS = 256 << 20
"""Most of all pictures in a request together, in characters of base64."""

MOST_MEGAPIXELS: Any = OPTIONS["max_megapixels"].default
"""Largest picture that a client may ask for: others use the same server."""


def _field(option: Option) -> tuple[Any, Any]:
    kind: Any = Literal[option.choices] if option.choices else option.kind
    if option.switch:
        kind = Union[kind, bool]  # noqa: UP007 - as Optional below
    about = f"{option.label}. {option.help} Default: the setting, or {option.default!r}."
    return Optional[kind], Field(None, ge=option.minimum, le=option.maximum, description=about)  # noqa: UP045


_IMAGE = "image"
_MASKS = {"damage": "The mask of the damage", "protect": "The mask of what is protected"}
"""What the masks in a request are called in messages."""

TASK_NAMES = tuple(name for task in TASKS.values() for name in (task.name, *task.aliases))
"""Names of tasks in requests and responses, with those of earlier versions."""

RestoreRequest: Any = create_model(
    "GpenRestoreRequest",
    image=(str, Field(..., description="An image file in base64, or as a data URL.")),
    task=(Literal[TASK_NAMES], Field(RESTORE.name, description="What to do to the picture.")),
    model=(
        Optional[str],  # noqa: UP045
        Field(None, description="One of GET /gpen/models. Default: the setting to restore, auto for other tasks."),
    ),
    damage=(
        Optional[str],  # noqa: UP045
        Field(None, description="To inpaint: a mask in base64, as large as the image, white where it is damaged."),
    ),
    protect=(
        Optional[str],  # noqa: UP045
        Field(None, description="A mask in base64, as large as the image, white where it stays as it is."),
    ),
    person=(
        list[str],
        Field([], description="Photos in base64 of the people whose faces are worked on; none: everybody's."),
    ),
    aligned=(bool, Field(ALIGNED.default, description=f"To colorize or inpaint: {ALIGNED.label}. {ALIGNED.help}")),
    **{name: _field(option) for name, option in OPTIONS.items() if name not in FRAME_OPTIONS},
)


class RestoreResponse(BaseModel):
    """The response to POST /gpen/restore."""

    image: str = Field(..., description="The result, a PNG file in base64.")
    faces: int = Field(..., description="How many faces were restored.")
    summary: str = Field(..., description="What was done, and what of the file was left out, in sentences.")


class ModelsResponse(BaseModel):
    """The response to GET /gpen/models."""

    models: list[str] = Field(..., description='Choices for "model" to restore.')
    models_of_tasks: dict[str, list[str]] = Field(..., description="The choices for each task.")
    default: str = Field(..., description="The model in the settings.")


def add_routes(_demo: Any, app: FastAPI) -> None:
    """Add the routes to the host's server, which has an API only with --api or --nowebui."""
    if not (getattr(shared.cmd_opts, "api", False) or getattr(shared.cmd_opts, "nowebui", False)):
        return
    guarded = [Depends(_authenticated)] if getattr(shared.cmd_opts, "api_auth", None) else []
    add: Any = app.add_api_route
    add("/gpen/models", list_models, methods=["GET"], response_model=ModelsResponse, dependencies=guarded)
    add("/gpen/restore", restore_picture, methods=["POST"], response_model=RestoreResponse, dependencies=guarded)


def list_models() -> Any:
    """The installed models."""
    of_tasks = {name: networks(find_task(name)) for name in TASK_NAMES}
    return ModelsResponse(models=of_tasks["restore"], models_of_tasks=of_tasks, default=setting("model"))


def restore_picture(request: RestoreRequest) -> Any:
    """Restore the faces of a picture, or do another task to it."""
    values: dict[str, Any] = vars(request)
    pictures = [*(values[name] or "" for name in ("image", *_MASKS)), *values["person"]]
    if sum(map(len, pictures)) > MOST_CHARACTERS:
        raise HTTPException(413, f"The request has more than {MOST_CHARACTERS >> 20} MB in base64. Send less.")
    if (values["max_megapixels"] or 0) > MOST_MEGAPIXELS:
        raise HTTPException(422, f"max_megapixels: at most {MOST_MEGAPIXELS:g} are allowed here. Ask for no more.")
    # Pictures take their memory only in the host's queue, one request after the other.
    with queue_lock, tempfile.TemporaryDirectory() as name:
        try:
            return _restored(values, Path(name))
        # Raised below: an error holds the pictures of the functions that it passed through, until it was answered.
        except HTTPException as error:
            refused = HTTPException(error.status_code, error.detail)
        except GpenError as error:
            refused = HTTPException(_status(error), _public_text(error, Path(name)))
    raise refused


def _restored(values: dict[str, Any], folder: Path) -> RestoreResponse:
    """The response to a request; files are written to a folder. GpenError or HTTPException if there is none."""
    source, target = folder / _IMAGE, folder / "restored.png"
    source.write_bytes(_decoded(values["image"], "The image"))
    options = options_from(values)
    picture = read_picture(source, options.max_megapixels)
    task = find_task(values["task"])
    wanted = PictureRequest(
        task=task,
        networks=_networks(values["model"], task),
        options=options,
        people=tuple(_people(values["person"], folder)),
        aligned=values["aligned"],
        **{mask: _mask(values[mask], mask, folder, options) for mask in _MASKS},
    )
    result = _as_job(to_samples(picture.photo), wanted)
    finished = dataclasses.replace(finish(task, picture, result).picture, bits=8)
    write_picture(target, finished, warn=False)
    encoded = base64.b64encode(target.read_bytes()).decode("ascii")
    summary = " ".join([result.summary, *left_out(finished, target)])
    return RestoreResponse(image=encoded, faces=len(result.faces), summary=summary)


def _public_text(error: GpenError, folder: Path) -> str:
    """The message of an error, without the folders of the server."""
    # What is missing is told in the first line, and then where it was looked for.
    text = first_line(error) if isinstance(error, FilesError) else str(error)
    for name, what in ((_IMAGE, "The image"), *_MASKS.items()):
        text = text.replace(str(folder / name), what)
    for private in (folder, *search_folders(folders(), kind="detector")):
        text = text.replace(f"{private}{os.sep}", "").replace(str(private), "the server")
    return text


def _mask(text: str | None, name: str, folder: Path, options: Options) -> FloatImage | None:
    """The mask in a request (H, W), read from a file of that name in a folder; None where there is none."""
    if text is None:
        return None
    file = folder / name
    file.write_bytes(_decoded(text, _MASKS[name]))
    return PhotoMasks(file, f"{name} mask", options.max_megapixels).of(name)


def _people(texts: list[str], folder: Path) -> Iterator[Path]:
    """Files in a folder with the photos of people in a request."""
    for number, text in enumerate(texts, start=1):
        file = folder / f"person {number}"
        file.write_bytes(_decoded(text, f"Photo {number} of a person"))
        yield file


def _networks(name: str | None, task: Task) -> NetworkFiles:
    """The file of a listed model, or several for "auto".

    Paths are refused: they would let every client read the server's files.
    """
    if name is not None and not any(name in networks(other) for other in TASKS.values()):
        raise FilesError(f"There is no model {name!r}. GET /gpen/models lists the installed ones.")
    return network_files(name or default_model(task), task)


def _as_job(samples: NDArray[np.uint8], request: PictureRequest) -> Restoration:
    """Run as a job of its own: an Interrupt of the job before has no effect on it."""
    shared.state.begin("gpen")
    try:
        return engine.run(samples, request)
    finally:
        shared.state.end()


def _decoded(text: str, what: str) -> bytes:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(422, f"{what} is not base64. Send an image file in base64, or as a data URL.") from error


def _status(error: GpenError) -> int:
    if isinstance(error, FilesError):
        return 404
    return 503 if isinstance(error, OutOfMemoryError) else 422


def _authenticated(credentials: HTTPBasicCredentials = Depends(HTTPBasic())) -> None:  # noqa: B008 - FastAPI's way
    """Require one of the pairs in --api-auth, as the host's own routes do."""
    given = f"{credentials.username}:{credentials.password}".encode()
    allowed = [pair.strip().encode() for pair in shared.cmd_opts.api_auth.split(",")]
    if not any([secrets.compare_digest(given, pair) for pair in allowed]):  # noqa: C419 - takes as long for every pair
        raise HTTPException(401, "Incorrect username or password", headers={"WWW-Authenticate": "Basic"})

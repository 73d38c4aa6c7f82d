"""Routes of ComfyUI's server by which the page shows and downloads published models.

- GET /gpen/models: what the catalogue offers, and what is missing
- GET /gpen/downloads: how far downloads are
- POST /gpen/downloads {"names": […], "accepted": true}: start some
- POST /gpen/downloads/stop {}: stop all

A request names models of the catalogue; it can give neither an address nor a folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from server import PromptServer

from ...gpen.errors import GpenError
from ...gpen.restoration.first_use import missing_models
from ...gpen.tasks import RESTORE
from ...gpen.weights.catalog import PUBLISHED, Published
from ...gpen.weights.downloads import Download, Downloads, downloads_problem
from ...gpen.weights.search import download_folder, find_file, may_be_network, search_folders
from .host import DETECTORS, NETWORKS, folders, network_files

_Values = dict[str, Any]


def add_routes() -> None:
    """Add the routes to the server, once."""
    routes = PromptServer.instance.routes
    # Of two copies of the pack, one has to do; the server does not start with a route that is there twice.
    if any(getattr(route, "path", "").startswith("/gpen/") for route in routes):
        return
    routes.get("/gpen/models")(_models)
    routes.get("/gpen/downloads")(_states)
    routes.post("/gpen/downloads")(_start)
    routes.post("/gpen/downloads/stop")(_stop)


def _host_folders(published: Published) -> list[Path]:
    return folders(NETWORKS if published.kind == "network" else DETECTORS)


def _folders_of(published: Published) -> list[Path]:
    return search_folders(_host_folders(published), kind=published.kind)


downloads = Downloads(lambda published: download_folder(_host_folders(published)), _folders_of)
"""The downloads of this server."""


async def _models(request: web.Request) -> web.Response:
    return web.json_response(await asyncio.to_thread(_catalogue))


def _catalogue() -> _Values:
    restorers = [name for name in network_files() if may_be_network(Path(name).name, RESTORE.name)]
    missing = missing_models(RESTORE, has_network=bool(restorers), folders=folders(DETECTORS))
    return {
        "problem": downloads_problem(),
        "models": [
            {
                "name": published.name,
                "kind": published.kind,
                "task": published.task,
                "file": published.saved_as,
                "size": published.about,
                "licence": published.licence,
                "here": find_file(published, _folders_of(published)) is not None,
            }
            for published in PUBLISHED
        ],
        "missing": [published.name for published in missing],
    }


async def _states(request: web.Request) -> web.Response:
    return web.json_response({"downloads": _described(downloads.states())})


async def _start(request: web.Request) -> web.Response:
    refusal, values = await _body(request)
    if refusal is not None:
        return refusal
    names = values.get("names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return _refused(400, 'Send the models to download as {"names": ["…"], "accepted": true}.')
    try:
        downloads.start(names, accepted=values.get("accepted") is True)
    except GpenError as error:
        return _refused(403 if downloads_problem() else 400, str(error))
    return await _states(request)


async def _stop(request: web.Request) -> web.Response:
    refusal, _ = await _body(request)
    if refusal is not None:
        return refusal
    downloads.stop()
    return await _states(request)


async def _body(request: web.Request) -> tuple[web.Response | None, _Values]:
    """Why a request is refused, or None; and the JSON object that it sends.

    A page of another site can make a browser send simple requests: none of JSON, unless the server allows it.
    """
    if _is_foreign(request):
        return _refused(403, "This request comes from a page of another site."), {}
    if request.content_type != "application/json":
        return _refused(415, "Send application/json."), {}
    try:
        values = await request.json()
    except ValueError:
        values = None
    if not isinstance(values, dict):
        return _refused(400, "Send a JSON object."), {}
    return None, values


def _is_foreign(request: web.Request) -> bool:
    """Whether a browser says that another site's page sends this; ComfyUI's own check covers the same computer only."""
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = request.headers.get("Origin")
    return origin is not None and urlsplit(origin).netloc.lower() != request.headers.get("Host", "").lower()


def _described(states: Sequence[Download]) -> list[_Values]:
    return [
        {
            "name": download.published.name,
            "state": download.state,
            "done": download.done,
            "total": download.total,
            "error": download.error,
        }
        for download in states
    ]


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)

"""Which requests reach the page: those for its own address, and uploads that there is room for.

A web page of a stranger can send requests to this computer, and by DNS rebinding even under a name of its own that
stands for 127.0.0.1; but a browser always says in Host and Origin where a request goes and where it comes from.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import PhotoError

OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The names of this computer to itself."""

MOST_BODY = 64 << 20
"""Bytes of a request that uploads no file: Gradio reads it into memory whole."""

KEPT = 600.0
"""Seconds for which an upload is safe: older ones go where newer ones need their room."""

_ADDRESS = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Server = Callable[[Message, Receive, Send], Awaitable[None]]


class UploadQuota:
    """Bounds what all uploads together take on the disk, by every visitor of the page.

    folder: where the server puts them. most_bytes: of all files in it.
    """

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self._folder = folder
        self._coming = 0

    def enter(self, size: int) -> None:
        """Reserve room for an upload until :meth:`leave`; PhotoError where there is none.

        Uploads that nobody has needed for ten minutes make room, oldest first.
        """
        if self._coming + size <= self.most_bytes:
            files = self._files()
            held = sum(size for _, size, _ in files)
            for changed, length, path in files:
                if held + self._coming + size <= self.most_bytes or time.time() - changed < KEPT:
                    break
                path.unlink(missing_ok=True)
                held -= length
            if held + self._coming + size <= self.most_bytes:
                self._coming += size
                return
        raise PhotoError(
            f"There is no room for this upload: at most {self.most_bytes / 1e6:,.0f} MB are kept at once. Upload less, "
            f"or wait {KEPT / 60:.0f} minutes, after which uploads make room for newer ones."
        )

    def leave(self, size: int) -> None:
        """Give up what was reserved: the upload is on the disk, or was broken off."""
        self._coming -= size

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each upload was last changed, its bytes and its path, oldest first."""
        found = []
        for folder, _, names in os.walk(self._folder):
            for name in names:
                path = Path(folder, name)
                try:
                    status = path.stat()
                except FileNotFoundError:  # Gradio has just moved or removed it
                    continue
                found.append((status.st_mtime, status.st_size, path))
        return sorted(found)


@dataclass(frozen=True)
class Gate:
    """An ASGI application in front of another, for HTTP and WebSocket.

    It answers 403 to requests for another host than this computer, or from the pages of another site; 411 and 413 to
    uploads of an unknown length or beyond the quota.
    """

    server: Server
    """The application behind it."""
    quota: UploadQuota
    """The room for uploads."""
    names: frozenset[str] = frozenset()
    """Further host names that the page may be asked for by, in lower case, such as that of a proxy in front of it."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket"):
            await self.server(scope, receive, send)
        elif (problem := self._problem(scope)) is None:
            await self._admitted(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it is accepted: the server answers 403
        else:
            await _answer(403, problem, receive, send)

    def _problem(self, scope: Message) -> str | None:
        """Why a request is not for this page, or not from it."""
        hosts, origins = _header(scope, b"host"), _header(scope, b"origin")
        host = _ADDRESS.fullmatch(hosts[0]) if len(hosts) == 1 else None
        if host is None or host[1] not in OWN_NAMES | self.names:
            return (
                "This page is for the browser on the same computer, at http://127.0.0.1. If it is reached by another "
                "name, start it with --allow-host NAME."
            )
        for origin in origins:
            came_from = _ADDRESS.fullmatch(origin.partition("://")[2])
            if came_from is None or (came_from[0] != host[0] and came_from[1] not in self.names):
                return "A page of another site cannot use this one."
        return None

    async def _admitted(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.server(scope, receive, send)
            return
        lengths = _header(scope, b"content-length")
        if len(lengths) != 1 or not lengths[0].isdecimal():
            await _answer(411, "The length of the upload has to be stated.", receive, send)
            return
        length = int(lengths[0])
        if not scope["path"].rstrip("/").endswith("/upload"):
            if length > MOST_BODY:
                await _answer(413, f"A request has at most {MOST_BODY >> 20} MB. Upload files first.", receive, send)
            else:
                await self.server(scope, receive, send)
            return
        try:
            self.quota.enter(length)
        except PhotoError as error:
            await _answer(413, str(error), receive, send)
            return
        try:
            await self.server(scope, receive, send)
        finally:
            self.quota.leave(length)


def _header(scope: Message, name: bytes) -> list[str]:
    """The values of a header, in lower case."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1").strip().lower() for key, value in headers if key.lower() == name]


async def _answer(status: int, text: str, receive: Receive, send: Send) -> None:
    """Refuse a request. Its body is passed over: browsers show an answer only once they have sent everything."""
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})

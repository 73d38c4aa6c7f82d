"""How much may be uploaded, by all visitors together and by each."""

from __future__ import annotations

import ipaddress
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from ...errors import PhotoError
from .asgi import Message, Receive, Send, Server, answer, client, header

MOST_BODY = 64 << 20
"""Bytes of a request that uploads no file: Gradio reads it into memory whole."""

KEPT = 600.0
"""Seconds for which an upload is safe: older ones go where newer ones need their room."""


class UploadQuota:
    """Bounds what all uploads together take on the disk, and what one visitor uploads in ten minutes.

    folder: where the server puts them. most_bytes: of all files in it. most_of_visitor: bytes from one address; None
    for as many as from all.
    """

    def __init__(self, folder: Path, most_bytes: int, most_of_visitor: int | None = None) -> None:
        self.most_bytes = most_bytes
        self._most_of_visitor = most_of_visitor
        self._folder = folder
        self._coming = 0
        self._recent: deque[tuple[float, str, int]] = deque()

    def enter(self, size: int, visitor: str = "") -> None:
        """Reserve room for an upload until :meth:`leave`; PhotoError where there is none.

        Uploads that nobody has needed for ten minutes make room, oldest first. visitor: the address it comes from.
        """
        self._check_visitor(size, visitor)
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
                self._recent.append((time.monotonic(), household(visitor), size))
                return
        raise PhotoError(
            f"There is no room for this upload: at most {self.most_bytes / 1e6:,.0f} MB are kept at once. Upload less, "
            f"or wait {KEPT / 60:.0f} minutes, after which uploads make room for newer ones."
        )

    def leave(self, size: int) -> None:
        """Give up what was reserved: the upload is on the disk, or was broken off."""
        self._coming -= size

    def _check_visitor(self, size: int, visitor: str) -> None:
        """Nobody may take the room of all: what is on the disk says not whose it is, so what came lately counts."""
        while self._recent and time.monotonic() - self._recent[0][0] >= KEPT:
            self._recent.popleft()
        most, own = self._most_of_visitor, household(visitor)
        if most is not None and sum(length for _, whose, length in self._recent if whose == own) + size > most:
            raise PhotoError(
                f"That is too much at once: one visitor may upload {most / 1e6:,.0f} MB in {KEPT / 60:.0f} minutes. "
                "Upload less, or wait."
            )

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


@dataclass
class UploadGate:
    """An ASGI application in front of another.

    It answers 411 to uploads and other requests with a body of unknown length, and 413 to those beyond the limits.
    """

    server: Server
    """The application behind it."""
    quota: UploadQuota
    """The room for uploads."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self.server(scope, receive, send)
            return
        lengths = header(scope, b"content-length")
        if len(lengths) != 1 or not lengths[0].isdecimal():
            await answer(411, "The length of the upload has to be stated.", receive, send)
            return
        length = int(lengths[0])
        if not scope["path"].rstrip("/").endswith("/upload"):
            if length > MOST_BODY:
                await answer(413, f"A request has at most {MOST_BODY >> 20} MB. Upload files first.", receive, send)
            else:
                await self.server(scope, receive, send)
            return
        try:
            self.quota.enter(length, client(scope))
        except PhotoError as error:
            await answer(413, str(error), receive, send)
            return
        try:
            await self.server(scope, receive, send)
        finally:
            self.quota.leave(length)


def household(address: str) -> str:
    """Whose an address is: the address, or of IPv6 the network that one visitor has all addresses of."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4 or parsed.ipv4_mapped:
        return str(getattr(parsed, "ipv4_mapped", None) or parsed)
    return str(ipaddress.ip_network((parsed, 64), strict=False))

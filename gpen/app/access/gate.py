"""Which requests reach the page: those for its own address, from itself.

A web page of a stranger can send requests to this computer, and by DNS rebinding even under a name of its own that
stands for 127.0.0.1; but a browser always says in Host and Origin where a request goes and where it comes from.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from .asgi import Message, Receive, Send, Server, answer, close, header
from .reach import in_url

OWN_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
"""The names of this computer to itself."""

_ADDRESS = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


@dataclass
class Gate:
    """An ASGI application in front of another, for HTTP and WebSocket.

    It answers 403 to requests for another host than this computer, or from the pages of another site.
    """

    server: Server
    """The application behind it."""
    names: frozenset[str] = frozenset()
    """Further host names that the page may be asked for by, in lower case, such as that of a proxy in front of it."""

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket") or (problem := self._problem(scope)) is None:
            await self.server(scope, receive, send)
        elif scope["type"] == "websocket":
            await close(1008, receive, send)
        else:
            await answer(403, problem, receive, send)

    def _problem(self, scope: Message) -> str | None:
        """Why a request is not for this page, or not from it."""
        hosts, origins = header(scope, b"host"), header(scope, b"origin")
        host = _ADDRESS.fullmatch(hosts[0]) if len(hosts) == 1 else None
        # A name may have been made to stand for this address (DNS rebinding); the address itself cannot.
        if host is None or host[1] not in OWN_NAMES | self.names | {_reached_at(scope)}:
            return (
                "This page is not known by this name. Open it at the address that gpen app printed, or start it with "
                "--allow-host NAME."
            )
        for origin in origins:
            came_from = _ADDRESS.fullmatch(origin.partition("://")[2])
            if came_from is None or (came_from[0] != host[0] and came_from[1] not in self.names):
                return "A page of another site cannot use this one."
        return None


def _reached_at(scope: Message) -> str | None:
    """The address of this computer that a request came to, as web addresses have it."""
    server = scope.get("server")
    try:
        address = ipaddress.ip_address(server[0] if server else "")
    except ValueError:
        return None
    return in_url(str(getattr(address, "ipv4_mapped", None) or address))

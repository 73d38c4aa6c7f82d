"""What a request passes on its way to the page: the gate, the password, and the room for uploads."""

from __future__ import annotations

from .asgi import Message, Receive, Send, Server, answer, close
from .gate import Gate
from .password import Login
from .quota import UploadGate, UploadQuota
from .reach import Reach, names_of_this_computer

_STARTED_BY = "/gradio_api/startup-events"
"""What Gradio asks its own server for when it starts it."""


class Doors:
    """Makes the applications in front of the server; nobody else is let in until :meth:`open`."""

    def __init__(self, reach: Reach, port: int, quota: UploadQuota) -> None:
        self._reach = reach
        self._port = port
        self._quota = quota
        self._is_open = False

    def open(self) -> None:
        """Let visitors in."""
        self._is_open = True

    def in_front_of(self, server: Server) -> Server:
        """An application that passes on to the server what may reach it."""
        reach = self._reach
        inner: Server = UploadGate(server, self._quota)
        if reach.password is not None:
            inner = Login(inner, reach.password, self._port)
        names = frozenset(reach.names) | (names_of_this_computer() if reach.is_open else frozenset())
        gate = Gate(inner, names)

        async def serve(scope: Message, receive: Receive, send: Send) -> None:
            if self._is_open or scope["type"] == "lifespan":
                await gate(scope, receive, send)
            elif scope["type"] == "http" and scope["path"] == _STARTED_BY:
                await server(scope, receive, send)
            elif scope["type"] == "http":
                # By a HEAD Gradio sees whether its server can be reached.
                status = 200 if scope["method"] == "HEAD" else 503
                await answer(status, "The page is starting. Load it again.", receive, send)
            else:
                await close(1013, receive, send)

        return serve

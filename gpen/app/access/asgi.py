"""What the applications in front of the page's server share: its protocol is ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Iterable[tuple[str, str]]
Server = Callable[[Message, Receive, Send], Awaitable[None]]


def header(scope: Message, name: bytes) -> list[str]:
    """The values of a header, in lower case."""
    return [value.lower() for value in raw_header(scope, name)]


def raw_header(scope: Message, name: bytes) -> list[str]:
    """The values of a header."""
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return [value.decode("latin-1").strip() for key, value in headers if key.lower() == name]


def client(scope: Message) -> str:
    """The address that a request comes from; empty where the server does not know it."""
    return str((scope.get("client") or ("", 0))[0])


async def answer(
    status: int, text: str, receive: Receive, send: Send, *, kind: str = "plain", headers: Headers = ()
) -> None:
    """Answer a request with a text of a kind. The rest of its body is passed over: browsers show an answer only once
    they have sent everything.
    """
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass
    await respond(status, text, send, kind=kind, headers=headers)


async def close(code: int, receive: Receive, send: Send) -> None:
    """Refuse a WebSocket before it is accepted: the server answers 403. code: of RFC 6455, 7.4."""
    await receive()
    await send({"type": "websocket.close", "code": code})


async def respond(status: int, text: str, send: Send, *, kind: str = "plain", headers: Headers = ()) -> None:
    """Answer a request whose body was read."""
    body = text.encode()
    all_headers = [("content-type", f"text/{kind}; charset=utf-8"), ("content-length", str(len(body))), *headers]
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in all_headers]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": body})

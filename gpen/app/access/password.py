"""The password that whoever is to reach the page from another computer needs, and the page that asks for it."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import time
from collections import deque
from pathlib import Path
from urllib.parse import parse_qs

from ...errors import GpenError
from .asgi import Message, Receive, Send, Server, answer, client, close, raw_header, respond
from .quota import household

VARIABLE = "GPEN_APP_PASSWORD"
"""The environment variable with the password."""

SHORTEST = 8
"""Characters of a password."""

LOGIN = "/login"
"""Where the password is sent to, by Gradio's client, too."""

_MOST_GUESSES, _MOST_OF_ALL, _PERIOD = 10, 100, 60.0
"""Wrong passwords from one address, and from all, in so many seconds."""

_MOST_BODY = 4096
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""None that looks like another one."""


def read_password(file: Path | None) -> str | None:
    """The password in a file, or else in the environment; None where neither is given. GpenError for a bad one."""
    # No program that this one starts needs it.
    text = os.environ.pop(VARIABLE, None)
    source = f"in {VARIABLE}"
    if file is not None:
        source = f"in {file}"
        try:
            text = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise GpenError(f"{file} holds no text. Write the password into it, in one line.") from error
        except OSError as error:
            raise GpenError(f"The password cannot be read from {file}: {error.strerror}.") from error
    if text is None:
        return None
    text = text.strip("\r\n")
    if len(text) < SHORTEST or len(text.splitlines()) > 1:
        raise GpenError(f"The password {source} has to be one line of at least {SHORTEST} characters.")
    return text


def made_password() -> str:
    """A random password that can be typed: 79 bits."""
    return "-".join("".join(secrets.choice(_LETTERS) for _ in range(4)) for _ in range(4))


class Guesses:
    """The wrong passwords of the last minute."""

    def __init__(self) -> None:
        self._wrong: deque[tuple[float, str]] = deque(maxlen=_MOST_OF_ALL)

    def note(self, address: str) -> None:
        """Note a wrong password from an address."""
        self._wrong.append((time.monotonic(), household(address)))

    def too_many(self, address: str) -> bool:
        """Whether no password from that address is looked at now, right or wrong."""
        while self._wrong and time.monotonic() - self._wrong[0][0] >= _PERIOD:
            self._wrong.popleft()
        own = sum(whose == household(address) for _, whose in self._wrong)
        return own >= _MOST_GUESSES or len(self._wrong) >= _MOST_OF_ALL


class Login:
    """An ASGI application in front of another, for HTTP and WebSocket.

    Nothing behind it is reached, no file and no script of the page either, without the cookie that the right password
    is answered with. It holds until the browser or this program ends.
    """

    def __init__(self, server: Server, password: str, port: int) -> None:
        self._server = server
        self._digest = _digest(password)
        # Cookies are for all ports of a computer.
        self._cookie = f"gpen-{port}"
        self._token = secrets.token_urlsafe(32)
        self._guesses = Guesses()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a request."""
        if scope["type"] not in ("http", "websocket"):
            await self._server(scope, receive, send)
        elif scope["type"] == "http" and scope["method"] == "POST" and scope["path"].rstrip("/") == LOGIN:
            await self._log_in(scope, receive, send)
        elif self._is_known(scope):
            if scope["path"] == LOGIN:
                await answer(200, _GO_ON, receive, send, kind="html", headers=_FRESH)
            else:
                await self._server(scope, receive, send)
        elif scope["type"] == "websocket":
            await close(1008, receive, send)
        elif scope["path"] in ("/", LOGIN) and scope["method"] in ("GET", "HEAD"):
            await answer(401, _form(), receive, send, kind="html", headers=_FRESH)
        else:
            await answer(401, "The password is needed: open the page itself, and give it there.", receive, send)

    def _is_known(self, scope: Message) -> bool:
        cookies = [part.strip().partition("=") for text in raw_header(scope, b"cookie") for part in text.split(";")]
        given = [value.encode() for name, _, value in cookies if name == self._cookie]
        return any(hmac.compare_digest(value, self._token.encode()) for value in given)

    async def _log_in(self, scope: Message, receive: Receive, send: Send) -> None:
        address = client(scope)
        body = b""
        while (message := await receive())["type"] == "http.request":
            body = (body + message.get("body", b""))[: _MOST_BODY + 1]
            if not message.get("more_body"):
                break
        if self._guesses.too_many(address):
            text = "Too many wrong passwords came. Wait a minute."
            await respond(429, _form(text), send, kind="html", headers=[("retry-after", f"{_PERIOD:.0f}"), *_FRESH])
            return
        given = parse_qs(body.decode("utf-8", "replace")).get("password", [""])[-1]
        if len(body) > _MOST_BODY or not hmac.compare_digest(_digest(given), self._digest):
            self._guesses.note(address)
            await respond(401, _form("That is not the password."), send, kind="html", headers=_FRESH)
            return
        kept = ("set-cookie", f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Lax")
        # Not a redirect: Gradio's client wants a success.
        await respond(200, _GO_ON, send, kind="html", headers=[kept, *_FRESH])


def _digest(password: str) -> bytes:
    """All of one length, so that comparing them takes the same time for all."""
    return hashlib.sha256(password.encode("utf-8", "surrogatepass")).digest()


_FRESH = (("cache-control", "no-store"),)

_GO_ON = """<!doctype html><html lang="en"><meta charset="utf-8"><title>GPEN Face Restore</title>
<meta http-equiv="refresh" content="0; url=./"><p><a href="./">Go on to the page</a></p></html>
"""


def _form(problem: str = "") -> str:
    """The page that asks for the password. problem: what was wrong with the last one, as HTML."""
    said = f'<p id="said" role="alert">{problem}</p>' if problem else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>GPEN Face Restore: password</title>
<style>
:root {{ color-scheme: light dark; font: 1rem/1.5 system-ui, sans-serif }}
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center }}
form {{ display: grid; gap: 0.75rem; width: min(20rem, 90vw) }}
h1 {{ font-size: 1.25rem; margin: 0 }}
p {{ margin: 0 }}
input, button {{ font: inherit; padding: 0.5rem; border-radius: 6px; border: 1px solid #808080 }}
input {{ box-sizing: border-box; width: 100% }}
button {{ background: #4338ca; border-color: #4338ca; color: #fff; cursor: pointer }}
</style></head>
<body><main><form method="post" action="login">
<h1>GPEN Face Restore</h1>
<input name="username" value="gpen" autocomplete="username" hidden>
<label>Password
<input name="password" type="password" autocomplete="current-password" required autofocus></label>
{said}
<button>Open the page</button>
</form></main></body></html>
"""

"""A server of one file."""

from __future__ import annotations

import contextlib
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

SEED = 20

NAME = "GPEN-BFR-256"
"""The published network that it stands for."""


class Handler(BaseHTTPRequestHandler):
    """Sends a file with an ETag, and the rest of it where that is asked for."""

    def do_GET(self) -> None:
        server: Any = self.server
        body, asked = server.body, self.headers.get("Range", "")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        server.starts.append(start)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(body) - start))
        self.send_header("ETag", '"one"')
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        with contextlib.suppress(OSError):
            for position in range(start, len(body), 1 << 16):
                self.wfile.write(body[position : position + (1 << 16)])
                if server.stops_at is not None and position >= server.stops_at:
                    server.stopped.wait(60)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def serve() -> Iterator[Any]:
    """A running server.

    body: the file. address: where it is. starts: where each answer began. stops_at: how many bytes are sent before it
    waits for ``stopped``; None for all.
    """
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.body = b"PK\x03\x04" + random.Random(SEED).randbytes(1 << 20)
    server.starts, server.stops_at, server.stopped = [], None, threading.Event()
    server.address = f"http://127.0.0.1:{server.server_address[1]}/file.pth"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server
    server.stopped.set()
    server.shutdown()
    server.server_close()
    thread.join()

"""The events that a page receives from the server while a graph runs."""

from __future__ import annotations

import asyncio
import io
import queue
import struct
import threading
import time
import uuid
from types import TracebackType
from typing import Any

import numpy as np
from PIL import Image
from typing_extensions import Self

from tests.hosts.comfyui.server import ComfyUIServer

Message = tuple[str, Any]
"""The kind and the data; a preview is ("preview", image)."""

_PREVIEW = 1


class Listener:
    """A websocket, open inside a with statement. Graphs are submitted with its ``client``."""

    def __init__(self, server: ComfyUIServer) -> None:
        self.client = uuid.uuid4().hex
        self._url = f"{server.url}/ws?clientId={self.client}"
        self._messages: queue.Queue[Message] = queue.Queue()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        # The first message that the server sends to everyone.
        self.until("status")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join()

    def until(self, *kinds: str, deadline: float = 60) -> list[Message]:
        """Wait for a message of one of these kinds; returns all messages up to it."""
        heard: list[Message] = []
        end = time.monotonic() + deadline
        while not heard or heard[-1][0] not in kinds:
            heard.append(self._messages.get(timeout=max(0.0, end - time.monotonic())))
        return heard

    def _run(self) -> None:
        self._task = self._loop.create_task(self._listen())
        try:
            self._loop.run_until_complete(self._task)
        except asyncio.CancelledError:
            pass
        finally:
            self._loop.close()

    async def _listen(self) -> None:
        import aiohttp

        async with aiohttp.ClientSession() as session, session.ws_connect(self._url, max_msg_size=0) as socket:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    values = message.json()
                    self._messages.put((values["type"], values["data"]))
                elif message.type is aiohttp.WSMsgType.BINARY:
                    kind, _format = struct.unpack_from(">II", message.data)
                    if kind == _PREVIEW:
                        image = Image.open(io.BytesIO(message.data[8:]))
                        self._messages.put(("preview", np.asarray(image)))

"""The real ComfyUI server, in its own folder, with this checkout as its only node pack."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

CHECKOUT = Path(__file__).resolve().parents[3]
PACK = "gpen-face-restore"
_NEEDED = ("aiohttp", "comfyui_frontend_package", "torchaudio", "torchsde", "spandrel")
_PACK_FAILED = re.compile(rf"\(IMPORT FAILED\): .*{PACK}|Error while calling comfy_entrypoint")

Graph = dict[str, dict[str, Any]]
"""A prompt in API form: node id to class_type and inputs."""


def comfyui_folder() -> Path | None:
    """The folder of ComfyUI's checkout, or None."""
    folder = Path(os.environ.get("COMFYUI_DIR") or "~/.cache/gpen-hosts/ComfyUI").expanduser()
    return folder if (folder / "main.py").is_file() else None


def why_not() -> str:
    """Why the server cannot be started here; empty if it can."""
    if comfyui_folder() is None:
        return "needs ComfyUI, in $COMFYUI_DIR or ~/.cache/gpen-hosts/ComfyUI"
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    return f"needs ComfyUI's packages (not here: {missing[0]}); make test-comfyui, make test-web" if missing else ""


class PromptError(Exception):
    """A graph did not run to its end.

    message: what the user sees. details: as the server sent them.
    """

    def __init__(self, message: str, details: dict[str, Any]) -> None:
        super().__init__(message)
        self.message = message
        self.details = details


class PromptRefusedError(PromptError):
    """The graph was not accepted. message: the errors of all nodes, one on each line."""


class PromptFailedError(PromptError):
    """A node raised an exception, whose message this is."""


class PromptInterruptedError(PromptError):
    """Cancel took effect."""


@dataclass(frozen=True)
class Finished:
    """The server's history of a graph that ran to its end."""

    outputs: dict[str, dict[str, Any]]
    """What each output node shows, by the node's id."""
    messages: list[tuple[str, dict[str, Any]]]
    """Name and data of each event."""

    def cached(self) -> set[str]:
        """Ids of the nodes that were not executed again."""
        return {node for name, data in self.messages if name == "execution_cached" for node in data["nodes"]}


class ComfyUIServer:
    """A running server; call :meth:`stop`. RuntimeError with the end of its log if it does not start."""

    def __init__(
        self,
        base_dir: Path,
        models: Mapping[str, Path] | None = None,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        packs: Mapping[str, str] | None = None,
        deadline: float = 120,
    ) -> None:
        """base_dir: an empty folder. models: path under its models/, to the file that is copied there.

        packs: further node packs of one file each, name to source.
        """
        host = comfyui_folder()
        if host is None:
            raise RuntimeError(why_not())
        self.base_dir = base_dir
        (base_dir / "custom_nodes").mkdir(parents=True)
        (base_dir / "custom_nodes" / PACK).symlink_to(CHECKOUT, target_is_directory=True)
        packs = {f"{name}.py": source for name, source in (packs or {}).items()}
        for name, source in packs.items():
            (base_dir / "custom_nodes" / name).write_text(source, encoding="utf-8")
        for path, file in (models or {}).items():
            self.add_model(path, file)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self._log_file = base_dir / "server.log"
        command = [sys.executable, "main.py", "--cpu", "--listen", "127.0.0.1", "--port", str(self.port)]
        command += ["--disable-auto-launch", "--base-directory", str(base_dir), "--database-url", "sqlite:///:memory:"]
        command += ["--disable-all-custom-nodes", "--whitelist-custom-nodes", PACK, *packs, *arguments]
        settings = {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        # Ignore models that were downloaded on this computer.
        settings |= {"XDG_CACHE_HOME": str(base_dir / "cache"), "GPEN_MODELS_PATH": "", "GPEN_DETECTORS_PATH": ""}
        with self._log_file.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=host,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **settings, **(environment or {})},
            )
        try:
            self._wait_for_start(time.monotonic() + deadline)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server. Its folder stays."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        """The server's log so far."""
        return self._log_file.read_text(encoding="utf-8", errors="replace")

    @property
    def memory(self) -> int:
        """Bytes of the server in memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def peak_memory(self) -> int:
        """The most bytes of memory that the server has had so far; on Linux."""
        lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="utf-8").splitlines()
        (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM"))
        return int(peak) * 1024

    def add_model(self, path: str, file: Path) -> Path:
        """Copy a file to a path under models/."""
        target = self.base_dir / "models" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Without the mode of a read-only original: tests change and remove their files.
        return shutil.copyfile(file, target)

    def get(self, path: str, **query: str) -> bytes:
        """The answer to a GET request."""
        return self._request(path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path: str, values: dict[str, Any]) -> Any:
        """The answer to a POST request in JSON; None if it is empty."""
        answer = self._request(path, json.dumps(values).encode(), "application/json")
        return json.loads(answer) if answer else None

    def object_info(self, node: str = "") -> dict[str, Any]:
        """The description that the page gets of one node, or of all by their ids."""
        info: dict[str, Any] = json.loads(
            self.get(f"/object_info/{urllib.parse.quote(node)}" if node else "/object_info")
        )
        return info[node] if node else info

    def upload_image(self, image: bytes | Path | NDArray[np.uint8], name: str) -> str:
        """Put an image into the server's input folder; returns the name for LoadImage."""
        if isinstance(image, Path):
            image = image.read_bytes()
        elif not isinstance(image, bytes):
            stream = io.BytesIO()
            Image.fromarray(image).save(stream, "PNG", compress_level=1)
            image = stream.getvalue()
        boundary = uuid.uuid4().hex
        field = f'--{boundary}\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
        head = field % ("overwrite", "") + "true\r\n" + field % ("image", f'; filename="{name}"')
        body = head.encode() + image + f"\r\n--{boundary}--\r\n".encode()
        answer = json.loads(self._request("/upload/image", body, f"multipart/form-data; boundary={boundary}"))
        return str(answer["name"])

    def submit(self, graph: Graph, client: str = "") -> str:
        """Queue a graph; its id. client: whose websocket hears of its progress. PromptRefusedError if it is invalid."""
        try:
            return str(self.post("/prompt", {"prompt": graph, "client_id": client or uuid.uuid4().hex})["prompt_id"])
        except urllib.error.HTTPError as error:
            if error.code != 400:
                raise
            details = json.loads(error.read())
        errors = [problem for node in details["node_errors"].values() for problem in node["errors"]]
        lines = [f"{problem['message']}: {problem['details']}" for problem in errors or [details["error"]]]
        raise PromptRefusedError("\n".join(lines), details)

    def wait(self, prompt: str, deadline: float = 120) -> Finished:
        """Wait for a queued graph; PromptError or TimeoutError if it did not end well."""
        end = time.monotonic() + deadline
        while not (history := json.loads(self.get(f"/history/{prompt}"))):
            if time.monotonic() > end or self._process.poll() is not None:
                raise TimeoutError(f"The graph did not end. The server's log ends with:\n{self._end_of_log()}")
            time.sleep(0.05)
        entry = history[prompt]
        messages = [(str(name), data) for name, data in entry["status"]["messages"]]
        for name, data in messages:
            if name == "execution_error":
                raise PromptFailedError(data["exception_message"], data)
            if name == "execution_interrupted":
                raise PromptInterruptedError("interrupted", data)
        return Finished(entry["outputs"], messages)

    def run(self, graph: Graph, deadline: float = 120) -> Finished:
        """Queue a graph and wait for its end."""
        return self.wait(self.submit(graph), deadline)

    def interrupt(self) -> None:
        """Cancel what is running."""
        self.post("/interrupt", {})

    def view(self, file: Mapping[str, str]) -> NDArray[np.uint8]:
        """An image named by a graph's outputs or an upload: (H, W), (H, W, 3) or (H, W, 4)."""
        query = {"filename": file["filename"], "subfolder": file["subfolder"], "type": file["type"]}
        return np.asarray(Image.open(io.BytesIO(self.get("/view", **query))))

    def images(self, finished: Finished, node: str) -> list[NDArray[np.uint8]]:
        """The images that one node of a graph saved or shows."""
        return [self.view(file) for file in finished.outputs[node]["images"]]

    def _request(self, path: str, body: bytes | None = None, kind: str = "") -> bytes:
        headers = {"Content-Type": kind} if kind else {}
        with urllib.request.urlopen(urllib.request.Request(self.url + path, body, headers), timeout=60) as answer:
            return bytes(answer.read())

    def _wait_for_start(self, end: float) -> None:
        while True:
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"ComfyUI did not start. Its log ends with:\n{self._end_of_log()}")
            try:
                self.get("/system_stats")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        if _PACK_FAILED.search(self.log):
            raise RuntimeError(f"ComfyUI could not load the node pack. Its log ends with:\n{self._end_of_log()}")

    def _end_of_log(self) -> str:
        return self.log[-4000:]

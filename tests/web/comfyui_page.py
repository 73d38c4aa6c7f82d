"""ComfyUI's page for tests: open a workflow, run it, look at its nodes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.chromium import ChromiumPage
from tests.hosts.comfyui.server import ComfyUIServer, Graph

SETTINGS = {
    "Comfy.TutorialCompleted": True,
    "Comfy.Notification.ShowVersionUpdates": False,
    "Comfy.Minimap.Visible": False,
    "Comfy.Workflow.ShowMissingModelsWarning": False,
    "Comfy.EnableTooltips": False,
}
"""No tours, and no windows over the canvas."""

NO_GRAPH = {"last_node_id": 0, "last_link_id": 0, "nodes": [], "links": [], "groups": [], "version": 0.4}
_RUN = "button[data-testid=queue-button], [data-testid=queue-button] button"
_OURS = "/extensions/gpen-face-restore/"
_READY = "Boolean(window.app?.extensionManager && window.LiteGraph?.registered_node_types?.GPENRestoreFaces)"

_NO_ANIMATION = """
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(".p-overlay-mask { animation: none !important }");
    document.adoptedStyleSheets = [sheet];
"""
"""The page covers itself while it starts and while it loads a graph, and uncovers itself when an animation ends. Where
that event is lost, nothing takes a click any more. Without an animation it uncovers itself at once."""

_LISTEN = """() => {
    window.gpenRuns = [];
    for (const name of ["execution_success", "execution_error", "execution_interrupted"])
        app.api.addEventListener(name, ({ detail }) => gpenRuns.push({ name, ...detail }));
}"""
_RESIZE = """([type, left, top, width, height, scale]) => {
    const node = app.graph.nodes.find((node) => node.type === type);
    const { x, y } = app.canvas.canvas.getBoundingClientRect();
    node.setSize([width, height ?? node.size[1]]);
    app.canvas.ds.scale = scale;
    app.canvas.ds.offset = [(left - x) / scale - node.pos[0], (top - y) / scale - node.pos[1]];
    app.canvas.bringToFront(node);
    app.canvas.setDirty(true, true);
}"""
_NODE = "app.graph.nodes.find((node) => node.type === type)"


class ComfyUIPage(ChromiumPage):
    """The page of a server, opened on construction."""

    def __init__(self, browser: Any, server: ComfyUIServer) -> None:
        super().__init__(browser, timeout=20_000)
        self.server = server
        self._errors: list[str] = []
        self.window.on("console", self._heard)
        self.window.on("pageerror", lambda error: self._errors.append(f"{error} {getattr(error, 'stack', '')}"))
        self.window.add_init_script(_NO_ANIMATION)
        self.window.goto(server.url)
        self._wait_for_start()
        self.version: str = self.window.evaluate("window.__COMFYUI_FRONTEND_VERSION__")

    def reload(self) -> None:
        """Reload, as F5 does."""
        self.window.reload()
        self._wait_for_start()

    def our_errors(self) -> list[str]:
        """Errors in scripts of this pack, or in loading them."""
        return [error for error in self._errors if _OURS in error]

    def set(self, setting: str, value: Any) -> None:
        self.window.evaluate("([name, value]) => app.extensionManager.setting.set(name, value)", [setting, value])

    def clear(self) -> None:
        """Load an empty graph in the classic renderer, with nothing over it."""
        self.set("Comfy.VueNodes.Enabled", False)
        self.window.keyboard.press("Escape")
        self.window.evaluate("(graph) => app.loadGraphData(graph)", NO_GRAPH)

    def drop(self, file: Path) -> None:
        """Drop a workflow file onto the canvas."""
        number = len(json.loads(file.read_text(encoding="utf-8"))["nodes"])
        self.drop_on("#graph-canvas", file, clientX=800, clientY=500)
        self.window.wait_for_function("(number) => app.graph.nodes.length === number", arg=number)

    def load(self, graph: Graph) -> None:
        """Open a graph in API form."""
        self.window.evaluate("(graph) => app.loadApiJson(graph, 'test')", graph)
        self.window.wait_for_function("(number) => app.graph.nodes.length === number", arg=len(graph))

    def run(self) -> dict[str, Any]:
        """Press Run and wait for the end; returns the server's last event, whose name is in "name"."""
        before = self.window.evaluate("gpenRuns.length")
        self.press_run()
        self.window.wait_for_function("(before) => gpenRuns.length > before", arg=before, timeout=90_000)
        return dict(self.window.evaluate("gpenRuns.at(-1)"))

    def press_run(self) -> None:
        self.window.locator(_RUN).first.click()

    def run_to_end(self) -> None:
        ended = self.run()
        assert ended["name"] == "execution_success", ended

    def forget_results(self) -> None:
        """Empty the server's cache: the outputs of cached nodes are not sent to the page again."""
        self.server.post("/free", {"free_memory": True})

    def resize(
        self, type: str, width: int, height: int | None = None, *, left: int = 500, top: int = 200, scale: float = 1
    ) -> None:
        """Resize a node and move it to a position in the window, over the others."""
        self.window.evaluate(_RESIZE, [type, left, top, width, height, scale])
        self.settle()

    def settle(self) -> None:
        """Wait until changes are drawn."""
        self.window.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def widget(self, type: str, name: str) -> Any:
        """The value of a node's widget."""
        script = f"([type, name]) => {_NODE}.widgets.find((widget) => widget.name === name).value"
        return self.window.evaluate(script, [type, name])

    def node(self, type: str, expression: str) -> Any:
        """The value of a JavaScript expression about "node"."""
        return self.window.evaluate(f"(type) => {{ const node = {_NODE}; return {expression}; }}", type)

    def output(self, type: str) -> dict[str, Any]:
        """A node's last output, as the server sent it."""
        return dict(self.node(type, "app.nodeOutputs[node.id]") or {})

    def pictures(self, type: str) -> list[NDArray[np.uint8]]:
        """The images that a node shows, as the server has them."""
        return [self.server.view(image) for image in self.output(type)["images"]]

    def look(self, selector: str) -> NDArray[np.uint8]:
        """An element as it appears on the screen, once it is drawn."""
        self.settle()
        return super().look(selector)

    def _wait_for_start(self) -> None:
        self.window.wait_for_function(_READY, timeout=60_000)
        self.window.wait_for_selector("#graph-canvas")
        self.window.wait_for_selector('[data-testid="queue-button"]')
        self.window.evaluate(_LISTEN)

    def _heard(self, message: Any) -> None:
        if message.type == "error":
            self._errors.append(f"{message.text} {message.location.get('url', '')}")

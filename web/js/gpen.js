import { app } from "../../../scripts/app.js";
import { createComparison } from "./comparison.js";
import { chooseDownloads, downloadsOfLoadedNode, offerDownloads, updateDownloads, watchRuns } from "./downloads.js";
import { createFacePicker } from "./face_picker.js";
import { showKnownOutput, showOutputIn } from "./node_preview.js";

const VIEWS = { GPENRestoreFaces: createComparison, GPENDetectFaces: createFacePicker };
const previews = new WeakMap();

// What false and true stand for in workflows from before these widgets had choices.
const SWITCHES = { color_match: ["none", "lab"] };

function fromSwitches(node) {
  if (!node.comfyClass?.startsWith("GPEN")) return;
  for (const widget of node.widgets ?? []) {
    const choices = SWITCHES[widget.name];
    if (choices && typeof widget.value === "boolean") widget.value = choices[Number(widget.value)];
  }
}

app.registerExtension({
  name: "GPEN.FaceRestore",
  commands: [{ id: "GPEN.DownloadModels", label: "Download GPEN models", function: chooseDownloads }],
  menuCommands: [{ path: ["Extensions", "GPEN Face Restore"], commands: ["GPEN.DownloadModels"] }],
  init() {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("gpen.css", import.meta.url);
    document.head.append(style);
    watchRuns();
    updateDownloads().catch(console.error);
  },
  nodeCreated(node) {
    const view = VIEWS[node.comfyClass];
    if (view && node.addDOMWidget) previews.set(node, showOutputIn(node, view(node)));
    offerDownloads(node);
  },
  loadedGraphNode(node) {
    fromSwitches(node);
    downloadsOfLoadedNode(node);
    const show = previews.get(node);
    if (show) showKnownOutput(node, show);
  },
});

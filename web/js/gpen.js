import { app } from "../../../scripts/app.js";
import { createComparison } from "./comparison.js";
import { createFacePicker } from "./face_picker.js";
import { showKnownOutput, showOutputIn } from "./node_preview.js";

const VIEWS = { GPENRestoreFaces: createComparison, GPENDetectFaces: createFacePicker };
const previews = new WeakMap();

app.registerExtension({
  name: "GPEN.FaceRestore",
  init() {
    const style = document.createElement("link");
    style.rel = "stylesheet";
    style.href = new URL("gpen.css", import.meta.url);
    document.head.append(style);
  },
  nodeCreated(node) {
    const view = VIEWS[node.comfyClass];
    if (view && node.addDOMWidget) previews.set(node, showOutputIn(node, view(node)));
  },
  loadedGraphNode(node) {
    const show = previews.get(node);
    if (show) showKnownOutput(node, show);
  },
});

import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { aspectOf, make } from "./dom.js";

// ComfyUI draws its own preview on the canvas unless a widget has this name. Versions that do not know the name show
// both previews.
const NAME = "$$canvas-image-preview";
const LEAST_HEIGHT = 80;
const TALLEST = 2;
const SETTLED_MS = 300;
const RESTORED_WITHIN_FRAMES = 60;

// Frontends keep showing the last live preview of a node until it runs again. "gpen-done" marks it as outdated.
for (const end of ["execution_interrupted", "execution_error"]) {
  api.addEventListener(end, () => each(".gpen-preview", (root) => root.classList.add("gpen-done")));
}
api.addEventListener("b_preview_with_metadata", ({ detail }) => {
  const id = String(detail.displayNodeId ?? detail.nodeId).split(":").at(-1);
  each(`.gpen-preview[data-node="${CSS.escape(id)}"]`, (root) => root.classList.remove("gpen-done"));
});

/**
 * Show a node's output in our own view instead of ComfyUI's plain preview, whenever the view can.
 *
 * view: stage, an element that gets the image's aspect ratio; footer, an optional element below it; page(), the index
 * of the image shown; canShow(output); load(output), which resolves to a function that shows the loaded images and
 * returns those of the node's own output.
 */
export function showOutputIn(node, view) {
  const live = make("img", "gpen-live", { alt: "Face just restored", hidden: "" });
  const area = make("div", "gpen-area", {}, view.stage, live);
  const root = make("div", "gpen-preview", {}, area, ...(view.footer ? [view.footer] : []));
  let widget = null;
  let shown = null;
  let grownFor = null;
  let aspect = null;
  let pictures = null;

  async function show(output) {
    shown = output;
    root.dataset.node = node.id;
    root.classList.add("gpen-done");
    if (!view.canShow(output)) return remove();
    put();
    try {
      const apply = await view.load(output);
      if (shown !== output) return;
      pictures = apply();
      aspect = aspectOf(pictures[view.page()]);
      offerPictures();
      root.style.setProperty("--gpen-aspect", aspect);
      root.classList.add("gpen-works");
      displace();
      grow();
    } catch (error) {
      console.warn("GPEN: the images of a preview could not be loaded.", error);
      if (shown === output) remove();
    }
  }

  function put() {
    if (widget && node.widgets.includes(widget)) return;
    const plain = node.widgets?.find(({ name }) => name === NAME);
    if (plain) node.removeWidget(plain);
    widget = node.addDOMWidget(NAME, "gpen_preview", root, {
      serialize: false,
      hideOnZoom: false,
      margin: 6,
      getMinHeight: () => LEAST_HEIGHT,
      onDraw,
    });
    widget.serialize = false;
    node.setDirtyCanvas?.(true, true);
  }

  function remove() {
    root.classList.remove("gpen-works");
    if (widget && node.widgets.includes(widget)) node.removeWidget(widget);
    widget = null;
    node.setDirtyCanvas?.(true, true);
  }

  /** Undo recreates nodes, but the newer renderer may keep showing the element of the old node. */
  function displace() {
    const mounted = document.querySelector(`.lg-node[data-node-id="${CSS.escape(node.id)}"] .gpen-preview`);
    if (mounted && mounted !== root) mounted.replaceWith(root);
  }

  function onDraw() {
    if (root.classList.contains("gpen-done")) offerPictures();
    else showLive();
  }

  /** The classic renderer shows live previews only in the plain preview that this view replaces. */
  function showLive() {
    const url = app.nodePreviewImages?.[locatorOf(node)]?.at(-1);
    live.hidden = !url;
    if (url && live.src !== url) live.src = url;
  }

  /** Let the node's menu open, copy and save our images; frontends would offer the last live preview. */
  function offerPictures() {
    if (pictures && node.imgs !== pictures) node.imgs = pictures;
    if (pictures) node.imageIndex = view.page();
  }

  /** Fit the node's height to the image, once per aspect ratio and renderer, so that the user can change it. */
  function grow() {
    const { clientWidth: width, clientHeight: height } = area;
    const wanted = `${aspect?.toFixed(2)} ${Boolean(root.closest(".lg-node"))}`;
    if (!aspect || !width || !height || grownFor === wanted) return;
    grownFor = wanted;
    const missing = Math.min(width / aspect, width * TALLEST) - height;
    if (missing <= 1) return;
    node.setSize([node.size[0], heightOf(node, root) + missing]);
    // Some versions of the newer renderer leave a node's spare height to none of its widgets.
    setTimeout(() => {
      if (area.clientHeight < height + missing / 2) root.style.setProperty("--gpen-height", `${height + missing}px`);
    }, SETTLED_MS);
  }

  new ResizeObserver(grow).observe(area);
  passOn(root);
  const { onExecuted } = node;
  node.onExecuted = function (output) {
    onExecuted?.apply(this, arguments);
    // Otherwise the plain preview, where it stays, would show the last face.
    delete app.nodePreviewImages?.[locatorOf(node)];
    show(output ?? {});
  };
  return show;
}

/** After a workflow is reopened, show the node's output if the page still has it. */
export function showKnownOutput(node, show, frames = RESTORED_WITHIN_FRAMES) {
  const output = app.nodeOutputs?.[locatorOf(node)];
  if (output) show(output);
  // ComfyUI restores outputs shortly after the nodes, without an event.
  else if (frames > 0) requestAnimationFrame(() => showKnownOutput(node, show, frames - 1));
}

/** Height without the title. In the newer renderer a node may be higher than in the graph. */
function heightOf(node, element) {
  const host = element.closest(".lg-node");
  return Math.max(node.size[1], host ? host.offsetHeight - (window.LiteGraph?.NODE_TITLE_HEIGHT ?? 30) : 0);
}

function each(selector, change) {
  document.querySelectorAll(selector).forEach(change);
}

function locatorOf(node) {
  const { graph } = node;
  return graph && graph.isRootGraph === false ? `${graph.id}:${node.id}` : String(node.id);
}

/** Zooming, panning and the node's menu work over the element as they do over the canvas. */
function passOn(element) {
  const inCanvas = () => !element.closest(".lg-node");
  const send = (event, copy) => {
    event.preventDefault();
    event.stopPropagation();
    app.canvas.canvas.dispatchEvent(copy);
  };
  element.addEventListener(
    "wheel",
    (event) => inCanvas() && send(event, new WheelEvent(event.type, event)),
    { passive: false },
  );
  element.addEventListener(
    "pointerdown",
    (event) => event.button !== 0 && inCanvas() && send(event, new PointerEvent(event.type, event)),
    { capture: true },
  );
  element.addEventListener("contextmenu", (event) => inCanvas() && event.preventDefault());
}

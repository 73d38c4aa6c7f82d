import { app } from "../../../scripts/app.js";
import { loadPicture, make } from "./dom.js";
import { isSelected, parseSelection, toggled } from "./selection.js";

const WIDGET = "only_faces";

/** The view of GPEN Detect Faces: a photo with a button over each face, and a pager for batches. */
export function createFacePicker(node) {
  const stage = make("div", "gpen-stage gpen-faces", { role: "group", "aria-label": "Faces" });
  const count = make("span", "gpen-count", { "aria-live": "polite" });
  const pager = make(
    "div",
    "gpen-pager",
    { role: "group", "aria-label": "Photos" },
    turn("‹", "Previous photo", -1),
    count,
    turn("›", "Next photo", 1),
  );
  const widget = node.widgets?.find(({ name }) => name === WIDGET);
  let pictures = [];
  let faces = [];
  let page = 0;

  function turn(text, label, by) {
    const button = make("button", "gpen-turn", { type: "button", "aria-label": label, title: label }, text);
    button.addEventListener("click", () => showPage((page + by + pictures.length) % pictures.length));
    return button;
  }

  function showPage(number) {
    page = number;
    count.textContent = `${page + 1} / ${pictures.length}`;
    const here = faces.filter(([frame]) => frame === page);
    // Where boxes overlap, the smaller one is on top, so that it can be clicked.
    const area = ([, , left, top, right, bottom]) => (right - left) * (bottom - top);
    const order = [...here].sort((a, b) => area(b) - area(a));
    stage.replaceChildren(pictures[page], ...here.map((face) => boxOf(face, order.indexOf(face))));
    refresh();
  }

  function boxOf([, number, left, top, right, bottom], layer) {
    const box = make("button", "gpen-face", { type: "button", "aria-label": `Face ${number}` });
    box.dataset.number = number;
    const percent = (from, to) => `${(to - from) * 100}%`;
    Object.assign(box.style, { left: percent(0, left), top: percent(0, top), zIndex: layer });
    Object.assign(box.style, { width: percent(left, right), height: percent(top, bottom) });
    box.addEventListener("click", () => choose(number));
    return box;
  }

  function choose(number) {
    if (!widget || isConnected()) return;
    app.canvas?.emitBeforeChange?.();
    widget.value = toggled(String(widget.value ?? ""), number);
    widget.callback?.(widget.value, app.canvas, node);
    node.setDirtyCanvas?.(true, true);
    app.canvas?.emitAfterChange?.();
    refresh();
  }

  function isConnected() {
    const slot = node.inputs?.findIndex((input) => input.widget?.name === WIDGET) ?? -1;
    return slot >= 0 && node.isInputConnected(slot);
  }

  function refresh() {
    const ranges = parseSelection(String(widget?.value ?? "")) ?? [];
    const connected = isConnected();
    stage.classList.toggle("gpen-restricted", ranges.length > 0 && !connected);
    for (const box of stage.querySelectorAll(".gpen-face")) {
      const number = Number(box.dataset.number);
      const chosen = isSelected(ranges, number);
      box.setAttribute("aria-pressed", chosen);
      box.disabled = connected || !widget;
      box.title = connected
        ? `Face ${number}. “Only these faces” is connected, so faces cannot be chosen by clicking.`
        : `Face ${number}: click to ${chosen ? "remove" : "choose"} it`;
    }
  }

  if (widget) {
    const { callback } = widget;
    widget.callback = function (...values) {
      const result = callback?.apply(this, values);
      refresh();
      return result;
    };
  }
  stage.addEventListener("pointerenter", refresh);
  for (const element of [stage, pager]) {
    element.addEventListener("keydown", (event) => {
      // Keys of the buttons, which ComfyUI would take for its shortcuts.
      if (event.key === "Enter" || event.key === " ") event.stopPropagation();
    });
  }

  return {
    stage,
    footer: pager,
    page: () => page,
    canShow: (output) => Boolean(output.images?.length && output.gpen_faces),
    async load(output) {
      const loaded = await Promise.all(
        output.images.map((image, index) => loadPicture(image, `Photo ${index + 1} with numbered faces`)),
      );
      return () => {
        pictures = loaded;
        faces = output.gpen_faces;
        pager.hidden = pictures.length < 2;
        showPage(Math.min(page, pictures.length - 1));
        return pictures;
      };
    },
  };
}

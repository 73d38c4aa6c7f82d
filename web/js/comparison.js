import { keep, loadPicture, make } from "./dom.js";

const STEP = 1;
const LEAP = 10;

/** The view of GPEN Restore Faces: before and after, with a draggable divider. */
export function createComparison() {
  const divider = make(
    "div",
    "gpen-divider",
    {
      role: "slider",
      tabindex: "0",
      "aria-label": "Before and after",
      "aria-orientation": "horizontal",
      "aria-valuemin": "0",
      "aria-valuemax": "100",
    },
    make("span", "gpen-grip"),
  );
  const after = make("div", "gpen-layer gpen-after");
  const before = make("div", "gpen-layer gpen-before");
  const stage = make("div", "gpen-stage gpen-comparison", {}, after, before, divider);
  let position = 50;

  function moveTo(percent) {
    position = Math.min(100, Math.max(0, percent));
    stage.style.setProperty("--gpen-at", `${position}%`);
    const shown = Math.round(position);
    divider.setAttribute("aria-valuenow", shown);
    divider.setAttribute("aria-valuetext", `${shown}% before, ${100 - shown}% after`);
  }

  function follow(event) {
    const { left, width } = stage.getBoundingClientRect();
    if (width > 0) moveTo(((event.clientX - left) / width) * 100);
  }

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.isPrimary) return;
    keep(event);
    stage.setPointerCapture(event.pointerId);
    divider.focus({ preventScroll: true });
    follow(event);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!stage.hasPointerCapture(event.pointerId)) return;
    keep(event);
    follow(event);
  });
  divider.addEventListener("keydown", (event) => {
    const step = event.shiftKey ? LEAP : STEP;
    const target = {
      ArrowLeft: position - step,
      ArrowDown: position - step,
      ArrowRight: position + step,
      ArrowUp: position + step,
      PageDown: position - LEAP,
      PageUp: position + LEAP,
      Home: 0,
      End: 100,
    }[event.key];
    if (target === undefined) return;
    keep(event);
    moveTo(target);
  });
  moveTo(position);

  return {
    stage,
    page: () => 0,
    canShow: (output) => Boolean(output.images?.length && output.gpen_before?.length),
    async load(output) {
      const [restored, original] = await Promise.all([
        loadPicture(output.images[0], "After"),
        loadPicture(output.gpen_before[0], "Before"),
      ]);
      return () => {
        after.replaceChildren(restored, make("span", "gpen-tag", {}, "After"));
        before.replaceChildren(original, make("span", "gpen-tag", {}, "Before"));
        return [restored];
      };
    },
  };
}

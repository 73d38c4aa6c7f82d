// The photo on its sheet: zoom, pan, the line between before and after, the boxes. `find` looks inside the component,
// `state` is what the server said last.
const find = (selector) => element.querySelector(selector);
const root = find(".gv"), stage = find(".gv-stage"), sheet = find(".gv-sheet"), line = find(".gv-line");
const before = find(".gv-before"), after = find(".gv-after"), boxes = find(".gv-boxes");
const EMPTY = {
  key: null, photo: null, after: null, faces: [], chosen: [], running: null, compared: [], brushes: [], marked: {},
  width: 1, height: 1,
};
let state = EMPTY;
const view = { scale: 1, x: 0, y: 0, line: 0.5, fitted: true, held: false, boxes: true };

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const fitting = () => {
  const [width, height] = room();
  return Math.min(width / state.width, height / state.height) || 1;
};
const limits = () => [Math.min(fitting(), 1 / devicePixelRatio) / 2, Math.max(16, fitting() * 4)];

function show() {
  const width = state.width * view.scale, height = state.height * view.scale;
  const axis = (offset, size, room) =>
    size <= room ? (room - size) / 2 : clamp(offset, room - size, 0);
  const [wide, high] = room();
  view.x = axis(view.x, width, wide);
  view.y = axis(view.y, height, high);
  sheet.style.transform = `translate(${view.x}px, ${view.y}px) scale(${view.scale})`;
  sheet.style.setProperty("--scale", view.scale);
  find(".gv-zoom").textContent = `${Math.round(view.scale * devicePixelRatio * 100)}%`;
  const at = view.line * stage.clientWidth;
  const made = Boolean(state.after) && !brush.on && !state.compared.length, compared = made && !view.held;
  after.hidden = !made;
  after.style.clipPath = view.held ? "inset(0 0 0 100%)" : `inset(0 0 0 ${Math.max(0, (at - view.x) / view.scale)}px)`;
  // Hidden, it would lose the focus, and the key that is held with it.
  line.hidden = !made;
  line.style.opacity = view.held ? 0 : 1;
  line.style.left = `${at}px`;
  line.setAttribute("aria-valuenow", Math.round(view.line * 100));
  line.setAttribute("aria-valuetext", `${Math.round(view.line * 100)} percent before`);
  const [left, right] = [find(".gv-tag-before"), find(".gv-tag-after")];
  left.hidden = !made || !(view.held || view.line > 0.08);
  right.hidden = !compared || view.line > 0.92;
  left.textContent = view.held ? "Original" : "Before";
  left.style.right = view.held ? "auto" : `${stage.clientWidth - at + 12}px`;
  left.style.left = view.held ? "12px" : "auto";
  right.style.left = `${at + 12}px`;
  boxes.hidden = !view.boxes || view.held || brush.on;
  sheet.dataset.paint = view.held || made ? "off" : "on";
  find("[data-do=hold]").hidden = !made && !state.compared.length;
  showPanes();
  find("[data-do=boxes]").setAttribute("aria-pressed", view.boxes);
}

function fit() {
  view.scale = fitting();
  view.fitted = true;
  show();
}

// Zoom so that the point of the stage at (x, y) stays where it is.
function zoom(scale, x = room()[0] / 2, y = room()[1] / 2) {
  const [low, high] = limits(), next = clamp(scale, low, high), factor = next / view.scale;
  view.x = x - (x - view.x) * factor;
  view.y = y - (y - view.y) * factor;
  view.scale = next;
  view.fitted = false;
  show();
}

// Bring a face into the middle, at a third of the stage's height.
function lookAt(face) {
  const [x0, y0, x1, y1] = face.box.map((value, index) => value * (index % 2 ? state.height : state.width));
  const size = Math.max(x1 - x0, y1 - y0);
  const [low, high] = limits();
  const [wide, tall] = room();
  view.scale = clamp(Math.min(wide, tall) / (size * 2.2), low, high);
  view.x = wide / 2 - ((x0 + x1) / 2) * view.scale;
  view.y = tall / 2 - ((y0 + y1) / 2) * view.scale;
  view.fitted = false;
  show();
}

function hold(on) {
  view.held = on && Boolean(state.after || state.compared.length);
  show();
}

function moveLine(to) {
  view.line = clamp(to, 0, 1);
  show();
}

function drawBoxes() {
  boxes.replaceChildren(...state.faces.map((face, index) => {
    const box = document.createElement("div"), [x0, y0, x1, y1] = face.box.map((value) => value * 100);
    box.className = state.chosen.includes(index) ? "gv-box" : "gv-box gv-off";
    box.title = `Face ${index + 1}: click to ${state.chosen.includes(index) ? "leave it out" : "choose it"}`;
    box.dataset.face = index;
    box.style.cssText = `left: ${x0}%; top: ${y0}%; width: ${x1 - x0}%; height: ${y1 - y0}%`;
    return box;
  }));
}

const DO = {
  open: () => openPhoto(),
  fit,
  one: () => zoom(1 / devicePixelRatio),
  in: () => zoom(view.scale * 1.25),
  out: () => zoom(view.scale / 1.25),
  boxes: () => { view.boxes = !view.boxes; show(); },
  all: () => choose(state.faces.map((_, index) => index)),
  none: () => choose([]),
};
element.addEventListener("click", (event) => DO[event.target.closest("[data-do]")?.dataset.do]?.());

stage.addEventListener("wheel", (event) => {
  if (!state.photo) return;
  event.preventDefault();
  const { left, top } = stage.getBoundingClientRect();
  const pixels = event.deltaY * (event.deltaMode ? 24 : 1);
  zoom(view.scale * Math.exp(-clamp(pixels, -200, 200) / 400), ...inPane(event.clientX - left, event.clientY - top));
}, { passive: false });

// One pointer drags the photo or the line, two pinch.
const pointers = new Map();
let moved = 0, dragsLine = false;
const isTool = (event) => event.target.closest("button, a, label, .gv-brush");
stage.addEventListener("pointerdown", (event) => {
  const button = event.target.closest("[data-do=hold]");
  if (button) {
    stage.setPointerCapture(event.pointerId); // it may be let go anywhere
    hold(true);
  }
  if (!state.photo || isTool(event)) return;
  stage.setPointerCapture(event.pointerId);
  pointers.set(event.pointerId, event);
  moved = 0;
  dragsLine = pointers.size === 1 && event.target === line;
  if (pointers.size > 1) dropStroke();
  else if (paintsWith(event)) beginStroke(placeOf(event));
});
stage.addEventListener("pointermove", (event) => {
  const last = pointers.get(event.pointerId);
  if (!last) return;
  const { left, top } = stage.getBoundingClientRect();
  const dx = event.clientX - last.clientX, dy = event.clientY - last.clientY;
  moved += Math.abs(dx) + Math.abs(dy);
  if (painting) {
    const between = event.getCoalescedEvents?.() ?? [];
    for (const each of between.length ? between : [event]) extendStroke(placeOf(each));
  } else if (dragsLine) {
    moveLine((event.clientX - left) / stage.clientWidth);
  } else {
    view.x += dx / pointers.size;
    view.y += dy / pointers.size;
    const other = [...pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    if (other) {
      const apart = (one) => Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1;
      const middle = [(event.clientX + other.clientX) / 2 - left, (event.clientY + other.clientY) / 2 - top];
      zoom(view.scale * apart(event) / apart(last), ...inPane(...middle));
    } else {
      show();
    }
  }
  pointers.set(event.pointerId, event);
});
for (const kind of ["pointerup", "pointercancel"]) {
  stage.addEventListener(kind, (event) => {
    hold(false);
    endStroke();
    if (!pointers.delete(event.pointerId) || moved > 4 || dragsLine || kind === "pointercancel") return;
    // Capture makes the stage the target.
    const box = document.elementsFromPoint(event.clientX, event.clientY)
      .filter((under) => under.matches(".gv-box")).sort((one, two) => one.offsetWidth - two.offsetWidth)[0];
    if (box) toggle(Number(box.dataset.face));
  });
}

const hasText = (target) => target.closest?.("input:not([type=checkbox]), textarea, [contenteditable=true]");
stage.addEventListener("keydown", (event) => {
  if (!state.photo || event.ctrlKey || event.metaKey || event.altKey) return;
  const step = event.shiftKey ? 0.1 : 0.02;
  const onButton = event.target.closest("button");
  const keys = {
    ArrowLeft: () => moveLine(view.line - step), ArrowRight: () => moveLine(view.line + step),
    ArrowDown: () => moveLine(view.line - step), ArrowUp: () => moveLine(view.line + step),
    Home: () => moveLine(0), End: () => moveLine(1),
    "+": DO.in, "=": DO.in, "-": DO.out, f: fit, 0: fit, 1: DO.one, b: DO.boxes,
    ...(onButton && onButton.dataset.do !== "hold" ? {} : { " ": () => hold(true) }),
  };
  if (!keys[event.key] || onButton && event.key.startsWith("Arrow")) return;
  event.preventDefault();
  keys[event.key]();
});
stage.addEventListener("keyup", (event) => { if (event.key === " ") hold(false); });
stage.addEventListener("focusout", () => hold(false));
new ResizeObserver(() => (view.fitted ? fit() : show())).observe(stage);

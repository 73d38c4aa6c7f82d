// The brush: strokes over the photo, in photo widths and heights, so that neither zoom nor the screen matters. The server
// draws the masks from them.
const BRUSHES = { damage: ["Damage", "#ef4444"], protect: ["Protect", "#3b82f6"] };
const LONGEST_CANVAS = 2048, KEPT = "gpen-painted";
const ring = find(".gv-ring"), said = find(".gv-said");
const canvases = Object.fromEntries(Object.keys(BRUSHES).map((kind) => [kind, find(`.gv-paint[data-kind=${kind}]`)]));
const brush = { on: false, kind: "protect", erases: false, size: 36, pans: false, at: null };
let painting = null, history = [[]], step = 0, paintedOn = null;
const marks = {};

const strokes = () => history[step];
const canBrush = () => Boolean(state.photo && !state.running && !state.compared.length && state.brushes.length);
window.gpenPainted = () => strokes().filter((stroke) => state.brushes.includes(stroke.kind));

function keepStrokes() {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify({ key: state.key, strokes: strokes() }));
  } catch {
    // Too many for the browser's store: a reload will lose them.
    sessionStorage.removeItem(KEPT);
  }
}

function setStrokes(all) {
  history = [...history.slice(0, step + 1), all];
  step = history.length - 1;
  changeStrokes();
}

function changeStrokes() {
  keepStrokes();
  drawPaint();
  showBrush();
  trigger("input");
}

function goTo(next) {
  if (next < 0 || next >= history.length) return;
  step = next;
  changeStrokes();
}

// Another photo, or the same one after a reload.
function takePhoto() {
  if (paintedOn === state.key) return;
  paintedOn = state.key;
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  history = [state.key && kept?.key === state.key ? kept.strokes : []];
  step = 0;
}

function drawStroke(context, stroke, from = 0) {
  const { width, height } = context.canvas, [, color] = BRUSHES[stroke.kind];
  context.globalCompositeOperation = stroke.erases ? "destination-out" : "source-over";
  context.strokeStyle = color;
  context.lineWidth = stroke.width * width;
  context.lineCap = context.lineJoin = "round";
  context.beginPath();
  const points = stroke.points.slice(Math.max(0, from - 1));
  const [x, y] = points[0];
  context.moveTo(x * width, y * height);
  for (const [x, y] of points) context.lineTo(x * width, y * height);
  context.stroke();
}

function drawPaint() {
  const scale = Math.min(LONGEST_CANVAS / Math.max(state.width, state.height), 4);
  for (const [kind, canvas] of Object.entries(canvases)) {
    canvas.hidden = !state.brushes.includes(kind);
    canvas.width = Math.max(1, Math.round(state.width * scale));
    canvas.height = Math.max(1, Math.round(state.height * scale));
    const context = canvas.getContext("2d");
    if (marks[kind]?.complete && marks[kind].naturalWidth) {
      context.drawImage(marks[kind], 0, 0, canvas.width, canvas.height);
      context.globalCompositeOperation = "source-in";
      context.fillStyle = BRUSHES[kind][1];
      context.fillRect(0, 0, canvas.width, canvas.height);
    }
    for (const stroke of strokes()) if (stroke.kind === kind) drawStroke(context, stroke);
    if (painting?.kind === kind) drawStroke(context, painting);
  }
}

// The masks that were given as pictures lie under the strokes.
function takeMarks() {
  for (const kind of Object.keys(BRUSHES)) {
    const address = state.marked[kind];
    if (!address) delete marks[kind];
    else if (marks[kind]?.dataset.address !== address) {
      marks[kind] = new Image();
      marks[kind].dataset.address = address;
      marks[kind].onload = drawPaint;
      marks[kind].src = address;
    }
  }
}

function showBrush() {
  const there = canBrush();
  if (!there) brush.on = false;
  if (!state.brushes.includes(brush.kind)) brush.kind = state.brushes[0] ?? "protect";
  root.dataset.brush = brush.on ? "on" : "off";
  find("[data-do=brush]").hidden = !there;
  find("[data-do=brush]").setAttribute("aria-pressed", brush.on);
  find(".gv-brush").hidden = !brush.on;
  for (const kind of Object.keys(BRUSHES)) {
    const button = find(`[data-do=${kind}]`);
    button.hidden = !state.brushes.includes(kind);
    button.setAttribute("aria-pressed", brush.kind === kind);
  }
  find("[data-do=erase]").setAttribute("aria-pressed", brush.erases);
  find("[data-do=undo]").disabled = step === 0;
  find("[data-do=redo]").disabled = step === history.length - 1;
  find("[data-do=clear]").disabled = !strokes().length;
  find(".gv-size input").value = brush.size;
  stage.setAttribute("aria-label", brush.on ? stage.dataset.brushing : stage.dataset.viewing);
  showRing();
}

function showRing() {
  ring.hidden = !brush.on || !brush.at || brush.pans;
  if (ring.hidden) return;
  ring.style.width = ring.style.height = `${brush.size}px`;
  ring.style.left = `${brush.at[0]}px`;
  ring.style.top = `${brush.at[1]}px`;
  ring.style.borderColor = brush.erases ? "#fff" : BRUSHES[brush.kind][1];
}

function useBrush(on) {
  brush.on = on && canBrush();
  if (!brush.on) endStroke();
  showBrush();
  show();
}

// A place on the stage, in photo widths and heights.
const onPhoto = ([x, y]) => [(x - view.x) / view.scale / state.width, (y - view.y) / view.scale / state.height];

function beginStroke(at) {
  const { kind, erases } = brush;
  painting = { kind, erases, width: Math.min(2, brush.size / view.scale / state.width), points: [onPhoto(at)] };
  drawStroke(canvases[kind].getContext("2d"), painting);
}

function extendStroke(at) {
  painting.points.push(onPhoto(at));
  drawStroke(canvases[painting.kind].getContext("2d"), painting, painting.points.length - 1);
}

function endStroke() {
  if (!painting) return;
  const done = painting;
  painting = null;
  setStrokes([...strokes(), done]);
}

// A second finger pinches: what the first one has drawn so far was no stroke.
function dropStroke() {
  if (!painting) return;
  painting = null;
  drawPaint();
}

const placeOf = (event) => {
  const { left, top } = stage.getBoundingClientRect();
  return [event.clientX - left, event.clientY - top];
};
const paintsWith = (event) => brush.on && !brush.pans && event.button === 0;

stage.addEventListener("pointermove", (event) => {
  brush.at = event.target.closest(".gv-brush, .gv-tools") ? null : placeOf(event);
  if (brush.on) showRing();
});
stage.addEventListener("pointerleave", () => { brush.at = null; showRing(); });

const resizeBrush = (factor) => {
  const { min, max } = find(".gv-size input");
  brush.size = clamp(Math.round(brush.size * factor), Number(min), Number(max));
  showBrush();
};
find(".gv-size input").addEventListener("input", (event) => { brush.size = Number(event.target.value); showRing(); });

Object.assign(DO, {
  brush: () => useBrush(!brush.on),
  damage: () => { brush.kind = "damage"; showBrush(); },
  protect: () => { brush.kind = "protect"; showBrush(); },
  erase: () => { brush.erases = !brush.erases; showBrush(); },
  undo: () => goTo(step - 1),
  redo: () => goTo(step + 1),
  clear: () => setStrokes([]),
});

// By keyboard: arrows move the brush, Enter puts it down and lifts it.
function moveBrush(dx, dy) {
  const [x, y] = brush.at ?? [stage.clientWidth / 2, stage.clientHeight / 2];
  brush.at = [clamp(x + dx, 0, stage.clientWidth), clamp(y + dy, 0, stage.clientHeight)];
  if (painting) extendStroke(brush.at);
  showRing();
}

function putDown() {
  brush.at ??= [stage.clientWidth / 2, stage.clientHeight / 2];
  painting ? endStroke() : beginStroke(brush.at);
  said.textContent = painting ? "Brush down" : "Brush up";
  showRing();
}

stage.addEventListener("keydown", (event) => {
  const inside = event.target.closest(".gv-brush"), command = event.ctrlKey || event.metaKey;
  if (!brush.on) {
    if (event.key.toLowerCase() === "p" && !command && canBrush()) useBrush(true);
    return;
  }
  const far = event.shiftKey ? 40 : 8;
  const keys = command
    ? { z: event.shiftKey ? DO.redo : DO.undo, y: DO.redo }
    : {
      "[": () => resizeBrush(1 / 1.25), "]": () => resizeBrush(1.25), e: DO.erase, p: DO.brush, Escape: DO.brush,
      ...(inside ? {} : {
        ArrowLeft: () => moveBrush(-far, 0), ArrowRight: () => moveBrush(far, 0),
        ArrowUp: () => moveBrush(0, -far), ArrowDown: () => moveBrush(0, far),
      }),
      ...(event.target === stage ? { Enter: putDown, " ": () => { brush.pans = true; showRing(); } } : {}),
    };
  const act = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (act) act();
  // The line and the boxes are not there.
  else if (inside || command || !["+", "=", "-", "f", "0", "1"].includes(event.key)) return event.stopImmediatePropagation();
  else return;
  event.preventDefault();
  event.stopImmediatePropagation();
}, true);
stage.addEventListener("keyup", (event) => {
  if (event.key !== " ") return;
  brush.pans = false;
  showRing();
});
stage.addEventListener("blur", () => { brush.pans = false; endStroke(); });

// The faces below the photo: before and after of each, and which are chosen.
const strip = find(".gv-strip"), people = find(".gv-people");

// The part of a picture around a face, as the background of a square.
function picture(address, face, label) {
  const square = document.createElement("span");
  square.className = "gv-thumb";
  square.dataset.label = label;
  if (!address) return square;
  const [x0, y0, x1, y1] = face.box.map((value, index) => value * (index % 2 ? state.height : state.width));
  const side = Math.min(Math.max(x1 - x0, y1 - y0) * 1.5, state.width, state.height);
  const left = clamp((x0 + x1 - side) / 2, 0, state.width - side);
  const top = clamp((y0 + y1 - side) / 2, 0, state.height - side);
  const at = (offset, size) => (size > side ? (offset / (size - side)) * 100 : 0);
  square.style.backgroundImage = `url("${address}")`;
  square.style.backgroundSize = `${(state.width / side) * 100}% ${(state.height / side) * 100}%`;
  square.style.backgroundPosition = `${at(left, state.width)}% ${at(top, state.height)}%`;
  return square;
}

function faceItem(face, index) {
  const item = document.createElement("li"), zoomed = document.createElement("button");
  const label = document.createElement("label"), box = document.createElement("input");
  const chosen = state.chosen.includes(index), made = state.running?.made?.[index];
  item.className = chosen ? "gv-face" : "gv-face gv-off";
  zoomed.type = "button";
  zoomed.setAttribute("aria-label", `Look at face ${index + 1}`);
  zoomed.addEventListener("click", () => lookAt(face));
  zoomed.append(picture(state.photo, face, "Before"));
  if (made) {
    const now = picture(null, face, "After");
    now.style.backgroundImage = `url("${made}")`;
    now.style.backgroundSize = "cover";
    zoomed.append(now);
  } else if (state.after && face.done) {
    zoomed.append(picture(state.after, face, "After"));
  } else if (state.running && chosen) {
    const waiting = picture(null, face, "");
    waiting.classList.add("gv-waiting");
    zoomed.append(waiting);
  }
  box.type = "checkbox";
  box.checked = chosen;
  box.disabled = Boolean(state.running);
  box.addEventListener("change", () => toggle(index));
  label.append(box, `Face ${index + 1}`);
  item.append(zoomed, label);
  return item;
}

function drawStrip() {
  const focused = [...strip.querySelectorAll("button, input")].indexOf(document.activeElement);
  people.hidden = !state.faces.length;
  find(".gv-count").textContent = `${state.chosen.length} of ${state.faces.length} chosen`;
  for (const button of people.querySelectorAll("[data-do]")) button.disabled = Boolean(state.running);
  strip.replaceChildren(...state.faces.map(faceItem));
  if (focused >= 0) strip.querySelectorAll("button, input")[focused]?.focus({ preventScroll: true });
}

// Choosing makes the last result one of other faces, so it goes.
function choose(numbers) {
  if (state.running) return;
  state = { ...state, chosen: numbers, after: null, compared: [], faces: state.faces.map((face) => ({ ...face, done: false })) };
  props.value = state;
  draw();
  trigger("select");
}

function toggle(index) {
  const others = state.chosen.filter((number) => number !== index);
  choose(others.length < state.chosen.length ? others : [...others, index].sort((one, two) => one - two));
}

// Models side by side: a pane for each, all with the same zoom and place.
const panes = find(".gv-panes");

// How many panes there are beside and below each other: as shows the photo larger.
function grid() {
  const count = state.compared.length || 1, { clientWidth: width, clientHeight: height } = stage;
  const beside = Math.min(width / count / state.width, height / state.height);
  const below = Math.min(width / state.width, height / count / state.height);
  return beside >= below ? [count, 1] : [1, count];
}

const room = () => {
  const [columns, rows] = grid();
  return [stage.clientWidth / columns, stage.clientHeight / rows];
};

// A place on the stage as one in its pane.
const inPane = (x, y) => {
  const [width, height] = room();
  return [clamp(x, 0, stage.clientWidth - 1) % width, clamp(y, 0, stage.clientHeight - 1) % height];
};

function keepOf(name) {
  state = { ...state, kept: name };
  props.value = state;
  trigger("apply");
}

function pane({ name, label, picture }) {
  const made = document.createElement("div"), head = document.createElement("div");
  const title = document.createElement("strong"), button = document.createElement("button");
  const sheet = document.createElement("div");
  made.className = "gv-pane";
  made.setAttribute("role", "group");
  made.setAttribute("aria-label", label);
  sheet.className = "gv-sheet";
  for (const [address, kind] of [[picture, "after"], [state.photo, "before"]]) {
    const image = document.createElement("img");
    image.src = address;
    image.alt = kind === "after" ? `The result of ${label}` : "The photo";
    image.draggable = false;
    image.className = `gv-pane-${kind}`;
    sheet.append(image);
  }
  head.className = "gv-pane-head";
  title.textContent = label;
  button.type = "button";
  button.className = "gv-button";
  button.textContent = "Keep";
  button.setAttribute("aria-label", `Keep the result of ${label}`);
  button.addEventListener("click", () => keepOf(name));
  head.append(title, button);
  made.append(sheet, head);
  return made;
}

function drawPanes() {
  panes.hidden = !state.compared.length;
  sheet.hidden = !panes.hidden;
  root.dataset.panes = panes.hidden ? "off" : "on";
  find("[data-do=boxes]").hidden = !panes.hidden;
  find("[data-do=close]").hidden = panes.hidden;
  panes.replaceChildren(...state.compared.map(pane));
}

function showPanes() {
  if (panes.hidden) return;
  const [columns, rows] = grid();
  panes.style.gridTemplate = `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)`;
  for (const each of panes.querySelectorAll(".gv-sheet")) {
    each.style.width = `${state.width}px`;
    each.style.height = `${state.height}px`;
    each.style.transform = sheet.style.transform;
  }
  for (const each of panes.querySelectorAll(".gv-pane-before")) each.style.visibility = view.held ? "visible" : "hidden";
}

DO.close = () => keepOf(null);

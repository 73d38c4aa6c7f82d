// The table of a batch. Rows that have not changed stay as they are, with the focus in them.
const body = element.querySelector("tbody"), frame = element.querySelector(".gb");
const again = element.querySelector(".gb-again"), all = again.querySelector("a");
const KEPT = "gpen-batch";
const shown = [];

function cell(label, ...content) {
  const made = document.createElement("td");
  made.dataset.label = label;
  made.append(...content);
  return made;
}

function thumbnail({ thumbnail: address, name }) {
  const image = document.createElement(address ? "img" : "span");
  image.className = "gb-thumb";
  if (address) Object.assign(image, { src: address, alt: `The result of ${name}`, loading: "lazy" });
  return image;
}

function download({ file, name }) {
  if (!file) return "";
  const link = document.createElement("a");
  link.href = file;
  link.download = "";
  link.textContent = "Download";
  link.setAttribute("aria-label", `Download the result of ${name}`);
  return link;
}

function rowOf(row) {
  const made = document.createElement("tr"), status = document.createElement("span");
  made.dataset.kind = row.kind;
  status.className = "gb-status";
  status.textContent = row.status;
  made.append(
    cell("Result", thumbnail(row)), cell("Photo", row.name), cell("Status", status), cell("Why", row.why),
    cell("Time", row.seconds === undefined ? "" : `${row.seconds} s`), cell("File", download(row)),
  );
  return made;
}

// What is shown is kept until the tab is closed, for when the page is loaded again.
function keep(value) {
  try {
    sessionStorage.setItem(KEPT, JSON.stringify(value));
  } catch {
    sessionStorage.removeItem(KEPT); // more than the browser keeps
  }
}

// Show what was there before the page was loaded again, if its files still are.
async function comeBack() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
  const file = kept?.rows.find(({ file }) => file)?.file;
  if (!file || !(await fetch(file, { method: "HEAD" })).ok || props.value?.rows.length) return;
  const ended = ({ kind }) => kind === "done" || kind === "failed";
  const rows = kept.rows.map((row) => (ended(row) ? row : { ...row, kind: "waiting", status: "stopped", why: "" }));
  all.hidden = !kept.zip;
  if (kept.zip) all.href = kept.zip;
  again.hidden = false;
  show(rows);
}

function draw() {
  const { rows = [] } = props.value ?? {};
  again.hidden = true;
  if (rows.length) keep(props.value);
  show(rows);
}

function show(rows) {
  frame.hidden = !rows.length;
  shown.length = Math.min(shown.length, rows.length);
  while (body.rows.length > rows.length) body.lastElementChild.remove();
  rows.forEach((row, index) => {
    const now = JSON.stringify(row);
    if (shown[index] === now) return;
    shown[index] = now;
    index < body.rows.length ? body.rows[index].replaceWith(rowOf(row)) : body.append(rowOf(row));
  });
}
watch("value", draw);
draw();
comeBack();

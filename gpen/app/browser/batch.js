// The table of a batch. Rows that have not changed stay as they are, with the focus in them.
const body = element.querySelector("tbody"), frame = element.querySelector(".gb");
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

function draw() {
  const rows = props.value?.rows ?? [];
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

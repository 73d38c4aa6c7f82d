// What concerns the whole window: photos dropped or pasted anywhere, and what the server says.
const photoInput = () => document.querySelector("#gpen-actions input[type=file]");
const openPhoto = () => document.querySelector("#gpen-photo").click();

function give(input, files) {
  if (!input || !files.length) return;
  const transfer = new DataTransfer();
  for (const file of input.multiple ? files : files.slice(0, 1)) transfer.items.add(file);
  input.files = transfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
}

// The card about missing models takes models, the upload of many photos what is dropped while it is in sight.
const isModel = (file) => /\.(pth|pt|ckpt|safetensors|onnx)$/i.test(file.name);
function takeFiles(files) {
  const many = document.querySelector("#gpen-files"), card = document.querySelector("#gpen-first");
  if (card && files.every(isModel)) give(card.querySelector("input[type=file]"), files);
  else if (many?.checkVisibility()) give(many.querySelector("input[type=file]"), files);
  else if (files.length > 1 && files.some(isFilm)) giveMany(files);
  else give(photoInput(), files);
}

// One film goes through the upload of one photo, and the server takes it from there.
const isFilm = ({ name }) => FILMS.some((suffix) => name.toLowerCase().endsWith(suffix));
async function giveMany(files) {
  document.querySelectorAll("#gpen-view [role=tab]")[1].click();
  // The tab is built when it is first shown.
  let input;
  while (!(input = document.querySelector("#gpen-files input[type=file]"))) await new Promise(requestAnimationFrame);
  give(input, files);
}

const carries = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
const listeners = {
  dragover(event) {
    if (!carries(event)) return;
    event.preventDefault();
    document.body.classList.add("gpen-dragging");
  },
  dragleave(event) {
    if (!event.relatedTarget) document.body.classList.remove("gpen-dragging");
  },
  drop(event) {
    document.body.classList.remove("gpen-dragging");
    // Uploads of their own, such as the masks', have taken theirs.
    if (event.defaultPrevented || !carries(event)) return;
    event.preventDefault();
    takeFiles([...event.dataTransfer.files]);
  },
  paste(event) {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length || hasText(event.target)) return;
    event.preventDefault();
    takeFiles(files);
  },
};
for (const [kind, listener] of Object.entries(listeners)) window.addEventListener(kind, listener);

function draw() {
  root.dataset.state = state.photo ? "open" : "empty";
  if (before.getAttribute("src") !== state.photo) state.photo ? (before.src = state.photo) : before.removeAttribute("src");
  if (after.getAttribute("src") !== state.after) state.after ? (after.src = state.after) : after.removeAttribute("src");
  sheet.style.width = `${state.width}px`;
  sheet.style.height = `${state.height}px`;
  before.alt = state.photo ? "The photo" : "";
  after.alt = state.after ? "The result" : "";
  const progress = find(".gv-progress"), running = state.running;
  progress.hidden = !running;
  if (running) {
    const share = running.total ? (100 * running.done) / running.total : 0;
    progress.setAttribute("aria-valuenow", Math.round(share));
    progress.firstElementChild.style.width = `${share}%`;
  }
  takePhoto();
  takeMarks();
  drawBoxes();
  drawStrip();
  drawPaint();
  drawPanes();
  showBrush();
  show();
}

function take() {
  const last = state;
  state = { ...EMPTY, ...(props.value || {}) };
  stage.style.setProperty("--shape", state.photo ? state.height / state.width : 1);
  if (Boolean(last.after) !== Boolean(state.after)) view.boxes = !state.after;
  // Who fills in damage has to say where it is.
  const wants = state.brushes.includes("damage") && !state.marked.damage && !state.after && canBrush();
  if (!last.brushes.includes("damage") && wants) Object.assign(brush, { on: true, kind: "damage", erases: false });
  if (state.after && !last.after) brush.on = false;
  draw();
  if (last.photo !== state.photo || last.width !== state.width || last.compared.length !== state.compared.length) fit();
}
watch("value", take);
take();

import { api } from "../../../scripts/api.js";
import { make } from "./dom.js";
import { labelOf, megabytes, say } from "./downloads_texts.js";

const POLL_MS = 400;
let opened = null;

/**
 * Show models with their sizes and licences, and download what stays ticked once the user accepts these.
 *
 * models: as the server describes them. ticked: those of them that are chosen at first. problem: why nothing can be
 * downloaded here; empty if it can. onDone(models): called once all are there.
 */
export function openDownloads({ models, ticked, problem, onDone }) {
  opened?.close();
  const boxes = new Map();
  const rows = models.map((model) => rowOf(model, ticked.includes(model), boxes));
  const message = make("div", "gpen-message", { role: "status", "aria-live": "polite" });
  const accept = make("button", "gpen-accept", { type: "button" });
  const cancel = make("button", "gpen-cancel", { type: "button" }, say("cancel"));
  const dialog = make(
    "dialog",
    "gpen-downloads",
    { "aria-label": say("title") },
    make("h2", "gpen-heading", {}, say("title")),
    make("div", "gpen-offers", {}, ...(rows.length ? rows : [say("nothingMissing")])),
    message,
    make("div", "gpen-answers", {}, cancel, accept),
  );
  const chosen = () => models.filter((model) => boxes.get(model).checked);

  function update() {
    accept.textContent = labelOf(chosen(), true);
    accept.disabled = chosen().length === 0 || Boolean(problem);
  }

  function busy(value) {
    for (const box of boxes.values()) box.disabled = value;
    accept.hidden = value;
    cancel.textContent = say(value ? "stop" : "cancel");
    dialog.classList.toggle("gpen-busy", value);
  }

  async function watch(wanted) {
    const ended = await follow(wanted, message);
    if (ended.length === 0 || ended.some(({ state }) => state !== "done")) return;
    await onDone(wanted);
    dialog.close();
  }

  async function whileBusy(action) {
    busy(true);
    try {
      await action();
    } catch (error) {
      message.replaceChildren(line(error.message, true));
    }
    busy(false);
    update();
  }

  const download = () =>
    whileBusy(async () => {
      const wanted = chosen();
      await post("/gpen/downloads", { names: wanted.map(({ name }) => name), accepted: true });
      await watch(wanted);
    });

  /** Show what was started before the page was reloaded, or the window closed. */
  async function resume() {
    const active = (await statesOf(models)).filter(isActive).map(({ name }) => name);
    const wanted = models.filter(({ name }) => active.includes(name));
    if (wanted.length) await whileBusy(() => watch(wanted));
  }

  accept.addEventListener("click", download);
  cancel.addEventListener("click", () => {
    if (!dialog.classList.contains("gpen-busy")) dialog.close();
    else post("/gpen/downloads/stop", {}).catch((error) => message.replaceChildren(line(error.message, true)));
  });
  for (const box of boxes.values()) box.addEventListener("change", update);
  dialog.addEventListener("close", () => {
    dialog.remove();
    if (opened === dialog) opened = null;
  });
  // ComfyUI would take keys as its shortcuts.
  for (const type of ["keydown", "keyup"]) dialog.addEventListener(type, (event) => event.stopPropagation());
  if (problem) message.append(line(problem, true));
  update();
  document.body.append(dialog);
  opened = dialog;
  dialog.showModal();
  resume().catch(console.error);
}

function rowOf(model, checked, boxes) {
  const box = make("input", "gpen-tick", { type: "checkbox", "data-model": model.name });
  box.checked = checked;
  boxes.set(model, box);
  const size = model.size === null ? "" : ` ${megabytes(model.size)}`;
  const name = make("label", "gpen-offer-name", {}, box, make("b", "", {}, model.name), size);
  return make("div", "gpen-offer", {}, name, make("p", "gpen-licence", {}, model.licence));
}

/** Show how far these models are until none is active; resolves to their last states. */
async function follow(models, element) {
  for (;;) {
    const states = await statesOf(models);
    element.replaceChildren(...states.map(progressOf));
    if (!states.some(isActive)) return states;
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

async function statesOf(models) {
  const { downloads } = await (await api.fetchApi("/gpen/downloads")).json();
  return downloads.filter(({ name }) => models.some((model) => model.name === name));
}

function isActive({ state }) {
  return state === "waiting" || state === "running";
}

function progressOf({ name, state, done, total, error }) {
  if (state === "failed") return line(error, true);
  if (state !== "running") return line(say(state, name));
  const text = total ? say("running", name, megabytes(done), megabytes(total)) : say("runningUnsized", name, megabytes(done));
  const bar = make("progress", "gpen-progress", total ? { value: done, max: total } : {});
  return make("div", "gpen-line", {}, text, bar);
}

function line(text, isError = false) {
  return make("div", isError ? "gpen-line gpen-error" : "gpen-line", {}, text);
}

async function post(path, values) {
  const answer = await api.fetchApi(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(values),
  });
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error ?? `${answer.status} ${answer.statusText}`);
  return body;
}

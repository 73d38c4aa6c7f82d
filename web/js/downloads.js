import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";
import { openDownloads } from "./downloads_dialog.js";
import { labelOf, loadTexts } from "./downloads_texts.js";

const LOADERS = { GPENLoadModel: "model_name", GPENLoadFaceDetector: "detector" };
const NAMED_IN_ERRORS = /(?:gpen|python\S* \.) download ([\w.-]+)/g;

const buttons = new Map();
let catalogue = null;

/** Ask the server again what is there, and let the buttons say it. */
export async function updateDownloads() {
  const answer = await api.fetchApi("/gpen/models");
  if (!answer.ok) throw new Error(`GPEN: the server does not say which models there are (${answer.status}).`);
  await loadTexts();
  catalogue = await answer.json();
  for (const node of buttons.keys()) update(node);
}

/** Offer on a node that loads models what it lacks. */
export function offerDownloads(node) {
  if (!(node.comfyClass in LOADERS)) return;
  buttons.set(node, null);
  const { onRemoved, onWidgetChanged } = node;
  node.onRemoved = function () {
    buttons.delete(node);
    return onRemoved?.apply(this, arguments);
  };
  node.onWidgetChanged = function () {
    const result = onWidgetChanged?.apply(this, arguments);
    update(node);
    return result;
  };
  if (catalogue) update(node);
}

/** A workflow has set the values of a node's widgets. */
export function downloadsOfLoadedNode(node) {
  if (buttons.has(node)) update(node);
}

/** Let the user choose among all models of the catalogue that are not there. */
export async function chooseDownloads() {
  await updateDownloads();
  open(catalogue.models.filter(({ here }) => !here), []);
}

/** What a node needs and is not there: a model, then what restoring needs besides. */
function lackingFor(node) {
  const chosen = node.widgets?.find(({ name }) => name === LOADERS[node.comfyClass])?.value;
  return completed(catalogue.models.filter(({ file, name }) => chosen === file || chosen === name));
}

/** Those of the models that are not there, then what restoring lacks of other kinds. */
function completed(models) {
  const own = models.filter(({ here }) => !here);
  const kinds = new Set(models.map(({ kind }) => kind));
  const missing = catalogue.missing.map(modelCalled).filter(({ kind }) => !kinds.has(kind));
  return [...own, ...missing].sort((a, b) => (a.kind !== "network") - (b.kind !== "network"));
}

function modelCalled(name) {
  return catalogue.models.find((model) => model.name === name);
}

function update(node) {
  if (!catalogue) return;
  const lacking = lackingFor(node);
  const label = lacking.length ? labelOf(lacking) : null;
  const button = buttons.get(node);
  const shown = button && node.widgets?.includes(button) ? button.name : null;
  if (label === shown) return;
  // Some versions of the newer renderer keep the first name of a button.
  if (shown !== null) removeButton(node, button);
  buttons.set(node, label === null ? null : addButton(node, label));
  node.setDirtyCanvas?.(true, true);
}

function addButton(node, label) {
  const [width, height] = node.size;
  const button = node.addWidget("button", label, null, () => open(lackingFor(node)), { serialize: false });
  button.serialize = false;
  const least = Math.max(height, node.computeSize()[1]);
  button.gpenGrown = least - height;
  node.setSize([width, least]);
  return button;
}

function removeButton(node, button) {
  node.removeWidget(button);
  const [width, height] = node.size;
  node.setSize([width, Math.max(node.computeSize()[1], height - button.gpenGrown)]);
}

function open(models, ticked = models) {
  openDownloads({ models, ticked, problem: catalogue.problem, onDone: useDownloaded });
}

/** List the new files, and choose them where a node has none. */
async function useDownloaded(models) {
  await app.refreshComboInNodes();
  const network = models.find(({ kind }) => kind === "network");
  for (const node of buttons.keys()) {
    const widget = node.widgets?.find(({ name }) => name === "model_name");
    if (network && widget && !widget.value) widget.value = network.file;
  }
  await updateDownloads();
  app.canvas?.setDirty(true, true);
}

/** After a run that failed for want of models, offer those that the error names. */
async function offerNamed(message) {
  await updateDownloads();
  const names = [...message.matchAll(NAMED_IN_ERRORS)].map(([, name]) => name);
  const isNamed = ({ name, file }) => names.includes(name) || message.includes(file);
  const absent = catalogue.models.filter((model) => !model.here && isNamed(model));
  // Who lacks a network has not been told yet that a detector is missing, too.
  const wanted = absent.some(({ kind }) => kind === "network") ? completed(absent) : absent;
  if (wanted.length) open(wanted);
}

/** After a prompt that was refused for want of a model, offer what the loaders need. */
async function offerRefused(errors) {
  const refused = Object.values(errors ?? {}).filter((node) => node.class_type in LOADERS);
  if (!refused.length) return;
  await updateDownloads();
  const lacking = new Map();
  for (const node of buttons.keys()) for (const model of lackingFor(node)) lacking.set(model.name, model);
  if (lacking.size) open([...lacking.values()]);
}

/** Watch runs for errors that a download would cure. */
export function watchRuns() {
  api.addEventListener("execution_error", ({ detail }) => {
    if (detail.node_type?.startsWith("GPEN")) offerNamed(detail.exception_message ?? "").catch(console.error);
  });
  // The page tells nobody of a prompt that the server refused.
  const { queuePrompt } = api;
  api.queuePrompt = async function () {
    try {
      return await queuePrompt.apply(this, arguments);
    } catch (error) {
      offerRefused(error?.response?.node_errors).catch(console.error);
      throw error;
    }
  };
}

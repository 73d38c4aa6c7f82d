import { api } from "../../../scripts/api.js";
import { app } from "../../../scripts/app.js";

const texts = {};
let loaded = null;

/** Load the texts of the page's language, once; they are in locales/, as those of the nodes. */
export function loadTexts() {
  loaded ??= read();
  return loaded;
}

async function read() {
  const all = await (await api.fetchApi("/i18n")).json();
  const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
  Object.assign(texts, all.en?.gpen, all[language]?.gpen);
}

/** A text, with %1, %2 … replaced. */
export function say(key, ...values) {
  return texts[key].replace(/%(\d)/g, (_, number) => values[number - 1]);
}

/** What a button says that downloads these models. */
export function labelOf(models, accept = false) {
  const size = sizeOf(models);
  const what = say(nameOf(accept, models.length), models.length === 1 ? models[0].name : models.length);
  return size === null ? what : `${what}, ${megabytes(size)}`;
}

function nameOf(accept, number) {
  const kind = { 0: "None", 1: "One", 2: "Both" }[number] ?? "Several";
  return `${accept ? "accept" : "download"}${kind}`;
}

/** Bytes of all of them; null if that of one is unknown. */
function sizeOf(models) {
  const sizes = models.map(({ size }) => size);
  return sizes.length === 0 || sizes.includes(null) ? null : sizes.reduce((sum, size) => sum + size, 0);
}

export function megabytes(bytes) {
  return `${(bytes / 1e6).toFixed(bytes < 10e6 ? 1 : 0)} MB`;
}

import { api } from "../../../scripts/api.js";

/** An element with a class and attributes. */
export function make(tag, className, attributes = {}, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** Loads an image named in a node's output; rejects if it cannot be loaded. */
export async function loadPicture({ filename, subfolder = "", type = "temp" }, alt) {
  const picture = make("img", "gpen-picture", { alt, draggable: "false" });
  // The server reuses file names after a restart.
  const query = new URLSearchParams({ filename, subfolder, type, rand: Math.random() });
  picture.src = api.apiURL(`/view?${query}`);
  await picture.decode();
  return picture;
}

export function aspectOf(picture) {
  return picture.naturalWidth / picture.naturalHeight;
}

/** Keep a keyboard or pointer event from ComfyUI, which would apply it to the canvas. */
export function keep(event) {
  event.preventDefault();
  event.stopPropagation();
}

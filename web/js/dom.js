import { api } from "../../../scripts/api.js";

/** An element with a class and attributes. */
export function make(tag, className, attributes = {}, ...children) {
  const element = document.createElement(tag);
  element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A picture that the server named in a node's output, once it is loaded; rejects where it cannot be. */
export async function loadPicture({ filename, subfolder = "", type = "temp" }, alt) {
  const picture = make("img", "gpen-picture", { alt, draggable: "false" });
  // File names come round again when the server starts anew.
  const query = new URLSearchParams({ filename, subfolder, type, rand: Math.random() });
  picture.src = api.apiURL(`/view?${query}`);
  await picture.decode();
  return picture;
}

export function aspectOf(picture) {
  return picture.naturalWidth / picture.naturalHeight;
}

/** Keep a key's or pointer's event from ComfyUI, which would act on the canvas. */
export function keep(event) {
  event.preventDefault();
  event.stopPropagation();
}

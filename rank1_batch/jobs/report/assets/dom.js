// Elements out of plain values. Text always becomes text, never markup.

import { showControls, splitMarked, splitParagraphs } from "./text.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element with properties and children. Children that are null or false are left out. */
export function h(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** The same for drawings. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : showControls(String(child)));
  }
  return element;
}

/** An id or a line of somebody's text: its direction does not change that of its neighbours. */
export function isolate(text, name = "bdi", properties = {}) {
  return h(name, { dir: "auto", ...properties }, text);
}

/** A text in paragraphs, with a query's words marked. */
export function prose(text, words, properties = {}) {
  const paragraphs = splitParagraphs(showControls(text)).map((one) =>
    h("p", { dir: "auto" }, splitMarked(one, words).map(([piece, marked]) => (marked ? h("mark", {}, piece) : piece))),
  );
  return h("div", { class: "prose", ...properties }, paragraphs);
}

// Elements from plain calls. Text is always a text node, so nothing that a caller says is ever read as markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `on…` keys are listeners, `class`, `data-…` and the rest are attributes; false, null and undefined are left out.
 * Never pass `style`: the page's policy forbids style attributes. Use `element.style.setProperty`.
 */
export function h(tag, attributes = {}, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Set text only when it changed: an untouched text node costs no layout. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set or remove an attribute, only when it changed. */
export function setAttribute(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** What to show where there is nothing to show, or something went wrong. */
export function emptyState(title, text, ...buttons) {
  return h("div", { class: "empty" }, h("h2", {}, title), h("p", {}, text), buttons.length ? h("div", { class: "buttons" }, buttons) : null);
}

/** A card with a heading. Returns the element; `tools` stand at the right of the heading. */
export function card(title, body, { tools = [], id = null, note = null } = {}) {
  const heading = h("h2", id ? { id: `${id}-title` } : {}, title);
  const top = h("header", {}, heading, note ? h("span", { class: "soft" }, note) : null, h("span", { class: "spring" }), tools);
  return h("section", { class: "card", id, "aria-labelledby": id ? `${id}-title` : null }, top, body);
}

/** Call `work` at most once a frame, however often it is asked for. */
export function perFrame(work) {
  let asked = 0;
  return () => {
    asked ||= requestAnimationFrame(() => {
      asked = 0;
      work();
    });
  };
}

/** Call `work` when nobody has asked for `ms`, and at least every `mostMs` while they keep asking. */
export function settle(work, ms, mostMs = ms * 4) {
  let timer = 0;
  let since = 0;
  return {
    ask() {
      const now = performance.now();
      since ||= now;
      clearTimeout(timer);
      timer = setTimeout(() => {
        since = 0;
        work();
      }, Math.max(0, Math.min(ms, since + mostMs - now)));
    },
    stop: () => clearTimeout(timer),
  };
}

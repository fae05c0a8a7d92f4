// What the page says beside its content: toasts, the banner of a lost service, the dialogs.

import { h } from "./dom.js";

/** A short message that goes away by itself. */
export function toast(text, { bad = false } = {}) {
  const element = h("div", { class: bad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts")?.append(element);
  setTimeout(() => element.remove(), bad ? 8000 : 4000);
}

/** The state of the link to the service, in the bar; and the banner when it has been lost for a moment. */
export class LinkState {
  #timer = 0;
  #lostSince = 0;

  constructor(light, banner) {
    Object.assign(this, { light, banner, retry: () => {} });
  }

  show(state, waitMs = 0) {
    this.light.dataset.state = state;
    this.light.lastElementChild.textContent = { live: "live", lost: "no link", connecting: "connecting", idle: "" }[state];
    if (state === "live") this.#back();
    if (state === "lost") this.#lost(waitMs);
  }

  hide() {
    clearTimeout(this.#timer);
    this.#lostSince = 0;
    this.banner.hidden = true;
  }

  /** The service was replaced by another version. */
  updated() {
    this.banner.replaceChildren(h("span", {}, "The service has been updated. Load the page anew to go on with the new one."),
      h("button", { type: "button", onclick: () => location.reload() }, "Reload"));
    this.banner.hidden = false;
  }

  #back() {
    const told = !this.banner.hidden;
    this.hide();
    if (told) toast("The service is back. Everything is up to date again.");
  }

  #lost(waitMs) {
    this.#lostSince ||= performance.now();
    if (performance.now() - this.#lostSince < 700 && waitMs < 1200) return; // a blink needs no banner
    const seconds = Math.max(1, Math.round(waitMs / 1000));
    this.banner.replaceChildren(
      h("span", {}, `The service does not answer. What you see is as of the last moment; trying again in ${seconds} s.`),
      h("button", { type: "button", onclick: () => this.retry() }, "Try now"),
    );
    this.banner.hidden = false;
  }
}

/** Ask something. Resolves with the form's data, or null when it was closed. */
export function ask(title, fields, { confirm = "OK", danger = false } = {}) {
  return new Promise((resolve) => {
    const form = h("form", { method: "dialog" },
      h("h2", { id: "dialog-title" }, title), fields,
      h("div", { class: "buttons" },
        h("button", { type: "button", onclick: () => dialog.close("") }, "Cancel"),
        h("button", { class: danger ? "danger" : "primary", value: "yes" }, confirm)));
    const dialog = h("dialog", { "aria-labelledby": "dialog-title" }, form);
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes" ? Object.fromEntries(new FormData(form)) : null);
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const SHORTCUTS = [
  ["j / k", "next, previous call"], ["Enter", "open the call"], ["/", "search"], ["g", "back to the calls"],
  ["Space", "play, pause"], ["← →", "one second back, on (Shift: a tenth)"], ["+ − 0", "zoom in, out, all"],
  ["[ ]", "previous, next interruption"], ["0–9 * #", "keypad, in a call from the handset"], ["m c b", "handset: mute, cough, bad line"], ["?", "this help"],
];

export function showHelp() {
  const rows = SHORTCUTS.flatMap(([keys, what]) => [
    h("dt", {}, keys.split(" ").map((key) => (key === "/" && keys.includes(" / ") ? " / " : [h("kbd", {}, key), " "]))), h("dd", {}, what)]);
  const dialog = h("dialog", { "aria-labelledby": "help-title" },
    h("form", { method: "dialog" }, h("h2", { id: "help-title" }, "Keyboard"), h("dl", {}, rows),
      h("div", { class: "buttons" }, h("button", { class: "primary" }, "Close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

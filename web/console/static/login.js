// The door: a key of the service, kept as a hardened session cookie and never by the page.

import { h, svg } from "./dom.js";

export function showLogin(root, context, message = "") {
  const said = h("p", { class: "message", role: "alert", hidden: !message }, message);
  const key = h("input", { id: "key", name: "key", type: "password", autocomplete: "current-password", required: true });
  const button = h("button", { class: "primary" }, "Sign in");
  const form = h("form", { onsubmit: (event) => void submit(event) }, h("label", { for: "key" }, "Key"), key, button);
  root.replaceChildren(h("div", { class: "login" }, h("div", { class: "card" }, mark(),
    h("div", {}, h("h1", {}, "Sign in to Callscope"), h("p", { class: "soft" }, "Use a viewer's or an operator's key of this service.")),
    said, form)));
  key.focus();

  async function submit(event) {
    event.preventDefault();
    button.disabled = true;
    try {
      await context.api.signIn(key.value);
      context.entered();
    } catch (error) {
      said.hidden = false;
      said.className = "message bad";
      said.textContent = explain(error);
      key.select();
    } finally {
      button.disabled = false;
    }
  }
  return { stop() {}, key: () => false };
}

function explain(error) {
  if (error.status === 401 || error.status === 403) return "That key is not known here. Check that it is whole, and of this service.";
  if (error.status === 429) return "Too many attempts. Wait a minute, then try again.";
  return error.message;
}

function mark() {
  return svg("svg", { viewBox: "0 0 32 32", class: "mark", "aria-hidden": "true" },
    svg("rect", { width: 32, height: 32, rx: 8, fill: "#0b5cad" }),
    svg("path", { d: "M5 16h4l2.5-7 4 15 4-18 3.5 13 1.5-3H27", fill: "none", stroke: "#fff", "stroke-width": 2.4, "stroke-linecap": "round", "stroke-linejoin": "round" }));
}

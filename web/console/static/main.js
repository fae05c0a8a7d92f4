// The page: which view stands where, and what they share.

import { Api } from "./api.js";
import { showCall } from "./call.js";
import { emptyState, h } from "./dom.js";
import { showList } from "./list.js";
import { showLogin } from "./login.js";
import { LinkState, showHelp, toast } from "./notices.js";
import { ServiceSource } from "./source.js";
import { startTheme } from "./theme.js";

const $ = (id) => document.getElementById(id);
const root = $("view");
const modules = document.querySelector("meta[name=callscope-modules]").content.split(" ").filter(Boolean);
const api = new Api();
const link = new LinkState($("link"), $("banner"));
let view = null;
let handset = null;
let version = null;

/** What views may use; the handset and the insights get it too. */
const context = {
  api, link, navigate, toast,
  handsetChanged: showHandset,
  entered: () => void enter(),
  again: () => void show(),
  /** The service says who it is; another version than before has another page too. */
  hello({ version: now }) {
    version ??= now;
    if (version !== now) link.updated();
  },
  /** After a lost stream: false when it is the session that was lost, and the login is shown. */
  async stillSignedIn() {
    try {
      await api.loadSession();
      if (api.signedIn) return true;
      expired();
      return false;
    } catch {
      return true; // not reached: try on
    }
  },
};

function navigate(path) {
  history.pushState(null, "", path);
  show();
  scrollTo(0, 0);
  root.focus({ preventScroll: true });
}

function replaceView(make) {
  view?.stop();
  link.hide();
  link.show("idle");
  view = make() ?? null;
}

function showHandset() {
  $("handset").hidden = !api.signedIn || !handset?.shows(location.pathname);
}

async function show() {
  const path = location.pathname;
  for (const anchor of document.querySelectorAll("[data-nav]")) {
    const here = anchor.dataset.nav === (path.startsWith("/insights") ? "insights" : "calls");
    if (here) anchor.setAttribute("aria-current", "page");
    else anchor.removeAttribute("aria-current");
  }
  const call = /^\/calls\/([^/]+)\/?$/.exec(path);
  showHandset();
  document.title = call ? "Call · Callscope" : "Callscope";
  if (call) replaceView(() => showCall(root, new ServiceSource(context, decodeURIComponent(call[1])), context));
  else if (path === "/") replaceView(() => showList(root, context));
  else if (path.startsWith("/insights") && modules.includes("insights")) {
    const { showInsights } = await import("./insights.js");
    replaceView(() => showInsights(root, context));
  } else replaceView(() => nowhere());
}

function nowhere() {
  root.replaceChildren(emptyState("There is no such page", "The address leads nowhere in this console.", h("a", { class: "button", href: "/" }, "All calls")));
  return { stop() {}, key: () => false };
}

function expired() {
  if (api.session) api.session.role = null;
  signedOut("Your session is over. Sign in again; the page stays where it was.");
}

function signedOut(message = "") {
  $("sign-out").hidden = true;
  $("handset").hidden = true;
  handset?.stop();
  replaceView(() => showLogin(root, context, message));
}

async function enter() {
  $("sign-out").hidden = !api.session.needs_login;
  if (modules.includes("handset") && !handset) {
    const { mountHandset } = await import("./handset.js");
    handset = mountHandset($("handset"), context);
  } else void handset?.load(); // somebody else may have signed in
  await show();
}

async function start() {
  let waitMs = 500;
  for (;;) {
    try {
      await api.loadSession();
      break;
    } catch (error) {
      if (error.status === 401) {
        api.session = { role: null, needs_login: true };
        break;
      }
      link.show("lost", waitMs);
      await new Promise((again) => setTimeout(again, waitMs));
      waitMs = Math.min(waitMs * 2, 8000);
    }
  }
  if (api.signedIn) await enter();
  else signedOut();
}

function onKey(event) {
  const typing = event.target.closest("input, textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  let taken = true;
  if (event.key === "?") showHelp();
  else if (handset?.key(event) || view?.key?.(event)) taken = true;
  else if (event.key === "g" && api.signedIn) navigate("/");
  else taken = false;
  if (taken) event.preventDefault();
}

function onClick(event) {
  const anchor = event.target.closest("a[href]");
  if (!anchor || event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
  if (anchor.target || anchor.hasAttribute("download") || !/^\/(calls\/|insights|$|\?)/.test(anchor.getAttribute("href"))) return;
  event.preventDefault();
  navigate(anchor.getAttribute("href"));
}

if (modules.includes("insights")) $("nav").append(h("a", { href: "/insights", "data-nav": "insights" }, "Insights"));
api.onSignedOut = expired;
startTheme($("theme"), () => view?.repaint?.());
$("help").addEventListener("click", showHelp);
$("sign-out").addEventListener("click", async () => {
  await api.signOut().catch(() => {});
  signedOut("You have signed out.");
});
addEventListener("keydown", onKey);
addEventListener("click", onClick);
addEventListener("popstate", () => api.signedIn && show());
void start();

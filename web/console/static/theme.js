// Light, dark, or as the system says. Kept in this browser only.

const KEY = "callscope-theme";
const NEXT = { auto: "light", light: "dark", dark: "auto" };

/** Apply the kept theme and let the button change it; `onChange` redraws what is painted by hand. */
export function startTheme(button, onChange) {
  let theme = read();
  const show = () => {
    if (theme === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = theme;
    button.textContent = { auto: "◐ Auto", light: "☀ Light", dark: "☾ Dark" }[theme];
    button.setAttribute("aria-label", `Theme: ${theme}. Change it.`);
    onChange();
  };
  button.addEventListener("click", () => {
    theme = NEXT[theme];
    try {
      localStorage.setItem(KEY, theme);
    } catch { /* a browser that keeps nothing still changes this page */ }
    show();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", onChange);
  show();
}

function read() {
  try {
    const kept = localStorage.getItem(KEY);
    return kept in NEXT ? kept : "auto";
  } catch {
    return "auto";
  }
}

const probe = document.createElement("i");

/** A colour of the style sheet as a canvas understands it, in the theme of now. */
export function colour(name) {
  if (!probe.isConnected) {
    probe.hidden = true;
    document.documentElement.append(probe);
  }
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

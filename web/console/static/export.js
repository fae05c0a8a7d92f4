// The page inside an exported file: the same view of a call, from the data that stand beside it. Reaches no network.

import { showCall } from "./call.js";
import { FrozenSource } from "./source.js";
import { startTheme } from "./theme.js";

const data = JSON.parse(document.getElementById("data").textContent);
const audio = document.getElementById("sound");
const view = showCall(document.getElementById("view"), new FrozenSource(data, audio), {});
startTheme(document.getElementById("theme"), () => view.repaint());
addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select");
  if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey && view.key(event)) event.preventDefault();
});

// Keeps the phases that the diagram lights, in the order in which it does.
() => {
  const now = () => document.querySelector(".node[data-now]")?.dataset.phase;
  window.lit = [now()];
  new MutationObserver(() => {
    const phase = now();
    if (phase && phase !== window.lit.at(-1)) window.lit.push(phase);
  }).observe(document.querySelector(".diagram"), { subtree: true, attributes: true, attributeFilter: ["data-now"] });
}

// Watches how busy the page is: tasks over 50 ms, and the time between frames.
() => {
  window.long = [];
  window.gaps = [];
  let last = performance.now();
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => one.duration))).observe({ type: "longtask" });
  const frame = () => {
    const now = performance.now();
    window.gaps.push(now - last);
    last = now;
    requestAnimationFrame(frame);
  };
  frame();
}

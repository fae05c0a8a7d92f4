// Server-sent events that come back by themselves. Read with `fetch`, not `EventSource`: that gives up for good after an
// HTTP error, hides its status, and does not see the heartbeat, so a connection that died silently looks like a quiet one.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8_000;
const SILENCE_MS = 25_000; // the service sends a heartbeat every ten seconds

export class Stream {
  #abort = null;
  #timer = 0;
  #watch = 0;
  #wait = FIRST_WAIT_MS;
  #stopped = false;
  #opened = false;

  /**
   * @param address () => string: asked anew at each attempt, so that it can say after which record to go on.
   * @param events name → (data) => void
   * @param onState ("live" | "lost" | "connecting", waitMs) => void
   * @param onLost async () => boolean: called after a failure; false ends the attempts (the session is gone).
   * @param onOpen (again) => void: connected; `again`: not for the first time, so something may have been missed.
   */
  constructor({ address, events, onState, onLost, onOpen = () => {} }) {
    Object.assign(this, { address, events, onState, onLost, onOpen });
    void this.#run();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#abort?.abort();
  }

  /** Do not wait any longer. */
  retryNow() {
    if (this.#abort || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#wait = FIRST_WAIT_MS;
    void this.#run();
  }

  async #run() {
    const abort = (this.#abort = new AbortController());
    if (!this.#opened) this.onState("connecting", 0);
    try {
      this.#alive();
      const answer = await fetch(this.address(), { headers: { Accept: "text/event-stream" }, credentials: "same-origin", cache: "no-store", signal: abort.signal });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      this.#wait = FIRST_WAIT_MS;
      this.onState("live", 0);
      this.onOpen(this.#opened);
      this.#opened = true;
      await this.#read(answer.body.pipeThrough(new TextDecoderStream()).getReader());
    } catch { /* refused, broken or silent: all the same to who waits */ }
    clearTimeout(this.#watch);
    abort.abort();
    this.#abort = null;
    await this.#again();
  }

  async #read(reader) {
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done || this.#stopped) return;
      this.#alive();
      const blocks = (rest + value).split("\n\n");
      rest = blocks.pop();
      for (const block of blocks) if (this.#tell(block)) return;
    }
  }

  /** Returns whether the service sends us away. */
  #tell(block) {
    let name = "message";
    const data = [];
    for (const line of block.split("\n")) {
      if (line.startsWith("event:")) name = line.slice(6).trim();
      else if (line.startsWith("data:")) data.push(line.slice(5).trimStart());
    }
    if (data.length && !this.#stopped) this.events[name]?.(JSON.parse(data.join("\n")));
    return name === "dropped";
  }

  #alive() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#abort?.abort(), SILENCE_MS);
  }

  async #again() {
    if (this.#stopped) return;
    const waitMs = this.#wait * (0.75 + Math.random() / 2); // many pages must not come back in the same instant
    this.#wait = Math.min(this.#wait * 1.8, LONGEST_WAIT_MS);
    this.onState("lost", waitMs);
    if (!(await this.onLost()) || this.#stopped || this.#abort) return;
    this.#timer = setTimeout(() => void this.#run(), waitMs);
  }
}

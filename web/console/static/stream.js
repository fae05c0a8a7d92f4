// Server-sent events that come back by themselves. `EventSource` alone gives up for good after any HTTP error, and says
// nothing of a connection that silently died; both happen when a service restarts under an open page.

const FIRST_WAIT_MS = 400;
const LONGEST_WAIT_MS = 8_000;
const SILENCE_MS = 45_000; // the service writes something every few seconds

export class Stream {
  #source = null;
  #timer = 0;
  #watch = 0;
  #wait = FIRST_WAIT_MS;
  #stopped = false;
  #opened = false;

  /**
   * @param address () => string: asked anew at each attempt, so that it can say after which record to go on.
   * @param events name → (data, isReconnect) => void
   * @param onState ("live" | "lost" | "connecting", waitMs) => void
   * @param onLost async () => boolean: called after a failure; false ends the attempts (the session is gone).
   */
  constructor({ address, events, onState, onLost, onOpen = () => {} }) {
    Object.assign(this, { address, events, onState, onLost, onOpen });
    this.#open();
  }

  stop() {
    this.#stopped = true;
    this.#drop();
  }

  /** Do not wait any longer. */
  retryNow() {
    if (this.#source || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#wait = FIRST_WAIT_MS;
    this.#open();
  }

  #drop() {
    clearTimeout(this.#timer);
    clearTimeout(this.#watch);
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    this.onState("connecting", 0);
    const source = (this.#source = new EventSource(this.address()));
    source.onopen = () => {
      this.#wait = FIRST_WAIT_MS;
      this.#alive();
      this.onState("live", 0);
      this.onOpen(this.#opened);
      this.#opened = true;
    };
    source.onmessage = () => this.#alive();
    for (const name of ["hello", "ping", ...Object.keys(this.events)]) {
      source.addEventListener(name, (event) => {
        this.#alive();
        const tell = this.events[name];
        if (tell) tell(event.data ? JSON.parse(event.data) : null);
      });
    }
    source.onerror = () => this.#failed();
    this.#alive();
  }

  #alive() {
    clearTimeout(this.#watch);
    this.#watch = setTimeout(() => this.#failed(), SILENCE_MS);
  }

  async #failed() {
    if (this.#stopped || !this.#source) return;
    this.#drop();
    const waitMs = this.#wait * (0.75 + Math.random() / 2); // many pages must not come back in the same instant
    this.#wait = Math.min(this.#wait * 1.8, LONGEST_WAIT_MS);
    this.onState("lost", waitMs);
    if (!(await this.onLost()) || this.#stopped) return;
    this.#timer = setTimeout(() => this.#open(), waitMs);
  }
}

// The one door to the service. Problems come as `ApiError`s with words that people can read.

/** What the service, or the way to it, said. `status` 0: it was not reached. */
export class ApiError extends Error {
  constructor(status, title, detail = "") {
    super(detail || title);
    Object.assign(this, { status, title, detail });
  }
}

const PATIENCE_MS = 15_000;

export class Api {
  session = null;
  onSignedOut = () => {};

  /** Ask; returns the JSON. A lost session is told to `onSignedOut` as well. */
  async get(path, { signal } = {}) {
    return this.#ask("GET", path, undefined, signal);
  }

  async post(path, body) {
    return this.#ask("POST", path, body);
  }

  /** Who we are; kept for the CSRF token. */
  async loadSession() {
    this.session = await this.#ask("GET", "/api/session", undefined, undefined, true);
    return this.session;
  }

  async signIn(key) {
    await this.#ask("POST", "/api/session", { key }, undefined, true);
    return this.loadSession();
  }

  async signOut() {
    await this.#ask("DELETE", "/api/session", undefined, undefined, true);
    this.session = null;
  }

  get signedIn() {
    return Boolean(this.session?.role);
  }

  get isOperator() {
    return this.session?.role === "operator";
  }

  async #ask(method, path, body, signal, quiet = false) {
    const headers = { Accept: "application/json" };
    if (body !== undefined) headers["Content-Type"] = "application/json";
    if (method !== "GET" && this.session?.csrf) headers["X-CSRF-Token"] = this.session.csrf;
    const limits = [AbortSignal.timeout(PATIENCE_MS), ...(signal ? [signal] : [])];
    let answer;
    try {
      answer = await fetch(path, {
        method, headers, credentials: "same-origin", cache: "no-store", signal: AbortSignal.any(limits),
        body: body === undefined ? undefined : JSON.stringify(body),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError(0, "The service cannot be reached", "It may be restarting. The page tries again by itself.");
    }
    if (answer.ok) return answer.status === 204 ? null : answer.json();
    const problem = await answer.json().catch(() => ({}));
    if (answer.status === 401 && !quiet) this.onSignedOut();
    throw new ApiError(answer.status, problem.title || answer.statusText || `HTTP ${answer.status}`, problem.detail || "");
  }
}

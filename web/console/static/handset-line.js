// The line of the handset: a websocket to the Twilio twin, which puts the call through as Twilio would.

const OPEN_MS = 5000;
const ALIVE_MS = 4000;
const MOST_WAITING_BYTES = 32_000; // a second of sound that could not be sent: what is new is worth more

/** One call. `on` = { ringing(callSid), connected(), sound(Int16Array), ended({by, why, reached, ...}) }; ended comes once, and last. */
export class Line {
  #socket;
  #alive = 0;
  #patience = 0;
  #over = false;
  #refused = null;

  constructor(url, dial, on) {
    this.on = on;
    this.#socket = new WebSocket(url);
    this.#socket.binaryType = "arraybuffer";
    this.#patience = setTimeout(() => this.#end(this.#away(url)), OPEN_MS);
    this.#socket.onopen = () => {
      clearTimeout(this.#patience);
      this.tell({ type: "call", encoding: "pcm16", ...dial });
      this.#alive = setInterval(() => this.tell({ type: "alive" }), ALIVE_MS);
    };
    this.#socket.onmessage = ({ data }) => this.#take(data);
    this.#socket.onclose = () => this.#end(this.#refused ?? (this.#alive ? { by: "line", why: "The line broke: the Twilio twin is gone. Is the demo still running?" } : this.#away(url)));
  }

  /** An order to the twin: see web/twins/twilio/phone.py. */
  tell(order) {
    if (this.#socket.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(order));
  }

  say(frame) {
    if (this.#socket.readyState === WebSocket.OPEN && this.#socket.bufferedAmount < MOST_WAITING_BYTES) this.#socket.send(frame);
  }

  /** Hang up; the twin then tells how it ended. */
  hangUp() {
    if (this.#socket.readyState !== WebSocket.OPEN) return this.#end({ by: "caller", why: "You hung up before the call began." });
    this.tell({ type: "hangup" });
    this.#patience = setTimeout(() => this.#end({ by: "caller", why: "You hung up." }), OPEN_MS);
  }

  #take(data) {
    if (this.#over) return;
    if (typeof data !== "string") return this.on.sound(new Int16Array(data));
    const told = JSON.parse(data);
    if (told.type === "ringing") this.on.ringing(told.call_sid);
    else if (told.type === "connected") this.on.connected();
    else if (told.type === "refused") this.#refused = { by: "twin", kind: told.kind, why: told.why, reached: false };
    else if (told.type === "ended") this.#end({ ...told, why: this.#refused?.why ?? told.why });
  }

  #away(url) {
    return { by: "line", kind: "away", why: `The Twilio twin does not answer at ${new URL(url).host}. Is the demo still running on this machine?` };
  }

  #end(how) {
    if (this.#over) return;
    this.#over = true;
    clearTimeout(this.#patience);
    clearInterval(this.#alive);
    this.#socket.close();
    this.on.ended(how);
  }
}

// The sound of the handset, beside the page's own thread: the microphone to 8 kHz in frames, the earpiece from frames.

import { Resampler } from "./resample.js";

const LINE_HZ = 8000;
const FRAME = 160; // 20 ms
const START_FRAMES = 3; // wait before the ear begins: frames come up to 40 ms apart
const MOST_START_FRAMES = 8; // after gaps it waits longer
const MOST_FRAMES = 15; // then it has fallen behind, and skips
const STEADY_FRAMES = 500; // without a gap, and it waits less again
const LOOK_BACK_FRAMES = 50;
const LEVEL_FRAMES = 2; // a level every 40 ms
const LOUD = 0.01;
const QUIET = 200; // of 32768
const FADE = 80; // samples, 10 ms: where sound breaks off it must not click

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, LINE_HZ);
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    this.frames = 0;
    this.peak = 0;
  }

  process([input]) {
    const block = input[0] ?? new Float32Array(128); // nothing connected: time goes on
    for (const sample of this.resampler.take(block)) {
      this.peak = Math.max(this.peak, Math.abs(sample));
      this.frame[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32767)));
      if (this.filled === FRAME) this.#send();
    }
    return true;
  }

  #send() {
    const whole = this.frame;
    this.frame = new Int16Array(FRAME);
    this.filled = 0;
    const level = ++this.frames % LEVEL_FRAMES ? null : this.peak;
    if (level !== null) this.peak = 0;
    this.port.postMessage({ frame: whole.buffer, level }, [whole.buffer]);
  }
}

class Earpiece extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(LINE_HZ, sampleRate);
    this.frames = [];
    this.ready = new Float32Array(0);
    this.filling = true;
    this.target = START_FRAMES;
    this.steady = 0;
    this.level = 0;
    this.played = 0;
    this.stats = { gaps: 0, skipped: 0 };
    this.last = 0;
    this.loud = false;
    this.least = MOST_FRAMES; // that waited lately
    this.looked = 0;
    this.port.onmessage = ({ data }) => this.#arrives(new Int16Array(data));
  }

  process(_inputs, [output]) {
    const out = output[0];
    while (this.ready.length < out.length) {
      const more = this.resampler.take(this.#next());
      const joined = new Float32Array(this.ready.length + more.length);
      joined.set(this.ready);
      joined.set(more, this.ready.length);
      this.ready = joined;
    }
    out.set(this.ready.subarray(0, out.length));
    this.ready = this.ready.slice(out.length);
    return true;
  }

  #arrives(samples) {
    this.frames.push(samples);
    if (this.frames.length <= MOST_FRAMES) return;
    this.stats.skipped += this.frames.length - this.target;
    this.frames.splice(0, this.frames.length - this.target);
  }

  /** The next 20 ms at 8 kHz: what has come, or a fade into silence. */
  #next() {
    const block = new Float32Array(FRAME);
    if (this.filling && this.frames.length >= this.target) this.filling = false;
    if (!this.filling && !this.frames.length) this.#gap();
    if (++this.steady % STEADY_FRAMES === 0) this.target = Math.max(START_FRAMES, this.target - 1);
    if (this.filling) {
      for (let i = 0; i < FADE; i++) block[i] = this.last * (1 - i / FADE);
      this.last = 0;
    } else {
      this.#catchUp();
      this.frames.shift().forEach((sample, i) => { block[i] = sample / 32768; });
      this.last = block[FRAME - 1];
    }
    this.#measure(block);
    return block;
  }

  #gap() {
    this.filling = true;
    this.steady = 0;
    this.target = Math.min(MOST_START_FRAMES, this.target + 1);
    this.stats.gaps++;
  }

  /** When more waited all the time lately than is needed, leave a quiet frame out: delay is what people notice. */
  #catchUp() {
    this.least = Math.min(this.least, this.frames.length);
    if (++this.looked < LOOK_BACK_FRAMES || !this.frames[0].every((sample) => Math.abs(sample) < QUIET)) return;
    if (this.least > this.target) {
      this.frames.shift();
      this.stats.skipped++;
    }
    this.least = MOST_FRAMES;
    this.looked = 0;
  }

  #measure(block) {
    for (const sample of block) this.level = Math.max(this.level, Math.abs(sample));
    if (!this.loud && this.level > LOUD) {
      this.loud = true;
      this.port.postMessage({ first: true });
    }
    if (++this.played % LEVEL_FRAMES) return;
    this.port.postMessage({ level: this.level, waiting: this.frames.length, ...this.stats });
    this.level = 0;
  }
}

registerProcessor("callscope-microphone", Microphone);
registerProcessor("callscope-earpiece", Earpiece);

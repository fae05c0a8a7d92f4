// Microphone and loudspeaker of the browser, as 20 ms frames of 16-bit samples at 8 kHz.

const WORKLET = new URL("./handset-worklet.js", import.meta.url);
const KEY_HZ = { 1: [697, 1209], 2: [697, 1336], 3: [697, 1477], 4: [770, 1209], 5: [770, 1336], 6: [770, 1477], 7: [852, 1209],
  8: [852, 1336], 9: [852, 1477], "*": [941, 1209], 0: [941, 1336], "#": [941, 1477] };
const RING_HZ = [440, 480];
const FIRST_RING_S = 0.4; // most calls are answered before, and a blip of a ring is no ring

/** Why there is no microphone, in words for people. */
export class NoMicrophone extends Error {
  constructor(kind, text) {
    super(text);
    this.kind = kind;
  }
}

/** Ask for the microphone. Throws NoMicrophone. */
export async function openMicrophone() {
  if (!navigator.mediaDevices?.getUserMedia) throw new NoMicrophone("insecure",
    "The browser gives the microphone to pages from https or from this machine only. Open the console on this machine, at localhost and its port.");
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    if (["NotAllowedError", "SecurityError"].includes(error.name)) throw new NoMicrophone("refused",
      "The microphone was refused. Allow it in the browser's address bar, then call again.");
    if (["NotFoundError", "OverconstrainedError"].includes(error.name)) throw new NoMicrophone("absent", "This machine has no microphone.");
    throw new NoMicrophone("broken", "The microphone cannot be used: another program may have it.");
  }
}

/** The sound of one call. `start` before anything else; `stop` gives the microphone back. */
export class Sound {
  #context = new AudioContext({ latencyHint: "interactive" });
  #stream = null;
  #ear = null;
  #ringing = [];

  /** @param on { frame(ArrayBuffer), spoke(level), heard(stats), first(), lost() } */
  constructor(on) {
    this.on = on;
    this.ready = this.#context.audioWorklet.addModule(WORKLET);
    this.ready.catch(() => {}); // told by start()
  }

  /** @param stream of the microphone; null: time goes on in silence. */
  async start(stream) {
    this.#stream = stream;
    await this.ready;
    await this.#context.resume();
    const microphone = new AudioWorkletNode(this.#context, "callscope-microphone", { numberOfInputs: 1, numberOfOutputs: 0 });
    microphone.port.onmessage = ({ data }) => {
      if (data.level !== null) this.on.spoke(data.level);
      this.on.frame(data.frame);
    };
    for (const track of stream?.getTracks() ?? []) track.onended = () => this.on.lost(); // unplugged, or taken back
    if (stream) this.#context.createMediaStreamSource(stream).connect(microphone);
    this.#ear = new AudioWorkletNode(this.#context, "callscope-earpiece", { numberOfInputs: 0, numberOfOutputs: 1, outputChannelCount: [1] });
    this.#ear.port.onmessage = ({ data }) => (data.first ? this.on.first() : this.on.heard(data));
    this.#ear.connect(this.#context.destination);
  }

  /** 20 ms to be heard. */
  play(samples) {
    this.#ear?.port.postMessage(samples, [samples]);
  }

  key(digit) {
    for (const hz of KEY_HZ[digit]) this.#tone(hz, 0.04, 0, 0.14);
  }

  ring() {
    for (let n = 0; n < 10; n++) for (const hz of RING_HZ) this.#ringing.push(this.#tone(hz, 0.02, FIRST_RING_S + 4 * n, 1.6));
  }

  stopRinging() {
    for (const tone of this.#ringing.splice(0)) tone.disconnect();
  }

  stop() {
    this.#stream?.getTracks().forEach((track) => track.stop());
    if (this.#context.state !== "closed") void this.#context.close();
  }

  #tone(hz, loudness, afterS, lengthS) {
    const from = this.#context.currentTime + afterS;
    const tone = new OscillatorNode(this.#context, { frequency: hz });
    const volume = new GainNode(this.#context, { gain: 0 });
    volume.gain.setTargetAtTime(loudness, from, 0.004);
    volume.gain.setTargetAtTime(0, from + lengthS, 0.008);
    tone.connect(volume).connect(this.#context.destination);
    tone.start(from);
    tone.stop(from + lengthS + 0.1);
    return volume;
  }
}

/** One frame of the caller's ear and one of a scripted caller's mouth → both at once. */
export function mixed(samples) {
  const half = samples.length / 2;
  const both = new Int16Array(half);
  for (let i = 0; i < half; i++) both[i] = Math.max(-32768, Math.min(32767, samples[i] + samples[half + i]));
  return both;
}

/** The loudest sample, 0 to 1. */
export function peak(samples) {
  let most = 0;
  for (const sample of samples) most = Math.max(most, Math.abs(sample));
  return most / 32768;
}

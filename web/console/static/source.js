// Where one call's facts come from: the service while it is asked, or the file that an export is.

import { Stream } from "./stream.js";

const RECORDS_A_PAGE = 1000;
const MOST_PEAKS = 12_000;

/** A call as the service knows it. */
export class ServiceSource {
  frozen = false;

  constructor(context, id) {
    Object.assign(this, { context, api: context.api, id, base: `/api/calls/${encodeURIComponent(id)}` });
  }

  detail() {
    return this.api.get(this.base);
  }

  lanes() {
    return this.api.get(`${this.base}/lanes`);
  }

  diagram() {
    return this.api.get("/api/diagram");
  }

  /** Peaks, one a 10 ms where the call is not too long: fine enough to zoom in on a word. */
  waveform(call) {
    const points = Math.min(MOST_PEAKS, Math.max(500, Math.ceil(call.recording.duration_ms / 10)));
    return this.api.get(`${call.recording.waveform_url}?points=${points}`);
  }

  audioUrl(call) {
    return call.recording?.url ?? null;
  }

  /** All records after `seq`, page by page, told as they come. */
  async records(seq, tell, signal) {
    for (let after = seq; after !== null; ) {
      const page = await this.api.get(`${this.base}/records?after=${after}&limit=${RECORDS_A_PAGE}`, { signal });
      if (page.records.length) tell(page.records);
      after = page.next;
    }
  }

  /** Records as they happen. `lastSeq` is asked at each attempt, so that nothing is missed or told twice. */
  follow(lastSeq, tell, onOpen) {
    const { link } = this.context;
    const stream = new Stream({
      address: () => `/api/events?call=${encodeURIComponent(this.id)}&after=${lastSeq()}`,
      events: { hello: this.context.hello, record: (record) => tell([record]) },
      onOpen,
      onState: (state, waitMs) => link.show(state, waitMs),
      onLost: this.context.stillSignedIn,
    });
    link.retry = () => stream.retryNow();
    return stream;
  }

  act(order) {
    return this.api.post(`${this.base}/actions`, order);
  }
}

/** A call in a file: everything is there already. */
export class FrozenSource {
  frozen = true;

  constructor(data, audio) {
    Object.assign(this, { data, audio: audio ?? undefined, id: data.call.id });
  }

  detail = async () => this.data.call;
  lanes = async () => this.data.lanes;
  diagram = async () => this.data.diagram;
  waveform = async () => this.data.waveform;
  audioUrl = () => this.audio?.getAttribute("src") ?? null;
  records = async (seq, tell) => tell(this.data.records);
}

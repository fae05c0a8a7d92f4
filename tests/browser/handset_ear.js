// Keeps what comes over the handset's websocket, with its times, before the page takes it.
{
  const Real = window.WebSocket;
  window.line = { told: [], sound: [], sent: [] };
  window.WebSocket = class extends Real {
    constructor(...given) {
      super(...given);
      this.addEventListener("message", ({ data }) => {
        if (typeof data === "string") window.line.told.push(JSON.parse(data));
        else window.line.sound.push(new Int16Array(data.slice(0)));
      });
    }
    send(data) {
      if (typeof data === "string") window.line.sent.push(JSON.parse(data));
      super.send(data);
    }
  };
  window.heardSoFar = () => {
    const bytes = new Uint8Array(window.line.sound.flatMap((frame) => [...new Uint8Array(frame.buffer)]));
    let text = "";
    for (let i = 0; i < bytes.length; i += 8192) text += String.fromCharCode(...bytes.subarray(i, i + 8192));
    return btoa(text);
  };
}

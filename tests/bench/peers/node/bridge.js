// The bridge that the tutorials for Node lead to: express and ws on one http server, a client socket for each call.
//
//     node bridge.js --vapi ws://127.0.0.1:PORT/agent
"use strict";

process.env.NODE_ENV ??= "production"; // before express is loaded: it reads it once

const http = require("node:http");
const { parseArgs } = require("node:util");
const express = require("express");
const { WebSocket, WebSocketServer } = require("ws");

const { values: options } = parseArgs({ options: { vapi: { type: "string" } } });
if (!options.vapi) {
  console.error("usage: node bridge.js --vapi ws://HOST:PORT/PATH");
  process.exit(2);
}

const app = express();
app.use(express.json());
app.get("/", (_request, response) => response.send("ok"));

const server = http.createServer(app);
const wss = new WebSocketServer({ server, path: "/media", perMessageDeflate: false });

wss.on("connection", (line) => {
  let streamSid = null;
  let agent = null;

  function dial() {
    agent = new WebSocket(options.vapi, { perMessageDeflate: false });
    agent.on("message", (data, isBinary) => {
      if (!isBinary || line.readyState !== WebSocket.OPEN) return;
      line.send(JSON.stringify({ event: "media", streamSid, media: { payload: data.toString("base64") } }));
    });
    agent.on("close", () => line.close());
    agent.on("error", (error) => {
      console.error("agent:", error.message);
      line.close();
    });
  }

  line.on("message", (data) => {
    const message = JSON.parse(data);
    switch (message.event) {
      case "start":
        streamSid = message.start.streamSid;
        dial();
        break;
      case "media":
        if (agent?.readyState === WebSocket.OPEN) agent.send(Buffer.from(message.media.payload, "base64"));
        break;
      case "stop":
        agent?.close();
        break;
    }
  });
  line.on("close", () => agent?.close());
  line.on("error", (error) => console.error("line:", error.message));
});

server.listen({ host: "127.0.0.1", port: 0, backlog: 1024 }, () => {
  console.log(JSON.stringify({ ready: true, port: server.address().port }));
});

process.stdin.on("end", () => process.exit(0)).resume();

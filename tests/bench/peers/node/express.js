// Vapi's server messages, answered as Express's tutorial would: the webhook peer of `callscope bench`.
//
//     VAPI_SERVER_SECRET=… node express.js
"use strict";

process.env.NODE_ENV ??= "production"; // before express is loaded: it reads it once

const express = require("express");

const secret = process.env.VAPI_SERVER_SECRET;
if (!secret) {
  console.error("VAPI_SERVER_SECRET is not set");
  process.exit(2);
}

const app = express();
app.use(express.json({ limit: "1mb" })); // a report at the end of a call is longer than the 100 kB that it allows by itself

const instant = async () => "ok";
const tools = {
  slow: ({ seconds }) => new Promise((resolve) => setTimeout(resolve, seconds * 1000, "ok")),
  crash: async () => {
    throw new Error("a tool's mistake");
  },
};

// Runs the function, as a tutorial does: what it does not know is `instant` here.
async function run(call) {
  const { name, arguments: given } = call.function;
  try {
    return { toolCallId: call.id, result: await (tools[name] ?? instant)(given) };
  } catch (error) {
    return { toolCallId: call.id, error: `${name} failed: ${error.message}` };
  }
}

app.post("/webhook/vapi", async (request, response) => {
  if (request.get("x-vapi-secret") !== secret) return response.status(401).json({ error: "unauthorized" });
  const { message } = request.body;
  switch (message.type) {
    case "tool-calls":
      return response.json({ results: await Promise.all(message.toolCallList.map(run)) });
    case "assistant-request":
      return response.json({ assistantId: "a" });
    default:
      return response.json({});
  }
});

const server = app.listen(0, "127.0.0.1", () => {
  console.log(JSON.stringify({ ready: true, port: server.address().port }));
});

process.stdin.on("end", () => process.exit(0)).resume();

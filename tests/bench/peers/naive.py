"""The bridge that the documentation of Quart-Trio and trio-websocket leads to: a route, a client, two pumps.

    python naive.py --vapi ws://127.0.0.1:PORT/agent

Everything is the libraries' ordinary use in production: `hypercorn.trio.serve` in our process, no debug, no access log.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import resource
import sys
import threading

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import websocket
from quart_trio import QuartTrio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, open_websocket_url

app = QuartTrio(__name__)


@app.websocket("/media")
async def media() -> None:
    """One call. Quart-Trio cancels us when Twilio hangs up; when Vapi does, we return, and that closes the socket."""
    stream_sid = await wait_for_start()
    try:
        async with open_websocket_url(app.config["VAPI_URL"]) as agent, trio.open_nursery() as nursery:
            nursery.start_soon(to_agent, agent, nursery.cancel_scope)
            nursery.start_soon(to_line, agent, stream_sid, nursery.cancel_scope)
    except HandshakeError:
        app.logger.exception("no agent")


async def wait_for_start() -> str:
    while True:
        message = json.loads(await websocket.receive())
        if message["event"] == "start":
            return str(message["start"]["streamSid"])


async def to_agent(agent: WebSocketConnection, call: trio.CancelScope) -> None:
    try:
        while True:
            message = json.loads(await websocket.receive())
            if message["event"] == "media":
                await agent.send_message(base64.b64decode(message["media"]["payload"]))
            elif message["event"] == "stop":
                break
    except ConnectionClosed:
        pass
    call.cancel()


async def to_line(agent: WebSocketConnection, stream_sid: str, call: trio.CancelScope) -> None:
    try:
        while True:
            audio = await agent.get_message()
            if isinstance(audio, bytes):
                payload = base64.b64encode(audio).decode("ascii")
                await websocket.send(
                    json.dumps({"event": "media", "streamSid": stream_sid, "media": {"payload": payload}})
                )
    except ConnectionClosed:
        pass
    call.cancel()


def exit_with_stdin() -> None:
    """Whoever started us has gone, or wants us to."""
    sys.stdin.buffer.read()
    os._exit(0)


async def main(vapi_url: str) -> None:
    app.config["VAPI_URL"] = vapi_url
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.backlog = 1024
    async with trio.open_nursery() as nursery:
        (bound,) = await nursery.start(serve, app, config)
        print(json.dumps({"ready": True, "port": int(bound.rsplit(":", 1)[1])}), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--vapi", required=True)
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two sockets for each call
    threading.Thread(target=exit_with_stdin, daemon=True).start()
    trio.run(main, options.vapi)

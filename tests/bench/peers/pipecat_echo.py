"""Pipecat as its telephony examples set it up, with an echo where the bot would be: the cost of its transport alone.

    .venv/pipecat/bin/python pipecat_echo.py [--out-ms 20] [--vapi IGNORED]

Twilio's stream comes in through FastAPI and the Twilio serializer at 8 kHz, passes one processor, and goes out again.
What a bot of this kind would also have is left out, in Pipecat's favour: no voice detection, metrics, turn tracking,
RTVI or log. There is no agent on the other side: `--vapi` is accepted because every media peer is started alike.

Pipecat paces what it sends: it cuts the sound into chunks of 40 ms by default and sleeps half a chunk after each. With
`--out-ms 20` a chunk is one frame of Twilio's, so that as many messages go out as came in. The sound comes back byte
for byte, but for 0x7F, µ-law's other zero, which its way through PCM makes 0xFF.
"""

# mypy: disable-error-code="import-not-found, misc, untyped-decorator"
# Our own environment has none of these libraries.

from __future__ import annotations

import argparse
import json
import os
import resource
import socket
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect
from loguru import logger
from pipecat.frames.frames import Frame, InputAudioRawFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner

RATE_HZ = 8_000


class Echo(FrameProcessor):
    """What was heard is said."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            frame = OutputAudioRawFrame(
                audio=frame.audio, sample_rate=frame.sample_rate, num_channels=frame.num_channels
            )
        await self.push_frame(frame, direction)


def create_app(door: socket.socket, out_ms: int) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        print(json.dumps({"ready": True, "port": door.getsockname()[1]}), flush=True)  # connections wait in its backlog
        yield

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/media")
    async def media(websocket: WebSocket) -> None:
        await websocket.accept()
        try:
            start = await wait_for_start(websocket)
        except WebSocketDisconnect:
            return
        await run_bot(websocket, start["streamSid"], out_ms)

    return app


async def wait_for_start(websocket: WebSocket) -> dict[str, Any]:
    while True:
        message = json.loads(await websocket.receive_text())
        if message["event"] == "start":
            return dict(message["start"])


async def run_bot(websocket: WebSocket, stream_sid: str, out_ms: int) -> None:
    serializer = TwilioFrameSerializer(stream_sid, params=TwilioFrameSerializer.InputParams(auto_hang_up=False))
    transport = FastAPIWebsocketTransport(
        websocket,
        FastAPIWebsocketParams(
            audio_in_enabled=True,
            audio_out_enabled=True,
            audio_out_10ms_chunks=out_ms // 10,
            serializer=serializer,
        ),
    )
    worker = PipelineWorker(
        Pipeline([transport.input(), Echo(), transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE_HZ, audio_out_sample_rate=RATE_HZ),
        enable_rtvi=False,
        enable_turn_tracking=False,
        idle_timeout_secs=None,  # nobody ever "speaks" here: it would end the call after five minutes
    )

    @transport.event_handler("on_client_disconnected")
    async def hung_up(_transport: Any, _client: Any) -> None:
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()


def exit_with_stdin() -> None:
    """Whoever started us has gone, or wants us to."""
    sys.stdin.buffer.read()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--vapi")
    parser.add_argument("--out-ms", type=int, default=20, choices=(10, 20, 40, 80))
    options = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    logger.remove()
    threading.Thread(target=exit_with_stdin, daemon=True).start()
    door = socket.create_server(("127.0.0.1", 0), backlog=1024)
    config = uvicorn.Config(
        create_app(door, options.out_ms),
        log_level="error",
        access_log=False,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
    )
    uvicorn.Server(config).run(sockets=[door])


if __name__ == "__main__":
    main()

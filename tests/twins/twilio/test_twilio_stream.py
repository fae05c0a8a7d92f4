"""Media Streams against a websocket server that we did not write: order, pace, marks, clear, codes, and every end."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import trio
from twilio.request_validator import RequestValidator
from websockets.sync.server import ServerConnection

from engine.agent import CallerStep
from tests.twins.twilio.harness import TOKEN, TONE, MediaServer, World, is_event, open_world, stream_twiml
from web.twins.twilio.settings import Faults
from web.twins.twilio.spec import url_problem

SAMPLES = Path(__file__).parents[2] / "samples" / "twilio"


def shape(message: Any) -> Any:
    """The keys of a message, all the way down."""
    return {key: shape(value) for key, value in message.items()} if isinstance(message, dict) else None


def audio(sid: str, mulaw: bytes) -> str:
    return json.dumps({"event": "media", "streamSid": sid, "media": {"payload": b64encode(mulaw).decode()}})


def mark(sid: str, name: str) -> str:
    return json.dumps({"event": "mark", "streamSid": sid, "mark": {"name": name}})


def start_of(server: MediaServer, socket: ServerConnection) -> str:
    return str(server.read(socket, until=is_event("start"))["streamSid"])


async def call(world: World, server: MediaServer, *script: CallerStep, **options: Any) -> dict[str, Any]:
    world.twiml["/voice"] = stream_twiml(server.url, **options).replace("{server}", world.server_url)
    return await world.ring(*script)


async def test_a_stream_from_connected_to_stop() -> None:
    """The messages of the reference, key by key and in order, signed, at fifty frames a second."""

    def listen(server: MediaServer, socket: ServerConnection) -> None:
        sid = start_of(server, socket)
        began = time.monotonic()
        for _ in range(50):
            server.read(socket, until=is_event("media"))
        server.took_s = time.monotonic() - began  # type: ignore[attr-defined]
        socket.send(mark(sid, "now"))
        server.read(socket, until=is_event("stop"))

    async with open_world() as world:
        with MediaServer(listen) as server:
            known = await call(
                world, server, CallerStep(pause_ms=1500, after="now"), CallerStep(hang_up=True, after="now")
            )
            signature = RequestValidator(TOKEN).compute_signature(server.url, {})
    assert server.headers["x-twilio-signature"] == signature
    assert server.headers["user-agent"] == "Twilio.TmeWs/1.0" and "origin" not in server.headers
    events = [message["event"] for message in server.received]
    assert events[:3] == ["connected", "start", "media"] and events[-1] == "stop"
    for message in server.received:
        sample = json.loads((SAMPLES / f"media-{message['event']}.json").read_bytes())
        if message["event"] == "start":
            sample["start"]["customParameters"] = {"token": "abc"}
            assert message["start"]["customParameters"] == {"token": "abc"}
        assert shape(message) == shape(sample), message["event"]
    numbers = [int(message["sequenceNumber"]) for message in server.received if "sequenceNumber" in message]
    assert numbers == list(range(1, len(numbers) + 1))
    media = [message["media"] for message in server.received if message["event"] == "media"]
    assert media[0]["chunk"] == "1" and 50 <= int(media[0]["timestamp"]) <= 200
    assert 0.7 <= server.took_s <= 1.6  # type: ignore[attr-defined]
    assert (known["ended_by"], known["errors"]) == ("caller", [])
    assert "/next" not in world.paths(), "the caller is gone"


async def test_marks_come_back_when_they_are_heard_and_clear_returns_the_rest() -> None:
    """At once on an empty queue, after its audio otherwise, all together when cleared; and then there is silence."""
    came: dict[str, float] = {}

    def talk(server: MediaServer, socket: ServerConnection) -> None:
        sid = start_of(server, socket)
        began = time.monotonic()

        def wait(name: str) -> None:
            server.read(socket, until=lambda m: m["event"] == "mark" and m["mark"]["name"] == name)
            came[name] = time.monotonic() - began

        socket.send(mark(sid, "empty"))
        wait("empty")
        socket.send(audio(sid, TONE * 5))
        socket.send(mark(sid, "half"))
        socket.send(audio(sid, TONE * 50))
        socket.send(mark(sid, "never"))
        socket.send(mark(sid, "last"))
        wait("half")
        socket.send(json.dumps({"event": "clear", "streamSid": sid}))
        wait("never")
        wait("last")
        time.sleep(0.3)

    async with open_world() as world:
        with MediaServer(talk) as server:
            known = await call(world, server)
    assert came["empty"] < 0.2
    assert 0.4 <= came["half"] - came["empty"] <= 0.9
    assert came["last"] - came["half"] < 0.3
    tap = world.twin.calls[known["sid"]].tap
    loud_ms = sum(byte != 0xFF for byte in tap.heard) / 8
    assert 480 <= loud_ms <= 720
    assert known["errors"] == []
    assert "/next" in world.paths()


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (b"\x00", 31950),
        ("no json", 31950),
        ('{"event":"media","streamSid":"MZ0","media":{"payload":"//8="}}', 31951),
        ('{"event":"say","streamSid":"{sid}"}', 31951),
        ('{"event":"clear","streamSid":"{sid}","extra":1}', 31951),
        ('{"event":"media","streamSid":"{sid}","media":{"payload":"%%%"}}', 31951),
    ],
)
async def test_what_may_not_be_sent(wrong: str | bytes, code: int) -> None:
    """Twilio's own codes, once per stream however often it happens."""

    def talk(server: MediaServer, socket: ServerConnection) -> None:
        sid = start_of(server, socket)
        for _ in range(3):
            socket.send(wrong if isinstance(wrong, bytes) else wrong.replace("{sid}", sid))
        server.read(socket, until=is_event("media"))
        time.sleep(0.1)

    async with open_world() as world:
        with MediaServer(talk) as server:
            known = await call(world, server)
    assert [error["code"] for error in known["errors"]] == [code]


async def test_a_clean_close_asks_the_action_and_a_broken_one_too() -> None:
    """1000 goes on with the action; without an action with the next verb; a broken socket is told as well."""

    def close(server: MediaServer, socket: ServerConnection) -> None:
        start_of(server, socket)

    def vanish(server: MediaServer, socket: ServerConnection) -> None:
        start_of(server, socket)
        socket.socket.close()

    def fail(server: MediaServer, socket: ServerConnection) -> None:
        start_of(server, socket)
        socket.close(1011)

    for talk, codes, event in ((close, [], "stopped"), (vanish, [31903], "error"), (fail, [31921], "error")):
        async with open_world() as world:
            world.twiml["/next"] = "<Response><Say>good bye</Say></Response>"
            with MediaServer(talk) as server:
                known = await call(world, server)
                await world.told("/stream")
            assert [error["code"] for error in known["errors"]] == codes
            assert "/next" in world.paths() and all(good for _, _, good in world.hooks)
            assert [one["text"] for one in known["events"] if one["what"] == "say"] == ["good bye"]
            told = [params["StreamEvent"] for path, params, _ in world.hooks if path == "/stream"]
            assert told == ["stream-started", f"stream-{event}"]
    async with open_world() as world:
        with MediaServer(close) as server:
            known = await call(world, server, action="", after="<Say>next verb</Say>")
        assert [one["text"] for one in known["events"] if one["what"] == "say"] == ["next verb"]


async def test_a_socket_that_never_opens() -> None:
    """403 is 31920, nobody there is 31902, plain ws to elsewhere is 31922: the call goes on with the action."""
    async with open_world() as world:
        with MediaServer(lambda server, socket: None) as server:
            server.refuse = True
            known = await call(world, server)
        assert [error["code"] for error in known["errors"]] == [31920] and "/next" in world.paths()
        for url, code in (("ws://127.0.0.1:9/media", 31902), ("ws://calls.example.com/media", 31922)):
            world.hooks.clear()
            world.twiml["/voice"] = stream_twiml(url).replace("{server}", world.server_url)
            known = await world.ring()
            assert [error["code"] for error in known["errors"]] == [code] and "/next" in world.paths()
    assert url_problem("wss://x.example/m?x=1") == 31920 and url_problem("wss://x.example/m") is None


async def test_new_instructions_by_rest_end_the_stream() -> None:
    """`stop` comes first, then the new document runs."""

    def listen(server: MediaServer, socket: ServerConnection) -> None:
        server.read(socket, until=is_event("stop"))

    async with open_world() as world:
        with MediaServer(listen) as server:

            async def redirect() -> None:
                with trio.fail_after(5):
                    while not (world.twin.calls and next(iter(world.twin.calls.values())).tap.frames > 10):
                        await trio.sleep(0.01)
                call = next(iter(world.twin.calls.values()))
                call.go_elsewhere("twiml", "<Response><Say>elsewhere</Say></Response>")

            async with trio.open_nursery() as nursery:
                nursery.start_soon(redirect)
                known = await call(world, server)
    assert server.received[-1]["event"] == "stop"
    assert [one["text"] for one in known["events"] if one["what"] == "say"] == ["elsewhere"]
    assert "/next" not in world.paths()


async def test_faults_on_demand() -> None:
    """A second start, junk, and a line that dies without a word."""

    def listen(server: MediaServer, socket: ServerConnection) -> None:
        for message in socket:
            server.received.append(json.loads(message) if str(message).endswith("}") else {"event": "junk"})

    async with open_world() as world:
        world.twin.faults = Faults(duplicate_start=True, junk_text=True, no_stop=True)
        with MediaServer(listen) as server:
            await call(world, server, CallerStep(dtmf="5", after="now"), CallerStep(hang_up=True, after="now"))
    events = [message["event"] for message in server.received]
    assert events.count("start") == 2 and "junk" in events and "dtmf" in events and "stop" not in events

"""The handset's websocket, held by an ordinary client: a live caller through the real Media Streams wire."""

from __future__ import annotations

import json
import threading
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import pytest
import trio
from trio_websocket import ConnectionClosed, HandshakeError, WebSocketConnection, wrap_client_stream
from websockets.exceptions import ConnectionClosed as ServerSideClosed
from websockets.sync.server import ServerConnection

from engine.audio import FRAME_BYTES, mulaw_to_pcm16
from tests.twins.twilio.harness import NUMBER, TONE, MediaServer, World, is_event, open_world, stream_twiml
from tests.twins.twilio.test_twilio_stream import audio, start_of
from web.twins.origins import is_ours
from web.twins.speech.vad import rms
from web.twins.twilio import phone
from web.twins.twilio.handset import MOST_EAR_FRAMES, MOST_FRAMES, START_FRAMES, Handset, Microphone
from web.twins.twilio.settings import Faults

FRAME = TONE[:FRAME_BYTES]


class Holder:
    """Who holds the telephone: keeps all that comes."""

    def __init__(self, socket: WebSocketConnection) -> None:
        self.socket = socket
        self.told: list[dict[str, Any]] = []
        self.heard: list[bytes] = []
        self.closed: int | None = None
        self._news = trio.Event()

    async def send(self, what: str, **more: Any) -> None:
        await self.socket.send_message(json.dumps({"type": what, **more}))

    async def listen(self) -> None:
        try:
            while True:
                message = await self.socket.get_message()
                if isinstance(message, bytes):
                    self.heard.append(message)
                else:
                    self.told.append(json.loads(message))
                self._news.set()
        except ConnectionClosed as closed:
            self.closed = closed.reason.code if closed.reason else 0
            self._news.set()

    async def until(self, what: str) -> dict[str, Any]:
        """Wait for a message of that type."""
        with trio.fail_after(15):
            while not (found := [one for one in self.told if one["type"] == what]):
                assert self.closed is None, self.told
                self._news = trio.Event()
                await self._news.wait()
        return found[0]

    async def until_heard(self, frames: int) -> None:
        with trio.fail_after(15):
            while len(self.heard) < frames:
                self._news = trio.Event()
                await self._news.wait()

    async def talk(self, frames: int, frame: bytes = FRAME) -> None:
        """So much sound, at its pace."""
        for _ in range(frames):
            await self.socket.send_message(frame)
            await trio.sleep(0.02)


@asynccontextmanager
async def lifted(world: World, **headers: str) -> AsyncIterator[Holder]:
    """A handset off the hook."""
    where = urlsplit(world.url).netloc
    given = [(name.encode(), value.encode()) for name, value in headers.items()]
    stream = await trio.open_tcp_stream("127.0.0.1", int(where.rpartition(":")[2]))
    async with stream, trio.open_nursery() as nursery:
        holder = Holder(await wrap_client_stream(nursery, stream, where, "/twin/phone", extra_headers=given))
        nursery.start_soon(holder.listen)
        yield holder
        nursery.cancel_scope.cancel()


def connect(world: World, server: MediaServer) -> None:
    """The number leads to that server."""
    world.twiml["/voice"] = stream_twiml(server.url, action="").replace("{server}", world.server_url)
    number = world.twin.numbers[NUMBER]
    number.voice_url, number.status_callback = world.server_url + "/voice", world.server_url + "/status"


def echo_and_keep(server: MediaServer, socket: ServerConnection) -> None:
    """Say something, then take what comes until the end."""
    sid = start_of(server, socket)
    with suppress(ServerSideClosed):  # the caller is gone already; what the twin sent before is still to be read
        socket.send(audio(sid, TONE * 5))
    server.read(socket, until=is_event("stop"))


def received(server: MediaServer, event: str) -> list[dict[str, Any]]:
    return [message[event] for message in server.received if message["event"] == event]


def loud_frames(server: MediaServer) -> int:
    return sum(rms(b64decode(media["payload"])) > 1000 for media in received(server, "media"))


async def test_a_live_caller_speaks_hears_presses_keys_coughs_and_hangs_up() -> None:
    """All of it on the real wire: signed webhook, stream, frames, dtmf messages, stop; and the twin's own record."""
    async with open_world() as world:
        with MediaServer(echo_and_keep) as server:
            connect(world, server)
            async with lifted(world) as holder:
                await holder.send("call", to=NUMBER)
                sid = (await holder.until("ringing"))["call_sid"]
                await holder.until("connected")
                await holder.talk(25)
                await holder.until_heard(30)
                await holder.send("key", digit="4")
                await holder.send("key", digit="#")
                await holder.send("sound", name="cough")
                await holder.talk(40, b"\xff" * FRAME_BYTES)
                await holder.send("hangup")
                ended = await holder.until("ended")
                with trio.fail_after(5):
                    while holder.closed is None:
                        await trio.sleep(0.01)
        call = world.twin.calls[sid]
    assert all(good for _, _, good in world.hooks) and "/voice" in world.paths()
    assert received(server, "dtmf") == [{"track": "inbound_track", "digit": digit} for digit in "4#"]
    assert 35 <= loud_frames(server) <= 60, "25 frames of voice and half a second of cough"
    assert sum(rms(frame) > 1000 for frame in holder.heard) == 25, "500 ms of the agent"
    assert bytes(call.tap.heard).startswith(b"".join(holder.heard)[: 160 * 25])
    assert [one["what"] for one in call.tap.events if one["what"] in ("key", "caller sounds")] == [
        "key", "key", "caller sounds",
    ]  # fmt: skip
    assert (ended["by"], ended["status"], ended["reached"], ended["errors"]) == ("caller", "completed", True, [])
    assert ended["why"] == "The caller hung up." and holder.closed == 1000


async def test_who_mutes_is_not_heard() -> None:
    """From the moment it is pressed, until it is pressed again."""
    async with open_world() as world:
        with MediaServer(echo_and_keep) as server:
            connect(world, server)
            async with lifted(world) as holder:
                await holder.send("call", to=NUMBER)
                await holder.until("connected")
                await holder.send("mute", on=True)
                await holder.talk(30)
                muted = loud_frames(server)
                await holder.send("mute", on=False)
                await holder.talk(20)
                await holder.send("hangup")
                await holder.until("ended")
    assert muted == 0 and 10 <= loud_frames(server) <= 20


async def test_a_browser_speaks_samples() -> None:
    """With `pcm16` both ways are 16-bit samples at 8 kHz."""
    async with open_world() as world:
        with MediaServer(echo_and_keep) as server:
            connect(world, server)
            async with lifted(world, Origin="http://localhost:8080") as holder:
                await holder.send("call", to=NUMBER, encoding="pcm16")
                await holder.until("connected")
                await holder.talk(25, mulaw_to_pcm16(FRAME))
                await holder.until_heard(25)
                await holder.send("hangup")
                await holder.until("ended")
    assert {len(frame) for frame in holder.heard} == {320}
    assert {b64decode(one["payload"]) for one in received(server, "media")} >= {FRAME}


@pytest.mark.parametrize("reads", ["at once", "late", "late, and talks"])
async def test_a_browser_that_vanishes_hangs_up(reads: str) -> None:
    """A closed tab ends its call; the server is told `stop`, also one that comes to read it when all is over."""
    over, read = threading.Event(), threading.Event()

    def keep(server: MediaServer, socket: ServerConnection) -> None:
        sid = start_of(server, socket)
        if reads == "late, and talks":
            with suppress(ServerSideClosed):
                for _ in range(200):
                    socket.send(audio(sid, TONE))
        if reads != "at once":
            over.wait(5)
        try:
            server.read(socket, until=is_event("stop"))
        finally:
            read.set()

    async with open_world() as world:
        with MediaServer(keep) as server:
            connect(world, server)
            async with lifted(world) as holder:
                await holder.send("call", to=NUMBER)
                sid = (await holder.until("ringing"))["call_sid"]
                await holder.until("connected")
                call = world.twin.calls[sid]
                assert await call.until(lambda: any(one["what"] == "stream started" for one in call.tap.events), 5)
                await holder.socket.aclose(1001)
            with trio.fail_after(5):
                await call.ended.wait()
            over.set()
            assert await trio.to_thread.run_sync(read.wait, 5)
            await world.told("/status")
            with trio.fail_after(5):  # a world that ends under a callback makes httpx complain
                while "stream-stopped" not in [params.get("StreamEvent") for _, params, _ in world.hooks]:
                    await trio.sleep(0.01)
    assert call.ended_by == "caller" and call.errors == []
    assert received(server, "stop") == [{"accountSid": call.account_sid, "callSid": sid}]


async def test_a_page_that_freezes_is_hung_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that stays open and says nothing is no caller."""
    monkeypatch.setattr(phone, "SILENT_S", 0.3)
    async with open_world() as world:
        with MediaServer(echo_and_keep) as server:
            connect(world, server)
            async with lifted(world) as holder:
                await holder.send("call", to=NUMBER)
                ended = await holder.until("ended")
    assert ended["why"] == "The page that held the handset fell silent."


async def test_a_call_has_its_longest_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten tab does not talk for ever."""
    monkeypatch.setattr(phone, "LONGEST_CALL_S", 0.4)
    async with open_world() as world:
        with MediaServer(echo_and_keep) as server:
            connect(world, server)
            async with lifted(world) as holder:
                await holder.send("call", to=NUMBER)
                ended = await holder.until("ended")
    assert "at most" in ended["why"] and ended["by"] == "caller"


async def test_a_scripted_caller_for_who_has_no_microphone() -> None:
    """The twin speaks, and the holder hears both sides, each in its half of the frame."""
    script = [{"say": "one two three", "after": "now"}, {"pause_ms": 600, "hang_up": True, "after": "now"}]
    async with open_world() as world:
        with MediaServer(echo_and_keep) as server:
            connect(world, server)
            async with lifted(world) as holder:
                await holder.send("call", to=NUMBER, script=script)
                ended = await holder.until("ended")
    assert {len(frame) for frame in holder.heard} == {320}
    said = [frame for frame in holder.heard if rms(frame[160:]) > 1000]
    heard = [frame for frame in holder.heard if rms(frame[:160]) > 1000]
    assert len(said) == 15 and len(heard) >= 10
    assert ended["why"] == "The caller hung up."


async def test_the_agent_hangs_up() -> None:
    """The holder hears how it ended, also when nobody took the call."""
    async with open_world() as world:
        number = world.twin.numbers[NUMBER]
        number.voice_url = world.server_url + "/voice"
        for twiml, status, why in (
            ("<Response><Hangup/></Response>", "completed", "took no more calls"),
            ("<Response><Reject reason='busy'/></Response>", "busy", "took no more calls"),
            ("<Response><Say>Sorry.</Say></Response>", "completed", "took no more calls"),
            ("nonsense", "completed", "error 12100"),
        ):
            world.twiml["/voice"] = twiml
            async with lifted(world) as holder:
                await holder.send("call", to=NUMBER)
                ended = await holder.until("ended")
                assert (ended["by"], ended["status"], ended["reached"]) == ("server", status, False)
                assert why in ended["why"], ended


async def test_hung_up_while_it_rings() -> None:
    """The server is never asked."""
    async with open_world(ring_s=0.3) as world:
        number = world.twin.numbers[NUMBER]
        number.voice_url = world.server_url + "/voice"
        async with lifted(world) as holder:
            await holder.send("call", to=NUMBER)
            await holder.until("ringing")
            await holder.send("hangup")
            ended = await holder.until("ended")
    assert (ended["by"], ended["status"]) == ("caller", "canceled") and world.paths() == []


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ({"type": "call", "to": "+12025550000"}, "number"),
        ({"type": "call", "to": NUMBER, "script": [{"sound": "../../etc/passwd.ulaw"}]}, "script"),
        ({"type": "call", "to": NUMBER, "script": [{"say": "x"}] * 61}, "script"),
        ({"type": "key", "digit": "1"}, "protocol"),
        ("nonsense", "protocol"),
    ],
)
async def test_a_first_message_that_is_none(message: Any, kind: str, tmp_path: Path) -> None:
    """It is refused with words, and no call is made."""
    async with open_world(sounds=tmp_path) as world:
        world.twin.numbers[NUMBER].voice_url = world.server_url + "/voice"
        async with lifted(world) as holder:
            await holder.socket.send_message(message if isinstance(message, str) else json.dumps(message))
            refused = await holder.until("refused")
    assert refused["kind"] == kind and refused["why"] and not world.twin.calls


@pytest.mark.parametrize(
    "message", ["nonsense", '{"type": "key", "digit": "x"}', b"short", '{"type": "sound", "name": "burp"}']
)
async def test_nonsense_in_a_call_ends_it(message: str | bytes) -> None:
    """With a word about what was wrong."""
    async with open_world() as world:
        world.twin.numbers[NUMBER].voice_url = world.server_url + "/voice"
        world.twiml["/voice"] = "<Response><Pause length='9'/></Response>"
        async with lifted(world) as holder:
            await holder.send("call", to=NUMBER)
            await holder.until("ringing")
            await holder.socket.send_message(message)
            refused = await holder.until("refused")
            ended = await holder.until("ended")
    assert refused["kind"] == "protocol" and ended["why"] == refused["why"]


async def test_only_so_many_handsets(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is refused in words; when one hangs up there is room again."""
    monkeypatch.setitem(phone.add_phone.__kwdefaults__ or {}, "most", 1)
    async with open_world() as world:
        world.twin.numbers[NUMBER].voice_url = world.server_url + "/voice"
        world.twiml["/voice"] = "<Response><Pause length='9'/></Response>"
        async with lifted(world) as first:
            await first.send("call", to=NUMBER)
            await first.until("ringing")
            async with lifted(world) as second:
                assert (await second.until("refused"))["kind"] == "full"
            await first.send("hangup")
            await first.until("ended")
        async with lifted(world) as third:
            await third.send("call", to=NUMBER)
            await third.until("ringing")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example", "file://", "http://["]
)
async def test_no_foreign_page_may_phone(origin: str) -> None:
    """A page that was not loaded from this machine gets no telephone."""
    assert not is_ours(origin)
    async with open_world() as world:
        with pytest.raises((HandshakeError, BaseExceptionGroup)):
            async with lifted(world, Origin=origin):
                pass
    assert not world.twin.calls


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost.evil.example"])
async def test_no_foreign_page_may_use_the_twin(origin: str) -> None:
    """It places no call, hangs none up and turns no dial; a program that says no origin, and our page, may."""
    call = {"from": "+12025550123", "to": NUMBER}
    async with open_world(ring_s=5) as world:
        world.twin.numbers[NUMBER].voice_url = world.server_url + "/voice"
        sid = (await world.http.post(world.url + "/twin/calls", json=call)).json()["sid"]
        for path, body in (
            ("calls", call),
            ("callees", {"number": NUMBER}),
            ("faults", {}),
            (f"calls/{sid}/hangup", {}),
        ):
            refused = await world.http.post(f"{world.url}/twin/{path}", json=body, headers={"Origin": origin})
            assert refused.status_code == 403, path
        assert [*world.twin.calls] == [sid] and not world.twin.calls[sid].ended_by
        ours = {"Origin": "http://localhost:8080"}
        assert (await world.http.post(world.url + "/twin/calls", json=call, headers=ours)).status_code == 201


def test_our_pages_may() -> None:
    """Whatever their port: the console's is not known to the twin."""
    assert all(map(is_ours, ("http://127.0.0.1:8080", "http://localhost:5000", "http://[::1]:1", "https://localhost")))


async def test_a_bad_line_can_be_switched() -> None:
    """Jitter and loss for this caller alone, and the good line comes back."""
    handset, usual = Handset(Random(1)), Faults(uplink_delay_ms=40)
    now = handset.faults_over(lambda: usual)
    assert now() is usual
    handset.bad_line = True
    bad = now()
    assert (bad.uplink_jitter_ms, bad.uplink_loss_percent, bad.uplink_delay_ms) == (160, 6.0, 40) and now() is bad
    for _ in range(500):
        handset.hear(FRAME, FRAME)
    assert handset.dropped_frames == 500 - MOST_EAR_FRAMES, "a holder that does not read gets what is new"
    assert json.loads(str(await handset.next())) == {"type": "connected"}
    lost = sum([await handset.next() != FRAME for _ in range(MOST_EAR_FRAMES)])
    assert 0 < lost < 10
    handset.bad_line = False
    assert now() is usual


def test_the_microphone_evens_out() -> None:
    """Frames that come in bursts go out evenly; a clock that is faster does not make the caller late."""
    microphone = Microphone()
    assert microphone.frame() is None
    for _ in range(START_FRAMES):
        assert microphone.frame() is None, "it waits until there is something to even out with"
        microphone.put(FRAME)
    assert [microphone.frame() for _ in range(START_FRAMES + 1)] == [FRAME] * START_FRAMES + [None]
    for _ in range(100):
        microphone.put(FRAME)
    assert microphone.dropped == 100 - MOST_FRAMES
    for _ in range(1500):
        microphone.put(FRAME)
        microphone.frame()
    waiting = 0
    while microphone.frame() is not None:
        waiting += 1
    assert waiting <= START_FRAMES + 1, "what had piled up was caught up with"

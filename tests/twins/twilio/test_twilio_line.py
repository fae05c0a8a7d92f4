"""The caller's line in virtual time: late and lossy networks, loudspeakers, rooms; and what the tap makes of it."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from random import Random
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock
from trio_websocket import CloseReason, ConnectionClosed, WebSocketConnection

from engine.audio import FRAME_BYTES, SILENCE_FRAME, silence
from tests.twins.twilio.test_twilio_stream import audio, mark
from web.twins.speech.keys import key_tones
from web.twins.speech.sounds import VOICE_RMS, louder, made, mixed
from web.twins.speech.vad import rms
from web.twins.twilio.call import TwinCall
from web.twins.twilio.settings import Faults
from web.twins.twilio.speaker import Speaker
from web.twins.twilio.spec import StreamSpec
from web.twins.twilio.stream import Stream
from web.twins.twilio.tap import SOUND

SID = "MZ1"
LOUD = b"\x20\xa0" * 80


class Socket:
    """A socket without a network: the test is the server."""

    def __init__(self) -> None:
        self.came: list[tuple[float, dict[str, Any]]] = []
        self._send, self._receive = trio.open_memory_channel[str](1000)

    def server_sends(self, *messages: str) -> None:
        for message in messages:
            self._send.send_nowait(message)

    def server_closes(self) -> None:
        self._send.close()

    async def send_message(self, message: str) -> None:
        await trio.lowlevel.checkpoint()
        self.came.append((trio.current_time(), json.loads(message)))

    async def get_message(self) -> str:
        try:
            return await self._receive.receive()
        except trio.EndOfChannel:
            raise ConnectionClosed(CloseReason(1000, "")) from None

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


@dataclass
class Line:
    """A live call with a stream; its time beats in virtual milliseconds."""

    call: TwinCall
    stream: Stream
    socket: Socket = field(default_factory=Socket)

    async def beat(self) -> None:
        while True:
            await trio.sleep(0.02)
            self.call.tick()

    def media(self) -> list[tuple[float, bytes]]:
        """What came to the server, in ms since the start."""
        return [
            (round(at * 1000, 3), b64decode(message["media"]["payload"]))
            for at, message in self.socket.came
            if message["event"] == "media"
        ]

    def marks(self) -> list[str]:
        return [message["mark"]["name"] for _, message in self.socket.came if message["event"] == "mark"]

    def has_ended(self) -> bool:
        return self.stream.close_code == 1000

    def first_heard_ms(self) -> float:
        heard = bytes(self.call.tap.heard)
        return (len(heard) - len(heard.lstrip(b"\xff"))) / 8


@asynccontextmanager
async def open_line(seed: int = 1, **faults: Any) -> AsyncIterator[Line]:
    dials = Faults(**faults)
    call = TwinCall("CA1", "AC1", "+1", "+2", "inbound", "PN1", chance=Random(seed), faults=lambda: dials)
    call.status = "in-progress"
    line = Line(call, Stream(call, StreamSpec("ws://127.0.0.1/media", SID, "s"), "token"))
    call.stream = line.stream
    async with trio.open_nursery() as nursery:
        nursery.start_soon(line.beat)
        nursery.start_soon(line.stream._talk, cast(WebSocketConnection, line.socket))
        await line.stream.opened.wait()
        yield line
        nursery.cancel_scope.cancel()


async def test_what_the_server_sends_takes_its_time_and_keeps_its_order(autojump_clock: MockClock) -> None:
    """A clear that is sent 300 ms after the audio acts 300 ms after it, on a way of 200 ms."""
    async with open_line(downlink_delay_ms=200) as line:
        line.socket.server_sends(audio(SID, LOUD * 50), mark(SID, "end"))
        await trio.sleep(0.3)
        assert line.marks() == []
        line.socket.server_sends(json.dumps({"event": "clear", "streamSid": SID}), mark(SID, "fence"))
        await trio.sleep(0.1)
        assert line.marks() == [], "still on its way"
        await trio.sleep(0.2)
        assert line.marks() == ["end", "fence"]
        assert 180 <= line.first_heard_ms() <= 220
        assert sum(line.call.tap.agent) in (14, 15)


async def test_what_was_sent_before_the_close_is_still_heard(autojump_clock: MockClock) -> None:
    async with open_line(downlink_delay_ms=200) as line:
        line.socket.server_sends(audio(SID, LOUD * 2))
        line.socket.server_closes()
        await trio.sleep(0.1)
        assert not line.has_ended()
        await trio.sleep(0.3)
        assert line.has_ended() and sum(line.call.tap.agent) == 2


async def test_what_twilio_sends_is_late_by_chance_and_in_order(autojump_clock: MockClock) -> None:
    """Each frame at least by the delay and at most by the jitter more; the same seed, the same lateness."""

    async def arrivals(seed: int) -> list[float]:
        async with open_line(seed, uplink_delay_ms=100, uplink_jitter_ms=80) as line:
            began = trio.current_time() * 1000
            line.call.mouth += bytes(range(0x10, 0x10 + 50)) * FRAME_BYTES
            await trio.sleep(1.5)
            media = line.media()
        assert b"".join(payload for _, payload in media[:50]) == bytes(range(0x10, 0x10 + 50)) * FRAME_BYTES
        return [at - began for at, _ in media[:50]]

    once, again, other = await arrivals(3), await arrivals(3), await arrivals(4)
    assert once == pytest.approx(again) and once != pytest.approx(other)
    late = [at - 20 * (number + 1) for number, at in enumerate(once)]
    assert min(late) >= 99.9 and max(late) <= 180.1 and max(late) - min(late) > 40
    assert all(one <= other for one, other in pairwise(once))


async def test_lost_frames_are_silence_and_no_gap(autojump_clock: MockClock) -> None:
    async with open_line(uplink_loss_percent=20.0) as line:
        line.call.mouth += LOUD * 200
        await trio.sleep(4.1)
        payloads = [payload for _, payload in line.media()][:200]
        chunks = [int(m["media"]["chunk"]) for _, m in line.socket.came if m["event"] == "media"]
        assert bytes(line.call.tap.said[: 200 * FRAME_BYTES]) == LOUD * 200, "the tap is before the loss"
    assert 20 <= payloads.count(SILENCE_FRAME) <= 60
    assert chunks == list(range(1, len(chunks) + 1))


async def test_dials_turn_in_a_live_call(autojump_clock: MockClock) -> None:
    async with open_line() as line:
        line.call.mouth += LOUD * 20
        await trio.sleep(0.21)
        dials = Faults(uplink_loss_percent=100.0)
        line.call.faults = lambda: dials
        await trio.sleep(0.3)
        assert [payload == LOUD for _, payload in line.media()][:20] == [True] * 10 + [False] * 10


async def test_the_loudspeaker_comes_back(autojump_clock: MockClock) -> None:
    async with open_line(echo_delay_ms=130, echo_loss_db=12.0) as line:
        sound = LOUD + made("uh-huh")
        line.socket.server_sends(audio(SID, sound))
        await trio.sleep(1.0)
        tap = line.call.tap
    start = int(line.first_heard_ms() + 130) * 8
    assert bytes(tap.said[start : start + len(sound)]) == mixed(b"\xff" * len(sound), louder(sound, -12))
    assert not any(tap.caller), "the echo is not the caller"


async def test_a_room_with_a_noise(autojump_clock: MockClock) -> None:
    """So far under the voice, all the time, from a place in the noise that the seed gives."""

    async def room(seed: int) -> bytes:
        async with open_line(seed, background="noise", background_db=20.0) as line:
            line.call.mouth += LOUD * 10
            await trio.sleep(1.01)
            return bytes(line.call.tap.said)

    one, same, other = await room(1), await room(1), await room(2)
    assert one == same != other
    assert rms(one[FRAME_BYTES * 10 :]) == pytest.approx(VOICE_RMS / 10, rel=0.1)
    assert rms(one[: FRAME_BYTES * 10]) > 0.8 * rms(LOUD)


async def test_the_tap_knows_of_which_message_each_frame_is(autojump_clock: MockClock) -> None:
    async with open_line() as line:
        line.socket.server_sends(audio(SID, LOUD * 2), audio(SID, LOUD[:80]), audio(SID, LOUD * 2))
        await trio.sleep(0.2)
        tap = line.call.tap
        first = next(index for index, loud in enumerate(tap.agent) if loud)
        found = list(zip(tap.messages[first:], tap.offsets[first:], strict=True))
    assert found[:6] == [(1, 0), (1, 160), (2, 0), (3, 80), (3, 240), (0, 0)]


async def test_keys_that_are_heard_are_noted(autojump_clock: MockClock) -> None:
    async with open_line() as line:
        line.socket.server_sends(audio(SID, silence(50) + key_tones("42#")))
        await trio.sleep(1.0)
        keys = [(one["digit"], one["at_ms"]) for one in line.call.tap.events if one["what"] == "tones heard"]
    assert [digit for digit, _ in keys] == ["4", "2", "#"]
    assert 150 <= keys[1][1] - keys[0][1] <= 250


def frames_until_heard(speaker: Speaker) -> Iterator[bool]:
    while True:
        yield speaker.frame()[0] != SILENCE_FRAME


def test_the_buffer_fills_before_it_plays_and_only_when_it_was_dry() -> None:
    speaker = Speaker()
    heard = frames_until_heard(speaker)
    assert not next(heard)
    speaker.play(LOUD, start_delay_ms=100)
    speaker.mark("end")
    assert [next(heard) for _ in range(5)] == [False] * 5
    speaker.play(LOUD * 2, start_delay_ms=100)
    assert [next(heard) for _ in range(3)] == [True] * 3
    speaker.play(LOUD, start_delay_ms=100)
    assert next(heard), "it came in time"
    assert not next(heard)
    speaker.play(LOUD, start_delay_ms=60)
    assert [next(heard) for _ in range(4)] == [False, False, False, True]
    speaker.play(LOUD * 9)
    speaker.clear()
    speaker.play(LOUD, start_delay_ms=20)
    assert [next(heard) for _ in range(2)] == [False, True]


def test_who_was_heard_with_whom() -> None:
    """Overlaps are of words; a cough over the agent is none, but it is no silence either."""
    call = TwinCall("CA1", "AC1", "+1", "+2", "inbound", "PN1")
    for index in range(300):
        if index in (20, 100):
            call.mouth_has_words = index == 100
            call.mouth += LOUD * 20
        if index in (10, 90):
            call.speaker.play(LOUD * 25)
        call.tick()
    tap = call.tap
    assert [(span.start_ms, span.end_ms) for span in tap.overlaps()] == [(2000.0, 2300.0)]
    assert [(span.start_ms, span.end_ms) for span in tap.silences()] == [(2400.0, 6000.0)]
    assert tap.caller.count(SOUND) == 20
    call.ended.set()
    story = call.story()
    assert story["longest_silence_ms"] == 3600.0 and story["overlaps"] == [{"start_ms": 2000.0, "end_ms": 2300.0}]

"""When the caller interrupts, and when not: a live call in this process, on a wire that only notes what it is given."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from random import Random
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from engine.audio import SILENCE_FRAME
from tests.twins.vapi.conftest import NO_TLS, PLAN
from tests.twins.vapi.fakes import Codes, fake_speech
from tests.twins.vapi.helpers import until
from web.twins.vapi.creation import make_call
from web.twins.vapi.dials import Dials, Faults
from web.twins.vapi.live import Kit, LiveCall
from web.twins.vapi.mouth import tick_s
from web.twins.vapi.shelves import CredentialShelf, Shelf
from web.twins.vapi.webhooks import Webhooks

LONG = "A greeting that goes on for so long that anybody would want to cut in before it comes to its end, surely."
FIRST = {"firstMessage": LONG, "firstMessageInterruptionsEnabled": True}


class NotingWire:
    """A `Wire` that keeps what it is given, and when."""

    def __init__(self) -> None:
        self.owner = ""
        self.texts: list[tuple[float, dict[str, Any]]] = []
        self.audio: list[tuple[float, bytes]] = []
        self.closed: int | None = None

    @property
    def is_open(self) -> bool:
        return self.closed is None

    def send_text(self, payload: bytes, audio_ms: int = 0) -> None:
        self.texts.append((trio.current_time(), json.loads(payload)))

    def send_binary(self, payload: bytes, audio_ms: int = 0) -> None:
        self.audio.append((trio.current_time(), payload))

    def drop_unsent_audio(self) -> int:
        return 0

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = code

    def abort(self) -> None:
        self.closed = 1006

    def of(self, kind: str, **fields: Any) -> list[tuple[float, dict[str, Any]]]:
        return [
            (at, one)
            for at, one in self.texts
            if one["type"] == kind and all(one.get(k) == v for k, v in fields.items())
        ]


class Talk:
    """A live call and its wire; `hear` feeds the caller's audio at its pace."""

    def __init__(self, call: LiveCall, wire: NotingWire, codes: Codes) -> None:
        self.call, self.wire, self.codes = call, wire, codes

    async def hear(self, mulaw: bytes) -> float:
        """Returns when its first frame was given."""
        began = trio.current_time()
        for index in range(0, len(mulaw), 160):
            await trio.sleep_until(began + index / 8000)
            self.call.line.on_binary(mulaw[index : index + 160])
        return began

    async def speaking(self, count: int = 1) -> None:
        await until(lambda: len(self.wire.of("speech-update", role="assistant", status="started")) >= count)


async def beating(call: LiveCall, dials: Dials) -> None:
    while True:
        await trio.sleep(tick_s(dials))
        call.pump(trio.current_time())


async def live(
    nursery: trio.Nursery, codes: Codes, dials: Dials, *, fault: Faults | None = None, **assistant: Any
) -> Talk:
    body = {"assistant": {**FIRST, **assistant}, "transport": {"provider": "vapi.websocket", "audioFormat": {
        "format": "mulaw", "sampleRate": 8000, "container": "raw"}}}  # fmt: skip
    credentials = CredentialShelf("c", "o")
    record = make_call(body, assistants=Shelf("a", "o"), numbers=Shelf("n", "o"), org_id="o", base_url="http://x")
    record.fault = fault
    speech = fake_speech(codes)

    async def voice(words: str) -> bytes:
        return speech.voice(words)

    client = httpx.AsyncClient(verify=NO_TLS)
    webhooks = Webhooks(client, dials, credentials, nursery, 1)
    kit = Kit(dials, speech, PLAN, ("grammar",), voice, webhooks, trio.CapacityLimiter(1))
    call = LiveCall(record, kit, Random(1))
    wire = NotingWire()
    nursery.start_soon(call.run)
    nursery.start_soon(beating, call, dials)
    call.line.on_open(wire)
    return Talk(call, wire, codes)


@pytest.fixture
async def quick(dials: Dials) -> AsyncIterator[Dials]:
    dials.first_partial_ms = dials.partial_every_ms = 100
    yield dials


async def test_200_ms_of_voice_interrupt(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    talk = await live(nursery, codes, quick)
    await talk.speaking()
    await talk.hear(SILENCE_FRAME * 10)
    began = await talk.hear(codes.audio("goodbye", 400))
    ((at, frame),) = talk.wire.of("user-interrupted")
    assert 0.17 < at - began < 0.25
    assert set(frame) == {"type", "turnId"}
    assert [when for when, _ in talk.wire.audio if when > at] == []
    events = [one for when, one in talk.wire.texts if when >= began and one["type"] != "transcript"]
    order = [(one["type"], one.get("role"), one.get("status")) for one in events]
    assert order[:3] == [
        ("speech-update", "user", "started"),
        ("user-interrupted", None, None),
        ("speech-update", "assistant", "stopped"),
    ]
    assert talk.wire.of("transcript", role="assistant", transcriptType="final") == []
    await talk.hear(SILENCE_FRAME * 20)
    await until(lambda: talk.wire.closed, within_s=3)
    after = [when for when, _ in talk.wire.audio if when > at]
    assert after[0] - at > 0.95, "backoffSeconds is 1"
    assert talk.wire.closed == 1000
    assert talk.call.state.history.transcript.splitlines()[0] != f"AI: {LONG}"
    assert talk.call.state.history.transcript.startswith("AI: A greeting")


async def test_a_cough_does_not(nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock) -> None:
    talk = await live(nursery, codes, quick)
    await talk.speaking()
    await talk.hear(codes.audio("cough", 160) + SILENCE_FRAME * 20)
    assert talk.wire.of("user-interrupted") == []
    assert len(talk.wire.of("speech-update", role="user")) == 2
    assert talk.call.speaker.is_speaking


async def test_the_plan_sets_how_much_voice(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    talk = await live(nursery, codes, quick, stopSpeakingPlan={"voiceSeconds": 0.4})
    await talk.speaking()
    began = await talk.hear(codes.audio("goodbye", 600))
    ((at, _),) = talk.wire.of("user-interrupted")
    assert 0.37 < at - began < 0.45


async def test_the_first_message_is_spoken_whole_by_default(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    talk = await live(nursery, codes, quick, firstMessageInterruptionsEnabled=False)
    await talk.speaking()
    await talk.hear(codes.audio("goodbye", 600) + SILENCE_FRAME * 20)
    assert talk.wire.of("user-interrupted") == []
    assert talk.wire.of("transcript", role="user", transcript="goodbye")
    await until(lambda: talk.wire.of("transcript", role="assistant", transcript="Goodbye."), within_s=6)
    finals = [one["transcript"] for _, one in talk.wire.of("transcript", role="assistant", transcriptType="final")]
    assert finals == [LONG, "Goodbye."], "and what was said meanwhile is answered after it"


async def test_words_decide_when_the_plan_wants_words(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    plan = {"numWords": 2, "acknowledgementPhrases": ["yeah sure"]}
    talk = await live(nursery, codes, quick, stopSpeakingPlan=plan, firstMessage=LONG * 2)
    await talk.speaking()
    await talk.hear(codes.audio("yeah sure", 500) + SILENCE_FRAME * 20)
    await talk.hear(codes.audio("maybe", 300) + SILENCE_FRAME * 20)
    assert talk.wire.of("user-interrupted") == []
    await talk.hear(codes.audio("hold the line", 300))
    assert len(talk.wire.of("user-interrupted")) == 1


async def test_a_word_of_consent_is_not_answered(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    talk = await live(nursery, codes, quick)
    await talk.speaking()
    await talk.hear(codes.audio("okay", 160) + SILENCE_FRAME * 20)
    await until(lambda: talk.wire.of("transcript", transcript=LONG, transcriptType="final"), within_s=6)
    await talk.hear(SILENCE_FRAME * 20)
    assert len(talk.wire.of("speech-update", role="assistant", status="started")) == 1


async def test_a_reply_waits_while_the_caller_goes_on(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    """Two turns before the answer to the first: the second is the one that is answered."""
    quick.model_latency_ms = 250
    talk = await live(nursery, codes, quick, firstMessageMode="assistant-waits-for-user")
    await until(lambda: talk.wire.texts)
    await talk.hear(codes.audio("what times do you have", 300) + SILENCE_FRAME * 16 + codes.audio("goodbye", 300))
    await talk.hear(SILENCE_FRAME * 30)
    await until(lambda: talk.wire.closed, within_s=3)
    said = [one["transcript"] for _, one in talk.wire.of("transcript", role="assistant", transcriptType="final")]
    assert said == ["Goodbye."]


async def test_who_stops_sending_never_ends_a_turn(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    """Silence has to be sent (vapi.md §4.3)."""
    talk = await live(nursery, codes, quick, firstMessageMode="assistant-waits-for-user")
    await until(lambda: talk.wire.texts)
    await talk.hear(codes.audio("goodbye", 300))
    await trio.sleep(0.6)
    assert talk.wire.of("speech-update", status="stopped") == []
    assert talk.wire.of("transcript", transcriptType="final") == []


async def test_a_failing_part_ends_its_call_only(
    nursery: trio.Nursery, codes: Codes, quick: Dials, autojump_clock: MockClock
) -> None:
    good = await live(nursery, codes, quick)
    bad = await live(nursery, codes, quick)

    def broken(words: str) -> bytes:
        raise KeyError(words)

    bad.call.speaker._voice = broken  # type: ignore[assignment]
    bad.call.control({"type": "say", "content": "x", "interruptAssistantEnabled": True})
    await until(lambda: bad.wire.closed)
    assert (bad.wire.closed, good.wire.closed) == (1011, None)
    assert "worker-died" in bad.call.record.body["endedReason"]

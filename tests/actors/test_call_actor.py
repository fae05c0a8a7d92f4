"""A call lived by the real actor, bridge and legs, in virtual time."""

from __future__ import annotations

import base64
import gc
import weakref
from functools import partial
from typing import Any

import msgspec
import pytest
import trio
from trio.testing import MockClock

from actors.call_actor import Arrival
from engine.errors import VapiTrouble
from engine.events import StreamStarted, UtteranceStarted
from engine.journal import Kind, Record
from engine.phases import Phase
from engine.tones import heard_digits
from engine.wire import vapi
from tests.actors.conftest import FALLBACK, House, until


def names(records: Any, *kinds: Kind) -> list[str]:
    return [record.name for record in records if not kinds or record.kind in kinds]


async def test_a_call_from_ring_to_hang_up(autojump_clock: MockClock, house: House) -> None:
    """The agent greets, the caller listens, answers and hangs up; nothing is left behind."""
    caller = await house.ring()
    assert caller.phase is Phase.LISTENING
    caller.agent_says(1000)
    await until(lambda: caller.phase is Phase.SPEAKING)
    assert caller.wire.events().count("media") == 50
    caller.return_marks()
    await until(lambda: caller.phase is Phase.LISTENING)
    caller.hang_up()
    await caller.actor.over.wait()
    await until(lambda: not house.supervisor.live)
    assert caller.agent.closed == (1000, "")
    assert caller.agent.texts()[-1] == {"type": "end-call"}
    assert house.plane.ticking == 0, "no clock ticks for a call that is over"
    records = await house.records(caller.call_id)
    assert names(records, Kind.PHASE) == ["listening", "speaking", "listening", "ended"]
    assert names(records)[0] == "Opened" and "Closed" in names(records)
    assert [record.seq for record in records] == list(range(len(records)))


async def test_barge_in_by_voice(autojump_clock: MockClock, house: House) -> None:
    """Forty milliseconds of voice: `clear` goes out, what Vapi goes on sending is dropped, a late mark is nothing."""
    caller = await house.ring()
    caller.agent_says(4000, more=True)
    await until(lambda: caller.phase is Phase.SPEAKING)
    await trio.sleep(1.0)
    began = trio.current_time()
    house.nursery.start_soon(caller.speak, 600)
    await until(lambda: "clear" in caller.wire.events())
    cleared = next(at for at, payload in caller.wire.sent if '"clear"' in str(payload))
    assert cleared - began <= 0.06
    assert caller.phase is Phase.SPEAKING, "held: it may have been a cough"
    before = caller.wire.events().count("media")
    caller.agent_says(500, more=True)
    caller.return_marks()
    await trio.sleep(0.1)
    assert caller.wire.events().count("media") == before
    caller.agent_frame(type="user-interrupted")
    await until(lambda: caller.phase is Phase.INTERRUPTED)
    await until(lambda: caller.phase is Phase.LISTENING)
    assert trio.current_time() - began >= 0.6 + 0.3
    caller.agent_says(500)
    await until(lambda: caller.phase is Phase.SPEAKING)
    (one,) = [r.data for r in await house.records(caller.call_id) if r.name == "Interruption"]
    assert (one["decision"], one["reason"], one["n"]) == ("dropped", "vapi", 1)
    assert one["unheard_ms"] > 2000 and one["hold_ms"] <= 60 and one["marks_back"] > 0


async def test_the_caller_is_heard_by_vapi_on_a_steady_clock(autojump_clock: MockClock, house: House) -> None:
    """Fifty frames a second go to Vapi, also when Twilio sends none for a while."""
    caller = await house.ring()
    before = len(caller.agent.audio())
    caller.vanish()
    await trio.sleep(1.0)
    frames = (len(caller.agent.audio()) - before) / 160
    assert 23 <= frames <= 27, "half a second may be jitter; after that there is silence"


async def test_first_words_while_vapi_connects(autojump_clock: MockClock, house: House) -> None:
    """What the caller says before Vapi's socket is open is not lost."""
    house.vapi.delay_s = 0.4
    caller = await house.ring()
    await caller.speak(100)
    await until(lambda: caller.actor.call.agent_up_at is not None)
    assert caller.agent.audio().count(b"\x20") > 300


async def test_a_tool_runs_as_a_scope_of_the_call(autojump_clock: MockClock, house: House) -> None:
    """The result is in the journal, then with Vapi; the same webhook again gets the same answer and runs nothing."""
    caller = await house.ring()
    asked = [vapi.ToolCall(id="t1", name="check_availability", arguments={"party": "2", "time": "20:00"}, problem=None)]
    results: list[Any] = []

    async def webhook() -> None:
        assert caller.actor.agent_call is not None
        results.append(await house.supervisor.run_tools(caller.actor.agent_call.id, asked, deadline_s=18))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(webhook)
        nursery.start_soon(webhook)
        await until(lambda: caller.phase is Phase.TOOL_PENDING)
    assert [[(r.text, r.ok) for r in answer] for answer in results] == [[("free for 2 at 20:00", True)]] * 2
    await until(lambda: caller.phase is Phase.LISTENING)
    told = names(await house.records(caller.call_id))
    assert told.count("RunTool") == 1 and told.count("ToolRepeated") == 1
    assert told.index("ToolResult") < told.index("ToolAnswered")


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("check_availability", {"party": "many", "time": "20:00"}, "do not fit"),
        ("no_such_tool", {}, "There is no tool"),
        ("breaks", {}, "failed (RuntimeError)"),
        ("never_answers", {}, "took too long"),
    ],
)
async def test_tools_that_go_wrong_answer_in_words(
    autojump_clock: MockClock, house: House, name: str, arguments: Any, says: str
) -> None:
    """Whatever a tool does, the model gets a sentence and the call goes on."""
    caller = await house.ring()
    asked = [vapi.ToolCall(id="t1", name=name, arguments=arguments, problem=None)]
    (result,) = await caller.actor.run_tools(asked, deadline_s=18)
    assert not result.ok and says in result.text
    assert caller.actor.call.phase is not Phase.ENDED


async def test_hanging_up_cancels_a_running_tool(autojump_clock: MockClock, house: House) -> None:
    """No task outlives its call."""
    caller = await house.ring()
    asked = [vapi.ToolCall(id="t1", name="never_answers", arguments={}, problem=None)]
    results: list[Any] = []

    async def webhook() -> None:
        results.extend(await caller.actor.run_tools(asked, deadline_s=18))

    house.nursery.start_soon(webhook)
    await until(lambda: caller.phase is Phase.TOOL_PENDING)
    caller.hang_up()
    await until(lambda: bool(results), within_s=1.0)
    assert results[0].text == "The call is over."
    await until(lambda: not house.supervisor.live, within_s=1.0)


@pytest.mark.parametrize("status", [401, 429, 500, None])
async def test_vapi_refuses_the_call(autojump_clock: MockClock, house: House, status: int | None) -> None:
    """The caller hears words within two seconds, and Twilio gets the fallback."""
    house.vapi.trouble = VapiTrouble("no", status=status)
    caller = await house.ring()
    await until(lambda: caller.wire.closed is not None, within_s=2.0)
    step = house.supervisor.next_step("CA1")
    assert (step.words, step.number) == (FALLBACK.words, FALLBACK.number)
    await until(lambda: not house.supervisor.live)
    assert house.supervisor.next_step("CA1").words == "", "asked again, there is nothing more to say"
    closed = (await house.records(caller.call_id))[-1]
    assert closed.data["outcome"] == "handed over" and "agent lost: Vapi" in closed.data["reason"]


async def test_vapi_hangs_and_the_caller_hears_a_holding_sentence(autojump_clock: MockClock, house: House) -> None:
    """Silence never lasts two seconds: first a holding sentence, then the fallback."""
    house.vapi.delay_s = 60.0
    caller = await house.ring()
    await until(lambda: "media" in caller.wire.events(), within_s=1.8)
    await until(lambda: caller.wire.closed is not None, within_s=7.0)
    assert house.supervisor.next_step("CA1").words == FALLBACK.words


async def test_vapis_socket_dies_in_mid_call(autojump_clock: MockClock, house: House) -> None:
    """The stream closes at once, so that Twilio can say the fallback words; the journal has the reason."""
    caller = await house.ring()
    caller.agent_says(2000, more=True)
    await until(lambda: caller.phase is Phase.SPEAKING)
    caller.agent.peer_closes(1006)
    await until(lambda: caller.wire.closed is not None, within_s=0.1)
    assert house.supervisor.next_step("CA1").words == FALLBACK.words
    await until(lambda: not house.supervisor.live)
    assert "socket closed 1006" in caller.actor.call.reason


async def test_an_open_vapi_socket_on_which_nothing_comes(autojump_clock: MockClock, house: House) -> None:
    """A socket that opens and stays dumb is no agent."""
    caller = await house.ring(greet=False)
    await until(lambda: caller.wire.closed is not None, within_s=6.0)
    assert "silent for 5 s" in caller.actor.call.reason


async def test_twilio_vanishes_without_a_stop(autojump_clock: MockClock, house: House) -> None:
    """No frame for two seconds is a dead line: the agent stops costing, and REST looks after the call."""
    caller = await house.ring()
    caller.agent_says(200)
    caller.vanish()
    await until(lambda: caller.phase is Phase.TRANSFERRING, within_s=2.2)
    assert caller.agent.closed is not None
    await until(lambda: not house.supervisor.live, within_s=12)
    assert house.twilio.redirected == [("CA1", "https://calls.example.com/webhook/twilio/next")]


async def test_the_agent_ends_the_call_and_its_last_words_are_heard(autojump_clock: MockClock, house: House) -> None:
    """The line closes only after the mark of the last word is back."""
    caller = await house.ring()
    caller.agent_says(1500)
    caller.agent_frame(type="status-update", status="ended", endedReason="assistant-ended-call")
    caller.agent.peer_closes(1000)
    await trio.sleep(1.4)
    assert caller.wire.closed is None
    caller.return_marks()
    await until(lambda: caller.wire.closed == (1000, ""))
    assert house.supervisor.next_step("CA1").words == ""


async def test_a_crash_in_one_call_leaves_the_others_alone(
    autojump_clock: MockClock, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first crash is survived; the next one ends this call with a sentence; its neighbour hears nothing of it."""
    victim, neighbour = await house.ring("CA1"), await house.ring("CA2")
    append = house.journal.append

    def buggy(record: Record) -> None:
        if record.call_id == victim.call_id and record.name == "DigitPressed":
            raise ZeroDivisionError("a bug of ours")
        append(record)

    monkeypatch.setattr(house.journal, "append", buggy)
    press = {"event": "dtmf", "streamSid": victim.stream_sid, "dtmf": {"track": "inbound_track", "digit": "5"}}
    victim.send(**press)
    await trio.sleep(0.1)
    assert victim.phase is Phase.LISTENING, "restarted within its budget"
    victim.agent_says(200)
    await until(lambda: victim.phase is Phase.SPEAKING)
    victim.send(**press)
    await until(lambda: victim.wire.closed is not None)
    assert house.supervisor.next_step("CA1").words == FALLBACK.words
    await until(lambda: len(house.supervisor.live) == 1)
    neighbour.agent_says(200)
    await until(lambda: neighbour.phase is Phase.SPEAKING)
    told = names(await house.records(victim.call_id))
    assert "Restarted" in told and "GaveUp" in told


async def test_a_journal_that_always_crashes_still_hands_the_call_over(
    autojump_clock: MockClock, house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when giving up crashes too, the caller hears a sentence."""
    caller = await house.ring()

    def broken(record: Record) -> None:
        raise OSError("disk on fire")

    monkeypatch.setattr(house.journal, "append", broken)
    for _ in range(2):
        caller.send(event="dtmf", streamSid=caller.stream_sid, dtmf={"track": "inbound_track", "digit": "5"})
        await trio.sleep(0.05)
    await until(lambda: not house.supervisor.live)
    assert caller.wire.closed is not None
    assert house.supervisor.next_step("CA1").words == FALLBACK.words


async def test_a_flood_of_facts_is_that_calls_fault_alone(autojump_clock: MockClock, house: House) -> None:
    """An inbox that overflows ends its own call with words, not the process."""
    victim, neighbour = await house.ring("CA1"), await house.ring("CA2")
    for _ in range(3):
        for _ in range(400):
            victim.send(event="dtmf", streamSid=victim.stream_sid, dtmf={"track": "inbound_track", "digit": "5"})
        await trio.sleep(0.05)
    await until(lambda: len(house.supervisor.live) == 1)
    assert house.supervisor.next_step("CA1").words == FALLBACK.words
    assert neighbour.phase in (Phase.LISTENING, Phase.SPEAKING)


async def test_tokens_are_for_one_stream_of_one_call(autojump_clock: MockClock, house: House) -> None:
    """Used, unknown or foreign tokens open nothing."""
    caller = await house.ring("CA1")
    other = await house.ring("CA2")
    for token in ("", "guess", "x" * 5000):
        other.wire.is_open, other.wire.closed = True, None
        other.open_stream(token)
        assert other.wire.closed == (1008, "no call for this token")
    assert house.supervisor.statistics.refused_streams == 3
    assert caller.phase is Phase.LISTENING


@pytest.mark.parametrize(
    "payload",
    [
        b"{", b"[]", b"null", b"\xff\xfe",
        b'{"event": 5}', b'{"event": "media"}', b'{"event":"media","media":{"payload":5}}',
        b'{"event":"media","media":{"payload":"%%%"}}', b'{"event":"start"}', b'{"event":"surprise"}',
        b'{"event":"mark"}',
    ],
)  # fmt: skip
async def test_nonsense_from_twilio_is_counted_and_the_call_goes_on(
    autojump_clock: MockClock, house: House, payload: bytes
) -> None:
    """Malformed JSON, wrong types, unknown events, base64 garbage: a counted drop, never a crash."""
    caller = await house.ring()
    for _ in range(3):
        caller.leg.on_text(payload)
    caller.leg.on_binary(b"\x00" * 100)
    assert sum(caller.leg.oddities.values()) == 4
    caller.agent_says(200)
    await until(lambda: caller.phase is Phase.SPEAKING)
    assert names(await house.records(caller.call_id)).count("OddMessage") <= 2


async def test_media_before_start_and_a_second_start(autojump_clock: MockClock, house: House) -> None:
    """Neither opens, moves or ends a call."""
    caller = await house.ring()
    caller.send(event="start", sequenceNumber="1", streamSid="MZ2", start={
        "accountSid": "AC1", "callSid": "CA1", "streamSid": "MZ2", "tracks": ["inbound"],
        "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1}, "customParameters": {},
    })  # fmt: skip
    assert caller.leg.oddities["second start"] == 1
    assert caller.phase is Phase.LISTENING


async def test_the_report_is_consumed_once(autojump_clock: MockClock, house: House) -> None:
    """A report after the end is kept; its copy is not; neither revives the call."""
    caller = await house.ring()
    assert caller.actor.agent_call is not None
    agent_call_id = caller.actor.agent_call.id
    caller.hang_up()
    await until(lambda: not house.supervisor.live)
    assert house.supervisor.report(agent_call_id, "customer-ended-call") is True
    assert house.supervisor.report(agent_call_id, "customer-ended-call") is False
    assert house.supervisor.report("stranger", "x") is False
    assert names(await house.records(caller.call_id)).count("ReportArrived") == 1
    assert caller.phase is Phase.ENDED


async def test_draining_admits_nobody_and_ends_the_rest_with_words(autojump_clock: MockClock, house: House) -> None:
    """A deploy: new callers get the fallback, the one on the line may finish, then gets a goodbye."""
    caller = await house.ring()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(house.supervisor.drain, patience_s=3.0))
        await trio.sleep(0.1)
        assert house.supervisor.admit(Arrival("CA9", "AC1", "+1", "+2")).words == FALLBACK.words  # type: ignore[union-attr]
        assert caller.phase is Phase.LISTENING
        await until(lambda: caller.wire.closed is not None)
        assert "Goodbye" in house.supervisor.next_step("CA1").words


async def test_the_same_webhook_twice_is_one_call(autojump_clock: MockClock, house: House) -> None:
    """Twilio retries its voice webhook: the second answer belongs to the same call."""
    first = house.supervisor.admit(Arrival("CA1", "AC1", "+1", "+2"))
    again = house.supervisor.admit(Arrival("CA1", "AC1", "+1", "+2"))
    assert first.call_id == again.call_id  # type: ignore[union-attr]
    assert len(house.vapi.bodies) <= 1 and house.supervisor.statistics.admitted == 1


async def test_the_recording_is_aligned_to_the_sample(autojump_clock: MockClock, house: House) -> None:
    """Left and right are equally long, and what was cleared is not on it."""
    caller = await house.ring()
    caller.agent_says(3000, more=True)
    await until(lambda: caller.phase is Phase.SPEAKING)
    await trio.sleep(0.5)
    house.nursery.start_soon(caller.speak, 400)
    await trio.sleep(0.3)
    caller.agent_frame(type="user-interrupted")
    await trio.sleep(1.0)
    recording = house.recorder.recordings[caller.call_id]
    assert len(recording.caller) == len(recording.heard)
    heard_ms = len(bytes(recording.heard).replace(b"\xff", b"")) / 8
    assert 400 <= heard_ms <= 800, "half a second was heard, not three"


async def test_an_ended_call_is_freed_at_once(autojump_clock: MockClock, house: House) -> None:
    """By reference counts alone: with calls that come and go, what waits for the collector is memory that grows."""
    gone: list[weakref.ref[Any]] = []
    gc.collect()
    gc.disable()
    try:
        for number in range(3):
            caller = await house.ring(f"CA{number}")
            caller.agent_says(1000)
            await trio.sleep(1.5)
            caller.hang_up()
            await until(lambda: not house.supervisor.live)
            caller.wire.peer_closes()
            gone += [weakref.ref(caller.actor), weakref.ref(caller.actor.tools)]
            house.callers.clear()
            house.plane.dialled.clear()
            del caller
        await trio.sleep(30)  # the last task of the last call has gone
        assert [part() for part in gone[:-2]] == [None] * 4
    finally:
        gc.enable()
    assert house.supervisor.remembered == 3


async def test_ended_calls_are_forgotten_after_a_while(autojump_clock: MockClock, house: House) -> None:
    """Late webhooks find an ended call for minutes, and no call is kept for ever."""
    caller = await house.ring("CA1")
    agent_call = caller.actor.agent_call
    assert agent_call is not None
    caller.hang_up()
    await until(lambda: not house.supervisor.live)
    assert house.supervisor.report(agent_call.id, "customer-ended-call"), "the report comes after the end"
    assert not house.supervisor.report(agent_call.id, "customer-ended-call"), "and once"
    await trio.sleep(400)
    other = await house.ring("CA2")
    other.hang_up()
    await until(lambda: not house.supervisor.live)
    assert house.supervisor.remembered == 1
    assert not house.supervisor.report(agent_call.id, "customer-ended-call")
    assert house.supervisor.statistics.unknown_webhooks == 1


async def test_keys_go_out_as_tones(autojump_clock: MockClock, house: House) -> None:
    """What a phone menu on the other side hears is the keys; over the agent's own speech nothing is sent."""
    caller = await house.ring()
    assert caller.actor.send_keys("42#")
    media = [text["media"]["payload"] for text in caller.wire.texts() if text["event"] == "media"]
    assert heard_digits(b"".join(base64.b64decode(payload) for payload in media)) == "42#"
    await trio.sleep(2.0)
    caller.agent_says(2000, more=True)
    await until(lambda: caller.phase is Phase.SPEAKING)
    await trio.sleep(0.2)
    assert not caller.actor.send_keys("1")
    with pytest.raises(ValueError, match="x"):
        caller.actor.send_keys("x")


async def test_what_happened_comes_before_what_is_due(autojump_clock: MockClock, house: House) -> None:
    """A process that stood still for seconds: the facts that waited are taken first, and then nothing is due."""
    caller = await house.ring(greet=False)
    caller.agent_says(500)
    await until(lambda: caller.phase is Phase.SPEAKING)
    caller.return_marks()
    await until(lambda: caller.phase is Phase.LISTENING)
    actor = caller.actor
    now = trio.current_time()
    actor.call = msgspec.structs.replace(actor.call, owed_since=now - 60.0, owed_for="words", alive_at=now - 60.0)
    actor.post(StreamStarted(at=now, stream_sid="MZ2"))
    actor.post(UtteranceStarted(at=now, utterance=9))
    await trio.sleep(0.1)
    assert caller.phase is Phase.SPEAKING, "it answered: nobody gave it up"

"""The parts that need no socket: brain, mouth, listening, formats, line, timeline."""

from __future__ import annotations

import random

import pytest
import trio
from trio.testing import MockClock

from engine.agent import Reply, ToolCallPlan, TwinPlan
from engine.audio import SILENCE_FRAME, mulaw_to_pcm16
from tests.twins.vapi.fakes import FakeActivity
from web.twins.vapi.brain import Brain, sentences
from web.twins.vapi.clock import iso, new_call_id
from web.twins.vapi.dials import Dials, Faults
from web.twins.vapi.formats import AudioFormat, Inlet
from web.twins.vapi.history import History
from web.twins.vapi.line import control_of
from web.twins.vapi.listening import Listening, TurnOver, VoiceStarted
from web.twins.vapi.mouth import TICK_S, Mouth
from web.twins.vapi.problems import Problem

LOUD = b"\x20" * 160


def test_the_first_unused_reply_wins_then_used_ones() -> None:
    plan = TwinPlan(replies=[Reply(["yes", "sure thing"], "First."), Reply(["yes please"], "Second.")])
    brain = Brain(plan)
    assert brain.think("Yes, please!").words == "First."
    assert brain.think("yes please").words == "Second."
    assert brain.think("yes please").words == "First."
    assert brain.think("yesterday").reply is None
    assert brain.think("oh sure thing").words == "First."
    again = Brain(plan)
    again.forget(again.think("yes please"))
    assert again.think("yes please").words == "First."


def test_digits_are_heard_spoken_and_given_to_tools() -> None:
    tool = ToolCallPlan("find", {"number": "{digits}", "list": ["n {digits}"], "n": 3})
    brain = Brain(
        TwinPlan(replies=[Reply(["my number is <digits>", "take {digits} now"], "I heard {digits}: {result}", tool)])
    )
    thought = brain.think("well my number is four oh two, thanks")
    assert thought.said("ok") == "I heard four zero two: ok"
    assert thought.arguments() == {"number": "402", "list": ["n 402"], "n": 3}
    assert brain.think("Take 77 now.").digits == "77"
    assert brain.think("my number is many").reply is None


def test_sentences_are_cut_where_they_end() -> None:
    assert sentences("Yes, four is free. Your reference is BL-204.  Bye!") == [
        "Yes, four is free.",
        "Your reference is BL-204.",
        "Bye!",
    ]
    assert sentences("") == []


async def test_the_mouth_is_never_late_and_never_far_ahead(mock_clock: MockClock) -> None:
    sent: list[tuple[float, bytes]] = []
    mouth = Mouth(lambda frame: sent.append((trio.current_time(), frame)), Dials(), random.Random(1))
    utterance = mouth.begin(LOUD * 50)
    began = trio.current_time()
    late = random.Random(5)
    while not utterance.over.is_set():
        mock_clock.jump(TICK_S + late.uniform(0, 0.03))
        mouth.pump(trio.current_time())
        played = int((trio.current_time() - began) * 50)
        assert played <= len(sent) <= played + 4 or len(sent) == 50
    assert len(sent) == 50
    assert 1.0 <= trio.current_time() - began < 1.1
    mouth.begin(LOUD * 50)
    mock_clock.jump(0.3)
    mouth.pump(trio.current_time())
    mouth.cut()
    before = len(sent)
    mock_clock.jump(0.3)
    mouth.pump(trio.current_time())
    assert len(sent) == before


async def test_after_a_stall_not_everything_comes_at_once(mock_clock: MockClock) -> None:
    sent: list[bytes] = []
    mouth = Mouth(sent.append, Dials(), random.Random(1))
    mouth.begin(LOUD * 500)
    mock_clock.jump(5.0)
    mouth.pump(trio.current_time())
    assert len(sent) == 50


def test_a_turn_is_over_after_silence_that_is_counted_in_frames() -> None:
    listening = Listening(FakeActivity(), start_ms=40, endpoint_ms=500)
    facts = [listening.feed(SILENCE_FRAME) for _ in range(100)]
    facts += [listening.feed(frame) for frame in (LOUD, SILENCE_FRAME, LOUD)]
    assert set(facts) == {None}, "one frame of noise is no voice"
    assert listening.feed(LOUD) == VoiceStarted(40)
    for _ in range(20):
        assert listening.feed(LOUD) is None
    for _ in range(24):
        assert listening.feed(SILENCE_FRAME) is None
    over = listening.feed(SILENCE_FRAME)
    assert isinstance(over, TurnOver)
    assert over.voiced_ms == 440
    assert len(over.mulaw) // 8 == 300 - 40 + 440 + 200, "some of what was before, and a little after"
    assert not listening.in_turn


@pytest.mark.parametrize(
    ("name", "rate", "size"), [("mulaw", 8000, 1), ("pcm_s16le", 8000, 2), ("pcm_s16le", 16000, 4)]
)
def test_any_cut_of_the_audio_gives_the_same_frames(name: str, rate: int, size: int) -> None:
    audio = AudioFormat(name, rate)
    mulaw = bytes(0x10 + index // 160 % 90 for index in range(160 * 40))
    frames = [mulaw[start : start + 160] for start in range(0, len(mulaw), 160)]
    wire = b"".join(audio.frame(frame) for frame in frames)
    assert len(wire) == len(mulaw) * size
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    inlet = Inlet(audio)
    got: list[bytes] = []
    while wire:
        cut = chance.randrange(1, 1000)
        got += inlet.feed(wire[:cut])
        wire = wire[cut:]
    assert got == frames, f"seed {seed}"
    assert len(mulaw_to_pcm16(frames[0])) == 320


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"\xff", "not JSON"),
        (b"[]", "not an object"),
        (b'{"type":"hangup"}', "no message that Vapi takes"),
        (b'{"type":["say"]}', "no message that Vapi takes"),
        (b'{"type":"say","content":5}', "say lacks"),
        (b'{"type":"add-message","message":{"role":"bot"}}', "add-message lacks"),
    ],
)
def test_what_is_no_control_message(text: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        control_of(text)


def test_history_has_three_forms() -> None:
    history = History([{"role": "system", "content": "Be short."}], 1_000_000)
    entry = history.bot_begins("Hello there friend.", 1_001_210)
    history.bot_ends(entry, "Hello there", 1_002_890)
    history.user("Hi.", 1_003_900, 1_006_340)
    history.tool_call("call_1", "look", {"a": 1}, 1_007_020)
    history.tool_result("call_1", "look", "Free.", 1_007_480)
    assert history.transcript == "AI: Hello there\nUser: Hi.\n"
    assert [one["role"] for one in history.messages] == ["system", "bot", "user", "tool_calls", "tool_call_result"]
    assert history.messages[1] == {
        "role": "bot",
        "message": "Hello there friend.",
        "time": 1_001_210,
        "endTime": 1_002_890,
        "secondsFromStart": 1.21,
        "duration": 1680,
        "source": "",
    }
    assert history.openai[3]["tool_calls"][0]["function"]["arguments"] == '{"a": 1}'
    assert history.openai[4] == {"role": "tool", "tool_call_id": "call_1", "content": "Free."}


def test_ids_and_times_look_as_captured() -> None:
    assert iso(1767277798402) == "2026-01-01T14:29:58.402Z"
    ids = [new_call_id() for _ in range(50)]
    assert all(one[14] == "7" and one[19] in "89ab" for one in ids)
    assert len(set(ids)) == 50


def test_faults_are_used_up() -> None:
    faults = Faults.of({"create_status": 429, "times": 2})
    assert [one and one.create_status for one in (faults.take(), faults.take(), faults.take())] == [429, 429, None]
    with pytest.raises(Problem, match="socket"):
        Faults.of({"socket": "burns"})

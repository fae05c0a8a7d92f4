"""Whole conversations told to the engine, without a clock: what it asks for, line by line."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import events as e
from engine.call import Call, Policy
from engine.events import Event
from engine.phases import Phase
from engine.rules import EVENTS, NAMED_ONLY_IN
from engine.step import opened, step
from engine.turns import deadline_of
from tests.engine.test_rules import sample

POLICY = Policy(fallback_words="Sorry, please call again.", fallback_number="+15550100")


def tell(*facts: Event, policy: Policy = POLICY) -> list[str]:
    """Play facts to a new call; deadlines pass by themselves between them."""
    call, effects = opened("call-1", policy)
    lines = [f"0.000 {call.phase}: {_names(effects)}"]

    def take(call: Call, fact: Event) -> Call:
        before = call.phase
        call, effects = step(call, fact)
        if call.phase is not before or effects:
            moved = f"{before} → {call.phase}" if call.phase is not before else str(before)
            lines.append(f"{fact.at:.3f} {moved}: {_names(effects)}".rstrip(": "))
        return call

    for fact in facts:
        while (due := deadline_of(call)) < fact.at:
            call = take(call, e.DeadlinePassed(at=due))
        call = take(call, fact)
    return lines


def _names(effects: tuple[object, ...]) -> str:
    return ", ".join(type(effect).__name__ for effect in effects)


UP = (e.StreamStarted(at=0.2, stream_sid="MZ1"), e.AgentConnected(at=0.6, agent_call_id="a"))
GREETING = (
    e.AgentSpeechStarted(at=0.9),
    e.UtteranceStarted(at=1.0, utterance=1),
    e.AgentSpeechStopped(at=2.0),
    e.PlaybackDone(at=3.0, utterance=1, heard_ms=2000),
)
CONNECTED = [
    "0.000 connecting: DialAgent",
    "0.600 connecting → listening",
    "1.000 listening → speaking",
    "3.000 speaking → listening",
]
LEAVE = "CancelTools, EndAgent, HangUp"
HAND_OVER = "CancelTools, EndAgent, HandOver"


def test_a_short_call() -> None:
    """The agent greets, says goodbye when asked, and the line closes after its last word was heard."""
    assert tell(
        *UP, *GREETING,
        e.CallerTranscript(at=4.0, text="goodbye", final=True),
        e.UtteranceStarted(at=5.0, utterance=2),
        e.AgentEnded(at=6.0, reason="assistant-ended-call"),
        e.PlaybackDone(at=6.4, utterance=2, heard_ms=1400),
    ) == [*CONNECTED, "5.000 listening → speaking", f"6.400 speaking → ended: {LEAVE}"]  # fmt: skip


def test_caller_cuts_in() -> None:
    """A barge-in hushes at once, waits for quiet, and the late end of playback changes nothing."""
    assert tell(
        *UP, *GREETING,
        e.AgentSpeechStarted(at=4.9),
        e.UtteranceStarted(at=5.0, utterance=2),
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.AgentInterrupted(at=7.3),
        e.PlaybackDone(at=7.4, utterance=2, heard_ms=2400),
        e.CallerQuiet(at=8.0),
        e.UtteranceStarted(at=9.0, utterance=3),
    ) == [
        *CONNECTED,
        "5.000 listening → speaking",
        "7.000 speaking → interrupted: Hush",
        "8.300 interrupted → listening: LetSpeak",
        "9.000 listening → speaking",
    ]  # fmt: skip


def test_audio_that_vapi_made_before_it_noticed_stays_unheard() -> None:
    """While Vapi still talks and has not said that it was interrupted, we wait for its verdict."""
    lines = tell(
        *UP, *GREETING,
        e.AgentSpeechStarted(at=4.9),
        e.UtteranceStarted(at=5.0, utterance=2),
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.CallerQuiet(at=7.2),
        e.AgentInterrupted(at=7.9),
        e.CallerTranscript(at=8.5, text="eight works", final=True),
    )  # fmt: skip
    assert lines[-2:] == ["7.000 speaking → interrupted: Hush", "8.000 interrupted → listening: LetSpeak"]


def test_the_answer_to_a_barge_in_is_not_swallowed() -> None:
    """When the agent answers before the debounce is over, it is heard from its first syllable."""
    lines = tell(
        *UP, *GREETING,
        e.UtteranceStarted(at=5.0, utterance=2),
        e.CallerVoice(at=7.0, onset_at=6.96),
        e.AgentInterrupted(at=7.2),
        e.CallerQuiet(at=7.3),
        e.AgentSpeechStarted(at=7.35),
    )  # fmt: skip
    assert lines[-1] == "7.350 interrupted → listening: LetSpeak"


def test_a_partial_transcript_interrupts_and_a_final_one_does_not() -> None:
    """Act on finals, interrupt on partials; two letters are no speech."""
    speaking = (*UP, *GREETING, e.UtteranceStarted(at=5.0, utterance=2))
    assert tell(*speaking, e.CallerTranscript(at=6.0, text="eig", final=False))[-1] == (
        "6.000 speaking → interrupted: Hush"
    )
    for harmless in (("ei", False), ("eight works", True)):
        text, final = harmless
        assert tell(*speaking, e.CallerTranscript(at=6.0, text=text, final=final))[-1] == "5.000 listening → speaking"


def test_a_tool_while_the_agent_fills_the_silence() -> None:
    """A tool is asked for while the agent says that it is looking; its answer comes after that was heard."""
    lines = tell(
        *UP, *GREETING,
        e.UtteranceStarted(at=5.0, utterance=2),
        e.ToolRequested(at=5.1, tool_call_id="t1", name="check", arguments={}),
        e.PlaybackDone(at=6.0, utterance=2, heard_ms=900),
        e.ToolAnswered(at=7.0, tool_call_id="t1", ok=True, took_ms=1900),
    )  # fmt: skip
    assert lines[-3:] == [
        "5.100 speaking: RunTool",
        "6.000 speaking → tool_pending",
        "7.000 tool_pending → listening",
    ]


def test_two_tools_at_once() -> None:
    """The phase lasts until the last of them has answered."""
    lines = tell(
        *UP, *GREETING,
        e.ToolRequested(at=5.0, tool_call_id="t1", name="a", arguments={}),
        e.ToolRequested(at=5.0, tool_call_id="t2", name="b", arguments={}),
        e.ToolAnswered(at=6.0, tool_call_id="t2", ok=True, took_ms=1000),
        e.ToolAnswered(at=7.0, tool_call_id="t1", ok=False, took_ms=2000),
    )  # fmt: skip
    assert lines[-3:] == [
        "5.000 listening → tool_pending: RunTool",
        "5.000 tool_pending: RunTool",
        "7.000 tool_pending → listening",
    ]


def test_vapi_is_slow_and_then_there() -> None:
    """Nobody waits in silence: a holding sentence within two seconds of being connected."""
    assert tell(e.StreamStarted(at=0.2, stream_sid="MZ1"), e.AgentConnected(at=3.0, agent_call_id="a")) == [
        "0.000 connecting: DialAgent",
        "1.700 connecting: SayHolding",
        "3.000 connecting → listening",
    ]


def test_vapi_never_comes() -> None:
    """After the patience is over, Twilio gets the call back with the fallback words."""
    lines = tell(
        e.StreamStarted(at=0.2, stream_sid="MZ1"),
        e.HandedOver(at=6.4, how="asked"),
    )  # fmt: skip
    assert lines[2:] == [f"6.200 connecting → transferring: {HAND_OVER}", f"6.400 transferring → ended: {LEAVE}"]


def test_vapi_refuses_before_the_stream_is_there() -> None:
    """The stream is sent on the moment it opens."""
    assert tell(
        e.AgentLost(at=0.1, why="401"),
        e.StreamStarted(at=0.3, stream_sid="MZ1"),
        e.StreamEnded(at=0.32, reason="closed", stopped=False),
        e.HandedOver(at=0.4, how="asked"),
    )[1:] == [
        f"0.100 connecting → transferring: {HAND_OVER}",
        f"0.300 transferring: {HAND_OVER}",
        f"0.400 transferring → ended: {LEAVE}",
    ]


def test_twilio_never_comes_for_its_words() -> None:
    """If the hand-over is not fetched, REST pushes it."""
    lines = tell(*UP, e.AgentLost(at=2.0, why="died"), e.ReportArrived(at=30.0, ended_reason="x"))
    assert lines[-2:] == [f"2.000 listening → transferring: {HAND_OVER}", "10.000 transferring → ended: RescueByRest"]


def test_the_fallback_says_what_the_agent_file_says() -> None:
    """The orders carry the words and the number."""
    call, _ = opened("c", POLICY)
    call, effects = step(call, e.AgentLost(at=1.0, why="401"))
    assert (effects[-1].words, effects[-1].number) == (POLICY.fallback_words, POLICY.fallback_number)  # type: ignore[attr-defined]
    assert call.reason == "agent lost: 401"


def test_caller_hangs_up() -> None:
    """The agent stops costing money at once."""
    assert tell(*UP, *GREETING, e.StreamEnded(at=4.0, reason="stop", stopped=True))[-1] == (
        f"4.000 listening → ended: {LEAVE}"
    )


def test_a_silent_call_ends_with_words() -> None:
    """A minute of nothing from anybody is enough."""
    lines = tell(*UP, *GREETING, e.HandedOver(at=70.0, how="asked"))
    assert lines[4] == f"63.000 listening → transferring: {HAND_OVER}"


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    raw = [event for event in EVENTS if event not in NAMED_ONLY_IN] + [e.CallerTranscript]
    kinds = draw(st.lists(st.sampled_from(raw), max_size=40))
    at, facts = 0.0, []
    for kind in kinds:
        at += draw(st.floats(min_value=0.0, max_value=8.0, allow_nan=False))
        facts.append(msgspec.structs.replace(sample(kind), at=at))
    return facts


@given(histories())
@settings(max_examples=300, deadline=None)
def test_no_history_is_impossible_and_every_deadline_moves_on(facts: list[Event]) -> None:
    """Whatever the legs say in whatever order: a rule covers it, and no deadline passes twice."""
    call, _ = opened("c", POLICY)
    for fact in facts:
        for _ in range(50):
            due = deadline_of(call)
            if due > fact.at:
                break
            call, _ = step(call, e.DeadlinePassed(at=due))
            assert deadline_of(call) > due or call.phase is Phase.ENDED
        call, _ = step(call, fact)
    for _ in range(50):
        if call.phase is Phase.ENDED:
            break
        call, _ = step(call, e.DeadlinePassed(at=deadline_of(call)))
    assert call.phase is Phase.ENDED, "left alone, every call ends"

"""Vapi's webhooks and frames: every sample, every form of a tool call, every kind of nonsense; and what we send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.agent import Turns
from engine.errors import BadMessage
from engine.tools import ToolEffect, ToolResult, ToolSpec
from engine.wire import vapi, vapi_calls
from engine.wire.vapi_values import SpokenWord

SAMPLES = Path(__file__).parents[2] / "samples" / "vapi"
WEBHOOKS = [
    path for path in sorted(SAMPLES.glob("*.json"))
    if isinstance(data := json.loads(path.read_bytes()), dict) and "type" in (data.get("message") or {})
    and not path.name.startswith("control-") and ".response" not in path.name
]  # fmt: skip


@pytest.mark.parametrize("path", WEBHOOKS, ids=lambda path: path.stem)
def test_every_webhook_of_the_reference(path: Path) -> None:
    """Read without an error, with its type; only what the reference calls unknown is unknown."""
    hook = vapi.read_webhook(path.read_bytes())
    assert hook.type
    assert not isinstance(hook.content, vapi.Unknown), hook.type


@pytest.mark.parametrize("path", sorted(SAMPLES.glob("ws-*.json")), ids=lambda path: path.stem)
def test_every_frame_of_the_reference(path: Path) -> None:
    """Text frames have no envelope; with one they read the same."""
    data = json.loads(path.read_bytes())
    frames = [entry["frame"] for entry in data] if isinstance(data, list) else [data]
    for frame in frames:
        bare = vapi.read_frame(json.dumps(frame).encode())
        assert not isinstance(bare, vapi.Unknown)
        assert vapi.read_frame(json.dumps({"message": frame}).encode()) == bare


def message_of(name: str) -> vapi.Message:
    return vapi.read_webhook((SAMPLES / f"{name}.json").read_bytes()).content


def test_what_the_samples_say() -> None:
    """The facts that the engine acts on."""
    partial = message_of("transcript-partial")
    assert partial == vapi.Transcript("user", "A table for four", False, confidence=None, at_ms=1767277804600.0)
    bracket = message_of("transcript-final-bracket-type")
    assert isinstance(bracket, vapi.Transcript) and bracket.final
    assert message_of("user-interrupted") == vapi.UserInterrupted(turn_id="6d8a5a1e-0b7c-4b67-9a3f-51c2d0e8f417")
    assert message_of("voice-input") == vapi.VoiceInput("Yes, four at half past seven is free.")
    assert isinstance(message_of("hang"), vapi.Hang)
    ended = message_of("status-update-ended")
    assert isinstance(ended, vapi.StatusUpdate) and ended.status == "ended" and ended.ended_reason
    report = message_of("end-of-call-report")
    assert isinstance(report, vapi.EndOfCallReport)
    assert isinstance(message_of("end-of-call-report-minimal"), vapi.EndOfCallReport)


def test_what_the_caller_said_and_how_sure_that_is() -> None:
    """A score on finals; on the websocket there is no time as a rule, and nothing is made up."""
    final = message_of("transcript-final")
    assert isinstance(final, vapi.Transcript) and final.confidence == 0.97 and final.at_ms == 1767277806340
    slim = vapi.read_frame(b'{"type":"transcript","role":"user","transcriptType":"partial","transcript":"Hello."}')
    assert slim == vapi.Transcript("user", "Hello.", False)


@pytest.mark.parametrize(
    ("timestamp", "expected"),
    [
        (1767277804600, 1767277804600.0),
        (1767277804600.25, 1767277804600.25),
        ("2026-01-01T14:30:04.600Z", 1767277804600.0),
        ("2026-01-01T15:30:04.6+01:00", 1767277804600.0),
        ("2026-01-01T14:30:04.600", 1767277804600.0),
        ("yesterday", None),
        (True, None),
        (None, None),
        (10**400, None),
        ([], None),
    ],
)
def test_moments_in_all_their_forms(timestamp: object, expected: float | None) -> None:
    """Milliseconds, with a fraction, or ISO text; anything else is no time, and the webhook is read all the same."""
    body = json.dumps({"message": {"type": "transcript", "timestamp": timestamp}}).encode()
    hook = vapi.read_webhook(body)
    assert hook.timestamp_ms == expected
    assert isinstance(hook.content, vapi.Transcript) and hook.content.at_ms == expected


@pytest.mark.parametrize("odd", [97, -0.1, "0.9", True, None, [0.9]])
def test_a_confidence_that_is_none(odd: object) -> None:
    """Better no number than a wrong one: without a number words may interrupt."""
    frame = vapi.read_frame(json.dumps({"type": "transcript", "confidence": odd}).encode())
    assert isinstance(frame, vapi.Transcript) and frame.confidence is None


def spoke(timing: object) -> list[SpokenWord]:
    frame = json.dumps({"type": "assistant.speechStarted", "text": "Yes, four", "turn": 2, "timing": timing})
    message = vapi.read_frame(frame.encode())
    assert isinstance(message, vapi.AgentSpoke) and (message.text, message.turn) == ("Yes, four", 2)
    return list(message.words)


def test_when_the_agent_speaks_which_word() -> None:
    """Both forms of timing (§7), and a segment without times of its words as one stretch."""
    alignment = {"words": ["Yes,", " ", "four"], "wordsStartTimesMs": [0, 300, 310], "wordsEndTimesMs": [300, 310, 600]}
    assert spoke({"type": "word-alignment", **alignment}) == [("Yes,", 0, 300), (" ", 300, 310), ("four", 310, 600)]
    words = [{"word": "Yes,", "startMs": 0, "endMs": 300}, {"word": "four", "startMs": 310.5, "endMs": 600}]
    progress = {"type": "word-progress", "wordsSpoken": 2, "totalWords": 0, "segment": "Yes, four"}
    assert spoke({**progress, "words": words}) == [("Yes,", 0, 300), ("four", 310.5, 600)]
    assert spoke({**progress, "segmentDurationMs": 600}) == [("Yes, four", 0, 600)]
    assert spoke(progress) == []
    sample = message_of("assistant-speech-started")
    assert isinstance(sample, vapi.AgentSpoke) and sample.words == (("Yes, four at half past seven", 0, 1700),)


@pytest.mark.parametrize(
    "timing",
    [
        None,
        [],
        "word-alignment",
        {"words": ["a"], "wordsStartTimesMs": [], "wordsEndTimesMs": []},
        {"words": ["a"], "wordsStartTimesMs": [5], "wordsEndTimesMs": [1]},
        {"words": [7, None], "wordsStartTimesMs": [0, "x"], "wordsEndTimesMs": [1, 2]},
        {"words": [7, {"word": "a"}, {"word": "a", "startMs": -1, "endMs": 5}]},
        {"segment": 5, "segmentDurationMs": 5},
    ],
)
def test_timing_that_cannot_be_read(timing: object) -> None:
    """The text is kept, the times are not."""
    assert spoke(timing) == []


@pytest.mark.parametrize("name", ["tool-calls", "tool-calls-flat", "tool-calls-string-arguments"])
def test_every_form_of_a_tool_call(name: str) -> None:
    """Nested or flat, arguments as an object or as text: the same call."""
    message = message_of(name)
    assert isinstance(message, vapi.ToolCalls)
    (call,) = message.calls
    assert call.id and call.name == "check_table" and call.problem is None
    assert dict(call.arguments) == {"party": 4, "time": "19:30"}


def test_two_tool_calls_and_the_old_form() -> None:
    """Two in one request; and `function-call` without an id, which is the same question when it comes again."""
    two = message_of("tool-calls-two-at-once")
    assert isinstance(two, vapi.ToolCalls) and len({call.id for call in two.calls}) == 2
    old = message_of("function-call-legacy")
    assert isinstance(old, vapi.FunctionCall) and old.call.name == "check_table"
    assert old == message_of("function-call-legacy")


@pytest.mark.parametrize("arguments", ['"{"', '"[1]"', "5", "[1]"])
def test_arguments_that_cannot_be_read(arguments: str) -> None:
    """The call is answered with a problem, not dropped."""
    call = f'{{"id": "t", "name": "x", "arguments": {arguments}}}'
    body = f'{{"message": {{"type": "tool-calls", "toolCallList": [{call}]}}}}'
    content = vapi.read_webhook(body.encode()).content
    assert isinstance(content, vapi.ToolCalls) and content.calls[0].problem


@given(st.binary(max_size=300))
def test_no_bytes_raise_anything_else(payload: bytes) -> None:
    """Read, or refused with a safe reason."""
    for read in (vapi.read_frame, vapi.read_webhook):
        try:
            read(payload)
        except BadMessage as bad:
            assert len(bad.why) < 100


TYPES = st.sampled_from([
    "status-update", "speech-update", "transcript", "tool-calls", "function-call", "end-of-call-report",
    "assistant-request", "user-interrupted", "voice-input", "assistant.speechStarted", "brand-new",
    'transcript[transcriptType="final"]',
])  # fmt: skip
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from([
    "call", "role", "status", "transcript", "toolCallList", "toolCalls", "toolWithToolCallList", "functionCall",
    "endedReason", "function", "arguments", "timestamp", "confidence", "turn", "timing", "words", "wordsStartTimesMs",
    "wordsEndTimesMs", "segment", "segmentDurationMs",
])  # fmt: skip


@given(TYPES, st.dictionaries(KEYS, JSON | st.lists(st.dictionaries(KEYS, JSON, max_size=3), max_size=2), max_size=6))
def test_no_known_type_with_wrong_things_in_it_raises(kind: str, rest: dict[str, Any]) -> None:
    """Tolerant of every field."""
    vapi.read_webhook(json.dumps({"message": {**rest, "type": kind}}).encode())
    vapi.read_frame(json.dumps({**rest, "type": kind}).encode())


def test_answers_have_the_real_shape() -> None:
    """One entry a call, one line of text each, result or error."""
    results = [ToolResult("a", "x", "Free.\nReference\n B 1", ok=True), ToolResult("b", "y", "No.", ok=False)]
    assert json.loads(vapi.tool_results(results)) == {
        "results": [
            {"toolCallId": "a", "name": "x", "result": "Free. Reference B 1"},
            {"toolCallId": "b", "name": "y", "error": "No."},
        ]
    }
    shown = json.loads((SAMPLES / "tool-calls.response.json").read_bytes())["results"][0]
    assert set(json.loads(vapi.tool_results(results[:1]))["results"][0]) == set(shown)
    assert json.loads(vapi.function_result(results[0])) == {"result": "Free. Reference B 1"}


def test_orders_have_the_fields_of_the_samples() -> None:
    """Live control, as the reference shows it."""
    add = json.loads((SAMPLES / "control-add-message.json").read_bytes())
    sent = json.loads(
        vapi.add_message(add["message"]["role"], add["message"]["content"], respond=add["triggerResponseEnabled"])
    )
    assert sent == add
    assert json.loads(vapi.end_call()) == json.loads((SAMPLES / "control-end-call.json").read_bytes())
    assert json.loads(vapi.say("x"))["type"] == "say"


SPEC = ToolSpec("check", "Look.", {"type": "object", "properties": {}}, ToolEffect.READ)
SERVER = {"url": "https://x.example/webhook/vapi", "timeoutSeconds": 20}


def test_the_body_of_a_new_call() -> None:
    """vapi.websocket, mulaw at 8000, explicit message lists, no phone number; either assistant, never both."""
    saved = vapi_calls.create_call_body(assistant_id="a", assistant=None, name="n" * 60, server=SERVER)
    shown = json.loads((SAMPLES / "rest-call-create-websocket.request.json").read_bytes())
    assert saved["transport"] == shown["transport"] and len(saved["name"]) == 40
    assert "transcript" in saved["assistantOverrides"]["clientMessages"]
    assert {"tool-calls", "end-of-call-report"} <= set(saved["assistantOverrides"]["serverMessages"])
    assert not {"phoneNumberId", "phoneNumber", "customer"} & set(saved)
    inline = vapi_calls.create_call_body(assistant_id=None, assistant={"name": "x"}, name="n", server=SERVER)
    assert inline["assistant"] == {"name": "x"} and "assistantId" not in inline
    with pytest.raises(ValueError, match="one of them"):
        vapi_calls.create_call_body(assistant_id="a", assistant={}, name="n", server=SERVER)


def test_the_body_of_an_assistant() -> None:
    """The agent file's assistant, with our tools, lists and server; no background hum."""
    given = {"name": "x", "model": {"provider": "openai"}}
    body = vapi_calls.assistant_body(given, tools=[SPEC], server=SERVER, turns=Turns())
    (tool,) = body["model"]["tools"]
    assert tool["function"]["name"] == "check" and tool["server"] == SERVER
    assert body["backgroundSound"] == "off" and body["server"] == SERVER


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("customer-ended-call", "CUSTOMER"),
        ("assistant-ended-call-after-message-spoken", "ASSISTANT"),
        ("assistant-said-end-call-phrase", "ASSISTANT"),
        ("exceeded-max-duration", "LIMIT"),
        ("call.in-progress.twilio-completed-call", "PROVIDER_LEG"),
        ("call.start.error-subscription-concurrency-limit-reached", "NOT_STARTED"),
        ("assistant-request-failed", "NOT_STARTED"),
        ("assistant-not-found", "NOT_STARTED"),
        ("pipeline-error-openai-llm-failed", "FAULT"),
        ("pipeline-no-available-llm-model", "FAULT"),
        ("call.in-progress.error-vapifault-worker-died", "FAULT"),
        ("worker-shutdown", "FAULT"),
        ("something-brand-new", "UNKNOWN"),
        ("", "UNKNOWN"),
    ],
)
def test_why_a_call_ended(reason: str, expected: str) -> None:
    """By pattern: the set of reasons is open."""
    found = vapi.ended_class(reason)
    assert found.name == expected
    assert found.is_failure == (expected in ("NOT_STARTED", "FAULT"))

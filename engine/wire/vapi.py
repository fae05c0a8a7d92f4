"""Vapi's wire: webhooks and websocket text frames read tolerantly, answers and orders written strictly. Pure.

Webhooks (reference/vapi.md §6 to §8) wrap everything in `message`; the websocket's frames (§4.4) have no envelope.
One set of typed messages serves both. What is unknown is `Unknown`, never an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from engine.errors import BadMessage
from engine.tools import ToolResult
from engine.wire.vapi_values import SpokenWord, confidence, epoch_ms, number, spoken_words

MOST_FRAME_BYTES = 1024 * 1024  # a conversation-update repeats the whole conversation


@dataclass(frozen=True, slots=True)
class StatusUpdate:
    status: str
    ended_reason: str = ""


@dataclass(frozen=True, slots=True)
class SpeechUpdate:
    role: str  # assistant or user
    started: bool


@dataclass(frozen=True, slots=True)
class Transcript:
    role: str
    text: str = field(repr=False)
    final: bool
    confidence: float | None = None  # 0 to 1; on the caller's finals, from some transcribers
    at_ms: float | None = None  # Vapi's clock, epoch; seldom there on the websocket (§4.4)


@dataclass(frozen=True, slots=True)
class UserInterrupted:
    turn_id: str = ""


@dataclass(frozen=True, slots=True)
class VoiceInput:
    """A piece of text that goes to the voice now; its audio comes later. Not for every speech (§4.4)."""

    text: str = field(repr=False)
    turn: int | None = None


@dataclass(frozen=True, slots=True)
class AgentSpoke:
    """`assistant.speechStarted`: the turn's text as far as it is known, and the latest words with their times."""

    text: str = field(repr=False)
    turn: int | None = None
    words: tuple[SpokenWord, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call. `problem` is set when its arguments cannot be read: answer with it."""

    id: str
    name: str
    arguments: Mapping[str, Any] = field(repr=False)
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCalls:
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, slots=True)
class FunctionCall:
    """The old form of a tool call, without an id of its own (§8.3)."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class EndOfCallReport:
    ended_reason: str
    cost_usd: float | None = None  # 0 or none while it is not settled (§14.1)


@dataclass(frozen=True, slots=True)
class AssistantRequest:
    pass


@dataclass(frozen=True, slots=True)
class Hang:
    """Not a hang-up: the assistant is late (§7)."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A type that we know and have no use for."""

    type: str


@dataclass(frozen=True, slots=True)
class Unknown:
    type: str


Message = (
    StatusUpdate
    | SpeechUpdate
    | Transcript
    | UserInterrupted
    | VoiceInput
    | AgentSpoke
    | ToolCalls
    | FunctionCall
    | EndOfCallReport
    | AssistantRequest
    | Hang
    | Noted
    | Unknown
)


@dataclass(frozen=True, slots=True)
class Webhook:
    """A server message with what it is about."""

    type: str
    call_id: str
    timestamp_ms: float | None
    content: Message
    raw: Mapping[str, Any] = field(repr=False)


_NOTED = frozenset({
    "conversation-update", "model-output", "assistant.started", "transfer-update", "transfer-destination-request",
    "handoff-destination-request", "phone-call-control", "language-change-detected", "language-changed",
    "knowledge-base-request", "call.endpointing.request", "voice-request", "workflow.node.started", "metadata",
    "tool-calls-result", "tool.completed",
})  # fmt: skip
_BRACKET = re.compile(r'^transcript\[transcriptType="?(\w+)"?\]$')


def read_frame(payload: bytes) -> Message:
    """A text frame of Vapi's websocket, in the tolerant order of §4.4.

    Raises:
        BadMessage: no JSON object with a type. To be counted and ignored.
    """
    if len(payload) > MOST_FRAME_BYTES:
        raise BadMessage(f"frame over {MOST_FRAME_BYTES} bytes")
    frame = _object(payload)
    if not isinstance(frame.get("type"), str) and isinstance(frame.get("message"), dict):
        frame = frame["message"]
    return _content(frame)


def read_webhook(body: bytes) -> Webhook:
    """A webhook's body.

    Raises:
        BadMessage: no JSON object with `message`, or a message without a type.
    """
    message = _object(body).get("message")
    if not isinstance(message, dict):
        raise BadMessage("no `message` object")
    content = _content(message)
    call = message.get("call")
    call_id = _text(call, "id") if isinstance(call, dict) else ""
    return Webhook(
        type=message["type"][:80],
        call_id=call_id,
        timestamp_ms=epoch_ms(message.get("timestamp")),
        content=content,
        raw=message,
    )


def _object(payload: bytes) -> dict[str, Any]:
    try:
        data = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadMessage("not JSON") from None
    if not isinstance(data, dict):
        raise BadMessage("not a JSON object")
    return data


def _text(data: Mapping[str, Any], key: str) -> str:
    value = data.get(key)
    return value if isinstance(value, str) else ""


def _content(message: Mapping[str, Any]) -> Message:
    kind = message.get("type")
    if not isinstance(kind, str):
        raise BadMessage("no type")
    bracket = _BRACKET.match(kind)
    if bracket:
        return _transcript(message, final=bracket[1] == "final" or _is_final(message))
    reader = _READERS.get(kind)
    if reader is not None:
        return reader(message)
    return Noted(kind) if kind in _NOTED else Unknown(kind[:80])


def _is_final(message: Mapping[str, Any]) -> bool:
    return _text(message, "transcriptType") == "final"


def _transcript(message: Mapping[str, Any], *, final: bool) -> Message:
    return Transcript(
        _text(message, "role"),
        _text(message, "transcript"),
        final,
        confidence=confidence(message.get("confidence")),
        at_ms=epoch_ms(message.get("timestamp")),
    )


def _agent_spoke(message: Mapping[str, Any]) -> Message:
    timing = message.get("timing")
    return AgentSpoke(_text(message, "text"), _turn(message), spoken_words(timing) if isinstance(timing, dict) else ())


def _turn(message: Mapping[str, Any]) -> int | None:
    found = number(message.get("turn"))
    return None if found is None else int(found)


def _cost_usd(message: Mapping[str, Any]) -> float | None:
    breakdown = message.get("costBreakdown")
    total = breakdown.get("total") if isinstance(breakdown, dict) else None
    return number(message.get("cost")) or number(total)


def _tool_calls(message: Mapping[str, Any]) -> Message:
    """The calls, wherever this version of Vapi puts them (§8.2)."""
    listed = message.get("toolCallList") or message.get("toolCalls")
    if not isinstance(listed, list):
        with_tools = message.get("toolWithToolCallList")
        pairs = with_tools if isinstance(with_tools, list) else []
        listed = [pair.get("toolCall") for pair in pairs if isinstance(pair, dict)]
    return ToolCalls(tuple(_tool_call(one) for one in listed if isinstance(one, dict)))


def _tool_call(one: Mapping[str, Any]) -> ToolCall:
    inner = one.get("function")
    function: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    candidates = (
        function.get("arguments"),
        function.get("parameters"),
        one.get("arguments"),
        one.get("parameters"),
    )
    given: object = next((candidate for candidate in candidates if candidate is not None), {})
    arguments, problem = _arguments(given)
    return ToolCall(_text(one, "id"), _text(function, "name") or _text(one, "name"), arguments, problem)


def _arguments(given: object) -> tuple[Mapping[str, Any], str | None]:
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given) if given.strip() else {}
        except msgspec.DecodeError:
            return {}, "The arguments are not JSON."
    if not isinstance(given, dict):
        return {}, "The arguments are not an object."
    return given, None


def _function_call(message: Mapping[str, Any]) -> Message:
    inner = message.get("functionCall")
    function: Mapping[str, Any] = inner if isinstance(inner, dict) else {}
    arguments, problem = _arguments(function.get("parameters") or function.get("arguments") or {})
    name = _text(function, "name")
    # It has no id: the same question in the same call is taken for a repetition of the same request.
    identity = f"function-call:{name}:{msgspec.json.encode(arguments, order='deterministic').decode()}"
    return FunctionCall(ToolCall(identity, name, arguments, problem))


_READERS: dict[str, Callable[[Mapping[str, Any]], Message]] = {
    "status-update": lambda m: StatusUpdate(_text(m, "status"), _text(m, "endedReason")),
    "speech-update": lambda m: SpeechUpdate(_text(m, "role"), _text(m, "status") == "started"),
    "transcript": lambda m: _transcript(m, final=_is_final(m)),
    "user-interrupted": lambda m: UserInterrupted(_text(m, "turnId")),
    "voice-input": lambda m: VoiceInput(_text(m, "input"), _turn(m)),
    "assistant.speechStarted": _agent_spoke,
    "tool-calls": _tool_calls,
    "function-call": _function_call,
    "end-of-call-report": lambda m: EndOfCallReport(_text(m, "endedReason"), _cost_usd(m)),
    "assistant-request": lambda m: AssistantRequest(),
    "hang": lambda m: Hang(),
}


# --- answers and orders ---------------------------------------------------------------------------------------------


def tool_results(results: Sequence[ToolResult]) -> bytes:
    """The answer to `tool-calls`: one entry a call, in single lines of text (§8.3)."""
    entries = [
        {"toolCallId": one.tool_call_id, "name": one.name, "result" if one.ok else "error": " ".join(one.text.split())}
        for one in results
    ]
    return msgspec.json.encode({"results": entries})


def function_result(result: ToolResult) -> bytes:
    """The answer to the old `function-call`."""
    return msgspec.json.encode({"result": " ".join(result.text.split())})


def say(content: str, *, end_call_after: bool = False, interrupt: bool = False) -> bytes:
    """Let the assistant speak (§5.2)."""
    order = {"type": "say", "content": content, "endCallAfterSpoken": end_call_after}
    return msgspec.json.encode({**order, "interruptAssistantEnabled": interrupt})


def add_message(role: str, content: str, *, respond: bool) -> bytes:
    """Put a message into the conversation; `respond` lets the assistant answer it at once (§5.2)."""
    message = {"role": role, "content": content}
    return msgspec.json.encode({"type": "add-message", "message": message, "triggerResponseEnabled": respond})


def control(what: str) -> bytes:
    """`mute-assistant`, `unmute-assistant`, `mute-customer`, `unmute-customer` or `say-first-message` (§5.2)."""
    return msgspec.json.encode({"type": "control", "control": what})


def end_call() -> bytes:
    """End the call (§4.5)."""
    return b'{"type":"end-call"}'


# --- why a call ended ------------------------------------------------------------------------------------------------


class EndedClass(Enum):
    """What an `endedReason` means: an open set of more than 600 strings, read by pattern (§14.3)."""

    CUSTOMER = "customer"
    ASSISTANT = "assistant"
    LIMIT = "limit"
    PROVIDER_LEG = "provider leg"
    NOT_STARTED = "not started"
    FAULT = "fault"
    UNKNOWN = "unknown"

    @property
    def is_failure(self) -> bool:
        return self in (EndedClass.NOT_STARTED, EndedClass.FAULT)


_EXACT = {
    "exceeded-max-duration": EndedClass.LIMIT,
    "silence-timed-out": EndedClass.LIMIT,
    "voicemail": EndedClass.LIMIT,
    "manually-canceled": EndedClass.LIMIT,
    "call-deleted": EndedClass.LIMIT,
    "vonage-completed": EndedClass.PROVIDER_LEG,
    "vonage-disconnected": EndedClass.PROVIDER_LEG,
    "phone-call-provider-closed-websocket": EndedClass.PROVIDER_LEG,
    "worker-shutdown": EndedClass.FAULT,
}
_PATTERNS = (
    (
        re.compile(r"^(call\.start\.error|call-start-error|assistant-request-|assistant-not-|assistant-join-)"),
        "NOT_STARTED",
    ),
    (re.compile(r"error|fault|worker-died|never-connected|no-available|failed"), "FAULT"),
    (re.compile(r"^customer-"), "CUSTOMER"),
    (re.compile(r"^assistant-"), "ASSISTANT"),
    (re.compile(r"completed-call$"), "PROVIDER_LEG"),
)


def ended_class(reason: str) -> EndedClass:
    """Exact match first, then by pattern; what has no fault in it is an ordinary end."""
    known = _EXACT.get(reason)
    if known is not None:
        return known
    return next((EndedClass[name] for pattern, name in _PATTERNS if pattern.search(reason)), EndedClass.UNKNOWN)

"""Bodies that we send to Vapi's REST side. Strict: unknown properties are answered with 400 (vapi.md §2). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import Any

from engine.agent import Turns
from engine.phrases import PhraseBook
from engine.tools import ToolSpec
from engine.wire.vapi_schema import vapi_schema

CLIENT_MESSAGES = (
    "status-update", "speech-update", "transcript", "user-interrupted", "conversation-update", "model-output",
    "tool-calls", "hang", "assistant.started", "voice-input", "assistant.speechStarted",
)  # fmt: skip
"""What comes as text on the websocket (§4.4)."""

SERVER_MESSAGES = (
    "status-update", "tool-calls", "end-of-call-report", "user-interrupted", "hang", "assistant.started",
)  # fmt: skip
"""What comes as webhooks: what needs an answer or outlives the socket; the rest comes sooner on the websocket."""

TRANSPORT = {
    "provider": "vapi.websocket",
    "audioFormat": {"format": "mulaw", "container": "raw", "sampleRate": 8000},
}
MOST_NAME_CHARS = 40
SLOW_MS = 3000  # without an answer for so long a tool is slow (Vapi takes 100 to 120,000)
MOST_WORDS = 10  # of `numWords` (§11.2)
LONGEST_VOICE_S, LONGEST_BACKOFF_S = 0.5, 10.0


def function_tool(spec: ToolSpec, server: Mapping[str, Any]) -> dict[str, Any]:
    """One of our tools as Vapi's model sees it (§8.1)."""
    function = {"name": spec.name, "description": spec.description[:999], "parameters": vapi_schema(spec.parameters)}
    tool = {"type": "function", "async": False, "function": function, "server": dict(server)}
    messages = tool_messages(spec)
    return tool | ({"messages": messages} if messages else {})


def tool_messages(spec: ToolSpec) -> list[dict[str, Any]]:
    """What Vapi says while the tool runs (§8.4): one line when it starts or fails, and each slow line in its turn.

    `contents` is no choice of words: it holds the same words in several languages.
    """
    lines = spec.policy.lines
    start = [{"type": "request-start", "content": words} for words in lines.start[:1]]
    slow = [
        {"type": "request-response-delayed", "content": words, "timingMilliseconds": SLOW_MS * number}
        for number, words in enumerate(lines.slow, 1)
    ]
    failed = [{"type": "request-failed", "content": words} for words in lines.failed[:1]]
    return [*start, *slow, *failed]


def stop_speaking_plan(turns: Turns, *, by_keyword: bool) -> dict[str, Any]:
    """`stopSpeakingPlan` (§11.2) that decides as we do, so that Vapi stops when we drop and talks on when we go on.

    One word interrupts, noise does not. Vapi knows no combinations of its acknowledgements, so it gets the doubled
    words too ("yeah yeah"), and no keywords, so there they are interruption phrases and other speech needs ten words.

    Args:
        by_keyword: whether keywords are asked for in this call (`engine.interrupting.in_force`).
    """
    book = PhraseBook.of(turns.phrases)
    keywords = turns.keywords.words if turns.keywords is not None and by_keyword else ()
    never = _spellings(book.never)
    doubled = [f"{phrase} {phrase}" for phrase in never if " " not in phrase]
    return {
        "numWords": MOST_WORDS if keywords else 1,
        "voiceSeconds": min(turns.min_speech_ms / 1000, LONGEST_VOICE_S),
        "backoffSeconds": min(turns.debounce_ms / 1000, LONGEST_BACKOFF_S),
        "acknowledgementPhrases": list(dict.fromkeys([*never, *doubled])),
        "interruptionPhrases": _spellings((*book.always, *keywords)),
    }


def _spellings(phrases: Iterable[str]) -> list[str]:
    """Lower case as Vapi's own lists, with and without hyphens: which its recogniser writes is not known."""
    both = ((phrase.lower(), phrase.lower().replace("-", " ")) for phrase in phrases)
    return list(dict.fromkeys(chain.from_iterable(both)))


def assistant_body(
    assistant: Mapping[str, Any], *, tools: Sequence[ToolSpec], server: Mapping[str, Any], turns: Turns
) -> dict[str, Any]:
    """CreateAssistantDTO (§11.1): the agent file's assistant with our tools, message lists and server.

    Without a `stopSpeakingPlan` of its own it gets the one of `turns`; keywords with hours are for each call's
    overrides to say.
    """
    body = dict(assistant)
    model = dict(body.get("model") or {})
    shown = [spec for spec in tools if not spec.hidden]
    if shown:
        model["tools"] = [*(model.get("tools") or []), *(function_tool(spec, server) for spec in shown)]
    if model:
        body["model"] = model
    body.setdefault("backgroundSound", "off")  # a constant office hum would be mixed into the audio
    by_keyword = turns.keywords is not None and not turns.keywords.hours
    body.setdefault("stopSpeakingPlan", stop_speaking_plan(turns, by_keyword=by_keyword))
    body.setdefault("clientMessages", list(CLIENT_MESSAGES))
    body.setdefault("serverMessages", list(SERVER_MESSAGES))
    body["server"] = {**server, **dict(body.get("server") or {})}
    return body


def create_call_body(
    *,
    assistant_id: str | None,
    assistant: Mapping[str, Any] | None,
    name: str,
    server: Mapping[str, Any],
    variables: Mapping[str, str] | None = None,
    stop_speaking: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """CreateCallDTO for the raw-audio websocket (§3, §4.1).

    Args:
        assistant_id: a saved assistant, whose message lists and server are overridden for this call; or
        assistant: an inline one, complete.
        name: our call id, to find the call again.
        stop_speaking: a `stopSpeakingPlan` for this call instead of the assistant's.

    Raises:
        ValueError: neither or both assistants.
    """
    if (assistant_id is None) == (assistant is None):
        raise ValueError("give assistant_id or assistant, one of them")
    body: dict[str, Any] = {"name": name[:MOST_NAME_CHARS], "transport": TRANSPORT}
    overrides: dict[str, Any] = {"variableValues": dict(variables or {})}
    if stop_speaking is not None:
        overrides["stopSpeakingPlan"] = dict(stop_speaking)
    if assistant_id is None:
        body["assistant"] = dict(assistant or {})
    else:
        body["assistantId"] = assistant_id
        overrides |= {
            "server": dict(server),
            "clientMessages": list(CLIENT_MESSAGES),
            "serverMessages": list(SERVER_MESSAGES),
        }
    body["assistantOverrides"] = overrides
    return body


def with_variables(body: Mapping[str, Any], variables: Mapping[str, str]) -> Mapping[str, Any]:
    """A `POST /call` body with more `variableValues` (§11.3); those that it has already win."""
    if not variables:
        return body
    overrides = dict(body.get("assistantOverrides") or {})
    overrides["variableValues"] = {**variables, **(overrides.get("variableValues") or {})}
    return {**body, "assistantOverrides": overrides}

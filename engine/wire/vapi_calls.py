"""Bodies that we send to Vapi's REST side. Strict: unknown properties are answered with 400 (vapi.md §2). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.tools import ToolSpec

CLIENT_MESSAGES = (
    "status-update", "speech-update", "transcript", "user-interrupted", "conversation-update", "model-output",
    "tool-calls", "hang", "assistant.started",
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


def function_tool(spec: ToolSpec, server: Mapping[str, Any]) -> dict[str, Any]:
    """One of our tools as Vapi's model sees it (§8.1)."""
    function = {"name": spec.name, "description": spec.description[:999], "parameters": dict(spec.parameters)}
    return {"type": "function", "async": False, "function": function, "server": dict(server)}


def assistant_body(
    assistant: Mapping[str, Any], *, tools: Sequence[ToolSpec], server: Mapping[str, Any]
) -> dict[str, Any]:
    """CreateAssistantDTO (§11.1): the agent file's assistant with our tools, message lists and server."""
    body = dict(assistant)
    model = dict(body.get("model") or {})
    if tools:
        model["tools"] = [*(model.get("tools") or []), *(function_tool(spec, server) for spec in tools)]
    if model:
        body["model"] = model
    body.setdefault("backgroundSound", "off")  # a constant office hum would be mixed into the audio
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
) -> dict[str, Any]:
    """CreateCallDTO for the raw-audio websocket (§3, §4.1).

    Args:
        assistant_id: a saved assistant, whose message lists and server are overridden for this call; or
        assistant: an inline one, complete.
        name: our call id, to find the call again.

    Raises:
        ValueError: neither or both assistants.
    """
    if (assistant_id is None) == (assistant is None):
        raise ValueError("give assistant_id or assistant, one of them")
    body: dict[str, Any] = {"name": name[:MOST_NAME_CHARS], "transport": TRANSPORT}
    overrides: dict[str, Any] = {"variableValues": dict(variables or {})}
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

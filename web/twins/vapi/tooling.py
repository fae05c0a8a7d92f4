"""A tool call of the assistant, on the wire: the request in its live form, and what its answer means (vapi.md §8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from web.twins.vapi.clock import new_tool_call_id
from web.twins.vapi.webhooks import Answer

__all__ = ["SORRY", "ToolCall", "ToolResult", "find_tool", "message_of", "result_of"]

SORRY = "Sorry, I could not check that just now."
NO_RESULT = "No result returned."


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`text` is what the model is told. `spoken`: words that the answer wants said as they are."""

    text: str
    failed: bool = False
    spoken: str = ""
    complaint: str = ""
    """What in the answer is not as Vapi wants it."""


class ToolCall:
    """One call of one function tool."""

    def __init__(self, tool: Mapping[str, Any], arguments: Mapping[str, Any], *, is_preceded_by_text: bool) -> None:
        self.id = new_tool_call_id()
        self.tool = dict(tool)
        self.name = str(tool["function"]["name"])
        self.arguments = dict(arguments)
        self._is_preceded_by_text = is_preceded_by_text

    def _call(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": "function",
            "function": {"name": self.name, "arguments": self.arguments},
            "isPrecededByText": self._is_preceded_by_text,
        }

    def fields(self) -> dict[str, Any]:
        """The three lists that the live form has."""
        tool = {name: entry for name, entry in self.tool.items() if name != "server"}
        if self.tool.get("server"):
            tool["server"] = {name: entry for name, entry in self.tool["server"].items() if name != "secret"}
        return {
            "toolCalls": [self._call()],
            "toolCallList": [self._call()],
            "toolWithToolCallList": [{**tool, "toolCall": self._call()}],
        }


def find_tool(assistant: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """The function tool of that name in the assistant's model; a model calls no tool that it was not given."""
    tools = (assistant.get("model") or {}).get("tools") or []
    found = (one for one in tools if one.get("type") == "function" and one["function"]["name"] == name)
    return next(found, None)


def message_of(tool: Mapping[str, Any], kind: str) -> Mapping[str, Any] | None:
    """What is said meanwhile: the first of the tool's `messages` of a kind (§8.4)."""
    return next((one for one in tool.get("messages") or [] if one["type"] == kind), None)


def result_of(call: ToolCall, answer: Answer) -> ToolResult:
    """What the model hears of a webhook's answer (§8.3)."""
    if answer.status is None:
        return ToolResult(NO_RESULT, failed=True, complaint=f"the tool server: {answer.problem}")
    if not answer.is_good:
        return ToolResult(NO_RESULT, failed=True, complaint=f"the tool server answered {answer.status}, not 200")
    body = answer.json()
    results = body.get("results") if isinstance(body, dict) else None
    if not isinstance(results, list):
        return ToolResult(NO_RESULT, failed=True, complaint="the answer to tool-calls has no list of results")
    entry = next((one for one in results if isinstance(one, dict) and one.get("toolCallId") == call.id), None)
    if entry is None:
        return ToolResult(NO_RESULT, failed=True, complaint="no result has the toolCallId that was asked")
    return _read(entry)


def _read(entry: Mapping[str, Any]) -> ToolResult:
    failed = entry.get("error") is not None
    text = entry["error"] if failed else entry.get("result")
    if not isinstance(text, str):
        return ToolResult(NO_RESULT, failed=True, complaint="result and error must be strings")
    complaint = "" if entry.get("name") else "a result has no name"
    if "\n" in text or "\r" in text:
        complaint = "a result has line breaks"
    message = entry.get("message")
    spoken = ""
    if isinstance(message, dict) and message.get("role") != "system":
        spoken = str(message.get("content") or "")
    return ToolResult(" ".join(text.split()), failed, spoken, complaint)

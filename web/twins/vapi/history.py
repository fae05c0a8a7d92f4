"""The record of one conversation in Vapi's three forms: `messages`, `messagesOpenAIFormatted`, `transcript` (§14.2)."""

from __future__ import annotations

import json
from typing import Any

__all__ = ["History"]


class History:
    """Times are epoch milliseconds. `start_ms` is the first audio; `secondsFromStart` counts from there."""

    def __init__(self, prompt: list[dict[str, Any]], start_ms: int) -> None:
        self.start_ms = start_ms
        self.messages: list[dict[str, Any]] = []
        self.openai: list[dict[str, Any]] = []
        self._lines: list[str] = []
        self._saying: dict[str, Any] = {}
        for one in prompt:
            self.added(one, start_ms)

    @property
    def transcript(self) -> str:
        return "".join(f"{line}\n" for line in self._lines)

    def artifact(self) -> dict[str, Any]:
        """The live state, as messages carry it."""
        return {
            "messages": [dict(one) for one in self.messages],
            "messagesOpenAIFormatted": [dict(one) for one in self.openai],
        }

    def added(self, message: dict[str, Any], now_ms: int) -> None:
        """A message that the prompt or an `add-message` brought in."""
        role, content = message["role"], message.get("content") or ""
        self._keep({"role": "bot" if role == "assistant" else role, "message": content}, now_ms)
        self.openai.append({"role": role, "content": content})

    def user(self, text: str, began_ms: int, ended_ms: int) -> None:
        entry = self._keep({"role": "user", "message": text}, began_ms)
        entry |= {"endTime": ended_ms, "duration": ended_ms - began_ms}
        self.openai.append({"role": "user", "content": text})
        self._lines.append(f"User: {text}")

    def bot_begins(self, text: str, now_ms: int) -> dict[str, Any]:
        """The assistant starts saying this; give the entry to `bot_ends`."""
        self._saying = {"role": "assistant", "content": text}
        self.openai.append(self._saying)
        return self._keep({"role": "bot", "message": text}, now_ms)

    def bot_ends(self, entry: dict[str, Any], spoken: str, now_ms: int) -> None:
        """`spoken`: as far as it came. `messages` keep the whole text all the same, as captured ones do; what the model
        is told (`openai`) does not."""
        self._saying["content"] = spoken
        if not spoken:
            self.openai = [one for one in self.openai if one is not self._saying]
        entry |= {"endTime": now_ms, "duration": now_ms - entry["time"], "source": ""}
        if spoken:
            self._lines.append(f"AI: {spoken}")

    def tool_call(self, call_id: str, name: str, arguments: dict[str, Any], now_ms: int) -> None:
        """In the history, other than in the webhook, the arguments are a string of JSON (§8.2)."""
        calls = [
            {"id": call_id, "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}},
        ]
        self._keep({"role": "tool_calls", "message": ""}, now_ms)["toolCalls"] = calls
        self.openai.append({"role": "assistant", "tool_calls": calls})

    def tool_result(self, call_id: str, name: str, result: str, now_ms: int) -> None:
        self._keep({"role": "tool_call_result", "toolCallId": call_id, "name": name, "result": result}, now_ms)
        self.openai.append({"role": "tool", "tool_call_id": call_id, "content": result})

    def _keep(self, entry: dict[str, Any], at_ms: int) -> dict[str, Any]:
        entry |= {"time": at_ms, "secondsFromStart": round((at_ms - self.start_ms) / 1000, 3)}
        self.messages.append(entry)
        return entry

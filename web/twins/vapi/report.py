"""What is known once a call is over: cost, artifact, the end-of-call report (vapi.md §14)."""

from __future__ import annotations

from typing import Any

from web.twins.vapi.clock import iso
from web.twins.vapi.state import CallState

__all__ = ["final_facts", "report_fields"]

_ZERO_COST = {
    "transport": 0, "stt": 0, "llm": 0, "tts": 0, "vapi": 0, "chat": 0, "total": 0, "llmPromptTokens": 0,
    "llmCompletionTokens": 0, "llmCachedPromptTokens": 0, "ttsCharacters": 0,
}  # fmt: skip


def final_facts(state: CallState) -> dict[str, Any]:
    """What the call object grows when it has ended. The twin costs nothing, and keeps no recording."""
    history = state.history
    variables = state.record.variables
    spoken = [one for one in history.messages if one["role"] == "bot"]
    heard = [one for one in history.messages if one["role"] == "user"]
    artifact = {
        **history.artifact(),
        "transcript": history.transcript,
        "nodes": [],
        "variables": variables,
        "variableValues": variables,
        "transfers": [],
        "performanceMetrics": _metrics(state),
    }
    characters = sum(len(one["message"]) for one in spoken)
    return {
        "analysis": {
            "summary": f"The caller spoke {len(heard)} times, the assistant {len(spoken)} times.",
            "successEvaluation": "true",
        },
        "artifact": artifact,
        "cost": 0,
        "costBreakdown": {**_ZERO_COST, "ttsCharacters": characters},
        "costs": [{"type": "transport", "provider": "vapi.websocket", "minutes": 0, "cost": 0}],
    }


def report_fields(state: CallState, facts: dict[str, Any], ended_ms: int) -> dict[str, Any]:
    """The report's own fields, in the order of the captures; the copies at top level are on the wire too."""
    body, artifact = state.record.body, facts["artifact"]
    fields: dict[str, Any] = {"analysis": facts["analysis"], "artifact": artifact}
    if body.get("startedAt"):
        length_ms = max(0, ended_ms - state.history.start_ms)
        fields |= {"startedAt": body["startedAt"], "endedAt": iso(ended_ms)}
    else:
        length_ms = 0
    return {
        **fields,
        "endedReason": body["endedReason"],
        "cost": facts["cost"],
        "costBreakdown": facts["costBreakdown"],
        "costs": facts["costs"],
        "durationMs": length_ms,
        "durationSeconds": round(length_ms / 1000, 3),
        "durationMinutes": round(length_ms / 60_000, 4),
        "summary": facts["analysis"]["summary"],
        "transcript": artifact["transcript"],
        "messages": artifact["messages"],
    }


def _metrics(state: CallState) -> dict[str, Any]:
    turns = state.latencies
    names = ("modelLatency", "voiceLatency", "transcriberLatency", "endpointingLatency", "turnLatency")
    means = {f"{name}Average": round(sum(one[name] for one in turns) / len(turns)) for name in names} if turns else {}
    return {
        "turnLatencies": turns,
        **means,
        "numUserInterrupted": state.interruptions,
        "numAssistantInterrupted": 0,
    }

"""`callscope check --against-vapi`: what we would send, held against the official SDK's types, at every depth."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import pytest
from vapi.types import CreateAssistantDto

from engine.errors import BadSettings
from engine.tools import ToolEffect, ToolSpec
from engine.wire.vapi_calls import function_tool
from web.against_vapi import against_vapi, misfits
from web.agents import example, load_agent
from web.cli.check import check
from web.findings import Finding
from web.scaffold import make_agent


def found(folder: Path, assistant: str) -> list[Finding]:
    path = folder / "agent.yaml"
    path.write_text(f"name: x\nassistant: {{{assistant}}}\n", encoding="utf-8")
    return against_vapi(load_agent(path))


def test_a_new_agent_is_what_vapi_takes(tmp_path: Path) -> None:
    """As `callscope new` makes it."""
    make_agent(tmp_path / "demo-agent")
    assert against_vapi(load_agent(tmp_path / "demo-agent")) == []


def test_the_example_is_what_vapi_takes(capsys: pytest.CaptureFixture[str]) -> None:
    """With its tools, our message lists, our server and our plans, as a saved and as an inline assistant."""
    check(example(), against_vapi=True, strict=True)
    assert capsys.readouterr().out.endswith("tools: check_availability; Vapi's SDK knows every key\n")


MODEL = "model: {provider: openai, model: gpt-4o, "
FUNCTION = "{type: function, function: {name: a, paramaters: »{}}}"
# `»` stands where the finding is to point.
UNKNOWN = [
    ("transcriber: {provider: deepgram, langage: »en}", "transcriber.langage", "Did you mean `language`?"),
    ("firstMesage: »hi", "firstMesage", "Did you mean `firstMessage`?"),
    (MODEL + "messages: [{role: system, contnt: »x}]}", "model.messages[0].contnt", "Did you mean `content`?"),
    (MODEL + f"tools: [{FUNCTION}]}}", "model.tools[0].function.paramaters", "`parameters`"),
    ("voice: {provider: »vapy, voiceId: Elliot}", "voice.provider", "Did you mean `vapi`?"),
    ("voice: »{voiceId: Elliot}", "voice", "`provider` is missing."),
    ("maxDurationSeconds: »long", "maxDurationSeconds", "valid number, not a text"),
    ("startSpeakingPlan: {waitSeconds: »'0.4'}", "startSpeakingPlan.waitSeconds", "valid number, not a text"),
    ("hooks: »{on: call.ending}", "hooks", "must be a list, not an object"),
    ("clientMessages: [transcript, »speech-updates]", "clientMessages[1]", "Did you mean `speech-update`?"),
    ("artifactPlan: {recordingEnabled: »yes please}", "artifactPlan.recordingEnabled", "valid boolean, not a text"),
]


@pytest.mark.parametrize(("assistant", "at", "says"), UNKNOWN, ids=[at for _, at, _ in UNKNOWN])
def test_what_the_sdk_does_not_know(tmp_path: Path, assistant: str, at: str, says: str) -> None:
    """A misspelt key or a wrong value deep inside, with its line and the nearest right name."""
    told = [one for one in found(tmp_path, assistant.replace("»", "")) if one.at == f"$.assistant.{at}"]
    place = len("assistant: {") + assistant.index("»") + 1
    assert {(one.line, one.column) for one in told} == {(2, place)}
    assert any(says in f"{one.what} {one.fix}" for one in told)


def test_only_what_is_wrong_is_told(tmp_path: Path) -> None:
    """A good assistant of other providers is fine, and one fault is one finding."""
    good = "transcriber: {provider: deepgram, model: nova-3}, voice: {provider: 11labs, voiceId: 21m00Tcm4TlvDq8ikWA}"
    assert found(tmp_path, good) == []
    assert len(found(tmp_path, good + ", firstMesage: hi")) == 1


def test_a_missing_sdk_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no dependency of a service: who asks for it is told what to install."""
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.split(".", maxsplit=1)[0] == "vapi":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(BadSettings, match="pip install vapi-server-sdk"):
        against_vapi(load_agent(example()))


NESTED = {
    "type": "object",
    "properties": {
        "party": {"type": "integer", "minimum": 1, "maximum": 12, "description": "How many guests"},
        "when": {"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}], "default": None},
        "kind": {"enum": ["a", "b"]},
        "guest": {"$ref": "#/$defs/Guest"},
        "rows": {"type": "array", "items": {"$ref": "#/$defs/Guest"}, "maxItems": 3},
        "either": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        "tree": {"$ref": "#/$defs/Tree"},
    },
    "required": ["party"],
    "additionalProperties": False,
    "$defs": {
        "Guest": {"type": "object", "properties": {"name": {"type": "string", "minLength": 1}}, "title": "Guest"},
        "Tree": {"type": "object", "properties": {"below": {"type": "array", "items": {"$ref": "#/$defs/Tree"}}}},
    },
}


def test_a_tools_schema_is_told_in_keys_that_vapi_knows() -> None:
    """Bounds become words, choices and references what they mean, and every property has its type."""
    spec = ToolSpec("book", "Book a table.", NESTED, ToolEffect.COMMIT)
    told = function_tool(spec, {"url": "https://calls.example.com"})["function"]["parameters"]
    assert told["properties"]["party"] == {"type": "integer", "description": "How many guests (at least 1, at most 12)"}
    assert told["properties"]["when"] == {"type": "string", "description": "(at most 5 characters)"}
    assert told["properties"]["kind"] == {"type": "string", "enum": ["a", "b"]}
    assert told["properties"]["guest"]["properties"]["name"]["type"] == "string"
    assert told["properties"]["rows"]["items"]["title"] == "Guest"
    assert told["properties"]["either"] == {"type": "integer", "description": "(or string)"}
    assert told["required"] == ["party"]
    tool = {"type": "function", "function": {"name": "book", "parameters": told}}
    model = {"provider": "openai", "model": "gpt-4o", "tools": [tool]}
    assert misfits({"model": model}, CreateAssistantDto, "$") == []

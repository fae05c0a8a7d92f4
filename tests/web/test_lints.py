"""Lints: what is unwise in an agent file or a TwiML document, with its line; and what `callscope check` makes of it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from engine.errors import BadSettings
from web.agent_lints import LINTS, lint_agent
from web.agents import example, inspect_agent
from web.cli.check import check
from web.findings import Finding, Severity

KEY = "sk-live-Zq7Rk2Wv9Xp4Lm1Nb8Tc3"
TOOL = """from actors.tools import tool
@tool(effect="read", timeout_s=12)
async def look() -> str:
    "Look."
    return ""
"""


def lints(folder: Path, text: str) -> list[Finding]:
    path = folder / "agent.yaml"
    path.write_text("name: x\n" + text, encoding="utf-8")
    (folder / "tools.py").write_text(TOOL, encoding="utf-8")
    return lint_agent(inspect_agent(path, {"CRM_KEY": KEY}))


SOME = ("speech-update", "status-update", "user-interrupted")
LEGAL = "turns: {uninterruptible: [we record]}\n"
# What stands from line 2 on, `»` where the finding is to point; and its code. A line that is fine but for this:
A = "assistant: {{maxDurationSeconds: 600, {}}}\n"
UNWISE = [
    (A.format("phoneNumberId: »p"), "own-phone"),
    (A.format("transport: »{provider: vapi.websocket}"), "own-phone"),
    (A.format("transportConfigurations: [»{provider: twilio}]"), "own-phone"),
    (A.format("server: {url: »'https://me.example.com'}"), "own-server"),
    (A.format("model: {tools: [»{type: function, server: {url: x}}]}"), "tool-elsewhere"),
    (A.format("model: {toolIds: »[a]}"), "tool-elsewhere"),
    (A.format("model: {tools: [{type: function}, »{type: dtmf}]}"), "no-telephony"),
    (A.format("model: {tools: [»{type: transferCall}]}"), "no-telephony"),
    (A.format("model: {tools: [»{type: endCall}]}"), "vapi-hangs-up"),
    (A.format("voicemailDetection: »{provider: vapi}"), "voicemail"),
    (A.format("voicemailMessage: »hello"), "voicemail"),
    (A.format("backgroundSound: »office"), "double-audio"),
    (A.format(f"clientMessages: [{', '.join(SOME)}, transcript, »'transcript[final]']"), "double-transcription"),
    (A.format("serverMessages: [end-of-call-report, »transcript]"), "double-transcription"),
    (A.format("transcriber: »{provider: deepgram}, model: {model: gpt-realtime-2}"), "double-transcription"),
    (A.format("transcriber: »{provider: custom-transcriber}"), "double-transcription"),
    (A.format("hooks: [»{on: customer.speech.timeout}]"), "double-idle"),
    (A.format("messagePlan: {idleMessages: »[hello]}"), "double-idle"),
    (A.format("silenceTimeoutSeconds: »30"), "silence-timeout"),
    (A.format("firstMessage: »hello"), "first-message"),
    (A.format("firstMessage: we record, firstMessageInterruptionsEnabled: »true") + LEGAL, "first-message"),
    (A.format("stopSpeakingPlan: »{numWords: 0}"), "stop-speaking"),
    (A.format("clientMessages: »[transcript, speech-update, status-update]"), "messages"),
    (A.format("serverMessages: »[end-of-call-report]") + "tools: tools.py\n", "messages"),
    (A.format("server: {timeoutSeconds: »5}") + "tools: tools.py\n", "tool-timeout"),
    ("assistant: {maxDurationSeconds: »60}\n", "duration"),
    ("assistant: {}\nlimits: {max_duration_s: »900}\n", "duration"),
    ("assistant_id: »a\ntools: tools.py\n", "saved-assistant"),
    ("limits: {}\n", "saved-assistant"),
    (A.format("recordingEnabled: »true"), "gone-key"),
    (A.format(f"metadata: {{k: »'{KEY}'}}"), "secret-in-file"),
    (A.format("model: {apiKey: »correct-horse-battery}"), "secret-in-file"),
    (A.format("metadata: {k: »'Bearer abcdefghijklmnop'}"), "secret-in-file"),
    (A.format("model: {url: »'https://m.example.com/?api_key=${CRM_KEY}'}"), "secret-in-url"),
    (A.format("model: {url: »'https://me:pass@m.example.com/'}"), "secret-in-url"),
    (A.format("model: {messages: [{role: system, content: »'use ${CRM_KEY}'}]}"), "secret-said"),
]


@pytest.mark.parametrize(("text", "code"), UNWISE, ids=[f"{code} {text[:70]}" for text, code in UNWISE])
def test_what_is_unwise_has_its_place(tmp_path: Path, text: str, code: str) -> None:
    """Its line and column, a reason and a fix; nothing else is complained of, and no secret is quoted."""
    (found,) = lints(tmp_path, text.replace("»", ""))
    before = ("name: x\n" + text).partition("»")[0] if "»" in text else "name: "
    assert (found.line, found.column) == (before.count("\n") + 1, len(before.rpartition("\n")[2]) + 1), found
    assert found.code == code
    assert len(found.what) > 20
    assert found.fix
    assert KEY not in str(found)


def test_every_lint_has_a_case_and_cites_its_page() -> None:
    """A lint that nobody tries may never fire; one without a page is an opinion."""
    assert {code for _, code in UNWISE} == set(LINTS)
    for code, (_, look) in LINTS.items():
        assert look.__doc__, code
        assert " §" in look.__doc__ or "(F " in look.__doc__, code


def test_the_page_lists_every_lint() -> None:
    """And none that is not there."""
    page = (Path(__file__).parents[2] / "specs" / "agent-file.md").read_text(encoding="utf-8")
    table = page.partition("| lint | what is wrong |")[2].partition("## ")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE) == list(LINTS)


def test_the_example_is_wise() -> None:
    """Nothing to complain of in what we give people to begin with."""
    assert lint_agent(inspect_agent(example())) == []


def test_a_line_may_allow_what_it_holds(tmp_path: Path) -> None:
    """By a comment with the code; another code does not count, and faults cannot be allowed."""
    text = "assistant:\n  maxDurationSeconds: 600\n  backgroundSound: office{}\n"
    assert lints(tmp_path, text.format("  # callscope: allow double-audio")) == []
    assert lints(tmp_path, text.format("  # callscope: allow voicemail, double-audio")) == []
    assert [one.code for one in lints(tmp_path, text.format("  # callscope: allow voicemail"))] == ["double-audio"]
    (tmp_path / "agent.yaml").write_text("name: x\nturns: {voice_ms: x}  # callscope: allow fault\n", encoding="utf-8")
    with pytest.raises(BadSettings):
        check(tmp_path / "agent.yaml")


@pytest.mark.parametrize(
    ("text", "strict", "status"),
    [
        ("assistant: {maxDurationSeconds: 600}\n", True, 0),
        ("assistant: {maxDurationSeconds: 60}\n", False, 0),
        ("assistant: {maxDurationSeconds: 60}\n", True, 1),
        ("assistant: {server: {url: x}}\n", False, 2),
        ("assistant: {maxDurationSeconds: 60, server: {url: x}}\n", True, 2),
    ],
)
def test_the_status_says_how_bad_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, strict: bool, status: int
) -> None:
    """0: fine; 1: warnings, where those count; 2: errors."""
    path = tmp_path / "agent.yaml"
    path.write_text("name: x\n" + text, encoding="utf-8")
    try:
        check(path, strict=strict)
    except SystemExit as left:
        assert left.code == status
    else:
        assert status == 0
    told = capsys.readouterr().out
    assert ("is fine" in told) is (status < 2)


def test_json_for_editors(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Faults and lints in one form: file, line, column, severity, code, what and fix."""
    path = tmp_path / "agent.yaml"
    path.write_text("name: x\nturns: {voice_ms: -1}\n", encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        check(path, json=True)
    assert left.value.code == 2
    (fault,) = json.loads(capsys.readouterr().out)
    assert fault == {
        "file": str(path), "line": 2, "column": 19, "code": "fault", "severity": "error", "at": "$.turns.voice_ms",
        "what": "`voice_ms` must be from 20 to 1000, not -1", "fix": "",
    }  # fmt: skip
    path.write_text("name: x\nassistant: {maxDurationSeconds: 60}\n", encoding="utf-8")
    check(path, json=True)
    (warning,) = json.loads(capsys.readouterr().out)
    assert (warning["code"], warning["severity"]) == ("duration", "warning")
    path.write_text("name: [", encoding="utf-8")
    with pytest.raises(SystemExit):
        check(path, json=True)
    assert json.loads(capsys.readouterr().out)[0]["what"].startswith("this is not YAML")


def test_severities_are_two() -> None:
    """Errors and warnings; nothing that nobody acts on."""
    assert {severity for severity, _ in LINTS.values()} == set(Severity)

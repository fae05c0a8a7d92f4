"""The timeline that people read: exact lines for a small call, and nothing that breaks a terminal."""

from __future__ import annotations

import inspect
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import effects, events
from engine.journal import Kind, Record
from web.timeline import Timeline, render
from web.wording import WORDINGS, fill, generic

CALL_ID = f"call-{'0' * 25}7"
NUMBERS: dict[str, object] = {"agent": "bistro", "direction": "inbound", "from": "+14155550123", "to": "+14155550199"}
OPENED, EVENT, EFFECT, PHASE, NOTE, CLOSED = Kind.OPENED, Kind.EVENT, Kind.EFFECT, Kind.PHASE, Kind.NOTE, Kind.CLOSED

CALL: list[tuple[float, Kind, str, dict[str, object]]] = [
    (0.0, OPENED, "Opened", NUMBERS),
    (0.4, EFFECT, "DialAgent", {}),
    (612.0, EVENT, "StreamStarted", {"stream_sid": "MZ1"}),
    (800.5, EVENT, "AgentConnected", {"agent_call_id": "vapi-1"}),
    (800.5, PHASE, "listening", {"from": "connecting"}),
    (1210.0, EVENT, "UtteranceStarted", {"utterance": 1}),
    (1210.0, PHASE, "speaking", {"from": "listening"}),
    (1300.0, EVENT, "AgentTranscript", {"text": "We have seven, eight", "final": False}),
    (3402.0, EVENT, "CallerVoice", {"onset_at": 17.2}),
    (3402.0, PHASE, "interrupted", {"from": "speaking"}),
    (3402.1, EFFECT, "Drop", {"reason": "words", "words": "Eight"}),
    (3900.0, EVENT, "CallerTranscript", {"text": "Eight works.", "final": True}),
    (4000.0, EVENT, "ToolRequested", {"tool_call_id": "t1", "name": "check", "arguments": {"party": 2, "at": "8 pm"}}),
    (4000.1, EFFECT, "RunTool", {"tool_call_id": "t1", "name": "check", "arguments": {"party": 2}}),
    (4411.0, NOTE, "ToolResult", {"tool_call_id": "t1", "name": "check", "ok": True, "text": "It is free."}),
    (4411.2, EVENT, "ToolAnswered", {"tool_call_id": "t1", "ok": True, "took_ms": 411.1}),
    (9000.0, EVENT, "AgentLost", {"why": "socket closed 1006"}),
    (9000.1, EFFECT, "HandOver", {"words": "Sorry.", "number": "+14155550177", "reason": "agent lost"}),
    (9100.0, EVENT, "Sneezed", {"loud": True, "volume_db": 61.5, "said": "at choo", "websocketCallUrl": "wss://x"}),
    (
        61_234.5,
        CLOSED,
        "Closed",
        {"reason": "agent lost", "outcome": "handed over", "duration_ms": 61_234, "recording": {"problem": None}},
    ),
]

EXPECTED = """\
    0.000  call     call from +1•••23 to +1•••99 · agent bistro · inbound
    0.000  engine   → dial the agent
    0.612  twilio   media stream open  MZ1
    0.800  vapi     agent connected  vapi-1
    0.800           connecting → listening
    1.210  agent    begins to be heard  (utterance 1)
    1.210           listening → speaking
    1.300  agent    “We have seven, eight” …
    3.402  caller   voice begins
    3.402           speaking → interrupted
    3.402  engine   → drop what was not heard: words
    3.900  caller   “Eight works.”
    4.000  tool     check(party=2, at=“8 pm”) asked for
    4.000  engine   → run check
    4.411  tool     check → “It is free.”
    4.411  tool     check answered in 411 ms
    9.000  vapi     agent LOST: socket closed 1006
    9.000  engine   → hand over to +1•••77: agent lost · “Sorry.”
    9.100  engine   Sneezed loud=true volume_db=61.5 said=“at choo” websocketCallUrl=…
   61.234  call     over: handed over · agent lost · 61.2 s
"""

ANSI = re.compile(r"\x1b\[[0-9;]*m")


def journal() -> list[Record]:
    return [
        Record(CALL_ID, seq, at_ms, 1_790_000_000.25 + at_ms / 1000, kind, name, dict(data))
        for seq, (at_ms, kind, name, data) in enumerate(CALL)
    ]


def lines(*records: Record) -> list[str]:
    return list(render(records, color=False))


def one(name: str, data: dict[str, Any], kind: Kind = EVENT) -> str:
    return lines(Record(CALL_ID, 3, 1500.0, 0.0, kind, name, data))[0]


def test_a_call_reads_as_a_story() -> None:
    assert "\n".join(render(journal(), color=False)) + "\n" == EXPECTED


CERTIFICATE: dict[str, object] = {
    "n": 1, "utterance": 1, "onset_at": 17.2, "hold_ms": 40.0, "clear_ms": 40.0, "silent_ms": 43.4, "marks_back": 2,
    "decided_ms": 350.0, "decision": "dropped", "reason": "words", "words": "eight works", "heard_ms": 2000.0,
    "unheard_ms": 2100.0, "still_heard_ms": 43.4,
}  # fmt: skip
HEARD: dict[str, object] = {
    "utterance": 1, "text": "We have seven, eight", "cut": True, "heard_ms": 2000.0, "of_ms": 4100.0,
    "policy": "truncate", "generated": "We have seven, eight and nine. Which one?",
}  # fmt: skip


def test_what_the_agent_said_is_what_was_heard() -> None:
    """The generated words are not told as if they had been heard; those that were not stand behind the cut."""
    told: list[tuple[Kind, str, dict[str, object]]] = [
        (EVENT, "AgentTranscript", {"text": "We have seven, eight and", "final": False}),
        (NOTE, "Interruption", CERTIFICATE),
        (NOTE, "AgentHeard", HEARD),
        (EVENT, "AgentTranscript", {"text": "We have seven, eight and nine. Which one?", "final": True}),
        (NOTE, "Line", {"kind": "filler", "text": "Okay.", "how": "clip"}),
        (NOTE, "AgentHeard", {**HEARD, "text": "Eight it is.", "cut": False, "generated": "Eight it is."}),
    ]
    records = [Record(CALL_ID, seq, 1000.0 * seq, 0.0, *one) for seq, one in enumerate(told)]
    assert list(render(records, color=False)) == [
        "    1.000  engine   caller cut in: silent after 43 ms, dropped 2.1 s unheard (words: “eight works”)",
        "    2.000  agent    “We have seven, eight” ✂ and nine. Which one?",
        "    4.000  engine   we say “Okay.” (filler, clip)",
        "    5.000  agent    “Eight it is.”",
    ]
    coloured = list(render(records, color=True))[1]
    assert "\x1b[32m  “We have seven, eight” ✂" in coloured and "\x1b[2m and nine. Which one?" in coloured
    assert len(list(render(records[:2], color=False))) == 2, "as long as nobody says what was heard, what was generated"


def test_colours_change_nothing_but_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "dumb")
    coloured = list(render(journal(), color=True))
    assert [ANSI.sub("", line).rstrip() for line in coloured] == EXPECTED.splitlines()
    assert all("\x1b[" in line for line in coloured)
    assert next(line for line in coloured if "drop what was not heard" in line).count("\x1b[1;33m") == 1


def test_the_time_of_day_instead() -> None:
    plain = list(render(journal(), color=False, relative=False))
    assert all(re.match(r"\d\d:\d\d:\d\d\.\d{3}  \S", line) or "→" in line for line in plain)
    assert plain[0][6:12] == plain[1][6:12] == "20.250"
    assert list(render([Record(CALL_ID, 0, 0, 1e300, NOTE, "X")], color=False, relative=False))


def test_calls_may_be_mixed() -> None:
    timeline = Timeline(show_call=True)
    records = [Record(f"call-{'0' * 20}{name}", 0, 0.0, 0.0, PHASE, "listening") for name in ("aaaaaa", "bbbbbb")]
    assert [line.plain for record in records for line in timeline.lines(record)] == [
        "    0.000  aaaaaa           listening",
        "    0.000  bbbbbb           listening",
    ]


def test_missing_records_are_told() -> None:
    start, end = journal()[0], journal()[8]
    assert lines(start, end)[1] == "    3.402           … 7 records are missing here"
    assert len(lines(end)) == 1, "a live timeline may begin in the middle"


def test_phases_are_followed_without_being_told() -> None:
    phases = [Record(CALL_ID, seq, 0, 0, PHASE, name) for seq, name in enumerate(["connecting", "listening"])]
    assert [line.split("  ")[-1].strip() for line in lines(*phases)] == ["connecting", "connecting → listening"]


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("StreamEnded", {"reason": "stop", "stopped": True}, "twilio   media stream closed: stop"),
        ("StreamEnded", {"reason": "silent", "stopped": False}, "twilio   media stream LOST: silent"),
        ("StreamEnded", {}, "twilio   media stream closed"),
        ("PlaybackDone", {"utterance": 2, "heard_ms": 1240.4}, "agent    heard to the end  (utterance 2, 1240 ms)"),
        ("PlaybackDone", {"utterance": 2}, "agent    heard to the end  (utterance 2)"),
        ("PlaybackDone", {"heard": 2}, "engine   PlaybackDone heard=2"),
        ("ToolAnswered", {"tool_call_id": "?", "ok": False, "took_ms": 9}, "tool     failed after 9 ms"),
        ("MarkReturned", {"name": "u-1.2"}, "twilio   mark u-1.2 back"),
        (
            "Interruption",
            {**CERTIFICATE, "decision": "resumed", "reason": "noise", "words": ""},
            "engine   held 310 ms for a noise, went on",
        ),
        (
            "Interruption",
            {**CERTIFICATE, "decision": "resumed", "reason": "backchannel", "words": "uh-huh"},
            "engine   held 310 ms for a backchannel “uh-huh”, went on",
        ),
        (
            "Interruption",
            {**CERTIFICATE, "decision": "resumed", "reason": "vapi talks on", "words": "", "hold_ms": None},
            "engine   held (vapi talks on), went on",
        ),
        (
            "Interruption",
            {**CERTIFICATE, "reason": "key", "words": "", "silent_ms": None},
            "engine   caller cut in, dropped 2.1 s unheard (key)",
        ),
        ("Interruption", {}, "engine   held (unknown), went on"),
        ("AgentHeard", {**HEARD, "text": ""}, "agent    nothing was heard ✂ We have seven, eight and nine. Which one?"),
        ("AgentHeard", {**HEARD, "policy": "again"}, "“We have seven, eight” ✂ (to be said again) and nine."),
        (
            "AgentHeard",
            {**HEARD, "policy": "keep", "text": HEARD["generated"]},
            "“We have seven, eight and nine. Which one?” ✂ (kept whole in the record)",
        ),
        ("AgentHeard", {"text": None, "generated": 5}, "agent    nothing was heard"),
        ("DigitPressed", {"digit": "5"}, "caller   pressed a key"),
        (
            "Dialled",
            {"number": "+14155550123", "digits": "42", "to": None},
            "Dialled number=+1•••23 digits=… to=null",
        ),
    ],
)
def test_how_things_read(name: str, data: dict[str, object], expected: str) -> None:
    assert expected in one(name, data)


def test_an_unknown_effect_is_known_for_an_order() -> None:
    assert one("Fly", {"far": True}, EFFECT).endswith("engine   → Fly far=true")


def every_kind() -> list[type[msgspec.Struct]]:
    return [
        one
        for module in (events, effects)
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, msgspec.Struct)
    ]


@pytest.mark.parametrize("kind", every_kind(), ids=lambda kind: kind.__name__)
def test_everything_that_the_engine_knows_can_be_shown(kind: type[msgspec.Struct]) -> None:
    samples: dict[str, object] = {
        "str": "text",
        "float": 1.5,
        "int": 3,
        "bool": False,
        "str | None": None,
        "dict[str, Any]": {"a": 1},
    }
    samples |= {"float | None": None}
    data = {one.name: samples[str(kind.__annotations__.get(one.name, "float"))] for one in msgspec.structs.fields(kind)}
    assert len(one(kind.__name__, data)) > 20
    assert len(one(kind.__name__, {})) > 20, "and without its data"


def test_every_row_can_be_filled() -> None:
    """A row with a way of writing that does not exist, or an open bracket, would only show when it is too late."""
    for name, wording in WORDINGS.items():
        for template in (wording.text, wording.otherwise):
            fields = dict.fromkeys(re.findall(r"\{(\w+)", template), 1)
            assert not re.search(r"[\[\]{}]", fill(template, fields)), name
            ways = set(re.findall(r"\{\w+:(\w+)\}", template))
            assert ways <= {"quote", "ms", "seconds", "arguments", "masked"}, name


@pytest.mark.parametrize("evil", ["\x1b[2J\x1b]0;owned\x07", "a\nb\r\nc", "\u202egnol", "\x9b31m", "\0", "[bold]x[/]"])
@pytest.mark.parametrize("color", [True, False])
def test_nobody_steers_the_terminal(evil: str, color: bool) -> None:
    """What a caller says, a model invents or a tool answers is shown, and never obeyed."""
    known = ("CallerTranscript", "ToolRequested", "AgentLost", "Unknown", "AgentHeard", "Interruption", "Line", evil)
    for name in known:
        for kind in (EVENT, PHASE):
            data = {
                "text": evil,
                "generated": evil + evil,
                "words": evil,
                "reason": evil,
                "kind": evil,
                "name": evil,
                "why": evil,
                evil: evil,
                "arguments": {evil: evil},
                "from": evil,
            }
            record = Record(CALL_ID, 0, 0, 0, kind, name, data)
            (line,) = render([record], color=color)
            shown = ANSI.sub("", line) if color else line
            assert shown.isprintable()


@given(st.text(max_size=30), st.dictionaries(st.text(max_size=8), st.text(max_size=30) | st.integers() | st.none()))
def test_anything_gives_one_printable_line(name: str, data: dict[str, object]) -> None:
    assert generic(name, data).isprintable()
    (line,) = render([Record(CALL_ID, 0, 0, 0, EVENT, name, data)], color=False)
    assert line.isprintable()


def test_long_talk_is_cut() -> None:
    assert len(one("AgentTranscript", {"text": "blah " * 1000, "final": True})) < 450

"""What the API takes and gives. The OpenAPI document is made from these types, so that it cannot say anything else.

Times: `…_at` is ISO 8601 in UTC; `…_ms` is milliseconds, `at_ms` and `from_ms`/`to_ms` since the call was admitted,
`began_ms` since 1970.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

State = Literal["live", "ended"]
Role = Literal["viewer", "operator"]
ActionName = Literal["say", "mute_assistant", "unmute_assistant", "hang_up", "transfer", "mark", "unmark"]


class LastWords(msgspec.Struct, frozen=True):
    who: str  # caller, agent, or line: one of our own lines
    text: str
    at_ms: float


class TurnLatency(msgspec.Struct, frozen=True):
    """From the end of the caller's voice to the agent's first sound, over the call's turns."""

    turns: int
    turn_p50: float | None
    turn_p95: float | None


class CallFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is told of every call."""

    id: str
    agent: str | None
    direction: str | None
    from_: str | None = msgspec.field(name="from")
    to: str | None  # both numbers are masked
    began_at: str
    began_ms: int
    duration_ms: float  # so far, while it is live
    phase: str | None
    state: State
    outcome: str | None
    reason: str | None
    last_words: LastWords | None
    latency_ms: TurnLatency
    interruptions: int  # that ended what the agent said
    tools_failed: int
    muted: bool  # the agent, by an operator
    marked: bool
    has_recording: bool


class CallRow(CallFacts, frozen=True, kw_only=True):
    """One call in a list."""

    tools: int


class CallList(msgspec.Struct, frozen=True):
    calls: list[CallRow]
    next: str | None  # give it back as `cursor`
    live: int
    catching_up: bool  # the journal is still being read: older calls may be missing


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    who: str
    at_ms: float
    end_ms: float | None
    text: str
    cut: bool = False  # the caller cut in …
    unheard: str = ""  # … and did not hear this
    kind: str = ""


class StoryLine(msgspec.Struct, frozen=True):
    """One sentence of the plain account. The time of day is beside it: the page says it in the reader's zone."""

    at_ms: float
    at: str
    text: str


class ToolEntry(msgspec.Struct, frozen=True):
    at_ms: float
    what: str
    data: dict[str, Any]


class ToolRow(msgspec.Struct, frozen=True, kw_only=True):
    """One tool call of the ledger."""

    tool_call_id: str
    name: str
    arguments: dict[str, Any] | None
    asked_ms: float
    answered_ms: float | None
    took_ms: float | None
    state: str  # asked, running, ok, failed, or unknown: the call is over and nobody answered
    text: str | None
    repeated: int
    entries: list[ToolEntry]


class Step(msgspec.Struct, frozen=True):
    name: str
    at_ms: float
    since_ms: float  # since the caller's voice ended


class Waterfall(msgspec.Struct, frozen=True, kw_only=True):
    """Where the time of one turn went: from the end of the caller's voice to the agent's first sound."""

    turn: int
    began_ms: float
    first_sound_ms: float
    latency_ms: float
    bridged_ms: float | None  # to a line of our own, when one came first
    steps: list[Step]


class RecordingInfo(msgspec.Struct, frozen=True):
    url: str
    duration_ms: float
    offset_ms: float  # its first sample on the call's clock
    problem: str | None
    waveform_url: str


class CallDetail(CallFacts, frozen=True, kw_only=True):
    """One call whole."""

    turns: list[Turn]
    story: list[StoryLine]
    certificates: list[dict[str, Any]]  # of interruptions: engine.certificate
    tools: list[ToolRow]  # the ledger
    latency: list[Waterfall]
    audio: dict[str, Any] | None
    recording: RecordingInfo | None
    recording_problem: str | None
    marks: list[dict[str, Any]]
    transfer_to: list[str]  # names that the action `transfer` takes
    records: int


class Span(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    from_ms: float
    to_ms: float
    text: str = ""
    kind: str = ""
    who: str = ""
    open: bool = False  # not over yet


class Point(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    at_ms: float
    text: str = ""
    kind: str = ""


class Lane(msgspec.Struct, frozen=True):
    name: str
    spans: list[Span]
    points: list[Point]


class Lanes(msgspec.Struct, frozen=True):
    lanes: list[Lane]
    duration_ms: float


class RecordRow(msgspec.Struct, frozen=True):
    """A record of the journal; numbers are masked and keys left out."""

    call_id: str
    seq: int
    at_ms: float
    at: str
    kind: str
    name: str
    data: dict[str, Any]
    who: str
    text: str  # how the timeline says it


class RecordList(msgspec.Struct, frozen=True):
    records: list[RecordRow]
    next: int | None  # give it back as `after`


class Waveform(msgspec.Struct, frozen=True):
    """Peaks from 0 to 1, the loudest sample of each stretch."""

    duration_ms: float
    caller: list[float]
    heard: list[float]


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An operator's order."""

    action: ActionName
    text: Annotated[str, Meta(min_length=1, max_length=1000)] | UnsetType = UNSET
    to: Annotated[str, Meta(min_length=1, max_length=100)] | UnsetType = UNSET
    note: Annotated[str, Meta(max_length=1000)] | UnsetType = UNSET


class Accepted(msgspec.Struct, frozen=True):
    accepted: bool


class NewCall(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that the service is to make."""

    to: Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}$")]  # E.164
    variables: Annotated[dict[str, Annotated[str, Meta(min_length=1, max_length=500)]], Meta(max_length=50)] = {}
    agent: Annotated[str, Meta(max_length=200)] | UnsetType = UNSET  # the agent that one expects; another is refused


class Dialled(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the service made. Once somebody has answered, GET /api/calls/{id} tells the rest."""

    id: str
    to: str  # masked
    status: Literal[
        "placing", "queued", "initiated", "ringing", "in-progress", "completed", "busy", "no-answer", "failed",
        "canceled", "unknown",
    ]  # fmt: skip
    over: bool
    reason: str
    answered_by: str  # what answering machine detection found, once it has
    began_at: str


class Login(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: Annotated[str, Meta(min_length=1, max_length=500)]


class Session(msgspec.Struct, frozen=True):
    role: Role | None  # None: nobody has logged in
    who: str | None
    csrf: str | None  # send it back as X-CSRF-Token with everything that changes something
    needs_login: bool


class Edge(msgspec.Struct, frozen=True):
    from_: str = msgspec.field(name="from")
    to: str
    event: str
    effects: list[str]
    why: str
    stays: bool


class Diagram(msgspec.Struct, frozen=True):
    phases: list[str]
    edges: list[Edge]
    mermaid: str
    svg: str


class Hello(msgspec.Struct, frozen=True):
    """The first event of every stream. Another `start` than before: the service was started anew."""

    version: str
    start: str
    live: int


class Changes(msgspec.Struct, frozen=True):
    """The event `calls`: rows that changed since the last one."""

    calls: list[CallRow]
    live: int


class Dropped(msgspec.Struct, frozen=True):
    """The event `dropped`, the last one of a stream: why, and that one should connect again."""

    reason: str

"""The scenario file, typed: what everybody does in a call, and what must come of it. Pure: `web.scenario_file` reads.

A step or an expectation is one struct; its tag is its head word, the key by which a reader tells it from the others.
Field names become the file's words: `silent_within_ms` is written `silent within`, with a unit behind the number.
`specs/scenarios.md` explains each word, and a test holds page and types together.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

DURATION, PERCENT, DECIBELS = "duration", "percent", "decibels"
Duration = Annotated[float, Meta(ge=0, le=3_600_000, extra={"reads": DURATION})]  # ms; in the file 60ms, 2s, 1m
Percent = Annotated[float, Meta(ge=0, le=100, extra={"reads": PERCENT})]  # in the file 1%
Decibels = Annotated[float, Meta(ge=0, le=90, extra={"reads": DECIBELS})]  # in the file 20dB
Words = Annotated[str, Meta(min_length=1, max_length=2000)]
Keys = Annotated[str, Meta(pattern="^[0-9*#]{1,32}$")]
Count = Annotated[int, Meta(ge=0, le=1000)]
Sounds = Annotated[str, Meta(pattern="^(words|cut in|murmur|cough|noise)( [1-9][0-9]?)?$")]
PhaseName = Literal[
    "connecting", "listening", "speaking", "interrupted", "tool_pending", "transferring", "ended", "…", "..."
]
ANY_PHASES = ("…", "...")
Clock = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\d \d\d:\d\d$")]
Never = Literal[
    "two voices",
    "dead air",
    "stale audio",
    "heard twice",
    "lost audio",
    "stutter",
    "cut off for nothing",
    "lost words",
    "double effect",
]

HEAD = "does"  # the tag's key where a struct is data; never in a file


def _words(name: str) -> str:
    """`silent_within_ms` is `silent within`; a trailing underscore keeps clear of Python's own words."""
    return name.removesuffix("_").removesuffix("_ms").removesuffix("_db").replace("_", " ")


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True, rename=_words):
    pass


class _OneOf(_Strict, frozen=True, kw_only=True, tag_field=HEAD):
    """One of several structs, told apart by the key that is its tag."""


# --- the caller ------------------------------------------------------------------------------------------------------


class Move(_OneOf, frozen=True, kw_only=True):
    """One thing that the caller does. At most one of `after`, `into`, `pause` and `at` says when."""

    after_ms: Duration | None = None  # so long after the agent fell silent
    into_ms: Duration | None = None  # so far into what the agent says
    pause_ms: Duration | None = None  # so long after the caller's own last move
    at_ms: Duration | None = None  # so long after the call was connected
    after_hearing: Words | None = None  # not before these words were heard


class _Utters(Move, frozen=True, kw_only=True):
    for_ms: Duration | None = None  # how long it takes to say; else by the number of words


class Says(_Utters, frozen=True, kw_only=True, tag="says"):
    says: Words


class CutsIn(_Utters, frozen=True, kw_only=True, tag="cuts in"):
    cuts_in: Words


class Murmurs(_Utters, frozen=True, kw_only=True, tag="murmurs"):
    murmurs: Words


class Coughs(Move, frozen=True, kw_only=True, tag="coughs"):
    coughs: None = None


class MakesNoise(Move, frozen=True, kw_only=True, tag="makes noise"):
    makes_noise_ms: Duration


class Presses(Move, frozen=True, kw_only=True, tag="presses"):
    presses: Keys


class Waits(Move, frozen=True, kw_only=True, tag="waits"):
    waits_ms: Duration


class HangsUp(Move, frozen=True, kw_only=True, tag="hangs up"):
    hangs_up: None = None


CallerMove = Says | CutsIn | Murmurs | Coughs | MakesNoise | Presses | Waits | HangsUp


# --- Vapi ------------------------------------------------------------------------------------------------------------


class Greets(_OneOf, frozen=True, kw_only=True, tag="greets"):
    greets: str


class Hears(_OneOf, frozen=True, kw_only=True, tag="hears"):
    """When one of the phrases was heard, this is done."""

    hears: Words | tuple[Words, ...]
    says: str = ""
    calls: str = ""
    with_: dict[str, Any] = {}
    meanwhile_says: str = ""
    thinks_ms: Duration = 0.0
    hangs_up: bool = False


class DropsTheLine(_OneOf, frozen=True, kw_only=True, tag="drops the line"):
    drops_the_line: None = None
    at_ms: Duration


class FallsSilent(_OneOf, frozen=True, kw_only=True, tag="falls silent"):
    falls_silent: None = None
    at_ms: Duration


class Freezes(_OneOf, frozen=True, kw_only=True, tag="freezes"):
    freezes: None = None
    at_ms: Duration


class RefusesTheCall(_OneOf, frozen=True, kw_only=True, tag="refuses the call"):
    refuses_the_call: None = None


class NeverAnswers(_OneOf, frozen=True, kw_only=True, tag="never answers"):
    never_answers: None = None


class NeverConnects(_OneOf, frozen=True, kw_only=True, tag="never connects"):
    never_connects: None = None


class ConnectsAfter(_OneOf, frozen=True, kw_only=True, tag="connects after"):
    connects_after_ms: Duration


class AnswersAfter(_OneOf, frozen=True, kw_only=True, tag="answers after"):
    answers_after_ms: Duration


class TalksOn(_OneOf, frozen=True, kw_only=True, tag="talks on"):
    talks_on: None = None


class HearsLate(_OneOf, frozen=True, kw_only=True, tag="hears late"):
    hears_late_ms: Duration


class HearsNoWords(_OneOf, frozen=True, kw_only=True, tag="hears no words"):
    hears_no_words: None = None


class HearsNoise(_OneOf, frozen=True, kw_only=True, tag="takes noise for speech"):
    takes_noise_for_speech: None = None


class IsSure(_OneOf, frozen=True, kw_only=True, tag="is sure"):
    is_sure: Percent


class Sends(_OneOf, frozen=True, kw_only=True, tag="sends"):
    sends: dict[str, Any]
    at_ms: Duration


VapiMove = (
    Greets
    | Hears
    | DropsTheLine
    | FallsSilent
    | Freezes
    | RefusesTheCall
    | NeverAnswers
    | NeverConnects
    | ConnectsAfter
    | AnswersAfter
    | TalksOn
    | HearsLate
    | HearsNoWords
    | HearsNoise
    | IsSure
    | Sends
)


# --- Twilio, the network, tools --------------------------------------------------------------------------------------


class LosesMarks(_OneOf, frozen=True, kw_only=True, tag="loses marks"):
    loses_marks: None = None


class PlaysLate(_OneOf, frozen=True, kw_only=True, tag="plays late"):
    plays_late_ms: Duration


class LosesTheLine(_OneOf, frozen=True, kw_only=True, tag="loses the line"):
    loses_the_line: None = None
    at_ms: Duration


class NeverComesBack(_OneOf, frozen=True, kw_only=True, tag="never comes back"):
    never_comes_back: None = None


class HearsAMachine(_OneOf, frozen=True, kw_only=True, tag="hears a machine"):
    hears_a_machine: None = None
    at_ms: Duration


TwilioMove = LosesMarks | PlaysLate | LosesTheLine | NeverComesBack | HearsAMachine


class Network(_Strict, frozen=True, kw_only=True):
    """Between everybody. Delays are one way."""

    delay_ms: Duration = 0.0  # of the caller's line
    jitter_ms: Duration = 0.0
    loss: Percent = 0.0  # of the caller's sound
    echo_db: Decibels | None = None  # what is heard comes back so much softer
    vapi_delay_ms: Duration = 0.0
    vapi_jitter_ms: Duration = 0.0
    webhooks: Literal["once", "twice"] = "once"


class Answers(_OneOf, frozen=True, kw_only=True, tag="answers"):
    answers: Any
    after_ms: Duration = 0.0


class Fails(_OneOf, frozen=True, kw_only=True, tag="fails"):
    fails: Words
    after_ms: Duration = 0.0


class Crashes(_OneOf, frozen=True, kw_only=True, tag="crashes"):
    crashes: None = None
    after_ms: Duration = 0.0


class Hangs(_OneOf, frozen=True, kw_only=True, tag="hangs"):
    hangs: None = None


class Real(_OneOf, frozen=True, kw_only=True, tag="real"):
    real: None = None
    after_ms: Duration = 0.0


ToolPlay = Answers | Fails | Crashes | Hangs | Real


# --- what must come of it --------------------------------------------------------------------------------------------


class SilentWithin(_OneOf, frozen=True, kw_only=True, tag="silent within"):
    silent_within_ms: Duration
    after: Sounds = "cut in"


class GoesOnWithin(_OneOf, frozen=True, kw_only=True, tag="goes on within"):
    goes_on_within_ms: Duration
    after: Sounds = "cough"


class AnswersWithin(_OneOf, frozen=True, kw_only=True, tag="answers within"):
    answers_within_ms: Duration
    after: Sounds = "words"


class NeverHappens(_OneOf, frozen=True, kw_only=True, tag="never"):
    never: Never | tuple[Never, ...]


class Phases(_OneOf, frozen=True, kw_only=True, tag="phases"):
    phases: tuple[PhaseName, ...]


class Interruptions(_OneOf, frozen=True, kw_only=True, tag="interruptions"):
    interruptions: tuple[Literal["dropped", "resumed"], ...]


class HeardWords(_OneOf, frozen=True, kw_only=True, tag="heard"):
    heard: Words
    times: Count | None = None
    after: Sounds | None = None
    within_ms: Duration | None = None


class NotHeard(_OneOf, frozen=True, kw_only=True, tag="not heard"):
    not_heard: Words
    after: Sounds | None = None


class Recorded(_OneOf, frozen=True, kw_only=True, tag="recorded"):
    recorded: Words


class NotRecorded(_OneOf, frozen=True, kw_only=True, tag="not recorded"):
    not_recorded: Words


class Understood(_OneOf, frozen=True, kw_only=True, tag="understood"):
    understood: Words


class ToolCalled(_OneOf, frozen=True, kw_only=True, tag="tool"):
    tool: Words
    called: Literal["never", "once", "twice"] | Count | None = None
    runs: Literal["never", "once", "twice"] | Count | None = None
    with_: dict[str, Any] | None = None
    answers: Words | None = None
    fails: Words | None = None


class TwimlSays(_OneOf, frozen=True, kw_only=True, tag="twiml"):
    twiml: Words


class TwimlSaysNot(_OneOf, frozen=True, kw_only=True, tag="not twiml"):
    not_twiml: Words


class Told(_OneOf, frozen=True, kw_only=True, tag="told vapi"):
    told_vapi: Words


class NotTold(_OneOf, frozen=True, kw_only=True, tag="not told vapi"):
    not_told_vapi: Words


class Ends(_OneOf, frozen=True, kw_only=True, tag="ends"):
    ends: Literal["completed", "handed over", "abandoned", "voicemail"]
    by: Literal["the caller", "the agent"] | None = None
    reason: Words | None = None


class SilenceAtMost(_OneOf, frozen=True, kw_only=True, tag="silence at most"):
    silence_at_most_ms: Duration


class LastsAtMost(_OneOf, frozen=True, kw_only=True, tag="lasts at most"):
    lasts_at_most_ms: Duration


class Journaled(_OneOf, frozen=True, kw_only=True, tag="journal"):
    journal: Words
    with_: dict[str, Any] | None = None
    times: Count | None = None
    before: Words | None = None


Expectation = (
    SilentWithin
    | GoesOnWithin
    | AnswersWithin
    | NeverHappens
    | Phases
    | Interruptions
    | HeardWords
    | NotHeard
    | Recorded
    | NotRecorded
    | Understood
    | ToolCalled
    | TwimlSays
    | TwimlSaysNot
    | Told
    | NotTold
    | Ends
    | SilenceAtMost
    | LastsAtMost
    | Journaled
)


class Scenario(_Strict, frozen=True, kw_only=True):
    """One scenario file."""

    scenario: Words
    agent: str = ""  # a path from the file; else the agent file beside or above it
    seed: Annotated[int, Meta(ge=0, le=2**53)] = 0
    clock: Clock = "2026-03-02 12:00"  # UTC, when the call comes in
    variables: dict[str, str] = {}  # of a call that the service makes
    caller: tuple[CallerMove, ...] = ()
    vapi: tuple[VapiMove, ...] = ()
    twilio: tuple[TwilioMove, ...] = ()
    network: Network = Network()
    tools: dict[str, ToolPlay] = {}
    expect: Annotated[tuple[Expectation, ...], Meta(min_length=1)]


def head_of(one: msgspec.Struct) -> str:
    """The key by which a step or an expectation is known in a file."""
    tag = type(one).__struct_config__.tag
    assert isinstance(tag, str)
    return tag


def file_data(scenario: Scenario) -> dict[str, Any]:
    """The scenario as a file has it: plain data, head words first, numbers with units. Reading it gives it back."""
    data = _plain(scenario)
    assert isinstance(data, dict)
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _plain_struct(value)
    if isinstance(value, tuple | list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    return value


def _plain_struct(value: msgspec.Struct) -> Any:
    config = type(value).__struct_config__
    fields = {field.encode_name: field for field in msgspec.structs.fields(type(value))}
    head = config.tag if isinstance(config.tag, str) else None
    plain: dict[str, Any] = {}
    for key in sorted(fields, key=lambda name: name != head):
        field = fields[key]
        held = getattr(value, field.name)
        if key == head or field.required or held != _default(field):
            plain[key] = None if held is None else _with_unit(field.name, held, field.type)
    return head if plain == {head: None} else plain


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


def _with_unit(name: str, held: Any, wanted: Any) -> Any:
    if name.endswith("_ms"):
        return f"{held / 1000:g}s" if held >= 1000 and held % 100 == 0 else f"{held:g}ms"
    if name.endswith("_db"):
        return f"{held:g}dB"
    return f"{held:g}%" if wanted is Percent else _plain(held)

"""The agent file, typed: everything that makes one phone agent, in one YAML file. Pure: `web.agents` reads it.

Unknown keys are errors: a misspelt policy must not be a silent default. What is possible for one value is said by its
type here; what is possible for several together by `web.agent_problems`, which finds the line of each fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.builtin_tools import Builtins
from engine.http_tools import HttpTool
from engine.mcp_tools import McpServer
from engine.outbound import Outbound, filled_in

Ms = Annotated[int, Meta(ge=0, le=60_000)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
SecondsOrNever = Annotated[float, Meta(ge=0, le=86_400)]  # 0: never
VoiceMs = Annotated[int, Meta(ge=20, le=1000)]  # 20 is one frame
StaleMs = Annotated[int, Meta(ge=100, le=60_000)]  # less than the way from the recogniser: all is stale
E164 = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}$")]
Chars = Annotated[int, Meta(ge=0, le=100)]
Confidence = Annotated[float, Meta(ge=0, le=1)]
Usd = Annotated[float, Meta(gt=0, le=1_000_000)]
Loudness = Annotated[float, Meta(ge=0, le=48)]  # full scale of `engine.voice`
Phrase = Annotated[str, Meta(min_length=1, max_length=240)]
SomePhrases = tuple[Phrase, ...]
Lines = Annotated[tuple[Phrase, ...], Meta(min_length=1)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class Fallback(_Strict, frozen=True):
    """What the caller gets when the voice AI is not to be had."""

    words: str = "Sorry, we have a technical problem. Please call again in a few minutes. Goodbye."
    number: E164 | None = None  # E.164; dialled after the words; without it the call ends after them


class Limits(_Strict, frozen=True):
    """How long, how many, how dear. Money is counted by `actors.spending`."""

    max_duration_s: Seconds = 600.0
    idle_s: Seconds = 60.0  # nobody says anything for so long: the call ends with words
    concurrent_calls: Annotated[int, Meta(ge=1)] = 500
    spend_usd_per_call: Usd | None = None  # a call that has cost so much, by estimate, says goodbye
    spend_usd_per_day: Usd | None = None  # a UTC day that has cost so much takes no more calls: they get the fallback
    usd_per_minute: Usd = 0.15  # what a minute is taken to cost until Vapi's report says what the call did cost


class Phrases(_Strict, frozen=True):
    """Words that decide by themselves whether the caller cuts in, beside the built-in lists (`engine.phrases`)."""

    languages: tuple[str, ...] = ("en",)  # whose built-in lists are used
    always_interrupt: SomePhrases = ()  # "stop", "wait": cut in at once, however short, and even if Vapi talks on
    never_interrupt: SomePhrases = ()  # "uh-huh", "yeah": the agent goes on


class Keywords(_Strict, frozen=True):
    """Only speech with one of these words cuts in, at these hours."""

    words: Lines
    hours: str = ""  # "21:00-07:00": only then; empty: always
    timezone: str = "UTC"  # IANA name, for `hours`


class Turns(_Strict, frozen=True):
    """When the caller is taken to speak, and what the agent then does. `specs/turn-taking.md` explains each."""

    hold: bool = True  # silence the agent at the first voice, decide afterwards; false: only words interrupt
    voice_ms: VoiceMs = 40  # so much voiced audio in a row is a voice: the agent is held
    min_speech_ms: Ms = 160  # a voice shorter than this, without words, was a noise: the agent goes on at once
    confirm_ms: Ms = 900  # so long after the voice began we wait for its words; none: the agent goes on
    longest_hold_ms: Ms = 1500  # a voice that brings no words for so long is background: the agent goes on
    debounce_ms: Ms = 300  # the caller must be quiet for so long before the agent may be heard; the latest words win
    partial_chars: Chars = 3  # a transcript with fewer characters means nothing: "more than two"
    confidence: Confidence = 0.7  # a transcript that is less sure than this does not interrupt; without a number it may
    stale_ms: StaleMs = 2000  # what Vapi heard longer ago than this does not interrupt any more
    interrupt_on: Literal["partials", "finals"] = "partials"
    act_on: Literal["finals", "partials"] = "finals"  # which transcripts make the caller's turn
    phrases: Phrases = Phrases()
    keywords: Keywords | None = None
    noise_floor_db: Loudness = 11.0  # quieter than this is never a voice (scale of `engine.voice`)
    echo_guard: bool = True  # the agent's own words coming back over a loudspeaker do not interrupt it
    longest_caller_s: SecondsOrNever = 60.0  # the caller talks on for so long: the agent is told to step in; 0: never
    uninterruptible: SomePhrases = ()  # a speech that holds one of these phrases is heard to its end (legal text)
    interruptible_goodbye: bool = True  # cutting into our goodbye cancels the hang-up
    heard: Literal["truncate", "keep", "again"] = "truncate"  # what was not heard: cut it, keep it, offer it again
    heard_again: SomePhrases = ()  # speeches that hold one of these phrases are offered again when cut
    heard_keep: SomePhrases = ()  # … are kept whole in the record
    tell_heard: bool = True  # tell Vapi what the caller heard of a speech that was cut


class Silence(_Strict, frozen=True):
    """Never nothing: what is said when the agent owes an answer, or the caller is silent."""

    fillers: Literal["clips", "vapi", "off"] = "clips"  # our own voice, pre-rendered, or Vapi's `say`
    filler_after_ms: Ms = 500  # of owed speech
    progress_after_ms: Ms = 1500  # of silence after a filler or a progress line
    unheard_after_ms: Ms = 1400  # the caller spoke, but nobody knows what
    give_up_s: Seconds = 8.0  # the agent owes an answer and gives no sign of life: fall back
    idle_prompts_s: tuple[Seconds, ...] = (10.0, 20.0)  # the caller is silent for so long: ask; then `limits.idle_s`
    holding: Lines = ("One moment, please.", "Thank you for holding.")
    filler: Lines = ("Okay.", "Mm-hm.", "Right.")
    progress: Lines = ("One moment, please.", "I am still on it.", "Thank you for waiting.")
    unheard: Lines = ("Sorry, I did not catch that.",)
    idle: Lines = ("Are you still there?", "Hello? I cannot hear you.")
    goodbye: Lines = ("I cannot hear you, so I will hang up now. Goodbye.",)
    files: dict[str, str] = {}  # line → WAV file beside the agent file: said with that voice instead


class Digits(_Strict, frozen=True):
    """Keys of the caller's phone, collected before the agent is told."""

    between_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2000  # so long after the last key the number is complete
    end: Annotated[str, Meta(pattern="^[0-9*#]?$")] = "#"  # completes it at once; not part of it
    most: Annotated[int, Meta(ge=1, le=1000)] = 32


class ToolCallPlan(_Strict, frozen=True):
    """What the twin's brain asks of a tool."""

    name: str
    arguments: dict[str, Any] = {}


class Reply(_Strict, frozen=True):
    """One line of the twin's scripted brain: when one of these was heard, do this.

    `hear` phrases and `say` may hold `<digits>` and `{digits}`: the digits that the caller spoke. `say` may hold
    `{result}`: what the tool answered. The first unused reply whose phrase fits wins, then used ones.
    """

    hear: list[str]
    say: str
    tool: ToolCallPlan | None = None
    before_tool: str = ""  # said while the tool runs
    think_ms: int = 0  # so much longer than usual before anything is said
    end: bool = False  # hang up after saying it


class CallerStep(_Strict, frozen=True):
    """One thing that a scripted caller does: exactly one of say, sound, dtmf, hang_up, wait_for_end, or only a pause.

    `after="agent"`: once the agent has spoken and then been quiet for 900 ms. `after="now"`: at once.
    `barge_in_ms`: so long after the agent's next speech began, while it still speaks. Two such steps cut in twice.
    `pause_ms`: so much silence before it.
    """

    say: str = ""
    sound: str = ""  # one of `web.twins.speech.sounds`, or a WAV or .ulaw file beside the agent file: no words
    dtmf: str = ""
    pause_ms: int = 0
    hang_up: bool = False
    wait_for_end: bool = False
    after: str = "agent"
    barge_in_ms: int | None = None
    voice: str = ""  # who says it; empty: the caller's usual voice
    loudness_db: float = 0.0  # louder, or with a minus softer, than as made


class DialPlan(_Strict, frozen=True):
    """Whom the demo of an outbound agent calls. Its person does what `caller` says."""

    to: E164
    variables: dict[str, str] = {}
    answers: Literal["person", "voicemail", "busy", "no-answer"] = "person"
    greeting: str = "Please leave a message after the tone."  # of a voicemail


class TwinPlan(_Strict, frozen=True):
    """What the offline twins hear, say and do for this agent. Production never reads it."""

    replies: list[Reply] = []
    not_understood: str = "Sorry, I did not catch that. Could you say it again?"
    caller: list[CallerStep] = []  # the scripted caller of `callscope demo`
    dials: DialPlan | None = None  # the demo makes this call, instead of a caller's
    backend: str = ""  # a Python file beside this one with an ASGI `app`: the demo serves it at ${BACKEND_URL}
    agreed_words: dict[str, list[str]] = {}  # per channel (caller, agent): what a recogniser must find after the demo


def spoken_plan(plan: TwinPlan, variables: Mapping[str, Any]) -> TwinPlan:
    """The plan with a call's variables in its texts: what a model makes of them, the scripted one cannot."""
    if not variables:
        return plan
    known = {name: str(value) for name, value in variables.items()}
    return msgspec.convert(filled_in(msgspec.to_builtins(plan), known), TwinPlan)


class Agent(_Strict, frozen=True):
    """One phone agent."""

    name: str
    assistant: dict[str, Any] | None = None  # CreateAssistantDTO (reference/vapi.md §11) without tools, or …
    assistant_id: str | None = None  # … the id of one that exists
    tools: str | tuple[str, ...] | None = None  # Python files beside this one, with functions marked @tool
    http_tools: dict[str, HttpTool] = {}  # tools that are one HTTP request each, without code
    builtins: Builtins = Builtins()  # end the call, transfer it, press keys, take a message
    mcp: dict[str, McpServer] = {}  # servers, and which of their tools the agent may use
    fallback: Fallback = Fallback()
    limits: Limits = Limits()
    turns: Turns = Turns()
    silence: Silence = Silence()
    digits: Digits = Digits()
    outbound: Outbound | None = None  # calls that the service makes; without it, none
    twin: TwinPlan = TwinPlan()

    def __repr__(self) -> str:
        """Its name alone: the rest may hold what stood in the environment."""
        return f"Agent(name={self.name!r})"

    @property
    def tools_files(self) -> tuple[str, ...]:
        """The files of `tools`, as they stand there."""
        return (self.tools,) if isinstance(self.tools, str) else self.tools or ()


def spoken_agent(agent: Agent) -> Agent:
    """An outbound agent with the variables of its demo in its words."""
    dials, assistant = agent.twin.dials, agent.assistant
    if dials is None or assistant is None:
        return agent
    first = filled_in(assistant.get("firstMessage", ""), dials.variables)
    twin = spoken_plan(agent.twin, dials.variables)
    return msgspec.structs.replace(agent, assistant={**assistant, "firstMessage": first}, twin=twin)


def agent_from(data: object) -> Agent:
    """The typed agent from what YAML gave.

    Raises:
        msgspec.ValidationError: names the path of what does not fit.
    """
    agent = msgspec.convert(data, Agent)
    if agent.assistant is not None and agent.assistant_id is not None:
        raise msgspec.ValidationError("give `assistant` or `assistant_id`, not both - at `$`")
    return agent

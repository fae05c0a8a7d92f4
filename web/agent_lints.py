"""Lints of an agent file: mistakes of topology, which are no faults of form. Each cites the page that it comes from.

A lint is a function from what is known of a file to what is wrong there; `@lint` gives it a code and a severity. The
code stays: people write it into `# callscope: allow <code>`. (V: reference/vapi.md, T: reference/twilio.md, F:
reference/field-bugs.md.)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from engine.agent import Agent
from engine.phrases import normalise
from engine.tools import ToolSpec
from web.agent_env import is_secret, looks_secret
from web.agent_problems import Reading
from web.agents import Inspected, loaded
from web.findings import Finding, Severity, allowed_there

__all__ = ["LINTS", "lint_agent", "place_of"]

ERROR, WARNING = Severity.ERROR, Severity.WARNING
VAPI_SERVER_S, ANSWER_MARGIN_S = 20.0, 2.0  # V §6.5, §8.3: what Vapi waits; answer so long before
VAPI_DURATION_S = 600.0  # V §10
TOP = "$.assistant"
SECRET_KEY = re.compile(r"(?i)(?:api_?key|auth_?token|secret|password|authorization|credentials?)$")
SHORTEST_SECRET_CHARS = 8
SAID = re.compile(r"\.(?:content|firstMessage|voicemailMessage|endCallMessage|systemPrompt)$")


@dataclass(frozen=True)
class Known:
    """What a lint may look at."""

    agent: Agent
    tools: Sequence[ToolSpec]
    reading: Reading

    @property
    def assistant(self) -> Mapping[str, Any]:
        return self.agent.assistant or {}

    def part(self, name: str) -> Mapping[str, Any]:
        """A mapping inside the assistant; empty when it is none."""
        found = self.assistant.get(name)
        return found if isinstance(found, Mapping) else {}

    def listed(self, *names: str) -> list[Any]:
        """A list inside the assistant; empty when it is none."""
        found: Any = self.assistant
        for name in names:
            found = found.get(name) if isinstance(found, Mapping) else None
        return list(found) if isinstance(found, list) else []

    def texts(self) -> Iterator[tuple[str, str, str]]:
        """Every text of the file: its path, what it holds, and what is written there."""
        for at, node in self.reading.nodes.items():
            if isinstance(node.value, str) and node.tag.endswith(":str"):
                yield at, node.value, self.reading.raw.get(id(node), node.value)


Wrong = tuple[str, str, str]
"""Where, what, and what to do."""
Look = Callable[[Known], Iterator[Wrong]]
LINTS: dict[str, tuple[Severity, Look]] = {}


def lint(code: str, severity: Severity) -> Callable[[Look], Look]:
    def add(look: Look) -> Look:
        LINTS[code] = (severity, look)
        return look

    return add


def lint_agent(found: Inspected) -> list[Finding]:
    """What is unwise in a file without faults. Lines may allow what they hold."""
    agent = loaded(found)
    known = Known(agent.agent, agent.toolbox.specs, found.reading)
    findings = [
        Finding(*place_of(found.reading, at), code, severity, at, what, fix)
        for code, (severity, look) in LINTS.items()
        for at, what, fix in look(known)
    ]
    return allowed_there(findings, found.reading.lines)


def place_of(reading: Reading, at: str) -> tuple[int, int]:
    """Where a path stands, or the nearest thing around it."""
    while at not in reading.nodes and at != "$":
        at = re.sub(r"(\.[^.\[\]]+|\[\d+\])$", "", at) if at.count(".") + at.count("[") > 1 else "$"
    node = reading.nodes.get(at)
    return (node.start_mark.line + 1, node.start_mark.column + 1) if node is not None else (1, 1)


# --- who carries the call -------------------------------------------------------------------------------------------


@lint("own-phone", ERROR)
def own_phone(known: Known) -> Iterator[Wrong]:
    """A phone leg of Vapi's own beside Twilio's: two agents, double audio (V §4.1, §13.1, §13.3)."""
    for key in ("phoneNumberId", "phoneNumber", "phoneCallProviderBypassEnabled", "transport", "customer"):
        if key in known.assistant:
            what = f"`{key}` gives Vapi a line of its own: the same caller would be served twice."
            yield f"{TOP}.{key}", what, "Take it out; the number's Voice URL at Twilio points at Callscope alone."
    for index, one in enumerate(known.listed("transportConfigurations")):
        if isinstance(one, Mapping) and one.get("provider") == "twilio":
            what = "Vapi's Twilio transport does nothing here: Callscope has the line."
            yield (
                f"{TOP}.transportConfigurations[{index}]",
                what,
                "Take it out; set recording and time-outs in Callscope.",
            )


@lint("own-server", ERROR)
def own_server(known: Known) -> Iterator[Wrong]:
    """Exactly one server gets each event, the nearest that is set (V §6.2): Callscope would hear of nothing."""
    for key in ("server", "serverUrl"):
        given = known.assistant.get(key)
        if (key == "serverUrl" and given) or (isinstance(given, Mapping) and given.get("url")):
            at = f"{TOP}.{key}" + (".url" if key == "server" else "")
            what = "Vapi would send its webhooks there, past Callscope: no tool would run, no report would come."
            yield at, what, "Leave the address out: Callscope fills in PUBLIC_URL."


@lint("tool-elsewhere", WARNING)
def tool_elsewhere(known: Known) -> Iterator[Wrong]:
    """A tool with a server of its own, or a saved one, is asked past the ledger (V §6.2, F 2.5)."""
    for index, one in enumerate(known.listed("model", "tools")):
        if isinstance(one, Mapping) and (one.get("server") or one.get("type") in ("apiRequest", "mcp", "code")):
            what = "This tool is run past Callscope: no ledger, and nothing stops it when its turn is discarded."
            fix = "Make it an `http_tools` entry or a function in `tools`."
            yield f"{TOP}.model.tools[{index}]", what, fix
    if known.listed("model", "toolIds"):
        what = "Saved tools answer to their own servers, past Callscope's ledger."
        yield f"{TOP}.model.toolIds", what, "Describe them in `tools` or `http_tools`."


@lint("no-telephony", ERROR)
def no_telephony(known: Known) -> Iterator[Wrong]:
    """On the websocket transport Vapi has no phone leg: it cannot transfer, dial or press keys (V §4.8)."""
    for index, one in enumerate(known.listed("model", "tools")):
        kind = one.get("type") if isinstance(one, Mapping) else None
        if kind in ("transferCall", "dtmf", "sipRequest", "voicemail"):
            what = f"Vapi's `{kind}` has no telephony behind it here: nothing would happen."
            yield f"{TOP}.model.tools[{index}]", what, "Use `builtins`: Callscope does it on the Twilio leg."
    if "forwardingPhoneNumber" in known.assistant:
        what = "Vapi cannot forward a call that Callscope carries."
        yield f"{TOP}.forwardingPhoneNumber", what, "Use the transfer of `builtins`, or `fallback.number`."


@lint("vapi-hangs-up", WARNING)
def vapi_hangs_up(known: Known) -> Iterator[Wrong]:
    """Vapi's own end of the call waits for nobody who cuts in (F 2.5: 39, 44)."""
    for index, one in enumerate(known.listed("model", "tools")):
        if isinstance(one, Mapping) and one.get("type") == "endCall":
            what = (
                "Vapi's `endCall` ends the call at Vapi: a discarded turn can hang up, and cutting in cannot stop it."
            )
            yield (
                f"{TOP}.model.tools[{index}]",
                what,
                "Use end_call of `builtins`: it waits until the words were heard.",
            )


@lint("voicemail", WARNING)
def voicemail(known: Known) -> Iterator[Wrong]:
    """Voicemail detection on this transport is Twilio's, and ours to act on (V §4.8, T §14)."""
    detection = known.assistant.get("voicemailDetection")
    if detection not in (None, "off", False):
        what = "Vapi's voicemail detection would listen to every caller of the websocket, and hang up on its own."
        yield f"{TOP}.voicemailDetection", what, 'Set it to "off"; for calls out use Twilio\'s machine detection.'
    if known.assistant.get("voicemailMessage"):
        what = "Nobody would say this message: Vapi does not know of the voicemail."
        yield f"{TOP}.voicemailMessage", what, "Take it out."


# --- sound and words, twice -----------------------------------------------------------------------------------------


@lint("double-audio", WARNING)
def double_audio(known: Known) -> Iterator[Wrong]:
    """Office hum is mixed into the agent's voice, and our clips do not have it (V §11.1)."""
    sound = known.assistant.get("backgroundSound", "off")
    if sound not in ("off", False, None):
        what = f"`backgroundSound: {sound}` is mixed into the agent's voice; it stops and starts with every filler."
        yield f"{TOP}.backgroundSound", what, 'Write backgroundSound: "off".'


@lint("double-transcription", WARNING)
def double_transcription(known: Known) -> Iterator[Wrong]:
    """The same words twice: paid twice, and two turns for one sentence (V §4.4, §6.3, §7)."""
    for key in ("clientMessages", "serverMessages"):
        both = [index for index, one in enumerate(known.listed(key)) if str(one).startswith("transcript")]
        if key == "clientMessages" and len(both) > 1:
            what = "Final transcripts would come under two names, so each sentence counts twice."
            yield f"{TOP}.{key}[{both[1]}]", what, "Keep `transcript` alone."
        if key == "serverMessages" and both:
            what = "Transcripts come by the websocket already; a webhook for each word is sent and thrown away."
            yield f"{TOP}.{key}[{both[0]}]", what, "Take it out of `serverMessages`."
    model = known.part("model")
    if known.part("transcriber") and re.search(r"realtime|gpt-live|native-audio", str(model.get("model", "")), re.I):
        what = f"The model {model.get('model')} hears the caller itself; the transcriber hears the same again."
        yield f"{TOP}.transcriber", what, "Take the transcriber out, or take a model that reads text."
    if known.part("transcriber").get("provider") == "custom-transcriber":
        what = "A transcriber of your own gets a second copy of the caller's audio from Vapi, one network further away."
        yield f"{TOP}.transcriber", what, "Use a provider of Vapi's, unless that copy is what you want."


@lint("double-idle", WARNING)
def double_idle(known: Known) -> Iterator[Wrong]:
    """Two who ask “are you still there?”: Vapi's hook or idle messages, and our ladder (V §10, §11.1, F 2.4: 33)."""
    fix = "Take it out, and say it with `silence.idle`."
    for index, one in enumerate(known.listed("hooks")):
        if isinstance(one, Mapping) and one.get("on") == "customer.speech.timeout":
            what = "Vapi's hook would ask a silent caller as well as `silence.idle_prompts_s`."
            yield f"{TOP}.hooks[{index}]", what, fix
    if known.part("messagePlan").get("idleMessages"):
        what = "Vapi's idle messages would speak as well as `silence.idle_prompts_s`."
        yield f"{TOP}.messagePlan.idleMessages", what, fix


@lint("silence-timeout", WARNING)
def silence_timeout(known: Known) -> Iterator[Wrong]:
    """`silenceTimeoutSeconds`, gone from the schema, ends the call under our idle ladder (V §10, §11.1)."""
    given = known.assistant.get("silenceTimeoutSeconds")
    if given is None:
        return
    idle_s = known.agent.limits.idle_s
    what = "`silenceTimeoutSeconds` has left Vapi's schema; where it still works, Vapi hangs up without a word"
    what += f" after {given:g} s, before `limits.idle_s` ({idle_s:g} s)." if _number(given) <= idle_s else "."
    yield f"{TOP}.silenceTimeoutSeconds", what, "Take it out; `silence.idle_prompts_s` and `limits.idle_s` do this."


# --- who may interrupt ----------------------------------------------------------------------------------------------


@lint("first-message", WARNING)
def first_message(known: Known) -> Iterator[Wrong]:
    """Vapi and Callscope must agree whether the greeting may be cut off (V §11.1, F 2.1: 9)."""
    words, turns = known.assistant.get("firstMessage"), known.agent.turns
    if not isinstance(words, str) or not words:
        return
    said = f" {normalise(words)} "
    must_be_heard = any(f" {normalise(one)} " in said for one in turns.uninterruptible)
    stops = known.assistant.get("firstMessageInterruptionsEnabled")  # false protects the greeting here as well
    if must_be_heard and stops:
        what = (
            "The first message must be heard to its end (`turns.uninterruptible`), but Vapi stops when it is cut into."
        )
        yield f"{TOP}.firstMessageInterruptionsEnabled", what, "Set firstMessageInterruptionsEnabled: false."
    if not must_be_heard and stops is None:
        what = "Callscope lets callers cut into the first message; Vapi would talk on where we have dropped it."
        yield (
            f"{TOP}.firstMessage",
            what,
            "Say firstMessageInterruptionsEnabled: true, or false to protect it.",
        )


@lint("stop-speaking", WARNING)
def stop_speaking(known: Known) -> Iterator[Wrong]:
    """A `stopSpeakingPlan` that decides otherwise than `turns`: one stops, the other goes on (V §11.2, §4.6)."""
    plan = known.part("stopSpeakingPlan")
    if plan and _number(plan.get("numWords", 0)) == 0:
        what = "With numWords 0 a cough stops Vapi; Callscope then goes on with a speech that has no more words."
        yield f"{TOP}.stopSpeakingPlan", what, "Leave the plan out: Callscope sends one that fits `turns`."


# --- what comes back ------------------------------------------------------------------------------------------------

_NEEDED = {
    "clientMessages": {
        "transcript": "no words of the caller would interrupt",
        "user-interrupted": "Vapi's own interruptions would not clear the line",
        "speech-update": "nobody would know when the agent speaks",
        "status-update": "the first sign of life would be missed",
    },
    "serverMessages": {
        "tool-calls": "no tool would ever run",
        "end-of-call-report": "the reason of the end, and what the call cost, would be lost",
    },
}


@lint("messages", ERROR)
def messages(known: Known) -> Iterator[Wrong]:
    """Setting a list replaces the default (V §6.3, §11.1): what is not in it never comes."""
    for key, needed in _NEEDED.items():
        if not isinstance(known.assistant.get(key), list):
            continue
        asked = {str(one).partition("[")[0] for one in known.listed(key)}
        for name in sorted(needed.keys() - asked):
            if name != "tool-calls" or known.tools:
                yield f"{TOP}.{key}", f"`{name}` is missing: {needed[name]}.", f"Leave `{key}` out, or add {name}."


@lint("tool-timeout", ERROR)
def tool_timeout(known: Known) -> Iterator[Wrong]:
    """A tool that may take longer than Vapi waits: the result is dropped (V §6.5, §8.3, §10)."""
    waits_s = _number(known.part("server").get("timeoutSeconds", VAPI_SERVER_S))
    at = f"{TOP}.server.timeoutSeconds"
    for tool in known.tools:
        policy = tool.policy
        takes_s = policy.answer_within_s if policy.background_s else policy.timeout_s
        if takes_s > waits_s - ANSWER_MARGIN_S:
            what = f"Vapi waits {waits_s:g} s and {tool.name} may take {takes_s:g} s: its result would be dropped."
            fix = f"Set timeoutSeconds to {takes_s + ANSWER_MARGIN_S:g} or more, or give the tool less time."
            yield at if at in known.reading.nodes else "$.tools", what, fix


@lint("duration", WARNING)
def duration(known: Known) -> Iterator[Wrong]:
    """Vapi's limit before ours: the call ends in the middle of a word (V §10)."""
    if known.agent.assistant is None:
        return
    theirs, ours_s = known.assistant.get("maxDurationSeconds"), known.agent.limits.max_duration_s
    theirs_s = VAPI_DURATION_S if theirs is None else _number(theirs)
    if theirs_s < ours_s:
        usual = " by default" if theirs is None else ""
        what = f"Vapi ends the call after {theirs_s:g} s{usual}, without words, before `limits.max_duration_s` does."
        at = "$.limits.max_duration_s" if theirs is None else f"{TOP}.maxDurationSeconds"
        yield at, what, f"Set maxDurationSeconds: {ours_s:g} or more."


@lint("saved-assistant", WARNING)
def saved_assistant(known: Known) -> Iterator[Wrong]:
    """A saved assistant is not ours to change: it never hears of our tools (V §3, §8.1)."""
    if known.agent.assistant_id is not None and known.tools:
        names = ", ".join(tool.name for tool in known.tools)
        what = f"The saved assistant is not told of {names}: its model cannot call them."
        yield "$.assistant_id", what, "Give an inline `assistant`, or add the tools to the saved one."
    if known.agent.assistant is None and known.agent.assistant_id is None:
        what = "There is no assistant in this file."
        yield "$.name", what, "Give it an `assistant:`, or set VAPI_ASSISTANT_ID."


_GONE = {
    "functions": "put them into `tools`, or into `model.tools`",
    "recordingEnabled": "use artifactPlan.recordingEnabled",
    "serverUrl": "leave it out: Callscope fills in `server`",
    "serverUrlSecret": "set VAPI_SERVER_SECRET",
    "interruptionsEnabled": "use `turns`",
    "numWordsToInterruptAssistant": "use `turns`; Callscope makes stopSpeakingPlan of it",
    "responseDelaySeconds": "use startSpeakingPlan.waitSeconds",
    "llmRequestDelaySeconds": "use startSpeakingPlan.waitSeconds",
    "endCallFunctionEnabled": "use end_call of `builtins`",
    "forwardingPhoneNumber": "use the transfer of `builtins`",
}


@lint("gone-key", ERROR)
def gone_key(known: Known) -> Iterator[Wrong]:
    """Keys that old tutorials have and Vapi has not: the assistant is refused with 400 (V §2, §11.1)."""
    for key in sorted(known.assistant.keys() & _GONE.keys()):
        yield (
            f"{TOP}.{key}",
            f"`{key}` is no key of Vapi's any more: the assistant would be refused (400).",
            _GONE[key] + ".",
        )


# --- secrets --------------------------------------------------------------------------------------------------------


@lint("secret-in-file", WARNING)
def secret_in_file(known: Known) -> Iterator[Wrong]:
    """A key in a file is in the repository, in Vapi's webhooks and in every log of them (V §6.1, T §23.11)."""
    for at, _, written in known.texts():
        if at.startswith("$.twin"):
            continue
        named = "${" not in written and SECRET_KEY.search(at) and len(written) >= SHORTEST_SECRET_CHARS
        if looks_secret(written) or named:
            what = "This looks like a key or token; whoever reads the file has it."
            yield at, what, "Write ${NAME}, and set NAME in the environment or in .env."


@lint("secret-in-url", WARNING)
def secret_in_url(known: Known) -> Iterator[Wrong]:
    """Addresses are logged everywhere on their way: no keys in them (T §7.3, V §6.1)."""
    for at, value, _ in known.texts():
        if not re.match(r"(?:https?|wss?)://", value):
            continue
        parts = urlsplit(value)
        names = [
            name
            for name, held in parse_qsl(parts.query)
            if re.search(r"key|token|secret|pass|auth|sig", name, re.I) and held
        ]
        if parts.password or names or looks_secret(parts.query):
            what = "A password stands in this address." if parts.password else "A key stands in this address's query."
            yield at, f"{what} Proxies and logs keep addresses.", "Send it as a header, or as a credential of Vapi's."


@lint("secret-said", ERROR)
def secret_said(known: Known) -> Iterator[Wrong]:
    """A secret inside a prompt or a message can be asked for by any caller, and stands in every webhook (V §6.1)."""
    for at, _, written in known.texts():
        if not (at.startswith(TOP) and SAID.search(at)):
            continue
        names = re.findall(r"(?<!\$)\$\{(\w+)", written)
        if any(is_secret(name, "") for name in names):
            what = "A secret is filled into words that the model reads or says: callers can ask for it."
            yield at, what, "Keep it in a tool's header; the model needs no keys."


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0

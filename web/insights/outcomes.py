"""How a call ended, and because of whom: a table of rules, read from the top; the first that fits is the verdict. Pure.

The input is the `reason` that the engine gave (`engine.call`), which is its own word or Vapi's `endedReason` (an open
set: reference/vapi.md §14.3), and a few facts of the journal. "Fault" is for whoever wants to make calls better: whose
part would have to change so that this does not happen again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

__all__ = ["RULES", "Ending", "Fault", "Outcome", "Rule", "verdict"]

WAITED_MS = 4_000.0  # who hangs up after so much silence that somebody owed them has given up waiting


class Fault(StrEnum):
    NOBODY = "nobody"
    CALLER = "caller"
    AGENT = "agent"  # what it was told to do and how: its prompt, its manners
    VAPI = "vapi"  # with the model, voice and transcriber behind it
    TWILIO = "twilio"
    TOOL = "tool"
    US = "us"  # Callscope, its machine and its settings
    UNKNOWN = "unknown"


class Outcome(StrEnum):
    CALLER_ENDED = "caller_ended"
    AGENT_ENDED = "agent_ended"
    TRANSFERRED = "transferred"
    OPERATOR_ENDED = "operator_ended"
    SILENT_CALLER = "silent_caller"
    VOICEMAIL = "voicemail"
    NOT_REACHED = "not_reached"
    ABANDONED = "abandoned"
    GAVE_UP_WAITING = "gave_up_waiting"
    TOO_LONG = "too_long"
    NO_AGENT = "no_agent"
    AGENT_STALLED = "agent_stalled"
    AGENT_LOST = "agent_lost"
    TRANSFER_FAILED = "transfer_failed"
    LINE_LOST = "line_lost"
    LINE_NEVER_OPENED = "line_never_opened"
    SERVICE_STOPPED = "service_stopped"
    SPEND_LIMIT = "spend_limit"
    CRASHED = "crashed"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Ending:
    """What is known at the end of a call.

    Args:
        reason: the engine's, or Vapi's `endedReason`, as the journal has it.
        state: the engine's own outcome: completed, handed over, abandoned; `lost`: its process was killed.
        agent_heard: the caller heard the agent, not only lines of ours.
        owed_ms: at the end there had been silence for so long, in which the caller waited for something.
        tool_open: … and a tool had not answered; or the last one to be asked had failed.
        by_tool: the reason is a tool's own word (`EndOrdered`).
        not_taken_back: Twilio did not take the call to its next TwiML.
    """

    reason: str
    state: str = "completed"
    agent_heard: bool = True
    duration_ms: float = 60_000.0
    owed_ms: float = 0.0
    tool_open: bool = False
    by_tool: bool = False
    not_taken_back: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: when the whole reason fits the pattern, and the condition holds.

    Args:
        why: the explanation, for people.
    """

    outcome: Outcome
    fault: Fault
    why: str
    reason: re.Pattern[str] = field(default_factory=lambda: re.compile(".*", re.DOTALL))
    when: Callable[[Ending], bool] | None = None

    def fits(self, ending: Ending) -> bool:
        return self.reason.fullmatch(ending.reason) is not None and (self.when is None or self.when(ending))


def _rule(outcome: Outcome, fault: Fault, reason: str, why: str, when: Callable[[Ending], bool] | None = None) -> Rule:
    return Rule(outcome, fault, why, re.compile(reason, re.DOTALL), when)


_ANY = r".*"
_LOST = r"agent lost: "
_CALLER = (
    r"stop|caller completed|customer-ended-call.*|customer-hung-up|(call\.in-progress\.)?(twilio|sip)-completed-call"
    r"|vonage-(completed|disconnected)|phone-call-provider-closed-websocket"
)
_O, _F = Outcome, Fault

RULES: Sequence[Rule] = (
    # --- ours
    _rule(_O.CRASHED, _F.US, _ANY, "The process was killed during the call.", lambda end: end.state == "lost"),
    _rule(_O.CRASHED, _F.US, r"crashed: .*", "The call's own actor crashed more often than its budget allows."),
    _rule(_O.SERVICE_STOPPED, _F.US, r"shutdown", "The service was stopped and could not wait for this call."),
    _rule(_O.SPEND_LIMIT, _F.US, r"spend limit", "The call had cost what the agent file allows a call."),
    # --- Twilio's
    _rule(_O.TRANSFER_FAILED, _F.TWILIO, _ANY, "Twilio did not take the call to its next instructions, not even when "
          "asked through its REST API.", lambda end: end.not_taken_back),
    _rule(_O.LINE_LOST, _F.TWILIO, r"line lost: .*", "Twilio's media stream broke or fell silent without a `stop`."),
    _rule(_O.LINE_NEVER_OPENED, _F.US, r"stream never opened", "Twilio was told to open its media stream and did not "
          "within 10 s: most often the public address or a proxy before us does not let websockets in."),
    _rule(_O.NOT_REACHED, _F.TWILIO, r"caller failed|(agent lost: )?twilio-failed-to-connect-call", "Twilio could "
          "not put the call through."),
    _rule(_O.NOT_REACHED, _F.CALLER, r"caller (busy|no-answer)|customer-(busy|did-not-answer)|.*customer-misdialed",
          "The person who was called was busy or did not answer."),
    _rule(_O.LINE_LOST, _F.TWILIO, r"asked( for the next TwiML)?|given back to Twilio", "The media stream was over and "
          "Twilio came for its next instructions, though nobody had ended the call."),
    # --- the agent was never there, or went
    _rule(_O.NO_AGENT, _F.VAPI, r"agent overdue", "Vapi did not connect the agent within the agent file's patience."),
    _rule(_O.AGENT_STALLED, _F.TOOL, r"agent stalled", "The agent fell silent for good, with a tool that had failed "
          "or not answered.", lambda end: end.tool_open),
    _rule(_O.AGENT_STALLED, _F.VAPI, r"agent stalled", "The agent owed an answer and never gave it."),
    _rule(_O.AGENT_LOST, _F.US, _LOST + r".*configfault.*", "Vapi says that the assistant is set up wrongly."),
    _rule(_O.NO_AGENT, _F.US, _LOST + r"assistant-(not-|request-).*", "The assistant does not exist, is not valid, or "
          "could not be asked for."),
    _rule(_O.NO_AGENT, _F.US, _LOST + r".*(concurrency|insufficient-credits|frozen|wallet|fraud-check|subscription).*",
          "The Vapi account is at a limit: calls at once, credits, or frozen."),
    _rule(_O.NO_AGENT, _F.US, _LOST + r"Vapi answered 4(?!08|29)\d\d: .*", "Vapi refused what we asked: key, assistant "
          "or request are wrong."),
    _rule(_O.NO_AGENT, _F.US, _LOST + r"[A-Z]\w*", "Dialling the agent crashed on our side."),
    _rule(_O.AGENT_LOST, _F.US, _LOST + r".*did-not-receive-customer-audio.*", "Vapi heard nothing of "
          "the caller from us."),
    _rule(_O.TRANSFER_FAILED, _F.VAPI, _LOST + r".*(forwarding|transfer|sip.*failed-to-connect).*", "Vapi could not "
          "make the transfer that the assistant asked for."),
    _rule(_O.NO_AGENT, _F.VAPI, r"(agent lost: )?"
          r".*(call.start.error|call-start-error|join-timed-out|never-connected"
          r"|no-call-received|no answer|Vapi answered|did not answer|refused|timed? ?out).*",
          "Vapi could not start the agent, or did not answer."),
    _rule(_O.ABANDONED, _F.CALLER, r"(agent lost: )?.*microphone.*", "The caller did not let Vapi use a microphone."),
    _rule(_O.AGENT_LOST, _F.VAPI, _LOST + _ANY, "The agent was lost in the middle of the call: Vapi's worker, a "
          "provider behind it, or its connection to us."),
    # --- a caller who leaves: why?
    _rule(_O.ABANDONED, _F.CALLER, _CALLER, "The caller hung up before the agent could have spoken.",
          lambda end: not end.agent_heard and end.duration_ms < WAITED_MS),
    _rule(_O.ABANDONED, _F.VAPI, _CALLER, "The caller hung up, and had not heard the agent for 4 s or more.",
          lambda end: not end.agent_heard),
    _rule(_O.GAVE_UP_WAITING, _F.TOOL, _CALLER, "The caller hung up after 4 s or more of silence, while a tool had "
          "failed or not answered.", lambda end: end.owed_ms >= WAITED_MS and end.tool_open),
    _rule(_O.GAVE_UP_WAITING, _F.VAPI, _CALLER, "The caller hung up after 4 s or more of silence, in which the agent "
          "owed an answer.",
          lambda end: end.owed_ms >= WAITED_MS),
    _rule(_O.CALLER_ENDED, _F.NOBODY, _CALLER, "The caller hung up after the conversation."),
    _rule(_O.ABANDONED, _F.CALLER, r"caller canceled", "The call was called off before it was answered."),
    # --- the conversation's own ends
    _rule(_O.TRANSFERRED, _F.NOBODY, r"transferred|assistant-forwarded-call|call\.forwarding\.operator-.*",
          "The call went on to a person, as it should."),
    _rule(_O.AGENT_ENDED, _F.NOBODY, r"the agent ended the call|the agent said goodbye|assistant-(ended|said).*"
          r"|closed by vapi|ended|end-call tool|call\.(ringing|ending)\.hook-executed-.*", "The agent said goodbye."),
    _rule(_O.AGENT_ENDED, _F.NOBODY, _ANY, "A tool of the agent's ended the call.", lambda end: end.by_tool),
    _rule(_O.SILENT_CALLER, _F.VAPI, r"nobody spoke|silence-timed-out", "Nobody spoke: the agent was never heard.",
          lambda end: not end.agent_heard),
    _rule(_O.SILENT_CALLER, _F.CALLER, r"nobody spoke|silence-timed-out", "The caller said nothing any more, though "
          "asked whether they were there."),
    _rule(_O.VOICEMAIL, _F.CALLER, r"voicemail|a machine answered", "A machine answered."),
    _rule(_O.TOO_LONG, _F.AGENT, r"longest duration reached|exceeded-max-duration", "The conversation did not end "
          "within the longest duration that the agent file allows."),
    _rule(_O.OPERATOR_ENDED, _F.NOBODY, r"operator|manually-canceled|call-deleted|scheduled-call-deleted",
          "Somebody ended the call by hand."),
    # --- the rest
    _rule(_O.AGENT_LOST, _F.VAPI, r".*(error|fault|died|failed).*", "Vapi gives a reason that is a failure and that we "
          "do not know."),
    _rule(_O.OTHER, _F.UNKNOWN, _ANY, "The reason says nothing that we know."),
)  # fmt: skip


def verdict(ending: Ending) -> Rule:
    """The first rule that fits; the last one always does."""
    return next(rule for rule in RULES if rule.fits(ending))

"""What Vapi did in a call that was, as moves of a scenario. Personal data masked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from math import ceil

from actors.world.sounds import WORD_MS
from engine import scenario as s
from engine.journal import Record
from engine.masking import masked_text, masked_value
from engine.phrases import normalise

USUAL_ANSWER_MS, USUAL_CONNECT_MS = 400, 50  # what a scenario does if nothing is said
TOGETHER_MS = 60.0  # a speech that began so soon after a tool was asked for was not waiting for it
NOTICED_MS = 20.0
UNHEARD = ("and", "so", "on")  # instead of words that the journal does not have
MORE_WORDS = 6  # than there was time for: a speech that was cut meant to go on
MOST_CHARS = 2000


@dataclass
class _Speech:
    """Something that the agent said."""

    began_ms: float
    over_ms: float = 0.0
    text: str = ""
    stopped: bool = False  # by itself or by somebody
    interrupted: bool = False

    def words(self) -> str:
        """What is known of them; of a speech that was cut so many more that it can be cut again at the same moment."""
        words = self.text.split()
        if self.interrupted or not self.stopped or not words:
            n_words = ceil((self.over_ms - self.began_ms) / WORD_MS) + MORE_WORDS
            words += islice(cycle(UNHEARD), max(MORE_WORDS, n_words - len(words)))
        return " ".join(words)


@dataclass
class _Turn:
    """What the caller said, and what the agent did until they said something else."""

    heard: str = ""
    at_ms: float = 0.0
    speeches: list[_Speech] = field(default_factory=list)
    tool: Record | None = None
    tool_answered_ms: float = 0.0
    hangs_up: bool = False

    def latency_ms(self) -> float | None:
        """From the caller's last word to what the agent did first."""
        moments = [one.began_ms for one in self.speeches]
        if self.tool is not None:
            moments.append(self.tool.at_ms)
        return min(moments) - self.at_ms if moments else None


def vapi_moves(records: Sequence[Record]) -> Iterator[s.VapiMove]:
    """What the agent said first and to each turn of the caller's, with the tool that it asked for; then its faults."""
    first, *turns = _turns(records)
    late = [late_ms for turn in turns if (late_ms := turn.latency_ms()) is not None]
    usual_ms = max(0, round(min([USUAL_ANSWER_MS, *late])))
    yield s.Greets(greets=_masked(" ".join(one.words() for one in first.speeches)))
    if usual_ms != USUAL_ANSWER_MS:
        yield s.AnswersAfter(answers_after_ms=usual_ms)
    for turn in turns:
        if normalise(masked_text(turn.heard)):
            yield _answer(turn, usual_ms)
    yield from _connection(records)


def _answer(turn: _Turn, usual_ms: int) -> s.Hears:
    meanwhile, says, called, arguments = list[_Speech](), turn.speeches, "", {}
    if turn.tool is not None:
        called = str(turn.tool.data["name"])
        masked = masked_value(turn.tool.data.get("arguments", {}))
        arguments = masked if isinstance(masked, dict) else {}
        until_ms = max(turn.tool.at_ms + TOGETHER_MS, turn.tool_answered_ms)
        meanwhile = [one for one in turn.speeches if one.began_ms < until_ms]
        says = [one for one in turn.speeches if one.began_ms >= until_ms]
    thinks_ms = (turn.latency_ms() or 0.0) - usual_ms
    return s.Hears(
        hears=_masked(turn.heard),
        says=_masked(" ".join(one.words() for one in says)),
        calls=called,
        with_=arguments,
        meanwhile_says=_masked(" ".join(one.words() for one in meanwhile)),
        thinks_ms=round(thinks_ms) if thinks_ms >= NOTICED_MS else 0.0,
        hangs_up=turn.hangs_up,
    )


def _turns(records: Sequence[Record]) -> list[_Turn]:  # noqa: PLR0912 — one case a kind of record
    """The first has no words of the caller's. What we had Vapi say it will be told to say again: that is no answer."""
    turns, speaking = [_Turn()], _Speech(0.0)  # a speech whose start is not there is nobody's
    by_us = {normalise(str(one.data.get("text", ""))) for one in records if _is_said_by_vapi(one)}
    stopped = False
    for one in records:
        match one.name:
            case "CallerTranscript" if one.data.get("final"):
                turns.append(_Turn(str(one.data["text"]).strip(), one.at_ms))
            case "AgentSpeechStarted":
                speaking = _Speech(one.at_ms, over_ms=records[-1].at_ms)
                if not stopped:
                    turns[-1].speeches.append(speaking)
                stopped = False
            case "AgentSpeechStopped":
                speaking.over_ms, speaking.stopped = one.at_ms, True
            case "AgentInterrupted":
                speaking.over_ms, speaking.interrupted = one.at_ms, True
            case "StopAgent":  # it is told to say something short instead
                stopped = speaking.interrupted = True
            case "AgentTranscript" if one.data.get("final"):
                speaking.text = speaking.text or str(one.data["text"]).strip()
            case "ToolRequested" if turns[-1].tool is None:
                turns[-1].tool = one
            case "ToolAnswered":
                for turn in turns:
                    if turn.tool is not None and turn.tool.data["tool_call_id"] == one.data["tool_call_id"]:
                        turn.tool_answered_ms = one.at_ms
            case "AgentEnded" if one.data.get("reason") == "assistant-ended-call":
                turns[-1].hangs_up = True
    for turn in turns:
        turn.speeches = [one for one in turn.speeches if not one.text or normalise(one.text) not in by_us]
    return turns


def _is_said_by_vapi(record: Record) -> bool:
    return record.name == "Line" and record.data.get("how") != "clip"


def _connection(records: Sequence[Record]) -> Iterator[s.VapiMove]:
    """How the connection came to be, and to its end."""
    connected = next((one for one in records if one.name == "AgentConnected"), None)
    if connected is not None and abs(connected.at_ms - USUAL_CONNECT_MS) >= NOTICED_MS:
        yield s.ConnectsAfter(connects_after_ms=round(connected.at_ms))
    lost = next((one for one in records if one.name == "AgentLost"), None)
    if lost is not None:
        why = str(lost.data.get("why", ""))
        if connected is not None:
            at_ms = max(0.0, round(lost.at_ms - connected.at_ms))
            yield s.Freezes(at_ms=0.0) if why.startswith("silent for") else s.DropsTheLine(at_ms=at_ms)
        elif "answered" in why:
            yield s.RefusesTheCall()
        else:
            yield s.NeverAnswers() if why.startswith("no answer") else s.NeverConnects()
    names = {one.name for one in records}
    ours = any(one.name == "Drop" and one.data.get("reason") == "words" for one in records)
    if ours and "AgentInterrupted" not in names:
        yield s.TalksOn()
    for one in records:
        data: Mapping[str, object] = one.data
        if one.name == "AgentEnded" and data.get("reason") != "assistant-ended-call" and connected is not None:
            frame = {"type": "status-update", "status": "ended", "endedReason": str(data.get("reason", ""))}
            yield s.Sends(sends=frame, at_ms=max(0.0, round(one.at_ms - connected.at_ms)))


def _masked(text: str) -> str:
    return masked_text(text.strip())[:MOST_CHARS]

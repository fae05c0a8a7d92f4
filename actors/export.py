"""A call that was, as a scenario: what the caller, Vapi and the line did, and what came of it; personal data masked.

The journal has words and moments, no sound. So what the caller said is said again at its moment, a voice without words
becomes a noise of its length, and Vapi's answers hang on the words that they followed, as late as they were then.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any

from actors.export_agent import vapi_moves
from actors.world.hearing import ACKNOWLEDGEMENTS
from engine import scenario as s
from engine.audio import FRAME_MS
from engine.journal import Kind, Record
from engine.masking import masked_text
from engine.phrases import normalise

MASKED = "digits, keys, mail addresses; names, streets and numbers in words cannot be known: read before you share it"
LEAST_NOISE_MS = 60.0
VOICE_MS = 400.0  # of a voice whose end the journal does not have
HANGOVER_MS = 160.0  # the voice detector tells the end of a voice so much later (`engine.voice`)
PATIENT_MS = 40_000.0  # a scenario's caller hangs up a minute after their last move
MOST_CHARS = 2000
_MURMURS = frozenset(map(normalise, ACKNOWLEDGEMENTS))


def scenario_of(records: Sequence[Record], *, name: str = "", agent: str = "") -> s.Scenario:
    """The scenario of a whole journal. `agent`: the path of its agent file, from where the scenario will be."""
    connected_ms = next((one.at_ms for one in records if one.name == "StreamStarted"), 0.0)
    call_id = records[0].call_id
    return s.Scenario(
        scenario=name or f"As it was in {call_id}",
        agent=agent,
        caller=tuple(_caller(records, connected_ms)),
        vapi=tuple(vapi_moves(records)),
        twilio=tuple(_line(records, connected_ms)),
        tools=dict(_tools(records)),
        expect=tuple(_expected(records)),
    )


# --- the caller ------------------------------------------------------------------------------------------------------


def _caller(records: Sequence[Record], connected_ms: float) -> Iterator[s.CallerMove]:
    moves: list[tuple[float, s.CallerMove]] = []
    opened_at_s = records[0].data.get("opened_at_s")
    for voices in _turns_of_voice(records):
        onset_ms = _onset_ms(voices[0][0], opened_at_s)
        quiet_ms = next((one.at_ms for one in reversed(voices[-1]) if one.name == "CallerQuiet"), None)
        end_ms = quiet_ms - HANGOVER_MS if quiet_ms is not None else _onset_ms(voices[-1][0], opened_at_s) + VOICE_MS
        at_ms, for_ms = max(0.0, round(onset_ms - connected_ms)), max(LEAST_NOISE_MS, round(end_ms - onset_ms))
        finals = [one for voice in voices for one in voice if one.name == "CallerTranscript" and one.data["final"]]
        words = masked_text(" ".join(str(one.data["text"]) for one in finals).strip())[:MOST_CHARS]
        if not words:
            moves.append((at_ms, s.MakesNoise(makes_noise_ms=for_ms, at_ms=at_ms)))
        elif normalise(words) in _MURMURS:
            moves.append((at_ms, s.Murmurs(murmurs=words, at_ms=at_ms, for_ms=for_ms)))
        else:
            moves.append((at_ms, s.Says(says=words, at_ms=at_ms, for_ms=for_ms)))
    for one in records:
        at_ms = max(0.0, round(one.at_ms - connected_ms - FRAME_MS))  # keys and ends follow their frame
        if one.name == "DigitPressed" and str(one.data["digit"]) in "0123456789*#":
            moves.append((at_ms, s.Presses(presses=masked_text(str(one.data["digit"])), at_ms=at_ms)))
        elif one.name == "StreamEnded" and one.data.get("reason") == "stop":
            moves.append((at_ms, s.HangsUp(at_ms=at_ms)))
    moves.sort(key=lambda pair: pair[0])
    yield from (move for _, move in moves)
    over_ms = next((one.at_ms for one in records if one.kind is Kind.CLOSED), 0.0) - connected_ms
    if over_ms - (moves[-1][0] if moves else 0.0) > PATIENT_MS:
        yield s.Waits(waits_ms=1000.0, at_ms=round(over_ms))


def _turns_of_voice(records: Sequence[Record]) -> Iterator[list[list[Record]]]:
    """Each voice with the events up to the next one; voices whose words came to an end together, together."""
    events = [one for one in records if one.kind is Kind.EVENT]
    starts = [index for index, one in enumerate(events) if one.name == "CallerVoice"]
    together: list[list[Record]] = []
    for start, after in pairwise([*starts, len(events)]):
        voice = events[start:after]
        together.append(voice)
        heard = [one for one in voice if one.name == "CallerTranscript"]
        if not heard or heard[-1].data["final"]:  # else the recogniser was still in the middle of a turn
            yield together
            together = []
    if together:
        yield together


def _onset_ms(voice: Record, opened_at_s: float | None) -> float:
    """When the voice began, before it was told. `onset_at` is on the clock of the process, as `opened_at_s` is."""
    if opened_at_s is None:
        return voice.at_ms
    return min(voice.at_ms, (float(voice.data["onset_at"]) - opened_at_s) * 1000)


# --- the line and the tools ------------------------------------------------------------------------------------------


def _line(records: Sequence[Record], connected_ms: float) -> Iterator[s.TwilioMove]:
    """A line that died. One that was reset dies in a scenario as if the cable were cut: we notice it 2 s later."""
    for one in records:
        if one.name == "StreamEnded" and not one.data.get("stopped"):
            silent = re.search(r"no frame for ([0-9.]+) s", str(one.data.get("reason", "")))
            silent_ms = float(silent[1]) * 1000 if silent else 0.0
            yield s.LosesTheLine(at_ms=max(0.0, round(one.at_ms - connected_ms - silent_ms)))
            return


def _tools(records: Sequence[Record]) -> Iterator[tuple[str, s.ToolPlay]]:
    """What each tool answered the first time, and how long it took. One that the call's end stopped hangs."""
    took = {one.data["tool_call_id"]: float(one.data["took_ms"]) for one in records if one.name == "ToolAnswered"}
    known: set[str] = set()
    for one in records:
        if one.name != "ToolResult" or one.data["name"] in known:
            continue
        known.add(str(one.data["name"]))
        yield str(one.data["name"]), _play(one.data, took.get(one.data["tool_call_id"]))


def _play(result: dict[str, Any], took_ms: float | None) -> s.ToolPlay:
    if took_ms is None and not result["ok"]:
        return s.Hangs()
    after_ms = round(took_ms or 0.0)
    text = masked_text(str(result["text"]))[:MOST_CHARS] or "-"
    return s.Answers(answers=text, after_ms=after_ms) if result["ok"] else s.Fails(fails=text, after_ms=after_ms)


# --- what came of it -------------------------------------------------------------------------------------------------


def _expected(records: Sequence[Record]) -> Iterator[s.Expectation]:
    phases = ["connecting", *(one.name for one in records if one.kind is Kind.PHASE)]
    yield s.Phases(phases=tuple(phase for phase, _ in groupby(phases)))  # type: ignore[misc]
    decided = [one.data["decision"] for one in records if one.name == "Interruption"]
    if decided:
        yield s.Interruptions(interruptions=tuple("dropped" if one == "dropped" else "resumed" for one in decided))
    yield s.NeverHappens(never=("two voices", "stale audio"))
    closed = next((one for one in records if one.kind is Kind.CLOSED), None)
    if closed is not None and closed.data.get("outcome") in ("completed", "handed over", "abandoned"):
        yield s.Ends(ends=closed.data["outcome"])

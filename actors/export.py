"""A call that was, as a scenario: what the caller and Vapi did, and what came of it; personal data masked.

The journal has words and moments, no sound. So what the caller said is said again at its moment, a voice without words
becomes a noise of its length, and Vapi's answers hang on the words that they followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from engine import scenario as s
from engine.journal import Kind, Record
from engine.masking import masked_text, masked_value

MASKED = "digits, keys, mail addresses; names, streets and numbers in words cannot be known: read before you share it"
LEAST_NOISE_MS = 60.0


def scenario_of(records: Sequence[Record], *, name: str = "", agent: str = "") -> s.Scenario:
    """The scenario of a whole journal. `agent`: the path of its agent file, from where the scenario will be."""
    connected_ms = next((one.at_ms for one in records if one.name == "StreamStarted"), 0.0)
    call_id = records[0].call_id
    return s.Scenario(
        scenario=name or f"As it was in {call_id}",
        agent=agent,
        caller=tuple(_caller(records, connected_ms)),
        vapi=tuple(_vapi(records)),
        tools=dict(_tools(records)),
        expect=tuple(_expected(records)),
    )


def _caller(records: Sequence[Record], connected_ms: float) -> Iterator[s.CallerMove]:
    """Each voice with the final words that came before the next one."""
    events = [one for one in records if one.kind is Kind.EVENT]
    voices = [index for index, one in enumerate(events) if one.name == "CallerVoice"]
    moves: list[tuple[float, s.CallerMove]] = []
    for index, after in zip(voices, [*voices[1:], len(events)], strict=False):
        at_ms = max(0.0, round(events[index].at_ms - connected_ms))
        during = events[index + 1 : after]
        words = " ".join(
            str(one.data["text"]) for one in during if one.name == "CallerTranscript" and one.data["final"]
        )
        length_ms = next((float(one.data["voiced_ms"]) for one in during if one.name == "CallerQuiet"), 400.0)
        for_ms = max(LEAST_NOISE_MS, round(length_ms))
        if words.strip():
            moves.append((at_ms, s.Says(says=masked_text(words.strip()), at_ms=at_ms, for_ms=for_ms)))
        else:
            moves.append((at_ms, s.MakesNoise(makes_noise_ms=for_ms, at_ms=at_ms)))
    for one in events:
        if one.name == "DigitPressed" and str(one.data["digit"]) in "0123456789*#":
            at_ms = max(0.0, round(one.at_ms - connected_ms))
            moves.append((at_ms, s.Presses(presses=masked_text(str(one.data["digit"])), at_ms=at_ms)))
        elif one.name == "StreamEnded" and one.data.get("reason") == "stop":
            at_ms = max(0.0, round(one.at_ms - connected_ms))
            moves.append((at_ms, s.HangsUp(at_ms=at_ms)))
    yield from (move for _, move in sorted(moves, key=lambda pair: pair[0]))


def _vapi(records: Sequence[Record]) -> Iterator[s.VapiMove]:
    """What the agent said first, and after each turn of the caller's, with the tool that it asked for meanwhile."""
    heard, first = "", True
    tool: tuple[str, dict[str, object]] = ("", {})
    said: list[str] = []
    for one in [*records, None]:
        is_turn = one is not None and one.name == "CallerTranscript" and one.data.get("final")
        if one is None or is_turn:
            text = masked_text(" ".join(said).strip())
            if first and not heard:
                yield s.Greets(greets=text)
            elif heard and (text or tool[0]):
                yield s.Hears(hears=masked_text(heard), says=text, calls=tool[0], with_=dict(tool[1]))
            if one is not None:
                heard, tool, said, first = str(one.data["text"]).strip(), ("", {}), [], False
        elif one.name == "AgentTranscript" and one.data.get("final"):
            said.append(str(one.data["text"]))
        elif one.name == "ToolRequested":
            arguments = masked_value(one.data.get("arguments", {}))
            tool = (str(one.data["name"]), arguments if isinstance(arguments, dict) else {})


def _tools(records: Sequence[Record]) -> Iterator[tuple[str, s.ToolPlay]]:
    """What each tool answered the first time, and how long it took."""
    took = {one.data["tool_call_id"]: float(one.data["took_ms"]) for one in records if one.name == "ToolAnswered"}
    known: set[str] = set()
    for one in records:
        if one.name != "ToolResult" or one.data["name"] in known:
            continue
        known.add(str(one.data["name"]))
        after_ms = round(took.get(one.data["tool_call_id"], 0.0))
        text = masked_text(str(one.data["text"]))[:2000] or "-"
        play = s.Answers(answers=text, after_ms=after_ms) if one.data["ok"] else s.Fails(fails=text, after_ms=after_ms)
        yield str(one.data["name"]), play


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

"""One call of a world, and what can be said about it: what was heard of whom, what was noted, and who owed the silence.

Beside the referee of `actors.world` this knows our lines by their sound, the planned length of a speech, and so whose
turn it was when nobody was heard.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from actors.world.agent import Speech
from actors.world.heard import Heard
from actors.world.house import KeptRecording
from actors.world.referee import Fate, Report, judge
from actors.world.sounds import WORD_MS
from actors.world.tap import Run
from actors.world.world import Lived
from engine.audio import BYTES_PER_MS, FRAME_MS
from engine.lines import KINDS, Clip, LineBook

SILENT_MS = 200.0  # after so much of the caller's words nobody else may be heard
PAUSED_MS = 900.0  # a speech that broke off for so long may be followed by a line of ours
ASKING = ("idle", "unheard", "goodbye")  # our lines after which it is the caller's turn

LINES = LineBook({
    kind: (Clip(kind, (bytes([0x18 + 2 * number]) * 10 + bytes([0x98 + 2 * number]) * 10) * 8 * (20 + 5 * number)),)
    for number, kind in enumerate(KINDS)
})  # fmt: skip
"""One clip a kind, each with a sound and a length of its own: 400 ms for `holding`, 100 more for each next one."""


@dataclass
class Scene:
    """One call, and what can be said about it."""

    lived: Lived
    recording: KeptRecording | None = None
    opens: bool = True  # the agent is the one who begins
    dialled: int = 1  # how often Vapi was asked for an agent for this call

    report: Report = field(init=False)
    heard: Heard = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.report, self.heard = judge(self.lived), Heard(self.lived)

    # --- the journal -------------------------------------------------------------------------------------------------

    def notes(self, name: str) -> list[dict[str, Any]]:
        """The data of all records of that name."""
        return [record.data for record in self.lived.records if record.name == name]

    def at_ms(self, name: str) -> list[float]:
        """When they were, on the tap's clock."""
        began = (self.lived.opened_at - self.lived.began_at) * 1000
        return [record.at_ms + began for record in self.lived.records if record.name == name]

    def decisions(self) -> list[tuple[str, str]]:
        """Of each interruption, by its certificate: what was decided, and why."""
        return [(one["decision"], one["reason"]) for one in self.notes("Interruption")]

    def told(self, kind: str) -> list[str]:
        """What Vapi was told by text frames of that kind."""
        orders = [order for order in self.lived.told if order["type"] == kind]
        return [order.get("content") or order["message"]["content"] for order in orders]

    # --- what was heard ----------------------------------------------------------------------------------------------

    def fates(self) -> list[Fate]:
        """Of each of the caller's sounds: what became of the speech that it fell into."""
        return [ruling.fate for ruling in self.report.rulings]

    def speech(self, number: int) -> Speech:
        return self.lived.speeches[number]

    def pieces(self, number: int) -> list[Run]:
        """Of that speech, in order, what was heard without a break."""
        return self.heard.pieces(self.speech(number))

    def is_whole(self, number: int) -> bool:
        """Whether all of that speech was heard, at a break no more than a frame of it twice or not at all."""
        speech, pieces = self.speech(number), self.pieces(number)
        if not pieces:
            return False
        ends = [speech.first, *(run.number + round(run.ms) for run in pieces)]
        starts = [*(run.number for run in pieces), speech.first + speech.planned_ms]
        breaks = [start - end for end, start in zip(ends, starts, strict=True)]
        return breaks[0] == breaks[-1] == 0 and all(abs(lost_ms) <= FRAME_MS for lost_ms in breaks)

    def words_heard(self, number: int) -> int:
        """How many words of that speech left the earpiece whole."""
        pieces = self.pieces(number)
        return round(pieces[-1].number + pieces[-1].ms - self.speech(number).first) // WORD_MS if pieces else 0

    def stale_ms(self, number: int = 0, sound: int = 0, *, within_ms: float = SILENT_MS) -> float:
        """How much of that speech was heard later than so long after the caller's sound began."""
        moment_ms = self.lived.placed[sound].onset_ms + within_ms
        return sum(max(0.0, run.end_ms - max(run.at_ms, moment_ms)) for run in self.pieces(number))

    def lines(self) -> list[tuple[str, float]]:
        """Our own lines that were heard whole: kind, and when each began."""
        tap, found = self.lived.tap, []
        for kind in KINDS:
            clip = LINES.clips[kind][0].mulaw
            at = tap.heard.find(clip)
            while at >= 0:
                found.append((kind, tap.phase_ms + at / BYTES_PER_MS))
                at = tap.heard.find(clip, at + len(clip))
        return sorted(found, key=lambda one: one[1])

    def line_kinds(self) -> list[str]:
        return [kind for kind, _ in self.lines()]

    def interleaved(self) -> list[float]:
        """Where a line of ours began in the middle of a speech that had not paused, or was itself broken off."""
        found = list(self._broken_lines())
        for number in range(len(self.lived.speeches)):
            for before, after in pairwise(self.pieces(number)):
                until_ms = min(after.at_ms, before.end_ms + PAUSED_MS)
                found += [at for _, at in self.lines() if before.end_ms <= at < until_ms]
        return found

    def _broken_lines(self) -> Iterator[float]:
        """Lines that stop although nobody had them cleared. One that was held goes on as a piece of its own."""
        lengths = [len(clips[0].mulaw) / BYTES_PER_MS for clips in LINES.clips.values()]
        line = self.lived.plan.line
        slack_ms = FRAME_MS + line.down_ms + line.down_jitter_ms  # nobody knows to the frame where `clear` lands
        before_ms = 0.0
        for run in self.lived.tap.runs:
            if run.is_agent:
                before_ms = 0.0
                continue
            if any(abs(one - run.end_ms) <= slack_ms for one in (*self.lived.clears, self.lived.ended_ms)):
                before_ms += run.ms
            elif any(abs(ms - length) <= slack_ms for ms in (run.ms, before_ms + run.ms) for length in lengths):
                before_ms = 0.0
            else:
                yield run.at_ms

    # --- silence -----------------------------------------------------------------------------------------------------

    def dead_air(self) -> list[tuple[float, float]]:
        """Where neither voice was heard and it was not the caller's turn: from and until, in ms.

        It is the caller's turn from the moment at which they heard a speech to its planned end, or a line of ours that
        asks them something, until they have spoken; and from the beginning where the assistant waits for them.
        While the caller makes a noise it is not silent.
        """
        spoken = [(one.onset_ms, one.end_ms) for one in self.lived.placed]
        voices = sorted([*((run.at_ms, run.end_ms) for run in self.lived.tap.runs), *spoken])
        found, at_ms = [], 0.0
        for start_ms, end_ms in [*voices, (self.lived.ended_ms, self.lived.ended_ms)]:
            if start_ms > at_ms and not self._callers_turn(at_ms):
                found.append((at_ms, start_ms))
            at_ms = max(at_ms, end_ms)
        return found

    def longest_dead_air_ms(self) -> float:
        return max((end - start for start, end in self.dead_air()), default=0.0)

    def longest_silence_ms(self, since_ms: float, until_ms: float) -> float:
        """The longest time between these moments in which the caller heard nobody, whoever's turn it was."""
        heard = [
            (run.at_ms, run.end_ms) for run in self.lived.tap.runs if run.end_ms > since_ms and run.at_ms < until_ms
        ]
        ends, starts = [since_ms, *(end_ms for _, end_ms in heard)], [*(start_ms for start_ms, _ in heard), until_ms]
        return max(start_ms - end_ms for end_ms, start_ms in zip(ends, starts, strict=True))

    def _callers_turn(self, at_ms: float) -> bool:
        given = [] if self.opens else [(0.0, 0.0)]  # from when until when the words were heard that gave the turn away
        for number, speech in enumerate(self.lived.speeches):
            pieces = [run for run in self.pieces(number) if run.end_ms <= at_ms]
            if pieces and pieces[-1].number + pieces[-1].ms >= speech.first + speech.planned_ms:
                given.append((pieces[0].at_ms, pieces[-1].end_ms))
        for kind, began_ms in self.lines():
            end_ms = began_ms + len(LINES.clips[kind][0].mulaw) / BYTES_PER_MS
            if kind in ASKING and end_ms <= at_ms:
                given.append((began_ms, end_ms))
        if not given:
            return False
        began_ms, end_ms = max(given, key=lambda one: one[1])
        taken = any(began_ms < one.end_ms <= at_ms for one in self.lived.placed if one.sound.is_speech)
        began_again = any(run.is_agent and end_ms < run.end_ms <= at_ms for run in self.lived.tap.runs)
        return not taken and not began_again

    def ends_in_words(self) -> bool:
        """Whether nobody was left alone: the caller hung up, Twilio was given words, or goodbye was said."""
        last = self.lived.speeches[-1] if self.lived.speeches else None
        said = last is not None and last.ends_call and self.is_whole(len(self.lived.speeches) - 1)
        return self.lived.hung_up or bool(self.lived.words) or said or self.line_kinds()[-1:] == ["goodbye"]

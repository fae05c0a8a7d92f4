"""The person on the phone, as a plan: what they utter and when, laid to the sample on silence or on a background.

What was uttered is known exactly (`Placed`), so an agent may hear words without recognising speech, and a referee may
say when each sound became audible.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

from actors.world.sounds import Sound, Word, looped, mixed
from actors.world.tap import Tap
from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, duration_ms
from engine.voice import is_silent


@dataclass(frozen=True, slots=True)
class At:
    """So long after the stream began."""

    ms: float


@dataclass(frozen=True, slots=True)
class IntoSpeech:
    """The agent speaks, and was heard for so long since the caller's last step."""

    ms: float


@dataclass(frozen=True, slots=True)
class AfterAgent:
    """The agent was heard since the caller's last step, and then not for so long."""

    ms: float = 900.0
    hearing: str = ""  # not before these words were heard, as `engine.phrases.normalise` writes them
    ours_counts: bool = True  # whether one of the service's own lines is the agent


@dataclass(frozen=True, slots=True)
class AfterMe:
    """So long after the end of the caller's last sound."""

    ms: float


When = At | IntoSpeech | AfterAgent | AfterMe


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the caller does. Nothing but `when`: only wait."""

    when: When
    say: Sound | None = None
    press: str = ""
    hang_up: bool = False
    patience_s: float = 15.0  # the moment did not come for so long: the step is left out and counted


@dataclass(frozen=True, slots=True)
class CallerPlan:
    """Who calls. After the last step and `stays_ms` the caller hangs up."""

    steps: Sequence[Step] = ()
    background: bytes = field(default=b"", repr=False)  # µ-law, repeated for ever under everything
    stays_ms: float = 1000.0


@dataclass(slots=True)
class Placed:
    """A sound where it stands in the caller's track, in milliseconds since the stream began."""

    sound: Sound
    at_ms: float
    words: tuple[Word, ...]
    got_frames: dict[int, int] = field(default_factory=dict)  # word → frames of it that reached the agent

    @property
    def onset_ms(self) -> float:
        return self.at_ms + self.sound.onset_ms

    @property
    def end_ms(self) -> float:
        return self.at_ms + self.sound.audible_end_ms


SPEAKING_NOW_MS = 200  # the agent's own pauses between words are shorter


class Caller:
    """Follows a plan, frame by frame.

    Args:
        ears: the words heard since that millisecond, for those who wait for some.
    """

    def __init__(self, plan: CallerPlan, tap: Tap, rng: Random, *, ears: Callable[[float], str] | None = None) -> None:
        self._plan, self._tap, self._rng, self._ears = plan, tap, rng, ears
        self._listened_to = (-1.0, "")  # how much had been heard by then, and which words were looked for in it
        self._found = False
        self._steps = list(plan.steps)
        self._ahead = bytearray()  # what is placed already, from the next frame on
        self._position = 0  # samples that left the microphone
        self._acted_ms = 0.0  # when the last step was done
        self._asked_ms = 0.0  # since when the next one waits
        self._runs_seen = 0
        self.placed: list[Placed] = []
        self.missed: list[Step] = []
        self.pressed: list[str] = []  # keys to be sent, taken by the carrier
        self.wants_to_hang_up = False

    def frame(self) -> tuple[bytes, tuple[Placed, ...]]:
        """The next 20 ms, and which sounds are audible in them."""
        at_ms = duration_ms(self._position)
        self._act(at_ms)
        frame = bytes(self._ahead[:FRAME_BYTES])
        del self._ahead[:FRAME_BYTES]
        if len(frame) < FRAME_BYTES:
            frame += looped(self._plan.background, self._position + len(frame), FRAME_BYTES - len(frame))
        self._position += FRAME_BYTES
        end_ms = at_ms + FRAME_MS
        audible = tuple(one for one in self.placed[-3:] if one.onset_ms < end_ms and one.end_ms > at_ms)
        return frame, audible

    def _act(self, now_ms: float) -> None:
        """Do what is due within the next 20 ms."""
        while self._steps:
            step = self._steps[0]
            due_ms = self._due_ms(step.when, now_ms)
            if due_ms is None and now_ms - self._asked_ms > step.patience_s * 1000:
                self.missed.append(step)
            elif due_ms is None or due_ms >= now_ms + FRAME_MS:
                return
            else:
                self._do(step, max(due_ms, now_ms))
            self._steps.pop(0)
            self._asked_ms = now_ms
        if now_ms >= self._acted_ms + self._plan.stays_ms:
            self.wants_to_hang_up = True

    def _do(self, step: Step, due_ms: float) -> None:
        self._acted_ms = due_ms
        if step.say is not None:
            self._place(step.say, due_ms)
        self.pressed.extend(step.press)
        self.wants_to_hang_up |= step.hang_up

    def _due_ms(self, when: When, now_ms: float) -> float | None:
        """When it is, if that can be told yet."""
        match when:
            case At(ms):
                return max(ms, self._acted_ms)
            case AfterMe(ms):
                return self._acted_ms + ms
            case IntoSpeech(ms):
                heard_ms, last_ms = self._agent_since_acted()
                speaks = now_ms - last_ms < SPEAKING_NOW_MS
                return now_ms + self._rng.randrange(FRAME_BYTES) / BYTES_PER_MS if speaks and heard_ms >= ms else None
            case AfterAgent(ms, hearing, ours_counts):
                heard_ms, last_ms = self._agent_since_acted(ours_counts=ours_counts)
                if (
                    not heard_ms
                    or (now_ms < last_ms + ms - FRAME_MS and hearing)
                    or not self._has_heard(hearing, now_ms)
                ):
                    return None
                return last_ms + ms

    def _has_heard(self, words: str, now_ms: float) -> bool:
        if not words or self._ears is None:
            return True
        heard = (self._tap.runs[-1].end_ms, words)
        if heard != self._listened_to:
            self._listened_to = heard
            self._found = f" {words} " in f" {self._ears(self._acted_ms)} "
        return self._found

    def _agent_since_acted(self, *, ours_counts: bool = True) -> tuple[float, float]:
        """How much was heard since the last step, and when the last of it was."""
        runs = self._tap.runs
        while self._runs_seen < len(runs) - 1 and runs[self._runs_seen].end_ms <= self._acted_ms:
            self._runs_seen += 1
        heard_ms = sum(
            max(0.0, run.end_ms - max(run.at_ms, self._acted_ms))
            for run in runs[self._runs_seen :]
            if run.is_agent or ours_counts
        )
        return heard_ms, runs[-1].end_ms if runs else 0.0

    def _place(self, sound: Sound, at_ms: float) -> None:
        start = round(at_ms * BYTES_PER_MS) - self._position
        end = start + len(sound.mulaw)
        if len(self._ahead) < end:
            self._ahead += looped(self._plan.background, self._position + len(self._ahead), end - len(self._ahead))
        below = bytes(self._ahead[start:end])
        self._ahead[start:end] = sound.mulaw if is_silent(below) else mixed(sound.mulaw, below)
        begins_ms = duration_ms(self._position + start)
        words = tuple(Word(w.text, begins_ms + w.start_ms, begins_ms + w.end_ms) for w in sound.words())
        placed = Placed(sound, begins_ms, words)
        self.placed.append(placed)
        self._acted_ms = placed.end_ms

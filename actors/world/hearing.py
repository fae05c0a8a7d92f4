"""How a scripted agent hears the caller: by ground truth, from the frames that really reached it.

The frames are matched with those that the carrier sent, so a word counts as heard only when its audio came. Turns,
transcripts and interruptions then come with the latencies of a plan (reference/vapi.md §4.4, §4.6, §11.2).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from actors.world.caller import Placed
from actors.world.timetable import Timetable
from engine.audio import FRAME_BYTES, FRAME_MS, SILENCE_FRAME

SEARCH_FRAMES = 100  # audio that never came: so far ahead we look for what came instead
ACKNOWLEDGEMENTS = ("uh-huh", "mm-hm", "mhm", "yeah", "okay", "ok", "right", "sure", "i see")
INTERRUPTIONS = ("stop", "wait", "no", "hold", "but", "actually")


@dataclass(frozen=True, slots=True)
class HearingPlan:
    """The ears of a scripted agent. Times in milliseconds of heard audio or after it."""

    speech_start_ms: int = 60  # of voice, until user `speech-update` started
    first_partial_ms: int = 280  # after the voice began
    partial_every_ms: int = 300
    late_ms: int = 0  # transcripts come so much later than they could
    endpoint_ms: int = 550  # of silence ends a turn
    num_words: int = 1  # of a transcript interrupt; 0: voice alone does
    voice_ms: int = 200  # of voice interrupt, when `num_words` is 0
    deaf: bool = False  # never interrupts itself
    hears_noise: bool = False  # a noise is a voice to it
    transcribes: bool = True
    confidence: float | None = 0.92
    acknowledgements: tuple[str, ...] = ACKNOWLEDGEMENTS
    interruptions: tuple[str, ...] = INTERRUPTIONS

    def is_acknowledgement(self, text: str) -> bool:
        return plain(text) in self.acknowledgements


class Source(Protocol):
    """What the carrier sent, frame by frame, with what is audible in it."""

    sent: list[bytes]
    labels: list[tuple[Placed, ...]]


@dataclass(frozen=True, slots=True)
class Turn:
    """What the caller said without a long pause. No text: a noise."""

    text: str
    over_agent: bool


class Hearing:
    """Fed with what comes on the socket.

    Args:
        tell: sends a text frame.
        is_speaking: whether the agent speaks now.
        interrupt: the caller cut in.
        began, over: a turn of the caller's.
    """

    def __init__(
        self,
        timetable: Timetable,
        plan: HearingPlan,
        source: Source,
        *,
        tell: Callable[..., None],
        is_speaking: Callable[[], bool],
        interrupt: Callable[[], None],
        began: Callable[[], None],
        over: Callable[[Turn], None],
    ) -> None:
        self._timetable, self.plan, self._source, self._tell = timetable, plan, source, tell
        self._is_speaking, self._interrupt, self._began, self._over = is_speaking, interrupt, began, over
        self._at = 0  # the next frame of the carrier's that we expect
        self._voice_ms = 0
        self._quiet_ms = 0
        self._in_turn = False
        self._over_agent = False
        self._words: list[str] = []
        self._told = ""
        self._turn = 0
        self.strange_frames = 0  # neither the caller's nor silence

    @property
    def in_turn(self) -> bool:
        return self._in_turn

    def feed(self, mulaw: bytes) -> None:
        """Audio of the caller's, as it came."""
        for start in range(0, len(mulaw), FRAME_BYTES):
            self._frame(mulaw[start : start + FRAME_BYTES])

    def _frame(self, frame: bytes) -> None:
        index = self._find(frame)
        audible: Sequence[Placed] = () if index is None else self._source.labels[index]
        voice = False
        for placed in audible:
            if placed.words:
                voice = True
                assert index is not None
                self._hear_words(placed, index * FRAME_MS)
            elif self.plan.hears_noise:
                voice = True
        if voice:
            self._voice()
        elif self._voice_ms:
            self._quiet()

    def _find(self, frame: bytes) -> int | None:
        """Which of the carrier's frames this is."""
        sent, at = self._source.sent, self._at
        if at < len(sent) and sent[at] == frame:
            self._at += 1
            return at
        if frame == SILENCE_FRAME:
            return None  # put in by the service, while nothing came
        for index in range(at + 1, min(len(sent), at + SEARCH_FRAMES)):
            if sent[index] == frame:
                self._at = index + 1
                return index
        self.strange_frames += 1
        return None

    def _hear_words(self, placed: Placed, at_ms: float) -> None:
        end_ms = at_ms + FRAME_MS
        for number, word in enumerate(placed.words):
            if word.start_ms < end_ms and word.end_ms > at_ms:
                placed.got_frames[number] = placed.got_frames.get(number, 0) + 1
                if word.end_ms <= end_ms:
                    self._words.append(word.text)

    def _voice(self) -> None:
        self._voice_ms += FRAME_MS
        self._quiet_ms = 0
        if not self._in_turn and self._voice_ms >= self.plan.speech_start_ms:
            self._in_turn = True
            self._over_agent = self._is_speaking()
            self._turn += 1
            self._began()
            self._tell("speech-update", status="started", role="user", turn=self._turn)
            turn = self._turn
            self._timetable.after(self.plan.first_partial_ms - self._voice_ms, lambda: self._partial(turn))
        if self.plan.num_words == 0 and self._voice_ms >= self.plan.voice_ms:
            self._cut_in()

    def _quiet(self) -> None:
        self._quiet_ms += FRAME_MS
        if self._quiet_ms >= self.plan.endpoint_ms:
            if self._in_turn:
                self._finish()
            self._voice_ms = self._quiet_ms = 0

    def _partial(self, turn: int) -> None:
        if turn != self._turn or not self._in_turn:
            return
        text = " ".join(self._words)
        if text and text != self._told:
            self._told = text
            self._transcribe(text, final=False)
        self._timetable.after(self.plan.partial_every_ms, lambda: self._partial(turn))

    def _finish(self) -> None:
        text, over_agent = " ".join(self._words), self._over_agent
        self._in_turn = False
        self._words.clear()
        self._told = ""
        self._tell("speech-update", status="stopped", role="user", turn=self._turn)

        def said() -> None:
            if text and self.plan.transcribes:
                self._say_transcript(text, final=True)
            self._over(Turn(text if self.plan.transcribes else "", over_agent))

        self._timetable.after(self.plan.late_ms, said)

    def _transcribe(self, text: str, *, final: bool) -> None:
        if self.plan.transcribes:
            self._timetable.after(self.plan.late_ms, lambda: self._say_transcript(text, final=final))

    def _say_transcript(self, text: str, *, final: bool) -> None:
        sure: dict[str, Any] = {}
        if final and self.plan.confidence is not None:
            sure = {"confidence": self.plan.confidence}
        kind = "final" if final else "partial"
        self._tell("transcript", role="user", transcriptType=kind, transcript=text, **sure)
        if self.plan.num_words and cuts_in(text, self.plan):
            self._cut_in()

    def _cut_in(self) -> None:
        if not self.plan.deaf and self._is_speaking():
            self._interrupt()


def plain(text: str) -> str:
    """Lower case, without punctuation at the ends of words."""
    return " ".join(word.strip(".,!?").lower() for word in text.split())


def cuts_in(text: str, plan: HearingPlan) -> bool:
    """Whether these words interrupt an assistant (reference/vapi.md §11.2)."""
    words = plain(text)
    if words in plan.acknowledgements:
        return False
    enough = len(words.split()) >= plan.num_words
    return enough or any(f" {phrase} " in f" {words} " for phrase in plan.interruptions)

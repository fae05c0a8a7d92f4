"""Which words of the agent left the earpiece: what it was given to say, against how much of its audio was heard. Pure.

Vapi tells words and sends audio, and nothing ties the one to the other but their order (reference/vapi.md §4.4): the
text of a speech comes before, with and after its audio, from up to three sources, and with times for its words only
from some voices. `AgentWords` ties them. A word counts as heard when the whole of it was.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Literal

from engine.pace import USUAL_MS, Word, bare, words_of
from engine.speech import FRAME_MS, LONGEST_PAUSE_MS, MOST_CHARS, MOST_TIMES, Speech, Times, cleaned, joined, segment_of

MOST_SPEECHES = 8  # remembered: the one that is heard, and what Vapi is ahead
MOST_UTTERANCES = 16
SLACK_MS = 100.0  # an utterance is filled up to whole frames, and begins with what was held back
NEAR = 0.35  # a speech that rests is taken to rest at a sentence's end so much off the reckoned place
_PRIOR_UNITS, _FORGETTING = 60.0, 0.7


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of an utterance: the words that were heard, and all that were generated for it."""

    text: str
    generated: str
    cut: bool
    ends: tuple[tuple[int, float], ...] = field(default=(), compare=False, repr=False)
    """Of each word that was heard: how many characters end with it, and after how many milliseconds."""

    def until(self, heard_ms: float) -> Heard:
        """What is left of it when the sound broke off after so much, though it had been taken to be heard whole."""
        chars = max((chars for chars, end_ms in self.ends if end_ms <= heard_ms + FRAME_MS / 2), default=0)
        text = self.text[:chars].strip()
        return Heard(text, self.generated, cut=text != self.generated)

    @property
    def unheard(self) -> str:
        return self.generated[len(self.text) :].strip() if self.generated.startswith(self.text) else ""


NOTHING = Heard("", "", cut=False)


def note(
    utterance: int, heard: Heard, *, heard_ms: float, of_ms: float, policy: Literal["truncate", "keep", "again"]
) -> dict[str, Any]:
    """The data of `AgentHeard`, for the journal. A speech that is kept whole stands there whole, and is still cut."""
    return {
        "utterance": utterance,
        "text": heard.generated if policy == "keep" else heard.text,
        "cut": heard.cut,
        "heard_ms": round(heard_ms, 1),
        "of_ms": round(of_ms, 1),
        "policy": policy,
        "generated": heard.generated,
    }


class AgentWords:
    """One call's. Feed it from the bridge; ask once for each utterance, when it is over or was dropped.

    `audio` is called for what the caller is to hear, so not for what the bridge drops, nor for our own lines.
    """

    __slots__ = ("_ms", "_speeches", "_units", "_utterances")

    def __init__(self) -> None:
        self._speeches: deque[Speech] = deque(maxlen=MOST_SPEECHES)
        self._utterances: dict[int, Speech] = {}
        self._ms, self._units = USUAL_MS * _PRIOR_UNITS, _PRIOR_UNITS  # of speeches that were heard out

    # --- what Vapi says and sends ----------------------------------------------------------------------------------

    def voice_input(self, text: str, turn: int | None = None) -> None:
        """A piece of text goes to the voice; its audio comes later."""
        speech = self._speeches[-1] if self._speeches else self._open()
        if speech.over or not speech.may_be(turn):
            speech = self._open()
        speech.turn = speech.turn if turn is None else turn
        speech.voice = joined(speech.voice, text)

    def transcript(self, text: str, *, final: bool) -> None:
        """The agent's own transcript: a partial repeats its text so far, a final ends a piece."""
        speech = self._speech_of(text)
        if speech.told and bare(text).startswith(bare(speech.told)):
            speech.told = ""  # it repeats all from the beginning
        speech.telling = cleaned(text)[:MOST_CHARS]
        if final:
            speech.told, speech.telling = joined(speech.told, speech.telling), ""

    def timing(self, words: Times, text: str = "", turn: int | None = None) -> None:
        """`assistant.speechStarted`: when which words are spoken, from the beginning of the speech or of a segment."""
        speech = self._speech_of(text or segment_of(words), turn)
        if speech.over and speech.done and not speech.fits(text or segment_of(words)):
            speech = self._open()
        speech.named = cleaned(text)[:MOST_CHARS] or speech.named
        if words and len(speech.times) + len(words) <= MOST_TIMES:
            speech.align(words)

    def audio(self, ms: float) -> None:
        """So much audio came."""
        speech = next((one for one in self._speeches if not one.over and not one.done), None) or self._open()
        for earlier in self._speeches:
            if earlier is speech:
                break
            earlier.over = True
            earlier.done = earlier.done or not earlier.audio_ms  # it will not be heard any more
        speech.audio_ms += ms

    def speech_stopped(self) -> None:
        """No more audio comes of the speech that was sent until now."""
        speech = next((one for one in self._speeches if not one.over), None)
        if speech is not None:
            speech.over = True
            speech.done = speech.done or 0 < speech.audio_ms <= speech.spent_ms + FRAME_MS

    def interrupted(self) -> None:
        """`user-interrupted`: Vapi broke off what it was saying, and forgets what it was going to say."""
        for speech in self._speeches:
            if not speech.over:
                speech.over = speech.broken = True
                speech.done = speech.done or not speech.audio_ms

    # --- what the caller hears -------------------------------------------------------------------------------------

    def utterance_began(self, utterance: int) -> None:
        """The first audio of an utterance leaves for the caller."""
        waiting = [one for one in self._speeches if not one.done]
        begun = self._utterances.values()
        fresh = (one for one in waiting if one.audio_ms > one.spent_ms and one not in begun)
        self._utterances[utterance] = next(fresh, None) or (waiting[0] if waiting else self._open())
        while len(self._utterances) > MOST_UTTERANCES:
            del self._utterances[next(iter(self._utterances))]

    def saying(self, utterance: int | None = None) -> str:
        """All that is known of what this utterance, or the latest, says or is going to say; if none, what waits."""
        speech = self._begun(utterance)
        return speech.text[speech.spent_chars :].strip() if speech else ""

    def cut(self, heard_ms: float, of_ms: float, utterance: int | None = None) -> Heard:
        """The utterance was dropped when so much of it had been heard, and with it all that waited behind it.

        Args:
            of_ms: its audio, sent and waiting.
            utterance: its number; None is the latest. If it has not begun, what waited is meant.
        """
        found = self._tell(utterance, heard_ms, of_ms, dropped=True)
        for speech in self._speeches:
            speech.done = True
        self._utterances.clear()
        return found

    def done(self, of_ms: float, utterance: int | None = None) -> Heard:
        """The utterance was heard to its end. If its speech only rests, the other words are the next utterance's."""
        return self._tell(utterance, of_ms, of_ms, dropped=False)

    # --- inside ----------------------------------------------------------------------------------------------------

    def _open(self) -> Speech:
        while len(self._speeches) > 1 and self._speeches[0].done:
            self._speeches.popleft()
        self._speeches.append(Speech())
        return self._speeches[-1]

    def _speech_of(self, text: str, turn: int | None = None) -> Speech:
        """Whose text this is: the newest speech that it fits, otherwise the newest."""
        for speech in reversed(self._speeches):
            if speech.may_be(turn) and speech.fits(text):
                return speech
        newest = self._speeches[-1] if self._speeches else None
        return newest if newest is not None and newest.may_be(turn) else self._open()

    def _begun(self, utterance: int | None, *, waiting: bool = True) -> Speech | None:
        """The speech of this utterance, or of the latest; if it is none that we know, and if wanted, what waits."""
        if utterance is None:
            utterance = next(reversed(self._utterances), None)
        found = None if utterance is None else self._utterances.get(utterance)
        return found or next((one for one in self._speeches if waiting and not one.done), None)

    def _tell(self, utterance: int | None, heard_ms: float, of_ms: float, *, dropped: bool) -> Heard:
        """An utterance is a speech, or a part of one; what is dropped may be that and the speeches behind it."""
        begun = self._begun(utterance, waiting=dropped)
        if begun is None:
            return NOTHING
        self._utterances = {number: one for number, one in self._utterances.items() if one is not begun}
        parts = [
            self._tell_part(speech, min(max(heard_ms - before_ms, 0.0), part_ms), part_ms, dropped=dropped)
            for speech, before_ms, part_ms in (self._parts(begun, of_ms) if dropped else [(begun, 0.0, of_ms)])
        ]
        if not dropped:
            return parts[0]
        first_cut = next((index for index, one in enumerate(parts) if one.cut), len(parts))
        text = " ".join(one.text for one in parts[: first_cut + 1] if one.text)
        return Heard(text, " ".join(one.generated for one in parts if one.generated), cut=first_cut < len(parts))

    def _parts(self, begun: Speech, of_ms: float) -> Iterator[tuple[Speech, float, float]]:
        """The speeches that so much audio holds: each with how much comes before it, and how much it has."""
        following = list(self._speeches)
        following = following[following.index(begun) :] if begun in following else [begun]
        before_ms = 0.0
        for speech, after in zip_longest(following, following[1:]):
            left_ms, has_ms = of_ms - before_ms, speech.audio_ms - speech.spent_ms
            last = not speech.over or after is None or not after.audio_ms or after in self._utterances.values()
            if last or has_ms <= 0 or has_ms > left_ms - SLACK_MS:
                yield speech, before_ms, left_ms
                return
            yield speech, before_ms, has_ms
            before_ms += has_ms

    def _tell_part(self, speech: Speech, heard_ms: float, of_ms: float, *, dropped: bool) -> Heard:
        speech.audio_ms = speech.spent_ms + of_ms  # who plays it knows best: silence that came was not counted there
        text, spent_chars = speech.text, speech.spent_chars
        words = words_of(text)
        whole = speech.is_whole(words)
        if whole and speech.is_settled:
            self._ms = self._ms * _FORGETTING + speech.audio_ms
            self._units = self._units * _FORGETTING + words[-1].ends
        ends = speech.ends_ms(words, self._ms / self._units, whole=whole)
        until_ms = speech.spent_ms + heard_ms
        if heard_ms <= 0:
            heard = 0
        elif whole and heard_ms >= of_ms - FRAME_MS:
            heard = len(words)
        elif speech.over or dropped:
            heard = sum(end <= until_ms + FRAME_MS / 2 for end in ends)
        else:
            heard = _rest(words, ends, until_ms, of_ms)
        end_char = max(spent_chars, words[heard - 1].end_char if heard else 0)
        told = text[spent_chars:end_char].strip()
        left = end_char - len(text[spent_chars:end_char].lstrip())
        told_ends = tuple(
            (word.end_char - left, end_ms - speech.spent_ms)
            for word, end_ms in zip(words[:heard], ends, strict=False)
            if word.end_char > left
        )
        if speech.over or dropped:
            speech.done = True
            generated = text[spent_chars:].strip()
            return Heard(told, generated, cut=told != generated, ends=told_ends)
        speech.spent_ms, speech.spent_chars = until_ms, end_char
        if heard < len(words):
            speech.rests.append((words[heard].starts, until_ms))
        return Heard(told, told, cut=False, ends=told_ends)


def _rest(words: Sequence[Word], ends: Sequence[float], until_ms: float, of_ms: float) -> int:
    """How many words come before a rest: voices rest where a sentence ends, if one ends about there."""
    stops = [index for index, word in enumerate(words) if word.ends_sentence or index == len(words) - 1]
    nearest = min(stops, key=lambda index: abs(ends[index] - until_ms), default=None)
    if nearest is not None and abs(ends[nearest] - until_ms) <= NEAR * of_ms + LONGEST_PAUSE_MS / 2:
        return nearest + 1
    return sum(end <= until_ms for end in ends)

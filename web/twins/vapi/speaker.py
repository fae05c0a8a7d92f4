"""The assistant's voice in one call: words wait in a queue, become audio, are spoken or cut off (vapi.md §4.4, 4.6)."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from web.twins.vapi.brain import sentences
from web.twins.vapi.clock import epoch_ms, new_id
from web.twins.vapi.mouth import Mouth, Utterance
from web.twins.vapi.state import CallState
from web.twins.vapi.texts import segments_of
from web.twins.vapi.transcripts import Transcripts

__all__ = ["Speaker", "Words"]

MOST_WAITING = 32
ALLOWED_AT_MOST_S = 10.0
"""Whoever talks for so long is talked over."""
PARTIAL_S = 0.5

SPOKEN, INTERRUPTED, DROPPED = "spoken", "interrupted", "dropped"


@dataclass(eq=False)
class Words:
    """Something to say. `outcome` is there once `done` is set."""

    text: str
    from_model: bool = True
    is_announced: bool = True
    """Whether `voice-input` tells of it; not for the first message, as captured."""
    can_be_interrupted: bool = True
    ends_call: str | None = None
    """The endedReason, if the call ends once this has been spoken."""
    still_wanted: Callable[[], bool] = lambda: True
    """Asked just before speaking."""
    turn_id: str = field(default_factory=new_id)
    outcome: str | None = None
    done: trio.Event = field(default_factory=trio.Event)
    voice_ms: float = 0.0


class Speaker:
    """Owns the mouth. `run` speaks one `Words` after another; `interrupt` may come at any moment, from the socket."""

    def __init__(
        self,
        state: CallState,
        mouth: Mouth,
        transcripts: Transcripts,
        voice: Callable[[str], Awaitable[bytes]],
        *,
        wait_until_free: Callable[[], Awaitable[None]],
        end_call: Callable[[str], None],
        say_began: Callable[[], None],
    ) -> None:
        self._state, self._mouth, self._transcripts, self._voice = state, mouth, transcripts, voice
        self._wait_until_free, self._end_call, self._say_began = wait_until_free, end_call, say_began
        self._send, self._receive = trio.open_memory_channel[Words](MOST_WAITING)
        self._waiting: list[Words] = []
        self._now: tuple[Words, Utterance, int, dict[str, Any]] | None = None
        self._quiet_until = 0.0
        self.last_began = self.last_ended = 0.0
        assistant = state.record.assistant
        plan = assistant.get("stopSpeakingPlan") or {}
        self._backoff_s = float(plan.get("backoffSeconds", 1.0))
        self._names = {
            new: assistant[old] for old, new in (("id", "assistantId"), ("name", "assistantName")) if assistant.get(old)
        }
        self._end_phrases = [one.lower() for one in assistant.get("endCallPhrases") or []]

    @property
    def is_speaking(self) -> bool:
        return self._mouth.speaking is not None

    @property
    def is_interruptible(self) -> bool:
        return self._now is not None and self._now[0].can_be_interrupted

    @property
    def is_quiet(self) -> bool:
        """Nothing is being said, and nothing waits to be."""
        return not self._waiting

    def say(self, words: Words) -> None:
        """Queue it. When the queue is full the words are dropped, silently, as live control does (§5.2)."""
        try:
            self._send.send_nowait(words)
        except trio.WouldBlock:
            words.outcome = DROPPED
            words.done.set()
        else:
            self._waiting.append(words)

    def interrupt(self) -> None:
        """The caller spoke over us: stop, tell, forget what was still to be said (§4.6)."""
        if self._now is None:
            return
        words = self._now[0]
        self._state.interruptions += 1
        self._state.tell("user-interrupted", {"turnId": words.turn_id})
        self._quiet_until = trio.current_time() + self._backoff_s
        self._stop(INTERRUPTED)

    def hush(self) -> None:
        """Stop at once and drop what waits, without anybody's having interrupted."""
        self._stop(DROPPED)

    def _stop(self, outcome: str) -> None:
        for one in self._waiting:
            one.outcome = one.outcome or (outcome if self._now and one is self._now[0] else DROPPED)
        self._mouth.cut()
        self._ended()

    async def run(self) -> None:
        async for words in self._receive:
            try:
                await self._speak(words)
            finally:
                words.outcome = words.outcome or DROPPED
                self._waiting.remove(words)
                words.done.set()
            if words.outcome == SPOKEN:
                self._after(words)

    async def _speak(self, words: Words) -> None:
        if words.outcome or not words.text.strip():
            return
        state = self._state
        if words.from_model:
            for piece in sentences(words.text):
                state.tell("model-output", {"output": piece + " ", "turnId": words.turn_id})
        began = trio.current_time()
        mulaw = await self._voice(words.text)
        await trio.sleep_until(began + state.dials.voice_latency_ms / 1000)
        words.voice_ms = (trio.current_time() - began) * 1000
        with trio.move_on_after(ALLOWED_AT_MOST_S):
            await self._wait_until_free()
            await trio.sleep_until(self._quiet_until)
        if words.outcome or not words.still_wanted():
            state.timeline.note("not_said", words=words.text)
            return
        await self._play(words, mulaw)

    async def _play(self, words: Words, mulaw: bytes) -> None:
        state = self._state
        if words.is_announced:
            for piece in sentences(words.text):
                slim = {"input": piece, "turn": state.next_turn}
                state.tell("voice-input", slim, server={"input": piece})
        turn = state.new_turn()
        entry = state.history.bot_begins(words.text, epoch_ms())
        utterance = self._mouth.begin(mulaw)
        state.record.generated.append((words.text, utterance.mulaw))
        self._now = (words, utterance, turn, entry)
        self.last_began = utterance.began
        self._say_began()
        state.timeline.note("says", words=words.text, length_ms=round(utterance.length_s * 1000))
        state.tell("speech-update", {"status": "started", "role": "assistant", "turn": turn})
        segments = deque(segments_of(words.text, utterance.length_s * 1000))
        source = "model" if words.from_model else "force-say"
        partial_due = utterance.began + PARTIAL_S
        while not utterance.over.is_set():
            while segments and utterance.began + segments[0][0] / 1000 <= trio.current_time():
                fields = {"text": words.text, "turn": turn, "source": source, "timing": segments.popleft()[1]}
                state.tell("assistant.speechStarted", fields)
            segment_due = utterance.began + segments[0][0] / 1000 if segments else partial_due
            with trio.move_on_at(min(partial_due, segment_due)):
                await utterance.over.wait()
                break
            if trio.current_time() >= partial_due:
                partial_due += PARTIAL_S
                self._tell_transcript("partial", _part(words.text, utterance.part_spoken(trio.current_time())))
        if not utterance.was_cut:
            words.outcome = SPOKEN
            self._ended()

    def _ended(self) -> None:
        """The utterance is over, one way or the other."""
        if self._now is None:
            return
        (words, utterance, turn, entry), self._now = self._now, None
        self.last_ended = trio.current_time()
        state = self._state
        is_whole = words.outcome == SPOKEN
        spoken = words.text if is_whole else _part(words.text, utterance.part_spoken(trio.current_time()))
        state.history.bot_ends(entry, spoken, epoch_ms())
        state.timeline.note("said" if is_whole else "cut_off", words=spoken, sent_ms=utterance.sent_frames * 20)
        state.tell("speech-update", {"status": "stopped", "role": "assistant", "turn": turn})

    def _after(self, words: Words) -> None:
        self._tell_transcript("final", words.text)
        tell_conversation(self._state)
        lower = words.text.lower()
        if words.ends_call:
            self._end_call(words.ends_call)
        elif any(phrase in lower for phrase in self._end_phrases):
            self._end_call("assistant-said-end-call-phrase")

    def _tell_transcript(self, kind: str, text: str) -> None:
        if text:
            self._transcripts.tell("assistant", kind, text, **self._names)


def tell_conversation(state: CallState) -> None:
    """`conversation-update`: only `conversation` on the socket, all three forms in the webhook (as captured)."""
    artifact = state.history.artifact()
    conversation = artifact["messagesOpenAIFormatted"]
    state.tell("conversation-update", {"conversation": conversation}, server={**artifact, "conversation": conversation})


def _part(text: str, share: float) -> str:
    """The words that so much of the audio holds, about."""
    words = text.split()
    return " ".join(words[: int(len(words) * share)])

"""The caller as the twin hears them: turns, transcripts, and whether they interrupted (vapi.md §4.6, §11.2)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import trio

from engine.audio import FRAME_MS
from engine.voice import loudness_db
from web.twins.vapi.clock import epoch_ms
from web.twins.vapi.listening import Listening, TurnOver, VoiceStarted
from web.twins.vapi.settings import Speech
from web.twins.vapi.speaker import Speaker, tell_conversation
from web.twins.vapi.state import CallState
from web.twins.vapi.transcripts import Transcripts

__all__ = ["Caller", "Said"]

MOST_TURNS_WAITING = 8
WORTH_ASKING_MS = 400
"""Voice in which nothing was recognised gets "say it again" from so much on; less was a noise."""

LOUD_DB = 11.0
"""Less is line noise (as in `engine.voice`)."""
HEAR_S = 20.0
LAST_HEARING_S = 2.0
"""After the call's end a recognition that is under way gets so long: to cancel it costs everybody a new recogniser."""

ACKNOWLEDGEMENTS = (
    "i understand|i see|i got it|i hear you|im listening|im with you|right|okay|ok|sure|alright|got it|understood|yeah|"
    "yes|uh-huh|mm-hmm|gotcha|mhmm|ah|yeah okay|yeah sure"
)
INTERRUPTIONS = (
    "stop|shut|up|enough|quiet|silence|but|dont|not|no|hold|wait|cut|pause|nope|nah|nevermind|never|bad|actually"
)


@dataclass(frozen=True, slots=True)
class Said:
    """One turn of the caller, recognised. Empty `text`: something, but nobody knows what."""

    text: str
    over_ms: float
    """Trio's clock at the last voice, in milliseconds."""
    heard_ms: float
    """How long the recogniser took."""
    was_told: bool = False
    """Not heard but put into the conversation, such as keys (§4.8): nothing that is said later makes it void."""


@dataclass(frozen=True, slots=True)
class _Turn:
    mulaw: bytes
    voiced_ms: int
    began_ms: int
    ended_ms: int
    last_voice_s: float
    over_assistant: bool


class Caller:
    """Fed with frames from the socket (synchronous); `run` recognises, and hands what was said to `on_said`."""

    def __init__(
        self,
        state: CallState,
        speech: Speech,
        grammar: Any,
        speaker: Callable[[], Speaker],
        transcripts: Transcripts,
        *,
        partials: trio.CapacityLimiter,
        on_said: Callable[[Said], None],
    ) -> None:
        dials = state.dials
        self._state, self._speech, self._grammar = state, speech, grammar
        self._speaker, self._partials, self._on_said = speaker, partials, on_said
        self._transcripts = transcripts
        silence_ms = max(FRAME_MS, dials.endpoint_ms - speech.hangover_ms)
        self._listening = Listening(speech.activity(), start_ms=dials.speech_start_ms, endpoint_ms=silence_ms)
        self._send, self._receive = trio.open_memory_channel[_Turn](MOST_TURNS_WAITING)
        plan = state.record.assistant.get("stopSpeakingPlan") or {}
        self._num_words = int(plan.get("numWords", 0))
        self._voice_ms = float(plan.get("voiceSeconds", 0.2)) * 1000
        self._acknowledgements = _plain(plan.get("acknowledgementPhrases") or ACKNOWLEDGEMENTS.split("|"))
        self._interruptions = _plain(plan.get("interruptionPhrases") or INTERRUPTIONS.split("|"))
        self._began_ms, self._number, self._overlap_ms = 0, 0, 0
        self._began_s = 0.0
        self._over_assistant = False
        self._in_turn, self._free = trio.Event(), trio.Event()
        self._free.set()
        self._hearing = 0
        self._hearings: set[trio.CancelScope] = set()
        self.last_voice_s = trio.current_time()

    def feed(self, frame: bytes) -> None:
        """20 ms of the caller."""
        fact = self._listening.feed(frame)
        if isinstance(fact, VoiceStarted):
            self._starts(fact)
        if self._listening.is_voiced and self._listening.in_turn:
            self.last_voice_s = trio.current_time()
            if loudness_db(frame) >= LOUD_DB:  # not the hangover of the voice activity
                self._talks_over(fact.voiced_ms if isinstance(fact, VoiceStarted) else FRAME_MS)
        elif isinstance(fact, TurnOver):
            self._stops(fact)

    def assistant_began(self) -> None:
        """Voice from before this does not count as talking over it."""
        self._overlap_ms = 0

    def let_go(self) -> None:
        """The call is over."""
        for scope in self._hearings:
            scope.deadline = min(scope.deadline, trio.current_time() + LAST_HEARING_S)

    async def wait_until_free(self) -> None:
        """Until the caller is silent and all they said is recognised."""
        await self._free.wait()

    def _starts(self, fact: VoiceStarted) -> None:
        self._began_ms = epoch_ms() - fact.voiced_ms
        self._began_s = trio.current_time() - fact.voiced_ms / 1000
        self._number = self._state.new_turn()
        self._over_assistant = self._speaker().is_speaking
        self._in_turn.set()
        self._free = trio.Event()
        self._state.timeline.note("caller_starts", over_assistant=self._over_assistant)
        self._state.tell("speech-update", {"status": "started", "role": "user", "turn": self._number})

    def _talks_over(self, ms: int) -> None:
        """Voice alone decides whether this is an interruption, unless the plan wants words (§11.2)."""
        if not self._speaker().is_speaking:
            return
        self._overlap_ms += ms
        dials = self._state.dials
        enough_ms = dials.speech_start_ms if dials.interrupts_on_noise else self._voice_ms
        if (self._num_words == 0 or dials.interrupts_on_noise) and self._overlap_ms >= enough_ms:
            self._interrupt(voiced_ms=self._overlap_ms)

    def _interrupt(self, **why: Any) -> None:
        speaker = self._speaker()
        self._overlap_ms = 0
        if speaker.is_speaking and speaker.is_interruptible and not self._state.dials.deaf:
            self._state.timeline.note("interrupted", **why)
            speaker.interrupt()

    def _stops(self, fact: TurnOver) -> None:
        state = self._state
        self._in_turn = trio.Event()
        self._overlap_ms = 0
        state.tell("speech-update", {"status": "stopped", "role": "user", "turn": self._number})
        state.timeline.note("caller_stops", voiced_ms=fact.voiced_ms)
        turn = _Turn(fact.mulaw, fact.voiced_ms, self._began_ms, epoch_ms(), self.last_voice_s, self._over_assistant)
        try:
            self._send.send_nowait(turn)
            self._hearing += 1
        except trio.WouldBlock:
            state.timeline.complain("the caller says more than the twin can recognise")
            self._free.set()

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            if self._state.dials.partial_every_ms:
                nursery.start_soon(self._tell_partials)
            async for turn in self._receive:
                await self._recognise(turn)
                self._hearing -= 1
                if not self._hearing and not self._listening.in_turn:
                    self._free.set()

    async def _recognise(self, turn: _Turn) -> None:
        began = trio.current_time()
        text, confidence = await self._hear(turn.mulaw)
        took_ms = (trio.current_time() - began) * 1000
        state = self._state
        state.timeline.note("heard", text=text, confidence=confidence, took_ms=round(took_ms))
        if text:
            state.history.user(text, turn.began_ms, turn.ended_ms)
            tell_conversation(state)
            self._transcripts.tell("user", "final", text, confidence=confidence, confidenceSource="provider")
            self._words_interrupt(text)
        if text and turn.over_assistant and _words(text) in self._acknowledgements:
            return
        if text or turn.voiced_ms >= WORTH_ASKING_MS or state.dials.mute_after_noise:
            self._on_said(Said(text, turn.last_voice_s * 1000, took_ms))

    async def _hear(self, mulaw: bytes) -> tuple[str, float]:
        """Text and confidence. A failing recogniser hears nothing."""
        if self._grammar is None:
            return "", 0.0
        with trio.CancelScope(shield=True, deadline=trio.current_time() + HEAR_S) as scope:
            self._hearings.add(scope)
            try:
                hearing = await self._speech.ears.hear(mulaw, self._grammar)
            except (RuntimeError, TimeoutError) as error:
                self._state.timeline.note("recogniser_failed", why=str(error))
            else:
                return hearing.text.strip(), round(hearing.confidence, 2)
            finally:
                self._hearings.discard(scope)
        return "", 0.0

    async def _tell_partials(self) -> None:
        while True:
            await self._in_turn.wait()
            turn, dials = self._in_turn, self._state.dials
            due = self._began_s + dials.first_partial_ms / 1000
            while True:
                await trio.sleep_until(due)
                if self._in_turn is not turn:
                    break
                await self._partial()
                due = max(due, trio.current_time()) + max(FRAME_MS, dials.partial_every_ms) / 1000

    async def _partial(self) -> None:
        """The text so far. Only when no other call is at it: finals come first."""
        number = self._number
        try:
            self._partials.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            return
        try:
            text, _ = await self._hear(self._listening.so_far())
        finally:
            self._partials.release_on_behalf_of(self)
        if not text or number != self._number or not self._in_turn.is_set():
            return
        self._state.timeline.note("heard_partial", text=text)
        self._transcripts.tell("user", "partial", text)
        self._words_interrupt(text)

    def _words_interrupt(self, text: str) -> None:
        """Partials and finals alike, when the plan wants words."""
        if self._num_words and self._is_interruption(text):
            self._interrupt(words=len(text.split()))

    def _is_interruption(self, text: str) -> bool:
        plain = _words(text)
        if plain in self._acknowledgements:
            return False
        return len(plain.split()) >= self._num_words or any(one in plain.split() for one in self._interruptions)


def _words(text: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", text.lower()).strip()


def _plain(phrases: Any) -> frozenset[str]:
    return frozenset(_words(one) for one in phrases)

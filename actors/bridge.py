"""Both legs of one call on the media plane, and what is heard between them. Synchronous: runs inside the plane's batch.

Audio goes from leg to leg here without passing the actor; the actor hears facts (`post`) and gives orders (`hold`,
`drop`, `let_speak`, `close_line`, `end_agent`). Nothing here waits, and nothing here decides what an event means.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Protocol

from actors.ports import Wire
from engine import events as e
from engine.agent import Turns
from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, SILENCE_FRAME, duration_ms
from engine.certificate import Certificate
from engine.echo import EchoGuard
from engine.heard import AgentWords, Heard, note
from engine.playout import Playout
from engine.playout_moves import Audio, Cut, Done, Gate, Mark, Move, Started
from engine.recording import Ears, HeardModel
from engine.turns import judge_for
from engine.voice import Voice, VoiceDetector, levels, levels_db, loudness_db
from engine.wire import twilio, vapi

PRE_ROLL_MS = 500  # of what the caller says while Vapi's socket opens, from before their first voice
MOST_PRE_ROLL_MS = 10_000  # … and so much from there on
ECHO_MS = 1000  # so often a known echo is looked at again
SAID_10MS, HEARD_10MS = 100, 160  # so much of both is compared: an echo comes up to 600 ms later
RECENT_VOICE_S = 1.0  # a voice that is over and began longer ago is not what the agent was interrupted by
EARLY_AGENT_MS = 10_000  # what the agent says before Twilio's stream is there
# Twilio sent nothing for so long: we keep Vapi's clock going (reference/vapi.md §4.3). Not sooner: what only came late
# would be pulled apart by silence in the middle of a word.
SILENT_GAP_S = 0.5
JUDGED_S = 0.05  # no voice is known to be a false alarm sooner
NOTHING = Voice.NOTHING
FALSE_ALARMS = frozenset({"noise", "no words", "echo"})  # the detector learns from these
SETTLE_PIECES = 25  # of the caller's, half a second: so much of the recording is worked out in one go
AGENT_SILENT_S = 5.0  # an open Vapi socket on which nothing ever came is no agent (reference/vapi.md §4.2)


class Tap(Protocol):
    """Where the recording goes: both channels, same number of samples."""

    def tap(self, caller_mulaw: bytes, heard_mulaw: bytes) -> None: ...


class Bridge:
    """The sound of one call.

    Args:
        clock: seconds, monotonic; the clock of every event's `at`.
        began_at: by that clock, when the call began; times in notes count from there.
        post: takes facts; never blocks.
        note: takes what only a reader of the journal wants: a name and JSON-able data.
    """

    __slots__ = (
        "_agent", "_agent_bytes", "_agent_came", "_agent_opened_at", "_agent_over", "_audible_ms", "_began_at",
        "_caller", "_caller_at", "_certificate", "_clock", "_early", "_ears", "_echo", "_echo_due", "_echoes", "_heard",
        "_interruptions", "_judge", "_line", "_line_given_back", "_line_over", "_note", "_odd_ms", "_onset_at",
        "_onset_line_ms", "_onset_told_at", "_playout", "_post", "_pre_roll", "_quiet_until", "_said", "_saying",
        "_spoke_early", "_tail", "_tap", "_told_utterance", "_voice", "_words", "_writer", "call_id",
        "early_dropped_ms", "frames_in", "frames_out",
    )  # fmt: skip

    def __init__(
        self,
        *,
        call_id: str,
        clock: Callable[[], float],
        post: Callable[[e.Event], None],
        note: Callable[[str, dict[str, Any]], None],
        turns: Turns,
        began_at: float = 0.0,
        tap: Tap | None = None,
    ) -> None:
        self.call_id = call_id
        self._clock, self._post, self._note, self._tap = clock, post, note, tap
        self._line: Wire | None = None
        self._agent: Wire | None = None
        self._writer: twilio.MediaWriter | None = None
        self._playout = Playout()
        self._ears = Ears(HeardModel())
        self._caller = self._ears.caller  # looked up once, not at each frame
        self._voice = VoiceDetector(onset_ms=turns.voice_ms, floor_db=turns.noise_floor_db)
        self._began_at = began_at
        self._judge = judge_for(turns, None)
        self._words = AgentWords()
        self._agent_bytes = 0  # audio of the agent that the words do not know of yet
        self._saying = 0  # the agent's utterance that is being heard
        self._told_utterance = 0  # up to this one it is written down what was heard
        self._tail: tuple[int, Heard, float] | None = None  # the utterance before, while its end is yet to be heard
        self._echo: EchoGuard | None = EchoGuard() if turns.echo_guard else None
        self._echoes = False  # the agent is known to come back
        self._echo_due = 0.0  # when to look whether it still does
        self._said, self._heard = array("I"), array("I")  # levels of the last stretch, for the echo guard
        self._pre_roll: list[bytes] = []
        self._spoke_early = False
        self._early = bytearray()
        self._onset_at = self._onset_line_ms = self._onset_told_at = 0.0
        self._odd_ms = 0.0  # of the caller's audio, what came in messages of other lengths than a frame's
        self._caller_at = 0.0
        self._agent_opened_at = 0.0
        self._agent_came = False
        self._quiet_until = 0.0  # `tick` has nothing to do before that but what the playout wants
        self._agent_over = False
        self._line_over = False
        self._line_given_back = False
        self._audible_ms = 0.0  # of the agent, heard since the caller's last onset
        self._certificate: Certificate | None = None  # of an interruption that is not written down yet
        self._interruptions = 0
        self.early_dropped_ms = 0.0
        self.frames_in = self.frames_out = 0

    # --- Twilio's leg ----------------------------------------------------------------------------------------------

    def line_opened(self, wire: Wire, stream_sid: str) -> None:
        self._line, self._writer = wire, twilio.MediaWriter(stream_sid)
        wire.owner = self.call_id
        self._caller_at = self._clock()
        self._post(e.StreamStarted(at=self._caller_at, stream_sid=stream_sid))
        self._make([self._playout.probe("p-0", self._caller_at)])
        if self._early:
            early, self._early = bytes(self._early), bytearray()
            self._agent_bytes += len(early)
            self._make(self._playout.push(early, self._caller_at))

    def caller_audio(self, mulaw: bytes) -> float:
        """What the caller says, as it came: 20 ms as a rule. Returns when that was."""
        now = self._caller_at = self._clock()
        self.frames_in += 1
        if len(mulaw) != FRAME_BYTES:
            self._odd_caller_audio(mulaw, now)
            return now
        agent, caller = self._agent, self._caller
        if agent is not None:
            agent.send_binary(mulaw, FRAME_MS)
        else:
            self._remember(mulaw)
        caller.append(mulaw)
        if len(caller) >= SETTLE_PIECES:
            self.settle_recording()
        change = self._voice.feed(mulaw, self._echo_db(now) if self._echoes else 0.0)
        if change is not NOTHING:
            self._voice_changed(change, now)
        return now

    def _odd_caller_audio(self, mulaw: bytes, now: float) -> None:
        """As `caller_audio`, of another length than a frame's."""
        if self._agent is not None:
            self._agent.send_binary(mulaw, len(mulaw) // BYTES_PER_MS)
        else:
            self._remember(mulaw)
        self._caller.append(mulaw)
        if len(self._caller) >= SETTLE_PIECES:
            self.settle_recording()
        self._odd_ms += duration_ms(mulaw) - FRAME_MS
        for start in range(0, len(mulaw), FRAME_BYTES):
            self._voice_changed(self._voice.feed(mulaw[start : start + FRAME_BYTES]), now)

    @property
    def _line_ms(self) -> float:
        """The line's own clock: so much of the caller's audio has come (`engine.playout`)."""
        return self.frames_in * FRAME_MS + self._odd_ms

    def _line_ms_at(self, now: float) -> float:
        """As `_line_ms`, and how far into the frame that has not come yet: exact on a line without jitter."""
        return self._line_ms + min((now - self._caller_at) * 1000, FRAME_MS - 1.0)

    def _voice_changed(self, change: Voice, now: float) -> None:
        if change is Voice.STARTED:
            self._onset_at = now - self._voice.onset_ms_ago / 1000
            self._onset_line_ms = self._line_ms - self._voice.onset_ms_ago
            self._onset_told_at = now
            self._audible_ms = 0.0
            self._post(e.CallerVoice(at=now, onset_at=self._onset_at))
        elif change is Voice.STOPPED:
            self._post(e.CallerQuiet(at=now, voiced_ms=self._voice.voiced_ms))

    def _echo_db(self, now: float) -> float:
        """How loud the agent's own echo is in this frame."""
        heard = self._playout.hearing(now)
        return self._echo.expected_db(loudness_db(heard)) if self._echo is not None else 0.0

    def _learn_echo(self, now: float) -> None:
        """A voice without words, while the agent was heard: was it the agent itself? And is it still?"""
        if self._echo is not None:
            self.settle_recording()
            self._echoes = self._echo.learn(levels_db(self._said[-SAID_10MS:]), levels_db(self._heard)) or (
                self._echo.delay_ms is not None
            )
            self._echo_due = now + ECHO_MS / 1000
            self._quiet_until = 0.0

    def _remember(self, mulaw: bytes) -> None:
        """Vapi's socket is not open yet: nothing of the caller's first words is to be lost."""
        self._pre_roll.append(mulaw)
        self._spoke_early = self._spoke_early or self._voice.speaking
        most_ms = MOST_PRE_ROLL_MS if self._spoke_early else PRE_ROLL_MS
        while len(self._pre_roll) > most_ms // FRAME_MS:
            self._pre_roll.pop(0)

    def settle(self) -> None:
        """Bring the recording, the words and the certificates up to now: the call is over."""
        self.settle_recording()
        self._tell_tail(self._playout.tail_ms(self._clock()))
        if self._certificate is not None:
            self._write_down(self._certificate, self._clock())

    def settle_recording(self) -> None:
        """Bring the recording up to now."""
        if self._caller:
            caller, heard = self._ears.settle()
            if self._echo is not None:
                self._said = (self._said + levels(caller))[-HEARD_10MS:]
                self._heard = (self._heard + levels(heard))[-HEARD_10MS:]
            if self._tap is not None:
                self._tap.tap(caller, heard)

    def mark_returned(self, name: str) -> None:
        now = self._clock()
        line_s = self._line_ms_at(now) / 1000
        certificate = self._certificate
        if certificate is not None and name == certificate.proof_mark and certificate.silent_at is None:
            certificate.proved(now, self._playout.marks_back, self._playout.silenced(line_s))
            self._audible_ms = certificate.audible_ms
        self._make(self._playout.mark_returned(name, now, line_s))

    def digit_pressed(self, digit: str) -> None:
        self._post(e.DigitPressed(at=self._clock(), digit=digit))

    def line_closed(self, reason: str, *, stopped: bool) -> None:
        if not self._line_over:
            self._line_over = True
            ours = self._line_given_back  # we closed it: nothing is lost
            why = "given back to Twilio" if ours else reason
            if self._playout.busy and (self._saying or self._tail is not None):
                cut = self._playout.drop(self._clock())
                self._tell_tail(cut.tail_ms)
                if self._saying:
                    self._tell_cut(cut)
            self._post(e.StreamEnded(at=self._clock(), reason=why, stopped=stopped or ours))
        self._line = None

    # --- Vapi's leg ------------------------------------------------------------------------------------------------

    def agent_opened(self, wire: Wire, agent_call_id: str) -> None:
        if self._agent_over:
            wire.close(1000, "")  # the call was given up while this socket opened
            return
        self._agent = wire
        wire.owner = self.call_id
        self._agent_opened_at = self._clock()
        for frame in self._pre_roll:
            wire.send_binary(frame, audio_ms=FRAME_MS)
        self._pre_roll.clear()
        self._post(e.AgentConnected(at=self._agent_opened_at, agent_call_id=agent_call_id))

    def agent_audio(self, mulaw: bytes) -> None:
        """What the agent says, in clumps of any size."""
        self._agent_came = True
        line, writer = self._line, self._writer
        if line is not None and writer is not None:
            now, playout = self._clock(), self._playout
            if playout.passes(mulaw, now):
                self._agent_bytes += len(mulaw)
                self._send_line(line, writer, mulaw)
            else:
                moves = playout.push(mulaw, now)
                if playout.gate is not Gate.SHUT:
                    self._agent_bytes += len(mulaw)
                self._make(moves)
        else:
            self._early += mulaw
            excess = len(self._early) - EARLY_AGENT_MS * FRAME_BYTES // FRAME_MS
            if excess > 0:
                del self._early[:excess]
                self.early_dropped_ms += duration_ms(excess)

    def agent_message(self, message: vapi.Message) -> None:
        """A text frame of Vapi's, already read."""
        self._agent_came = True
        now = self._clock()
        words = self._told_audio()
        match message:
            case vapi.SpeechUpdate(role="assistant", started=True):
                self._post(e.AgentSpeechStarted(at=now))
            case vapi.SpeechUpdate(role="assistant"):
                words.speech_stopped()
                self._make(self._playout.finish(now))
                self._post(e.AgentSpeechStopped(at=now))
            case vapi.Transcript(role="user"):
                self._post(
                    e.CallerTranscript(at=now, text=message.text, final=message.final, confidence=message.confidence)
                )
            case vapi.VoiceInput():
                words.voice_input(message.text, message.turn)
                self._post(e.AgentWords(at=now, text=message.text))
            case vapi.Transcript():
                words.transcript(message.text, final=message.final)
                self._post(e.AgentTranscript(at=now, text=message.text, final=message.final))
            case vapi.AgentSpoke():
                words.timing(message.words, message.text, message.turn)
            case vapi.UserInterrupted():
                words.interrupted()
                self._post(e.AgentInterrupted(at=now))
            case vapi.StatusUpdate(status="ended"):
                self.agent_ended(message.ended_reason or "ended")
            case vapi.Hang():
                self._note("AgentSlow", {"said": "hang"})
            case vapi.Unknown():
                self._note("UnknownFrame", {"type": message.type})
            case _:
                pass  # for information only; what matters of it comes by another way

    def agent_ended(self, reason: str) -> None:
        """Vapi says that the conversation is over: as it should be, or because something broke."""
        if self._agent_over:
            return
        self._agent_over = True
        now = self._clock()
        self._make(self._playout.finish(now))
        if vapi.ended_class(reason).is_failure:
            self._post(e.AgentLost(at=now, why=reason))
        else:
            self._post(e.AgentEnded(at=now, reason=reason))

    def agent_closed(self, code: int, reason: str) -> None:
        """Vapi's socket is gone. 1000 ends a conversation, everything else is a loss (reference/vapi.md §4.7)."""
        self._agent = None
        if self._agent_over:
            return
        if code == 1000:
            self.agent_ended("closed by vapi")
            return
        self._agent_over = True
        now = self._clock()
        self._make(self._playout.finish(now))
        self._post(e.AgentLost(at=now, why=f"socket closed {code} {reason}".rstrip()))

    # --- orders of the actor ---------------------------------------------------------------------------------------

    def hold(self) -> None:
        """Silence the agent now, at Twilio and here; what the caller has not heard, and what comes, waits."""
        now = self._clock()
        if self._playout.gate is Gate.OPEN and self._playout.audible:
            self._cut(now, self._playout.hold(now), held=True)
        else:
            self._playout.hold(now)

    def drop(self, reason: str, words: str = "", *, guard_s: float | None = 0.0) -> Heard | None:
        """Silence the agent now, and forget what waits; what still comes for `guard_s` (None: until `keep`) is old.

        Returns what was heard of the speech that is gone; None if there was none.
        """
        now = self._clock()
        playout = self._playout
        was_ours = playout.ours
        was_heard = playout.gate is Gate.OPEN and playout.audible
        waits = playout.busy
        cut = playout.drop(now, guard_s=inf if guard_s is None else guard_s)
        if was_heard:
            self._cut(now, cut, held=False)
        if self._certificate is not None:
            self._certificate.decide(now, "dropped", reason, words)
        tail = self._tell_tail(cut.tail_ms)
        heard = self._tell_cut(cut) if waits and not was_ours else None
        if tail is None or not tail.cut:
            return heard
        return Heard(tail.text, f"{tail.generated} {heard.generated if heard else ''}".strip(), cut=True)

    def keep(self) -> None:
        """What the agent says from now on is new."""
        self._playout.keep()

    def let_speak(self, reason: str = "") -> None:
        """Open the gate: the agent goes on with the frame that was not heard, or begins."""
        now = self._clock()
        if reason in FALSE_ALARMS:
            if now - self._onset_told_at >= JUDGED_S:  # else it is a new voice, of which the engine is yet to hear
                self._voice.dismiss()
            self._learn_echo(now)
        if self._certificate is not None:
            self._certificate.decide(now, "resumed", reason)
        self._make(self._playout.let_speak(now))

    def _cut(self, now: float, cut: Cut, *, held: bool) -> None:
        """Tell Twilio to forget what it has not played, and begin the certificate."""
        if self._certificate is not None:
            self._write_down(self._certificate, now)
        self._interruptions += 1
        heard_voice = self._voice.speaking or now - self._onset_at < RECENT_VOICE_S
        onset_at = self._onset_at if heard_voice and self._onset_at else now
        onset_line_ms = self._onset_line_ms
        if onset_at == now:
            self._audible_ms = 0.0  # what an earlier voice had heard is not of this one
            onset_line_ms = self._line_ms_at(now)
        before_ms = self._audible_ms
        self._audible_ms += max(0.0, now - max(onset_at, self._playout.audible_since)) * 1000
        self._quiet_until = 0.0
        self._certificate = certificate = Certificate(
            self._interruptions,
            onset_at,
            now,
            cut,
            held,
            self._began_at,
            self._audible_ms,
            onset_line_ms=onset_line_ms,
            audible_before_ms=before_ms,
        )
        self._ears.cleared()
        line, writer = self._line, self._writer
        if line is not None and writer is not None:
            line.drop_unsent_audio()
            if self._playout.last_mark:
                line.send_text(writer.mark(self._playout.last_mark))
            line.send_text(writer.clear())
            self._make([self._playout.probe(certificate.proof_mark, now)])

    def _told_audio(self) -> AgentWords:
        """The agent's words, which know by now how much audio came."""
        if self._agent_bytes:
            self._words.audio(duration_ms(self._agent_bytes))
            self._agent_bytes = 0
        return self._words

    def _tell_cut(self, cut: Cut) -> Heard:
        """Write down what the caller heard of a speech that was cut."""
        words = self._told_audio()
        self._told_utterance = cut.utterance
        self._saying = 0
        of_ms = cut.heard_ms + max(0.0, cut.unheard_ms - cut.tail_ms)
        heard = words.cut(cut.heard_ms, of_ms, cut.utterance)
        policy = self._judge.heard_policy(heard.generated)
        self._note("AgentHeard", note(cut.utterance, heard, heard_ms=cut.heard_ms, of_ms=of_ms, policy=policy))
        return heard

    def _tell_whole(self, utterance: int, of_ms: float, tail_ms: float = 0.0) -> None:
        """Write down that an utterance was heard to its end; or will be, when `tail_ms` more were heard."""
        self._saying = 0
        if utterance > self._told_utterance:
            self._told_utterance = utterance
            self._tell_tail()
            self._tail = utterance, self._told_audio().done(of_ms, utterance), of_ms
            self._quiet_until = 0.0
            if tail_ms <= 0:
                self._tell_tail()

    def _tell_tail(self, unheard_ms: float = 0.0) -> Heard | None:
        """Write down the utterance before the present one: heard to its end, or but for so much."""
        if self._tail is None:
            return None
        (utterance, heard, of_ms), self._tail = self._tail, None
        heard_ms = max(0.0, of_ms - unheard_ms)
        if unheard_ms > 0:
            heard = heard.until(heard_ms)
        policy = self._judge.heard_policy(heard.generated)
        self._note("AgentHeard", note(utterance, heard, heard_ms=heard_ms, of_ms=of_ms, policy=policy))
        return heard

    def _write_down(self, certificate: Certificate, now: float) -> None:
        self._certificate = None
        certificate.decide(now, "dropped", "over")
        self._note("Interruption", certificate.data())

    def play_line(self, mulaw: bytes) -> bool:
        """One of our own sentences, as an utterance of its own, whole frames; False if the agent began meanwhile."""
        now = self._clock()
        if self._line is None or not self._playout.may_say:
            return False
        self._make(self._playout.push(mulaw, now, ours=True))
        self._make(self._playout.finish(now, ours=True))
        return True

    def tell_agent(self, message: bytes) -> bool:
        """A text frame to Vapi; False when there is no agent to tell."""
        if self._agent is None:
            return False
        self._agent.send_text(message)
        return True

    def close_line(self) -> None:
        """Give the call back to Twilio, which then asks for the next TwiML (reference/twilio.md §11)."""
        self._line_given_back = True
        if self._line is not None:
            self._line.close(1000, "")

    def end_agent(self) -> None:
        """End Vapi's call. Its close is then no news."""
        self._agent_over = True
        if self._agent is not None:
            self._agent.send_text(vapi.end_call())
            self._agent.close(1000, "")

    def abort(self) -> None:
        """Drop both sockets now."""
        self._agent_over = self._line_over = True
        for wire in (self._line, self._agent):
            if wire is not None:
                wire.abort()

    def odd_message(self, leg: str, what: str) -> None:
        """A leg got something that its wire does not allow; told once a kind."""
        self._note("OddMessage", {"leg": leg, "what": what})

    # --- time ------------------------------------------------------------------------------------------------------

    def tick(self, now: float) -> None:
        """About every 20 ms: the playout's clock, silence for Vapi when Twilio sends none, an agent that never was."""
        if now < self._quiet_until and now < self._playout.quiet_until:
            return
        self._quiet_until = 0.0
        moves = self._playout.tick(now)
        if moves:
            self._make(moves)
        if self._tail is not None and self._playout.tail_ms(now) <= 0:
            self._tell_tail()
        if self._echoes and now >= self._echo_due:
            self._learn_echo(now)  # what was learned from one stretch may have been chance
        if self._certificate is not None and self._certificate.is_complete(now):
            self._write_down(self._certificate, now)
        if self._agent is not None and not self._agent_over:
            if now - self._caller_at > SILENT_GAP_S and self._agent.is_open:
                self._agent.send_binary(SILENCE_FRAME, audio_ms=FRAME_MS)
            if not self._agent_came and now - self._agent_opened_at > AGENT_SILENT_S:
                self._agent_over = True
                self._post(e.AgentLost(at=now, why=f"silent for {AGENT_SILENT_S:g} s after the socket opened"))
            if self._agent_came and not self._echoes and self._certificate is None and self._tail is None:
                self._quiet_until = self._caller_at + SILENT_GAP_S

    def outlive(self, post: Callable[[e.Event], None]) -> None:
        """The call is over: what is still heard of its sockets goes here, and nothing of ours holds the actor."""
        self._post = post

    def statistics(self) -> dict[str, float]:
        return {
            "frames_in": self.frames_in,
            "frames_out": self.frames_out,
            "late_marks": self._playout.late_marks,
            "stale_ms": self._playout.stale_ms,
            "gap_ms": round(self._playout.gap_ms, 1),
            "interruptions": self._interruptions,
            "early_dropped_ms": self.early_dropped_ms,
            "playout_dropped_ms": self._playout.dropped_ms,
        }

    def _send_line(self, line: Wire, writer: twilio.MediaWriter, mulaw: bytes) -> None:
        """Whole frames to Twilio."""
        if len(mulaw) == FRAME_BYTES:
            line.send_text(writer.media(mulaw), FRAME_MS)
            self.frames_out += 1
        else:
            for start in range(0, len(mulaw), FRAME_BYTES):
                line.send_text(writer.media(mulaw[start : start + FRAME_BYTES]), FRAME_MS)
                self.frames_out += 1
        self._ears.played(mulaw, self._playout.utterance)

    def _make(self, moves: Sequence[Move]) -> None:
        """Carry out what the playout asks for, in order."""
        line, writer = self._line, self._writer
        for move in moves:
            match move:
                case Audio(mulaw):
                    if line is not None and writer is not None:
                        self._send_line(line, writer, mulaw)
                case Mark(name):
                    if line is not None and writer is not None:
                        line.send_text(writer.mark(name))
                case Started(utterance, ours):
                    if self._saying:
                        self._tell_whole(self._saying, self._playout.last_ms, self._playout.tail_ms(self._clock()))
                    if not ours:
                        self._saying = utterance
                        self._told_audio().utterance_began(utterance)
                    self._post(e.UtteranceStarted(at=self._clock(), utterance=utterance, ours=ours))
                case Done(utterance, heard_ms):
                    if self._saying == utterance:
                        self._tell_whole(utterance, heard_ms)
                    self._post(e.PlaybackDone(at=self._clock(), utterance=utterance, heard_ms=heard_ms))

"""Twilio's side of one media stream, exact: a frame each 20 ms, a play queue with marks in it, delays and losses.

Speaks the JSON wire (reference/twilio.md §9, §10) with whoever listens, and is as strict as Twilio about what it gets.
The microphone's frame leaves when its 20 ms are over, so nothing is known sooner than it could be. A frame that the
phone has begun to play is played to its end. RTP lost on the way up is filled with silence, as Twilio sends 50 frames a
second whatever happens; jitter delays messages and never reorders them: it is one TCP connection.
"""

from __future__ import annotations

from binascii import b2a_base64
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Literal

import msgspec
import trio

from actors.ports import WireListener
from actors.world.caller import Caller, Placed
from actors.world.sounds import mixed, quieter
from actors.world.tap import Tap
from actors.world.timetable import Timetable
from actors.world.wires import MemoryWire, Path
from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS, SILENCE_BYTE, SILENCE_FRAME, silence

FIRST_TIMESTAMP_MS = 62
_SILENCE = bytes([SILENCE_BYTE])


@dataclass(frozen=True, slots=True)
class LinePlan:
    """The network between the caller's phone and the service. One-way delays in milliseconds."""

    up_ms: float = 0.0
    down_ms: float = 0.0
    up_jitter_ms: float = 0.0  # each message up to so much later
    down_jitter_ms: float = 0.0
    loss_percent: float = 0.0  # of the caller's frames: silence instead
    start_delay_ms: float = 0.0  # an utterance waits so long in Twilio's buffer before it is played
    echo_delay_ms: float = 0.0  # what is heard comes back into the microphone: a loudspeaker
    echo_loss_db: float | None = None  # None: no echo
    returns_marks: bool = True
    vanishes_at_ms: float | None = None  # no more frames, no close: the cable was cut
    phase_ms: float | None = None  # of the phone's playing against its microphone; None: by chance


class _Media(msgspec.Struct, forbid_unknown_fields=True):
    payload: bytes


class _Mark(msgspec.Struct, forbid_unknown_fields=True):
    name: str


class _Order(msgspec.Struct, forbid_unknown_fields=True):
    event: Literal["media", "mark", "clear"]
    streamSid: str
    media: _Media | None = None
    mark: _Mark | None = None


_ORDERS = msgspec.json.Decoder(_Order)


class Speaker:
    """The play queue: audio and marks in order. Pure."""

    def __init__(self) -> None:
        self._queue: deque[bytes | str] = deque()
        self.audio_bytes = 0

    def play(self, mulaw: bytes) -> None:
        if mulaw:
            self._queue.append(mulaw)
            self.audio_bytes += len(mulaw)

    def mark(self, name: str) -> bool:
        """Queue a mark; False when nothing is before it, and it is reached already."""
        if self._queue:
            self._queue.append(name)
            return True
        return False

    def clear(self) -> list[str]:
        """Drop the audio. Returns the marks that waited."""
        marks = [item for item in self._queue if isinstance(item, str)]
        self._queue.clear()
        self.audio_bytes = 0
        return marks

    def frame(self) -> tuple[bytes, list[str]]:
        """The next 20 ms, filled up with silence, and the marks that are reached with it."""
        queue, reached = self._queue, []
        out = b""
        while queue:
            item = queue[0]
            if isinstance(item, str):
                reached.append(item)
                queue.popleft()
                continue
            room = FRAME_BYTES - len(out)
            if not room:
                break
            out += item[:room]
            if len(item) > room:
                queue[0] = item[room:]
            else:
                queue.popleft()
        self.audio_bytes -= len(out)
        return out + _SILENCE * (FRAME_BYTES - len(out)), reached


class Carrier:
    """One stream of one call, from `connected` to the close."""

    def __init__(
        self, timetable: Timetable, plan: LinePlan, *, caller: Caller, tap: Tap, rng: Random, call_sid: str
    ) -> None:
        self._timetable, self.plan, self._caller, self.tap, self._rng = timetable, plan, caller, tap, rng
        self.call_sid = call_sid
        self.stream_sid = "MZ" + call_sid[2:].rjust(32, "0")
        self.speaker = Speaker()
        self.sent: list[bytes] = []  # the caller's frames as the service gets them
        self.labels: list[tuple[Placed, ...]] = []  # what is audible in each
        self.problems: Counter[str] = Counter()  # what Twilio would have warned of
        self.began_at = 0.0  # Trio's time of millisecond 0
        self.ended_ms: float | None = None
        self.over = trio.Event()
        self.hung_up = False
        self.clears: list[float] = []  # ms
        self._sequence = 0
        self._open = False
        self._filled_at_ms = 0.0  # when the queue last stopped being empty
        self._playing = False
        self._up = Path(timetable, rng, plan.up_ms, plan.up_jitter_ms)
        down = Path(timetable, rng, plan.down_ms, plan.down_jitter_ms)
        self.wire = MemoryWire(down, on_text=self._order, on_binary=self._binary, on_close=self._closed)

    @property
    def is_open(self) -> bool:
        return self._open

    def now_ms(self) -> float:
        return round((self._timetable.now() - self.began_at) * 1000, 3)

    def open(self, listener: WireListener, parameters: Mapping[str, str]) -> None:
        """Twilio's socket is open: the first messages, and then a frame each 20 ms both ways."""
        self.began_at = self._timetable.now()
        self._open = True
        self._listener = self.wire.listener = listener
        listener.on_open(self.wire)
        self._say({"event": "connected", "protocol": "Call", "version": "1.0.0"})
        start = {
            "accountSid": "AC" + "0" * 32, "callSid": self.call_sid, "streamSid": self.stream_sid,
            "tracks": ["inbound"], "customParameters": dict(parameters),
            "mediaFormat": {"encoding": "audio/x-mulaw", "sampleRate": 8000, "channels": 1},
        }  # fmt: skip
        self._say({"event": "start", **self._numbered(), "start": start, "streamSid": self.stream_sid})
        self._timetable.at(self.began_at + self.tap.phase_ms / 1000, self._play)
        self._timetable.at(self.began_at + FRAME_MS / 1000, self._speak)

    def hang_up(self) -> None:
        """The caller hangs up: `stop`, then the close."""
        if self._open:
            self.hung_up = True
            self._say({"event": "stop", **self._numbered(), "stop": {"callSid": self.call_sid}})
            self._up.send(lambda: self.wire.peer_closes(1000))

    # --- up ----------------------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        """The microphone's 20 ms are over."""
        if not self._open:
            return
        frame, audible = self._caller.frame()
        if self.plan.echo_loss_db is not None:
            frame = self._with_echo(frame, self.plan.echo_loss_db)
        self.tap.said += frame
        if self.plan.loss_percent and self._rng.random() * 100 < self.plan.loss_percent:
            frame = SILENCE_FRAME
        self.sent.append(frame)
        self.labels.append(audible)
        count = len(self.sent)
        vanishes_ms = self.plan.vanishes_at_ms
        if vanishes_ms is None or count * FRAME_MS <= vanishes_ms:
            self._send_frame(frame, count)
            while self._caller.pressed:
                digit = self._caller.pressed.pop(0)
                dtmf = {"track": "inbound_track", "digit": digit}
                self._say({"event": "dtmf", **self._numbered(), "dtmf": dtmf, "streamSid": self.stream_sid})
        if self._caller.wants_to_hang_up:
            self.hang_up()
        else:
            self._timetable.at(self.began_at + (count + 1) * FRAME_MS / 1000, self._speak)

    def _send_frame(self, frame: bytes, count: int) -> None:
        self._sequence += 1
        payload = b2a_base64(frame, newline=False).decode()
        timestamp = FIRST_TIMESTAMP_MS + (count - 1) * FRAME_MS
        text = (
            f'{{"event":"media","sequenceNumber":"{self._sequence}","media":{{"track":"inbound","chunk":"{count}",'
            f'"timestamp":"{timestamp}","payload":"{payload}"}},"streamSid":"{self.stream_sid}"}}'
        ).encode()
        if self._up.is_instant:
            self.wire.receives_text(text)
        else:
            self._up.send(lambda: self.wire.receives_text(text))

    def _with_echo(self, frame: bytes, loss_db: float) -> bytes:
        heard = self.tap.heard
        start = round((len(self.tap.said) / BYTES_PER_MS - self.plan.echo_delay_ms - self.tap.phase_ms) * BYTES_PER_MS)
        before = silence(max(0.0, -start / BYTES_PER_MS))[:FRAME_BYTES]
        echo = before + bytes(heard[max(0, start) : max(0, start + FRAME_BYTES)])
        return mixed(frame, quieter(echo, loss_db)) if echo.strip(_SILENCE) else frame

    def _say(self, message: Mapping[str, object]) -> None:
        text = msgspec.json.encode(message)
        self._up.send(lambda: self.wire.receives_text(text))

    def _numbered(self) -> dict[str, str]:
        self._sequence += 1
        return {"sequenceNumber": str(self._sequence)}

    # --- down --------------------------------------------------------------------------------------------------------

    def _play(self) -> None:
        """The phone plays its next 20 ms."""
        if not self._open:
            return
        waits = not self._playing and self.now_ms() - self._filled_at_ms < self.plan.start_delay_ms
        if self.speaker.audio_bytes and not waits:
            self._playing = True
            frame, reached = self.speaker.frame()
            self.tap.play(frame)
            # A mark is reached when the audio before it has been played, so at the end of this frame.
            if reached:
                self._timetable.after(FRAME_MS, lambda: self._return(reached))
        else:
            self._playing = False
            self.tap.play(SILENCE_FRAME)
        frames = len(self.tap.heard) // FRAME_BYTES
        self._timetable.at(self.began_at + (self.tap.phase_ms + frames * FRAME_MS) / 1000, self._play)

    def _order(self, payload: bytes) -> None:
        """What the service sends, when it is here."""
        try:
            order = _ORDERS.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.problems["31951 not a message for Twilio"] += 1
            return
        if order.streamSid != self.stream_sid:
            self.problems["31951 another stream's sid"] += 1
        elif order.event == "clear":
            self.clears.append(self.now_ms())
            self._return(self.speaker.clear())
        elif order.event == "media" and order.media is not None:
            if not self.speaker.audio_bytes:
                self._filled_at_ms = self.now_ms()
            self.speaker.play(order.media.payload)
        elif order.event == "mark" and order.mark is not None:
            if not self.speaker.mark(order.mark.name):
                self._return([order.mark.name])
        else:
            self.problems["31951 a message without its object"] += 1

    def _return(self, marks: list[str]) -> None:
        if self._open and self.plan.returns_marks:
            for name in marks:
                self._say({"event": "mark", **self._numbered(), "mark": {"name": name}, "streamSid": self.stream_sid})

    def _binary(self, payload: bytes) -> None:
        self.problems["31950 binary"] += 1

    def _closed(self) -> None:
        if self._open:
            self._open = False
            self.ended_ms = self.now_ms()
            self.over.set()

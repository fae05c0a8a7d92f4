"""Twilio's media stream as one leg of a call: reads its messages, proves its token, watches for a silent death.

Whatever a stranger or a broken peer sends is refused or counted, never raised (reference/twilio.md §9, §23).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from actors.bridge import Bridge
from actors.ports import Wire
from engine.errors import BadMessage, Refused
from engine.wire import twilio

START_PATIENCE_S = 5.0
SILENT_S = 2.0  # Twilio sends 50 frames a second, also of silence: nothing for so long is a dead line
WATCH_TICKS = 5  # 100 ms: the deadlines above are long
MOST_ODDITIES = 500  # then it is no Twilio

Claim = Callable[[twilio.Start], Bridge]
EveryTick = Callable[..., Callable[[], None]]


class TwilioLeg:
    """A `WireListener` for the socket that Twilio opens on `/media`.

    Args:
        claim: gives the bridge of the call that the `start` message names, or raises `Refused`.
    """

    __slots__ = ("_bridge", "_came_at", "_claim", "_clock", "_every_tick", "_stopped", "_untick", "_wire", "oddities")

    def __init__(self, *, claim: Claim, clock: Callable[[], float], every_tick: EveryTick) -> None:
        self._claim, self._clock, self._every_tick = claim, clock, every_tick
        self._bridge: Bridge | None = None
        self._wire: Wire | None = None
        self._untick: Callable[[], None] = lambda: None
        self._came_at = clock()
        self._stopped = False
        self.oddities: Counter[str] = Counter()

    def on_open(self, wire: Wire) -> None:
        self._wire = wire
        self._came_at = self._clock()
        self._untick = self._every_tick(self.tick, ticks=WATCH_TICKS)

    def on_text(self, payload: bytes) -> None:
        bridge = self._bridge
        if bridge is not None:
            mulaw = twilio.audio_of(payload)
            if mulaw is not None:
                self._came_at = bridge.caller_audio(mulaw)
                return
        try:
            message = twilio.read_media(payload)
        except BadMessage as bad:
            self._odd(bad.why)
            return
        match message:
            case twilio.Media():
                self._odd("media before start")
            case twilio.Mark() if bridge is not None:
                bridge.mark_returned(message.name)
            case twilio.Dtmf() if bridge is not None:
                bridge.digit_pressed(message.digit)
            case twilio.Start():
                self._start(message)
            case twilio.Stop():
                self._stopped = True
                if bridge is not None:
                    bridge.line_closed("stop", stopped=True)
            case twilio.Connected():
                pass
            case twilio.Unknown():
                self._odd("unknown event")
            case _:
                self._odd("before start")

    def on_binary(self, payload: bytes) -> None:
        self._odd("binary message")

    def on_closed(self, code: int, reason: str) -> None:
        self._untick()
        if self._bridge is not None:
            self._bridge.line_closed(f"socket closed {code}", stopped=self._stopped)
        self._wire = None

    def tick(self, now: float) -> None:
        """The two ways in which a stream dies without a word: it never starts, or it falls silent."""
        silent_s = now - self._came_at
        if self._wire is None:
            return
        if self._bridge is None:
            if silent_s > START_PATIENCE_S:
                self._wire.close(1008, "no start")
        elif silent_s > SILENT_S:
            self._bridge.line_closed(f"no frame for {SILENT_S:g} s", stopped=False)
            self._wire.abort()

    def _start(self, start: twilio.Start) -> None:
        if self._bridge is not None or self._wire is None:
            self._odd("second start")
            return
        if not start.is_mulaw_8000:
            self._odd("media format")
            self._wire.close(1003, "audio/x-mulaw at 8000 Hz, mono, please")
            return
        try:
            self._bridge = self._claim(start)
        except Refused as refused:
            self._odd("refused")
            self._wire.close(1008, refused.why)
            return
        self._came_at = self._clock()
        self._bridge.line_opened(self._wire, start.stream_sid)

    def _odd(self, what: str) -> None:
        self.oddities[what] += 1
        if self._bridge is not None and self.oddities[what] == 1:
            self._bridge.odd_message("twilio", what)
        if self._wire is not None and sum(self.oddities.values()) > MOST_ODDITIES:
            self._wire.close(1008, "too many messages that are not Twilio's")

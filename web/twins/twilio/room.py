"""Where the caller stands: what their microphone picks up beside them."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from engine.audio import BYTES_PER_MS, FRAME_BYTES, FRAME_MS
from web.twins.speech.sounds import bed, louder, mixed
from web.twins.twilio.settings import Faults


class Room:
    """A noise bed that starts anywhere in itself, and a loudspeaker that the microphone hears."""

    def __init__(self, faults: Callable[[], Faults], chance: Random) -> None:
        self._faults = faults
        self._phase = chance.random()

    def frame(self, said: bytes, heard: bytearray) -> bytes:
        """20 ms at the microphone. `heard`: all that the caller heard before it."""
        faults = self._faults()
        if faults.echo_delay_ms:
            said = mixed(said, self._echo(heard, max(FRAME_MS, faults.echo_delay_ms), faults.echo_loss_db))
        if faults.background:
            noise = bed(faults.background, faults.background_db)
            frames = len(noise) // FRAME_BYTES
            at = (int(self._phase * frames) + len(heard) // FRAME_BYTES) % frames * FRAME_BYTES
            said = mixed(said, noise[at : at + FRAME_BYTES])
        return said

    def _echo(self, heard: bytearray, delay_ms: int, loss_db: float) -> bytes:
        start = len(heard) - delay_ms * BYTES_PER_MS
        echo = bytes(heard[max(0, start) : max(0, start + FRAME_BYTES)])
        return louder(echo.rjust(FRAME_BYTES, b"\xff"), -loss_db)

"""A live caller's telephone at the twin's end: what its microphone sent, what its earpiece shall play. Knows no socket.

Both queues are bounded. Their other ends run on clocks of their own, so both also forget: a microphone whose clock is
faster than ours must not make the caller later and later, an earpiece that does not read gets what is new.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random

import msgspec
import trio

from engine.audio import FRAME_MS, SILENCE_FRAME
from web.twins.twilio.settings import Faults

START_FRAMES = 3  # 60 ms wait before the caller is sent on: a browser's frames come up to 40 ms apart
MOST_FRAMES = 15
LOOK_BACK_FRAMES = 100
MOST_EAR_FRAMES = 1000 // FRAME_MS
MOST_MESSAGES = 64
BAD_JITTER_MS, BAD_LOSS_PERCENT = 160, 6.0


class Microphone:
    """What the caller says, evened out: one frame is put in each 20 ms, more or less, and one taken each 20 ms."""

    def __init__(self) -> None:
        self._frames: deque[bytes] = deque()
        self._filling, self._muted = True, False
        self._least, self._looked = MOST_FRAMES, 0
        self.dropped = 0

    @property
    def muted(self) -> bool:
        return self._muted

    def mute(self, on: bool) -> None:
        self._muted = on
        self._frames.clear()
        self._filling = True

    def put(self, mulaw: bytes) -> None:
        if self._muted:
            return
        self._frames.append(mulaw)
        while len(self._frames) > MOST_FRAMES:
            self._drop()

    def frame(self) -> bytes | None:
        """The next 20 ms; None when there is nothing yet."""
        if self._filling and len(self._frames) < START_FRAMES:
            return None
        self._filling = not self._frames
        if self._filling:
            return None
        self._catch_up()
        return self._frames.popleft()

    def _catch_up(self) -> None:
        """Leave a frame out when there were more than needed all the time lately."""
        self._least, self._looked = min(self._least, len(self._frames)), self._looked + 1
        if self._looked < LOOK_BACK_FRAMES:
            return
        if self._least > START_FRAMES:
            self._drop()
        self._least, self._looked = MOST_FRAMES, 0

    def _drop(self) -> None:
        self._frames.popleft()
        self.dropped += 1


class Handset:
    """One live caller's telephone.

    Args:
        both: the earpiece also gets what the caller says, who is a scripted one then: for somebody who listens in.
    """

    def __init__(self, chance: Random, *, both: bool = False) -> None:
        self.microphone = Microphone()
        self.bad_line = False
        self.both = both
        self.is_open = True
        self.why = ""  # the call ended, if it was the handset's doing and not its holder's wish
        self.dropped_frames = 0
        self._chance = chance
        self._told: deque[str] = deque()
        self._sound: deque[bytes] = deque()
        self._wake = trio.Event()
        self._connected = False
        self._spoiled: tuple[Faults, Faults] | None = None

    # --- the call's end ---------------------------------------------------------------------------------------------

    def hear(self, heard: bytes, said: bytes) -> None:
        """20 ms at the caller's ear. A bad line loses some between Twilio and the telephone: they are silence."""
        if not self._connected:
            self._connected = True
            self.tell("connected")
        if self.bad_line and self._chance.random() * 100 < BAD_LOSS_PERCENT:
            heard = SILENCE_FRAME
        self._sound.append(heard + said if self.both else heard)
        while len(self._sound) > MOST_EAR_FRAMES:
            self._sound.popleft()
            self.dropped_frames += 1
        self._wake.set()

    def faults_over(self, usual: Callable[[], Faults]) -> Callable[[], Faults]:
        """The twin's faults, and those of this line when it is a bad one."""

        def now() -> Faults:
            good = usual()
            if not self.bad_line:
                return good
            if self._spoiled is None or self._spoiled[0] is not good:
                self._spoiled = (good, _spoiled(good))
            return self._spoiled[1]

        return now

    # --- the telephone's end ----------------------------------------------------------------------------------------

    def tell(self, what: str, **facts: object) -> None:
        """A message for whoever holds the telephone. One that reads nothing loses the oldest."""
        self._told.append(msgspec.json.encode({"type": what, **facts}).decode())
        while len(self._told) > MOST_MESSAGES:
            self._told.popleft()
        self._wake.set()

    def close(self) -> None:
        """Nothing comes after what waits now."""
        self.is_open = False
        self._wake.set()

    async def next(self) -> str | bytes | None:
        """What to send next, messages before sound; None when all is sent and the telephone is closed."""
        while not self._told and not self._sound:
            if not self.is_open:
                return None
            self._wake = trio.Event()
            await self._wake.wait()
        return self._told.popleft() if self._told else self._sound.popleft()


def _spoiled(good: Faults) -> Faults:
    return msgspec.structs.replace(
        good,
        uplink_jitter_ms=max(good.uplink_jitter_ms, BAD_JITTER_MS),
        uplink_loss_percent=max(good.uplink_loss_percent, BAD_LOSS_PERCENT),
    )

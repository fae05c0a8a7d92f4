"""What the caller heard, and the WAV file that keeps it: samples and bytes. Pure arithmetic; `actors.recorder` writes.

The clock of a recording is the count of inbound caller bytes, never the wall clock: Twilio sends the caller's audio at
real time, also in silence (reference/twilio.md §9), so for each inbound frame the caller heard exactly as much of what
Twilio had buffered for them. Both channels therefore have the same number of samples by construction. What the model
cannot know is the network's delay, tens of milliseconds each way.
"""

from __future__ import annotations

import re
import struct
from collections import OrderedDict, deque
from itertools import accumulate, count
from operator import sub
from typing import Final

from engine.audio import BYTES_PER_MS, FRAME_BYTES, SAMPLE_RATE_HZ, SILENCE_BYTE, duration_ms

HEADER_BYTES = 44
CHANNELS = 2
STEREO_BYTES_PER_SAMPLE = 2 * CHANNELS  # 16-bit PCM, left then right

_CALL_ID = re.compile(r"call-[0-9A-Za-z]{26}")
_MOST_DATA_BYTES = 0xFFFFFFFF - HEADER_BYTES  # a RIFF size has 32 bits: 37 hours
_SILENCE = bytes([SILENCE_BYTE])
_FRAMES = {FRAME_BYTES}
_CLEARED = -1


def file_name(call_id: str) -> str:
    """The recording's name: made of our own id and nothing else (reference/reliability.md S14).

    Raises:
        ValueError: not one of our ids. Its text is not in the message: it may be anybody's.
    """
    if not _CALL_ID.fullmatch(call_id):
        raise ValueError("not a call id of ours: a recording is named `call-` and 26 letters or digits, nothing else")
    return f"{call_id}.wav"


def wav_header(samples: int) -> bytes:
    """The 44 bytes before so many stereo samples of 16-bit PCM at 8 kHz."""
    data_bytes = min(samples * STEREO_BYTES_PER_SAMPLE, _MOST_DATA_BYTES)
    byte_rate = SAMPLE_RATE_HZ * STEREO_BYTES_PER_SAMPLE
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", HEADER_BYTES - 8 + data_bytes, b"WAVE"),
        *(b"fmt ", 16, 1, CHANNELS, SAMPLE_RATE_HZ, byte_rate, STEREO_BYTES_PER_SAMPLE, 16),
        *(b"data", data_bytes),
    )


def byte_offset(sample: int) -> int:
    """Where a stereo sample stands in the file."""
    return HEADER_BYTES + sample * STEREO_BYTES_PER_SAMPLE


class HeardModel:
    """A model of the buffer at the carrier: what was sent to it is heard, in order, at the pace of the inbound frames.

    Args:
        most_ms: more than this never waits; what is too much is dropped from the end and counted in `dropped_ms`.
    """

    REMEMBERED_EPOCHS: Final = 64  # a call has one utterance every few seconds; nobody asks for one a minute old

    def __init__(self, *, most_ms: int = 120_000) -> None:
        self.most_bytes = most_ms * BYTES_PER_MS
        self._pieces: deque[tuple[int, bytes]] = deque()
        self._offset = 0  # how much of the first piece is played already
        self._unplayed_bytes = 0
        self._dropped_bytes = 0
        self._heard_bytes: OrderedDict[int, int] = OrderedDict()
        self.position = 0  # µ-law bytes, so samples, that have gone by since the stream began

    @property
    def position_ms(self) -> float:
        return duration_ms(self.position)

    @property
    def unplayed_bytes(self) -> int:
        return self._unplayed_bytes

    @property
    def unplayed_ms(self) -> float:
        """How much is still to be heard."""
        return duration_ms(self._unplayed_bytes)

    @property
    def dropped_ms(self) -> float:
        """How much was played into a full buffer."""
        return duration_ms(self._dropped_bytes)

    def heard_ms(self, epoch: int) -> float:
        """How much of that utterance the caller has heard; 0 for one that never played or is long over."""
        return duration_ms(self._heard_bytes.get(epoch, 0))

    def play(self, mulaw: bytes, epoch: int) -> None:
        """The carrier got this audio of that utterance."""
        room = self.most_bytes - self._unplayed_bytes
        if len(mulaw) > room:
            self._dropped_bytes += len(mulaw) - room
            mulaw = mulaw[:room]
        if mulaw:
            self._pieces.append((epoch, bytes(mulaw)))
            self._unplayed_bytes += len(mulaw)

    def clear(self) -> float:
        """The carrier was told to forget what it has not played: milliseconds that nobody will hear."""
        unheard_ms = self.unplayed_ms
        self._pieces.clear()
        self._offset = self._unplayed_bytes = 0
        return unheard_ms

    def advance(self, n_bytes: int) -> bytes:
        """So many bytes of the caller came in: the same number of bytes that they heard meanwhile."""
        self.position += n_bytes
        if not self._unplayed_bytes:
            return _SILENCE * n_bytes
        heard: list[bytes] = []
        wanted = n_bytes
        while wanted and self._pieces:
            epoch, piece = self._pieces[0]
            part = piece[self._offset : self._offset + wanted]
            heard.append(part)
            wanted -= len(part)
            self._offset += len(part)
            if self._offset == len(piece):
                self._pieces.popleft()
                self._offset = 0
            self._note_heard(epoch, len(part))
        self._unplayed_bytes -= n_bytes - wanted
        heard.append(_SILENCE * wanted)
        return b"".join(heard)

    def _note_heard(self, epoch: int, n_bytes: int) -> None:
        self._heard_bytes[epoch] = self._heard_bytes.get(epoch, 0) + n_bytes
        if len(self._heard_bytes) > self.REMEMBERED_EPOCHS:
            self._heard_bytes.popitem(last=False)


class Ears:
    """What was said and what was played, noted in a few steps and worked out later, many frames in one go.

    The order of both is kept by the count of the caller's bytes, so `settle` gives what `HeardModel` would have given
    at each frame. Args: heard: the model that is advanced.
    """

    __slots__ = ("_heard", "_played", "caller")

    def __init__(self, heard: HeardModel) -> None:
        self._heard = heard
        self.caller: list[bytes] = []
        """The caller's audio since the last `settle`: what comes in is appended here."""
        self._played: list[tuple[int, bytes, int]] = []  # after so many pieces of the caller's; cleared: epoch -1

    def played(self, mulaw: bytes, epoch: int) -> None:
        """The carrier got this audio of that utterance, a number from 0 on."""
        self._played.append((len(self.caller), mulaw, epoch))

    def cleared(self) -> None:
        """The carrier was told to forget what it had not played."""
        self._played.append((len(self.caller), b"", _CLEARED))

    def settle(self) -> tuple[bytes, bytes]:
        """The caller's audio since the last time, and what they heard meanwhile: as many bytes."""
        model, caller = self._heard, b"".join(self.caller)
        heard = model.advance(len(caller)) if self._play_at_once() else self._settle_by_pieces()
        self.caller.clear()
        self._played.clear()
        return caller, heard

    def _play_at_once(self) -> bool:
        """One utterance that never ran dry: all of it may be played first, and then heard. Whether it was so."""
        if not self._played:
            return True
        model, ahead = self._heard, self._heard.unplayed_bytes
        after, pieces, epochs = zip(*self._played, strict=True)
        if epochs[0] == _CLEARED or epochs.count(epochs[0]) < len(epochs):
            return False
        if set(map(len, pieces)) == _FRAMES and set(map(len, self.caller)) <= _FRAMES:  # nearly always: no loop
            runs_dry = ahead < FRAME_BYTES * max(map(sub, after, count()))
        else:
            positions = list(accumulate(map(len, self.caller), initial=0))
            gone = accumulate(map(len, pieces), initial=ahead)
            runs_dry = any(reached < positions[pieces_said] for pieces_said, reached in zip(after, gone, strict=False))
        played = b"".join(pieces)
        if runs_dry or ahead + len(played) > model.most_bytes:
            return False
        model.play(played, epochs[0])
        return True

    def _settle_by_pieces(self) -> bytes:
        model, done = self._heard, 0
        heard: list[bytes] = []
        for after, mulaw, epoch in self._played:
            if after > done:
                heard.append(model.advance(sum(map(len, self.caller[done:after]))))
                done = after
            if epoch == _CLEARED:
                model.clear()
            else:
                model.play(mulaw, epoch)
        heard.append(model.advance(sum(map(len, self.caller[done:]))))
        return b"".join(heard)

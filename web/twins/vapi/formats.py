"""The two audio formats of the transport (vapi.md §4.1), to and from the twin's own: µ-law, 8 kHz, 20 ms frames."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator, Mapping
from typing import Any

from engine.audio import FRAME_BYTES, mulaw_to_pcm16, pcm16_to_mulaw
from web.twins.vapi.problems import Problem

__all__ = ["AudioFormat", "Inlet", "format_of"]

_OFFERED = {("mulaw", 8000), ("pcm_s16le", 8000), ("pcm_s16le", 16000)}


class AudioFormat:
    """What goes over one call's socket. `frame` turns 20 ms of ours into theirs."""

    def __init__(self, name: str, rate_hz: int) -> None:
        self.name, self.rate_hz = name, rate_hz

    def frame(self, mulaw: bytes) -> bytes:
        if self.name == "mulaw":
            return mulaw
        pcm = mulaw_to_pcm16(mulaw)
        return pcm if self.rate_hz == 8000 else _doubled(pcm)

    def as_json(self) -> dict[str, Any]:
        return {"format": self.name, "container": "raw", "sampleRate": self.rate_hz}


def format_of(transport: Mapping[str, Any]) -> AudioFormat:
    """The format that a checked `transport` asks for; 16 kHz PCM when it says nothing.

    Raises:
        Problem: Vapi's schema allows more rates than the twin has.
    """
    asked = transport.get("audioFormat") or {"format": "pcm_s16le", "sampleRate": 16000}
    name, rate = asked["format"], asked["sampleRate"]
    if (name, rate) not in _OFFERED:
        raise Problem(400, [f"transport.audioFormat: the twin has no {name} at {rate} Hz"])
    return AudioFormat(name, int(rate))


class Inlet:
    """Cuts whatever pieces come in into our frames. Keeps the odd byte and the broken frame for the next piece."""

    def __init__(self, audio: AudioFormat) -> None:
        self._audio = audio
        self._raw, self._mulaw = bytearray(), bytearray()

    def feed(self, payload: bytes) -> Iterator[bytes]:
        if self._audio.name == "mulaw":
            self._mulaw += payload
        else:
            self._raw += payload
            step = 2 if self._audio.rate_hz == 8000 else 4
            whole = len(self._raw) - len(self._raw) % step
            pcm = bytes(self._raw[:whole])
            del self._raw[:whole]
            self._mulaw += pcm16_to_mulaw(pcm if step == 2 else _halved(pcm))
        while len(self._mulaw) >= FRAME_BYTES:
            frame = bytes(self._mulaw[:FRAME_BYTES])
            del self._mulaw[:FRAME_BYTES]
            yield frame


def _samples(pcm: bytes) -> array[int]:
    samples = array("h", pcm)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def _bytes(samples: array[int]) -> bytes:
    if sys.byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def _halved(pcm: bytes) -> bytes:
    """16 kHz to 8 kHz: the mean of each pair, a poor man's low pass."""
    samples = _samples(pcm)
    return _bytes(array("h", [(a + b) // 2 for a, b in zip(samples[0::2], samples[1::2], strict=True)]))


def _doubled(pcm: bytes) -> bytes:
    """8 kHz to 16 kHz: each sample twice."""
    samples = _samples(pcm)
    double = array("h", bytes(2 * len(pcm)))
    double[0::2] = samples
    double[1::2] = samples
    return _bytes(double)

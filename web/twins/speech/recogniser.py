"""The recogniser itself, and the worker process around it: `python -m web.twins.speech.recogniser`.

The process reads length-prefixed msgpack requests `(jsgf, µ-law)` from its input and answers `(text, confidence)`.
"""

from __future__ import annotations

import sys
from array import array
from functools import lru_cache
from itertools import cycle
from random import Random
from typing import Any, BinaryIO

import msgspec

from engine.audio import duration_ms, mulaw_to_pcm16, silence
from web.twins.speech.grammar import normal

LONGEST_MS = 30_000  # of audio in one go
SHORTEST_MS = 120
EDGE_MS = 200  # of silence on both sides: the recogniser wants a run-up
LENGTH_BYTES = 4

_CHANCE = Random(5)  # noqa: S311 — always the same noise, so that the same audio is always heard the same
_FLOOR = [round(_CHANCE.gauss(0, 60)) for _ in range(7919)]

Request = tuple[str, bytes]
Answer = tuple[str, float]


def recognise(jsgf: str, mulaw: bytes) -> Answer:
    """The sentence of the grammar that this audio is, and the mean score a frame, 0 to 1; empty when it is none."""
    if not SHORTEST_MS <= duration_ms(mulaw) <= LONGEST_MS:
        return "", 0.0
    decoder = _decoder(jsgf)
    decoder.reinit_feat()  # forget the last voice's normalisation: the same audio must always be heard the same
    decoder.start_utt()
    decoder.process_raw(_doubled(silence(EDGE_MS) + mulaw + silence(EDGE_MS)), full_utt=True)
    decoder.end_utt()
    best = decoder.hyp()
    if best is None or not best.hypstr:
        return "", 0.0
    return normal(best.hypstr), float(best.best_score)


@lru_cache(maxsize=16)
def _decoder(jsgf: str) -> Any:
    import pocketsphinx  # noqa: PLC0415 — 0.2 s and 29 MB of models: only where something is heard

    decoder = pocketsphinx.Decoder(samprate=16000, lm=None, loglevel="FATAL", upperf=3800.0, lowerf=130.0)
    decoder.add_jsgf_string("callscope", jsgf)
    decoder.activate_search("callscope")
    return decoder


def _doubled(mulaw: bytes) -> bytes:
    """8 kHz µ-law as 16 kHz linear, each second sample between its neighbours, over a floor of noise.

    The models know no digital silence: without the floor short words are lost (measured: 4 of 84 against 1).
    """
    source = array("h", mulaw_to_pcm16(mulaw))
    out = array("h", bytes(4 * len(source)))
    following = source[1:] + array("h", [0])
    out[0::2] = array("h", map(_clipped_sum, source, cycle(_FLOOR)))
    out[1::2] = array("h", [(one + other) // 2 for one, other in zip(source, following, strict=True)])
    return out.tobytes()


def _clipped_sum(one: int, other: int) -> int:
    return max(-32768, min(32767, one + other))


def framed(message: object) -> bytes:
    """A message with its length before it."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until the input ends."""
    decoder = msgspec.msgpack.Decoder(Request)
    while head := requests.read(LENGTH_BYTES):
        jsgf, mulaw = decoder.decode(requests.read(int.from_bytes(head, "big")))
        answers.write(framed(recognise(jsgf, mulaw)))
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)

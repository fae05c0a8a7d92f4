"""Speech without speech: each phrase is one µ-law code, so ears need only look which code they hear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from engine.audio import FRAME_BYTES, SILENCE_BYTE, SILENCE_FRAME
from web.twins.vapi.settings import Speech

MS_PER_CHARACTER = 15


@dataclass(frozen=True)
class FakeHearing:
    text: str
    confidence: float = 0.9


class Codes:
    """Phrase ↔ code, both ways. Codes are loud, and none is silence."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}

    def audio(self, phrase: str, ms: int | None = None) -> bytes:
        code = self._codes.setdefault(phrase, 0x10 + len(self._codes))
        assert code < 0x70
        length_ms = ms if ms is not None else max(40, MS_PER_CHARACTER * len(phrase))
        length_ms -= length_ms % 20
        return bytes([code]) * (length_ms * 8)

    def phrase(self, mulaw: bytes) -> str:
        counted = Counter(mulaw)
        counted.pop(SILENCE_BYTE, None)
        if not counted:
            return ""
        code = counted.most_common(1)[0][0]
        return next((phrase for phrase, one in self._codes.items() if one == code), "")


class FakeEars:
    def __init__(self, codes: Codes, delay_s: float = 0.0) -> None:
        self.codes, self.delay_s = codes, delay_s
        self.asked = 0
        self.grammars: list[object] = []

    async def hear(self, mulaw: bytes, grammar: object, /) -> FakeHearing:
        self.asked += 1
        self.grammars.append(grammar)
        await trio.sleep(self.delay_s)
        return FakeHearing(self.codes.phrase(mulaw))


class FakeActivity:
    """Voice is whatever is not silence."""

    def feed(self, frame: bytes, /) -> bool:
        assert len(frame) == FRAME_BYTES
        return frame != SILENCE_FRAME


def fake_speech(codes: Codes) -> Speech:
    def voice(words: str, /) -> bytes:
        return codes.audio(words)

    def grammar(phrases: Sequence[str]) -> tuple[str, ...]:
        return tuple(phrases)

    return Speech(voice=voice, ears=FakeEars(codes), grammar=grammar, activity=FakeActivity)

"""The few lines that we say ourselves, ready as audio: which to take when. Pure; `web.clips` fills the book."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from engine.agent import Silence
from engine.audio import FRAME_BYTES

KINDS = ("holding", "filler", "progress", "unheard", "idle", "goodbye")
"""The kinds of line: the fields of `engine.agent.Silence` that hold texts."""


def texts_of(silence: Silence) -> dict[str, tuple[str, ...]]:
    """The lines of an agent, by kind."""
    return {kind: getattr(silence, kind) for kind in KINDS}


@dataclass(frozen=True, slots=True)
class Clip:
    """One line as µ-law: whole 20 ms frames, the voice in the first of them."""

    text: str
    mulaw: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not self.mulaw or len(self.mulaw) % FRAME_BYTES:
            raise ValueError(f"a clip is whole frames of {FRAME_BYTES} bytes, not {len(self.mulaw)} bytes")


@dataclass(frozen=True, slots=True)
class LineBook:
    """All clips, by kind. A kind of which no line could be made is not there; then there is nothing to pick."""

    clips: Mapping[str, tuple[Clip, ...]]

    def __post_init__(self) -> None:
        """Each text once a kind, so that taking turns never says one twice in a row."""
        if strange := sorted(self.clips.keys() - set(KINDS)):
            raise ValueError(f"no kinds of line: {', '.join(strange)}")
        once = {kind: tuple({clip.text: clip for clip in clips}.values()) for kind, clips in self.clips.items()}
        object.__setattr__(self, "clips", {kind: clips for kind, clips in once.items() if clips})

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds that have a clip."""
        return frozenset(self.clips)

    def pick(self, kind: str, n: int) -> Clip | None:
        """The clip of the n-th time in a call that this kind is said, from 0: the clips take turns.

        Raises:
            KeyError: there is no such kind of line.
        """
        if kind not in KINDS:
            raise KeyError(kind)
        clips = self.clips.get(kind)
        return clips[n % len(clips)] if clips else None

"""How one twin is set up, and what it needs of speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from engine.agent import Agent
from web.twins.vapi.dials import Dials

__all__ = ["Ears", "Hearing", "Speech", "TwinSettings", "VoiceActivity"]

ORG_ID = "5b1f7c52-8f0e-4a55-9a0d-6c1f0a9d2e41"


@dataclass(frozen=True)
class TwinSettings:
    """One twin. `port=0`: any free one; `fd`: a listening socket that a parent process left us."""

    host: str = "127.0.0.1"
    port: int = 0
    fd: int | None = None
    api_key: str = field(default="vapi-twin-key", repr=False)
    org_id: str = ORG_ID
    agent: Agent | None = None
    """Its `twin.replies` are the brain; with an `assistant_id`, that assistant exists from the start."""
    data: Path | None = None
    """A directory that gets one JSON file for each ended call: the call and its timeline."""
    dials: Dials = field(default_factory=Dials)
    seed: int = 1
    """For the webhooks' order when `shuffle_ms` is set, and for how late audio is with `output_jitter_ms`."""


class Hearing(Protocol):
    """What a recogniser made of some audio. No words: `text` is empty."""

    @property
    def text(self) -> str: ...
    @property
    def confidence(self) -> float: ...


class Ears(Protocol):
    async def hear(self, mulaw: bytes, grammar: Any, /) -> Hearing: ...


class VoiceActivity(Protocol):
    """One a call: whether the caller's voice is in this frame of 160 µ-law bytes (and those before it)."""

    def feed(self, frame: bytes, /) -> bool: ...


class Voice(Protocol):
    """Words as µ-law audio. May be called in a worker thread; one call at a time."""

    def __call__(self, words: str, /) -> bytes: ...


@dataclass(frozen=True)
class Speech:
    """Ears and voice of a twin. Tests give it fakes, `__main__` the real ones of `web.twins.speech`."""

    voice: Voice
    ears: Ears
    grammar: Callable[[Sequence[str]], Any]
    activity: Callable[[], VoiceActivity]
    hangover_ms: int = 0
    """How long `activity` goes on saying voice after the voice."""

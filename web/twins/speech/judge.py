"""Listens to recordings: what was said, when, in each channel. For `callscope demo --once` and the tests."""

from __future__ import annotations

import re
import wave
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from engine.agent import Agent
from engine.audio import BYTES_PER_MS, pcm16_to_mulaw
from web.twins.speech.ears import Ears
from web.twins.speech.grammar import Grammar
from web.twins.speech.vad import voiced_spans

PAD_MS = 120.0
RESULT = "{result}"
_SENTENCE_END = re.compile(r"[.?!]+")


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of voice and what it said; the empty text when it was not understood."""

    start_ms: float
    end_ms: float
    text: str


@dataclass(frozen=True, slots=True)
class Channels:
    caller: tuple[Span, ...]
    agent: tuple[Span, ...]


def caller_grammar(agent: Agent) -> Grammar:
    """All that the scripted brain listens for."""
    return Grammar.of(phrase for reply in agent.twin.replies for phrase in reply.hear)


def agent_grammar(agent: Agent, extra_sentences: Iterable[str] = ()) -> Grammar:
    """All that the agent may say, sentence by sentence, any number of them in one stretch of voice.

    Args:
        extra_sentences: what tools answered, to stand where a reply says `{result}`.
    """
    first = str((agent.assistant or {}).get("firstMessage", ""))
    results = list(extra_sentences)
    said = [first, agent.twin.not_understood, agent.fallback.words, *results]
    for reply in agent.twin.replies:
        for text in (reply.before_tool, reply.say):
            said += [text.replace(RESULT, result) for result in results] if RESULT in text else [text]
    return Grammar.of((sentence for text in said for sentence in _SENTENCE_END.split(text)), repeat=True)


def read_channels(path: Path) -> tuple[bytes, bytes]:
    """Both channels of a stereo 16-bit 8 kHz WAV as µ-law."""
    with wave.open(str(path), "rb") as file:
        if (file.getnchannels(), file.getsampwidth(), file.getframerate()) != (2, 2, 8000):
            raise ValueError(f"{path} is not a stereo 16-bit WAV at 8 kHz")
        samples = array("h", file.readframes(file.getnframes()))
    return pcm16_to_mulaw(samples[0::2].tobytes()), pcm16_to_mulaw(samples[1::2].tobytes())


async def transcribe(mulaw: bytes, grammar: Grammar, ears: Ears) -> list[Span]:
    """What one channel says, stretch of voice by stretch of voice."""
    spans: list[Span] = []
    for start_ms, end_ms in voiced_spans(mulaw):
        begin = round(max(0.0, start_ms - PAD_MS)) * BYTES_PER_MS
        end = round(end_ms + PAD_MS) * BYTES_PER_MS
        hearing = await ears.hear(mulaw[begin:end], grammar)
        spans.append(Span(start_ms, end_ms, hearing.text))
    return spans


async def transcribe_channels(path: Path, caller: Grammar, agent: Grammar, ears: Ears) -> Channels:
    """What both channels of a recording say."""
    left, right = await trio.to_thread.run_sync(read_channels, path)
    return Channels(tuple(await transcribe(left, caller, ears)), tuple(await transcribe(right, agent, ears)))


def texts(spans: Sequence[Span]) -> str:
    """All that was understood, in one line."""
    return " ".join(span.text for span in spans if span.text)

"""What must never happen in a call, by name: where it did, in words. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from actors.scenario.story import DEAD_AIR_MS, Story
from actors.world.referee import Fate
from engine.audio import FRAME_MS

Breach = tuple[str, float | None]  # what happened, and when


def _two_voices(story: Story) -> Iterator[Breach]:
    for start, end in story.report.overlaps:
        yield f"the agent was heard for {end - start:.0f} ms while the caller spoke", start


def _dead_air(story: Story) -> Iterator[Breach]:
    for start, end in story.report.silences:
        if end - start > DEAD_AIR_MS:
            yield f"nobody was heard for {(end - start) / 1000:.2f} s", start


def _stale_audio(story: Story) -> Iterator[Breach]:
    for start, end in story.stale():
        yield f"{end - start:.0f} ms of what the caller had cut off were still heard", start


def _heard_twice(story: Story) -> Iterator[Breach]:
    for lost_ms in story.report.lost_ms:
        if lost_ms < -FRAME_MS:
            yield f"{-lost_ms:.0f} ms of a speech were heard twice", None


def _lost_audio(story: Story) -> Iterator[Breach]:
    for lost_ms in story.report.lost_ms:
        if lost_ms > FRAME_MS:
            yield f"{lost_ms:.0f} ms of a speech that went on were never heard", None


def _stutter(story: Story) -> Iterator[Breach]:
    for gap_ms in story.report.gaps_ms:
        yield f"a speech broke off for {gap_ms:.0f} ms, and nobody had asked for it", None


def _cut_off_for_nothing(story: Story) -> Iterator[Breach]:
    for ruling in story.report.rulings:
        if not ruling.is_speech and ruling.fate is Fate.ENDED:
            yield f"a {ruling.name} ended what the agent said", ruling.onset_ms
    if story.report.causeless_ended:
        yield f"{story.report.causeless_ended} speeches broke off, and the caller had made no sound", None


def _lost_words(story: Story) -> Iterator[Breach]:
    for ruling in story.report.rulings:
        if ruling.words_lost:
            yield f"{ruling.words_lost} words of the caller's never reached the agent", ruling.onset_ms


def _double_effect(story: Story) -> Iterator[Breach]:
    for name in story.runs.doubled():
        yield f"{name} did the same thing more than once", None


NEVERS: Mapping[str, Callable[[Story], Iterator[Breach]]] = {
    "two voices": _two_voices,
    "dead air": _dead_air,
    "stale audio": _stale_audio,
    "heard twice": _heard_twice,
    "lost audio": _lost_audio,
    "stutter": _stutter,
    "cut off for nothing": _cut_off_for_nothing,
    "lost words": _lost_words,
    "double effect": _double_effect,
}

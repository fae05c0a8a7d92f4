"""Fills the book of our own lines when the service starts. What cannot be had is left out and said once in the log."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

import structlog
import trio

from engine.agent import Silence
from engine.audio import duration_ms
from engine.errors import BadSettings
from engine.lines import Clip, LineBook, texts_of
from web.clips.shipped import shipped, spoken
from web.clips.sound import clip_of, resampled
from web.clips.wav import read_wav

log = structlog.get_logger(__name__)

LONGEST_FILLER_MS = 700  # the answer waits for the end of a filler


async def line_book(silence: Silence, folder: Path) -> LineBook:
    """Every line of the agent that can be had as a clip: its own file, else what we ship, else spoken now.

    Args:
        silence: the lines, and the files that hold some of them.
        folder: where the agent file stands; the files are beside it.

    Raises:
        BadSettings: a file that cannot be used, or one for a line that there is not; tells all of them.
    """
    texts = texts_of(silence)
    clips, missing = await trio.to_thread.run_sync(
        _clips, tuple(dict.fromkeys(sum(texts.values(), ()))), silence, folder
    )
    if missing:
        log.warning("lines without a clip are not said", lines=missing)
    book = LineBook({kind: tuple(clips[text] for text in some if text in clips) for kind, some in texts.items()})
    if silence.fillers == "clips":
        _warn_of_long_fillers(book)
    return book


def _clips(texts: tuple[str, ...], silence: Silence, folder: Path) -> tuple[dict[str, Clip], dict[str, str]]:
    """What there is, by text, and why the rest is not there."""
    found = _from_files(texts, silence.files, folder)
    missing: dict[str, str] = {}
    ours = shipped()
    for text in texts:
        if text not in found:
            try:
                found[text] = ours[text] if text in ours else spoken(text)
            except (ImportError, ValueError) as problem:
                missing[text] = str(problem)
    return {text: Clip(text, mulaw) for text, mulaw in found.items()}, missing


def _from_files(texts: tuple[str, ...], files: dict[str, str], folder: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    problems: list[str] = []
    for text, name in files.items():
        if text not in texts:
            near = get_close_matches(text, texts, n=1)
            problems.append(f"{text!r} is none of the lines" + (f"; did you mean {near[0]!r}?" if near else ""))
            continue
        try:
            rate_hz, samples = read_wav((folder / name).read_bytes())
            found[text] = clip_of(resampled(samples, rate_hz))
        except OSError as problem:
            problems.append(f"{folder / name} cannot be read ({problem.strerror})")
        except ValueError as problem:
            problems.append(f"{folder / name}: {problem}")
    if problems:
        raise BadSettings("silence.files: " + "\n  ".join(problems))
    return found


def _warn_of_long_fillers(book: LineBook) -> None:
    long = {clip.text: duration_ms(clip.mulaw) for clip in book.clips.get("filler", ())}
    if long := {text: ms for text, ms in long.items() if ms > LONGEST_FILLER_MS}:
        log.warning("long fillers make the answer wait", ms=long, at_most_ms=LONGEST_FILLER_MS)

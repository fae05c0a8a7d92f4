"""The clips that come with Callscope: the default lines, spoken once by the voice of `web.twins.speech.voice`.

One raw µ-law file a line in `lines/`, and `index.json`: text → file name. `python -m web.clips --render` makes them
anew, bit for bit, so that no sound in the repository is of unknown origin.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from engine.agent import Silence
from engine.audio import mulaw_to_pcm16
from engine.lines import texts_of
from web.clips.sound import clip_of
from web.clips.wav import samples_of

FOLDER = Path(__file__).parent / "lines"
INDEX = "index.json"


def shipped(folder: Path = FOLDER) -> dict[str, bytes]:
    """The clips that are there, by text."""
    index: dict[str, str] = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    return {text: (folder / name).read_bytes() for text, name in index.items()}


def spoken(text: str) -> bytes:
    """The text as a clip, by the voice that comes in a wheel.

    Raises:
        ImportError: the voice is not installed on this machine.
        ValueError: the text has nothing to say.
    """
    from web.twins.speech.voice import speak  # noqa: PLC0415 — a native wheel that some machines do not have

    return clip_of(samples_of(mulaw_to_pcm16(speak(text))))


def rendered() -> dict[str, bytes]:
    """What ought to be shipped: each default line, once. `web.clips.__main__` sees to it that it is always the same."""
    return {text: spoken(text) for texts in texts_of(Silence()).values() for text in texts}


def ship(clips: dict[str, bytes], folder: Path = FOLDER) -> None:
    """Make the folder hold these clips and no others.

    Raises:
        ValueError: two texts that differ in signs only; they would be one file.
    """
    index = {text: "-".join(re.findall(r"[a-z0-9]+", text.lower())) + ".ulaw" for text in clips}
    if len(set(index.values())) < len(index):
        raise ValueError("two lines differ in signs only, and would be one file")
    folder.mkdir(exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for text, name in index.items():
        (folder / name).write_bytes(clips[text])
    (folder / INDEX).write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")

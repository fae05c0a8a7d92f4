"""Our own lines as audio: from the operator's files, from what we ship, from a voice, or not at all."""

from __future__ import annotations

import struct
import subprocess
import sys
from array import array
from collections.abc import Sequence
from itertools import pairwise
from math import log10, pi, sin, sqrt
from pathlib import Path
from random import Random
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.agent import Silence
from engine.audio import FRAME_BYTES, LINEAR, duration_ms, pcm16_to_mulaw
from engine.errors import BadSettings
from engine.lines import texts_of
from web.clips import line_book
from web.clips.shipped import FOLDER, INDEX, ship, shipped
from web.clips.sound import LEVEL_DB, MOST_PEAK, clip_of, resampled
from web.clips.wav import read_wav


def sine(hz: float, rate_hz: int, *, ms: int = 400, size: float = 10_000) -> array[int]:
    return array("h", [round(size * sin(2 * pi * hz * n / rate_hz)) for n in range(rate_hz * ms // 1000)])


def wav(
    audio: bytes, rate_hz: int = 8000, *, channels: int = 1, bits: int = 16, coding: int = 1, extensible: bool = False
) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", coding, channels, rate_hz, rate_hz * block, block, bits)
    if extensible:
        form = struct.pack("<H", 0xFFFE) + form[2:] + struct.pack("<HHIH", 22, bits, 4, coding) + bytes(14)
    body = chunk(b"fmt ", form) + chunk(b"LIST", b"odd") + chunk(b"data", audio)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def level_db(samples: Sequence[float]) -> float:
    return 20 * log10(max(sqrt(sum(sample * sample for sample in samples) / len(samples)), 1e-3) / 32768)


def linear(mulaw: bytes) -> list[int]:
    return [LINEAR[code] for code in mulaw]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The warnings of the book, field by field. (The tests' own logging is set to errors.)"""

    class Log:
        def warning(self, event: str, **fields: object) -> None:
            warnings.append(fields)

    warnings: list[dict[str, object]] = []
    monkeypatch.setattr("web.clips.book.log", Log())
    return warnings


# What we ship


async def test_the_default_lines_are_ready(tmp_path: Path) -> None:
    """Every one, from the package, as whole frames with the voice in the first, and about as loud as the others."""
    book = await line_book(Silence(), tmp_path)
    clips = [clip for kind in book.kinds for clip in book.clips[kind]]
    assert {kind: tuple(clip.text for clip in book.clips[kind]) for kind in book.kinds} == texts_of(Silence())
    for clip in clips:
        frames = [level_db(linear(clip.mulaw[at : at + 160])) for at in range(0, len(clip.mulaw), FRAME_BYTES)]
        assert max(frames) > -18
        assert frames[0] > max(frames) - 36 and frames[-2] > max(frames) - 60, clip.text
        speaking = [sample for at, level in enumerate(frames) for sample in linear(clip.mulaw[at * 160 :][:160])
                    if level > max(frames) - 20]  # fmt: skip
        assert level_db(speaking) == pytest.approx(LEVEL_DB, abs=0.5), clip.text


def test_what_is_shipped_is_what_the_voice_says(tmp_path: Path) -> None:
    """Bit for bit; if the default lines changed: `./dev python -m web.clips --render`."""
    pytest.importorskip("py_nanotts")
    (tmp_path / "stale.ulaw").write_bytes(b"")
    subprocess.run([sys.executable, "-m", "web.clips", "--render", tmp_path], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        path.name: path.read_bytes() for path in FOLDER.iterdir()
    }
    assert shipped(tmp_path) == shipped() and (tmp_path / INDEX).is_file()


def test_two_texts_are_never_one_file(tmp_path: Path) -> None:
    """`Hello?` and `Hello!` would be."""
    with pytest.raises(ValueError, match="differ in signs only"):
        ship({"Hello?": b"", "Hello!": b""}, tmp_path)


# What else may be said


async def test_another_text_is_spoken_at_the_start(tmp_path: Path, told: list[dict[str, object]]) -> None:
    """By the voice, once; the same bytes each time."""
    pytest.importorskip("py_nanotts")
    first, second = [await line_book(Silence(filler=("Right.", "Okay.")), tmp_path) for _ in range(2)]
    clip = first.pick("filler", 0)
    assert clip is not None and clip.text == "Right." and 200 < duration_ms(clip.mulaw) < 700
    assert first == second and told == []


async def test_without_the_voice_the_others_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: list[dict[str, object]]
) -> None:
    """What is missing is told once, however many kinds have it; a kind of nothing but missing lines is not there."""
    monkeypatch.setitem(sys.modules, "web.twins.speech.voice", None)
    silence = Silence(filler=("Well now.", "Okay."), idle=("Well now.",), progress=("…", "One moment, please."))
    book = await line_book(silence, tmp_path)
    assert [clip.text for clip in book.clips["filler"]] == ["Okay."]
    assert "idle" not in book.kinds and book.pick("idle", 0) is None
    (warning,) = told
    missing = warning["lines"]
    assert isinstance(missing, dict) and list(missing) == ["Well now.", "…"]


async def test_a_text_without_words_is_missing(tmp_path: Path, told: list[dict[str, object]]) -> None:
    """It does not keep the service from starting."""
    pytest.importorskip("py_nanotts")
    book = await line_book(Silence(filler=("  ", "Okay.")), tmp_path)
    assert [clip.text for clip in book.clips["filler"]] == ["Okay."]
    assert told == [{"lines": {"  ": "nothing to say"}}]


@pytest.mark.parametrize(("ms", "fillers", "warned"), [(700, "clips", 0), (720, "clips", 1), (720, "vapi", 0)])
async def test_long_fillers_are_told(
    tmp_path: Path, told: list[dict[str, object]], ms: int, fillers: Literal["clips", "vapi"], warned: int
) -> None:
    """The answer waits for them; not if they are never said."""
    (tmp_path / "right.wav").write_bytes(wav(sine(500, 8000, ms=ms).tobytes()))
    await line_book(Silence(filler=("Right.",), files={"Right.": "right.wav"}, fillers=fillers), tmp_path)
    assert [warning["ms"] for warning in told] == warned * [{"Right.": 720.0}]


# The operator's files


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("channels", [1, 2])
async def test_a_recording_is_said_instead(tmp_path: Path, rate_hz: int, channels: int) -> None:
    """At any usual rate, mono or stereo; it keeps its length and its pitch, and a default text may have one too."""
    tone = sine(440, rate_hz, ms=300)
    audio = array("h", [sample for sample in tone for _ in range(channels)])
    (tmp_path / "hello.wav").write_bytes(wav(audio.tobytes(), rate_hz, channels=channels))
    text = "One moment, please."
    book = await line_book(Silence(holding=(text,), files={text: "hello.wav"}), tmp_path)
    clip = book.pick("holding", 0)
    assert clip is not None and duration_ms(clip.mulaw) == 300
    samples = linear(clip.mulaw)
    assert sum(one < 0 <= other for one, other in pairwise(samples)) in range(130, 134)
    assert level_db(samples) == pytest.approx(LEVEL_DB, abs=0.3)
    progress = book.pick("progress", 0)
    assert progress is not None and progress.mulaw == clip.mulaw  # the same text is the same line


@pytest.mark.parametrize("extensible", [False, True])
def test_codings(extensible: bool) -> None:
    """16-bit PCM and µ-law, also as newer programs name them; chunks of other kinds are passed over."""
    tone = sine(440, 8000)
    assert read_wav(wav(tone.tobytes(), extensible=extensible)) == (8000, tone)
    rate_hz, samples = read_wav(wav(pcm16_to_mulaw(tone.tobytes()), bits=8, coding=7, extensible=extensible))
    assert rate_hz == 8000 and pcm16_to_mulaw(samples.tobytes()) == pcm16_to_mulaw(tone.tobytes())
    sides = array("h", [100, 300, -100, -300])
    assert read_wav(wav(sides.tobytes(), channels=2))[1] == array("h", [200, -200])


def test_a_length_that_was_never_written() -> None:
    """A program that wrote to a pipe leaves it at its greatest: all that follows is audio."""
    tone = sine(440, 8000)
    streamed = wav(tone.tobytes()).replace(b"data" + struct.pack("<I", 2 * len(tone)), b"data\xff\xff\xff\xff")
    assert read_wav(streamed) == (8000, tone)


BAD_FILES = {
    "nothing in it": (b"", "it is no WAV file"),
    "something else": (b"ID3" + bytes(100), "it is no WAV file"),
    "no audio": (b"RIFF\x00\x00\x00\x00WAVE" + chunk(b"fmt ", bytes(16)), "without a format or without audio"),
    "short format": (
        b"RIFF\x00\x00\x00\x00WAVE" + chunk(b"fmt ", bytes(9)) + chunk(b"data", b"12"),
        "without a format",
    ),
    "24 bits": (wav(bytes(2400), bits=24), "it is 24-bit PCM; save it as 16-bit PCM or µ-law"),
    "floats": (wav(bytes(3200), bits=32, coding=3), "it is 32-bit floating point; save it"),
    "something rare": (wav(bytes(3200), bits=4, coding=999), "it is 4-bit 999; save it"),
    "surround": (wav(bytes(1200), channels=6), "it has 6 channels"),
    "too slow": (wav(bytes(1200), 6000), "it has 6000 samples a second; it may have 8000 to 96000"),
    "too fast": (wav(bytes(1200), 192_000), "it has 192000 samples"),
    "cut short": (wav(sine(440, 8000).tobytes())[:-100], "it is cut short: 6300 of 6400 bytes of 'data'"),
    "too long": (wav(bytes(31 * 16_000)), "it lasts 31 s; a line may last 30 s"),
    "no samples": (wav(b""), "there is nothing to hear in it"),
    "silence": (wav(bytes(16_000)), "there is nothing to hear in it"),
    "a constant": (wav(array("h", [5000] * 8000).tobytes()), "there is nothing to hear in it"),
}


@pytest.mark.parametrize("what", BAD_FILES)
async def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, what: str) -> None:
    """With what is wrong with it; the service does not start."""
    data, says = BAD_FILES[what]
    (tmp_path / "hello.wav").write_bytes(data)
    with pytest.raises(BadSettings) as bad:
        await line_book(Silence(filler=("Okay.",), files={"Okay.": "hello.wav"}), tmp_path)
    assert says in str(bad.value) and str(tmp_path / "hello.wav") in str(bad.value)


async def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    """A file that is not there, a folder, a line that nobody says: with the nearest that somebody does."""
    (tmp_path / "folder.wav").mkdir()
    files = {"Okay.": "gone.wav", "Mm-hm.": "folder.wav", "Rihgt.": "x.wav", "42": "y.wav"}
    with pytest.raises(BadSettings) as bad:
        await line_book(Silence(files=files), tmp_path)
    assert str(bad.value).splitlines() == [
        f"silence.files: {tmp_path / 'gone.wav'} cannot be read (No such file or directory)",
        f"  {tmp_path / 'folder.wav'} cannot be read (Is a directory)",
        "  'Rihgt.' is none of the lines; did you mean 'Right.'?",
        "  '42' is none of the lines",
    ]


# Arithmetic


@pytest.mark.parametrize("rate_hz", [11025, 16000, 22050, 44100, 48000, 96000])
def test_resampling_keeps_the_voice_and_drops_what_would_fold_back(rate_hz: int) -> None:
    """Flat within a third of a decibel up to 3.2 kHz; 50 dB down from 4.2 kHz on, which would be another tone."""
    inner = slice(400, -400)
    for hz in (100, 1000, 3200):
        out = resampled(sine(hz, rate_hz), rate_hz)
        assert len(out) == 3200
        wanted = [10_000 * sin(2 * pi * hz * n / 8000) for n in range(3200)]
        gain_db = level_db(out[inner]) - level_db(wanted[inner])
        assert abs(gain_db) < 0.3
        error = [one - 10 ** (gain_db / 20) * other for one, other in zip(out[inner], wanted[inner], strict=True)]
        assert level_db(error) < level_db(wanted) - 60  # the same moment: no shift in time
    for high_hz in (4200, 5000, 0.45 * rate_hz):
        tone = sine(high_hz, rate_hz)
        assert level_db(resampled(tone, rate_hz)[inner]) < level_db(tone) - 50


def test_silence_around_is_cut_and_the_rest_is_kept() -> None:
    """Half a second before, pauses inside, noise far below: the voice begins in the first 5 ms."""
    chance = Random(7)
    voice = [*sine(300, 8000, ms=200), *[0] * 2400, *sine(300, 8000, ms=200, size=2000)]
    samples = [sample + chance.gauss(50, 5) for sample in [*[0] * 4000, *voice, *[0] * 4000]]
    clip = clip_of(samples)
    assert duration_ms(clip) == 740  # 700 of voice, 5 before or none, 20 after, filled up to whole frames
    assert level_db(linear(clip[40:80])) > -30


def test_a_click_does_not_make_it_a_whisper_or_a_crash() -> None:
    """High peaks keep the gain down, so that nothing clips."""
    samples = [*sine(300, 8000, size=200)]
    samples[100] = 30_000
    assert max(map(abs, linear(clip_of(samples)))) <= MOST_PEAK * 1.04


@given(st.integers(200, 32_000), st.integers(10, 700), st.integers(0, 500), st.integers(0, 1000))
def test_every_clip_is_fit_to_play(size: int, ms: int, before: int, after: int) -> None:
    """However loud and long the recording was: whole frames, one level, no silence before, little after."""
    clip = clip_of([0] * before + list(sine(700, 8000, ms=ms, size=size)) + [0] * after)
    assert len(clip) % FRAME_BYTES == 0
    assert ms - 10 <= duration_ms(clip) < ms + 10 + 20 + 20
    first = next(index for index, sample in enumerate(linear(clip)) if abs(sample) > 1000)
    assert first < 80
    assert ms < 100 or level_db(linear(clip)[first : first + ms * 8]) == pytest.approx(LEVEL_DB, abs=1)


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    """Never another error."""
    for text in (data, b"RIFF\x00\x00\x00\x00WAVE" + data, wav(data)[: len(data)], wav(data, bits=8, coding=7)):
        try:
            rate_hz, samples = read_wav(text)
        except ValueError as why:
            assert str(why).startswith("it ")
        else:
            assert rate_hz == 8000 and isinstance(samples, array)

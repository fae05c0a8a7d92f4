"""Judges what was heard: two voices at once, nobody's voice, and whether a speech went on where it had stopped. Pure.

Works on the tap's channels only (µ-law, 20 ms frames), so it believes neither side.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise, zip_longest

from engine.audio import FRAME_BYTES, FRAME_MS, duration_ms
from engine.voice import is_silent

SAME_STRETCH_MS = 200  # pauses up to so long are inside one stretch of voice
OVERLAP_MS = 200
SILENCE_MS = 1000
PROBE_FRAMES = 4  # a place is looked for with so much sound at first: single frames of a steady tone are all alike


@dataclass(frozen=True, slots=True)
class Span:
    """From the first sound to the end of the last, on the tap's clock."""

    start_ms: float
    end_ms: float

    @property
    def length_ms(self) -> float:
        return self.end_ms - self.start_ms


def stretches(voiced: Sequence[int], *, same_ms: float = SAME_STRETCH_MS) -> list[Span]:
    """Stretches of voice in a channel that has one flag a frame; pauses up to `same_ms` are inside one."""
    spans: list[Span] = []
    for index, loud in enumerate(voiced):
        if not loud:
            continue
        at_ms = float(index * FRAME_MS)
        if spans and at_ms - spans[-1].end_ms <= same_ms:
            spans[-1] = Span(spans[-1].start_ms, at_ms + FRAME_MS)
        else:
            spans.append(Span(at_ms, at_ms + FRAME_MS))
    return spans


def overlaps(caller: Sequence[int], agent: Sequence[int], *, longer_ms: float = OVERLAP_MS) -> list[Span]:
    """Where both voices were heard at once for longer than that. One flag a frame in each channel."""
    both = [
        Span(max(one.start_ms, other.start_ms), min(one.end_ms, other.end_ms))
        for one in stretches(caller)
        for other in stretches(agent)
    ]
    return [span for span in both if span.length_ms > longer_ms]


def silences(caller: Sequence[int], agent: Sequence[int], *, longer_ms: float = SILENCE_MS) -> list[Span]:
    """Where nobody was heard for longer than that, the start and the end of the call included."""
    anybody = [one or other for one, other in zip_longest(caller, agent, fillvalue=0)]
    edges = [0.0]
    for span in stretches(anybody, same_ms=0):
        edges += [span.start_ms, span.end_ms]
    edges.append(float(len(anybody) * FRAME_MS))
    quiet = [Span(start, end) for start, end in zip(edges[0::2], edges[1::2], strict=True)]
    return [span for span in quiet if span.length_ms > longer_ms]


# --- was it the same speech? ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seam:
    """A place where what was heard stopped following what was generated, and went on.

    `gap_ms`: how long nothing of it was heard. `lost_frames` were never heard, `repeated_frames` twice; frames of
    silence count as neither. `dropped`: the speech was left for a later one, so that nothing was resumed.
    """

    heard_ms: float
    gap_ms: float
    generated_ms: float
    lost_frames: int
    repeated_frames: int
    dropped: bool = False

    @property
    def error_frames(self) -> int:
        return self.lost_frames + self.repeated_frames


@dataclass(frozen=True, slots=True)
class Followed:
    """`heard_ms`: for each utterance, how far into it the caller heard. `foreign_frames`: voice of no utterance."""

    seams: tuple[Seam, ...]
    heard_ms: tuple[float, ...]
    foreign_frames: int


def resume_errors(generated: bytes, heard: bytes, *, ends: Sequence[int] = ()) -> list[Seam]:
    """Each hold that resumed, with the frames lost and repeated there; none lost or repeated is a good one.

    Args:
        generated: what Vapi's twin made, utterance after utterance (`GET /twin/calls/{id}/generated` there).
        heard: `Tap.heard`, or a part of it. Our own clips in it are passed over.
        ends: where in `generated` each utterance ends, in bytes; without it, it is one utterance.
    """
    cuts = [0, *ends] if ends and ends[-1] == len(generated) else [0, *ends, len(generated)]
    utterances = [generated[start:end] for start, end in pairwise(cuts)]
    return [seam for seam in follow(utterances, heard).seams if not seam.dropped]


def follow(utterances: Sequence[bytes], heard: bytes) -> Followed:
    """Find each heard frame in what was generated, as near to the one before as it can be.

    A steady tone whose period divides 20 ms looks the same everywhere: what is lost in it is not found.
    """
    generated = b"".join(utterances)
    follower = _Follower(generated, tuple(accumulate(map(len, utterances))))
    for at in range(0, len(heard) - FRAME_BYTES + 1, FRAME_BYTES):
        follower.take(heard, at)
    return Followed(tuple(follower.seams), tuple(map(duration_ms, follower.reached)), follower.foreign_frames)


class _Follower:
    """`at` is where in `generated` the next frame is expected."""

    def __init__(self, generated: bytes, ends: tuple[int, ...]) -> None:
        self._generated, self._ends = generated, ends
        self._at, self._gap_frames = 0, 0
        self.seams: list[Seam] = []
        self.reached = [0] * len(ends)
        self.foreign_frames = 0

    def take(self, heard: bytes, start: int) -> None:
        frame = heard[start : start + FRAME_BYTES]
        sound = len(frame.rstrip(b"\xff")) if is_silent(frame[-1:]) else FRAME_BYTES
        for length in (FRAME_BYTES, sound):  # the last piece of an utterance is filled up with silence
            if length and self._generated[self._at : self._at + length] == frame[:length]:
                self._goes_on(start, self._at, length)
                return
        if is_silent(frame):
            self._gap_frames += 1
            return
        for probe in _probes(heard, start, sound):
            at = self._nearest(probe)
            if at is not None:
                self._goes_on(start, at, min(len(probe), FRAME_BYTES))
                return
        self.foreign_frames += 1
        self._gap_frames += 1

    def _nearest(self, probe: bytes) -> int | None:
        before = self._generated.rfind(probe, 0, self._at + len(probe))
        after = self._generated.find(probe, self._at)
        found = [at for at in (before, after) if at >= 0]
        return min(found, key=lambda at: abs(at - self._at)) if found else None

    def _goes_on(self, start: int, at: int, length: int) -> None:
        old, new = self._utterance(self._at), self._utterance(at)
        lost = _voiced_frames(self._generated[self._at : at])
        repeated = _voiced_frames(self._generated[at : self._at])
        between = self._at in (0, *self._ends) and not lost and not repeated
        if (lost or repeated or self._gap_frames) and not between:
            gap_ms = float(self._gap_frames * FRAME_MS)
            seam = Seam(duration_ms(start), gap_ms, duration_ms(at), lost, repeated, dropped=new != old)
            self.seams.append(seam)
        self._gap_frames, self._at = 0, at + length
        begins = self._ends[new - 1] if new else 0
        self.reached[new] = max(self.reached[new], self._at - begins)

    def _utterance(self, at: int) -> int:
        return min(bisect_right(self._ends, at), len(self._ends) - 1)


def _probes(heard: bytes, start: int, sound: int) -> Iterator[bytes]:
    """The sound from here on, the longest piece first: up to the next silence, then less, then this frame alone."""
    end = start + FRAME_BYTES
    most = start + PROBE_FRAMES * FRAME_BYTES
    while end < most and end + FRAME_BYTES <= len(heard) and not is_silent(heard[end : end + FRAME_BYTES]):
        end += FRAME_BYTES
    for stop in range(end, start, -FRAME_BYTES):
        yield heard[start:stop]
    if sound < FRAME_BYTES:
        yield heard[start : start + sound]


def _voiced_frames(mulaw: bytes) -> int:
    pieces = (mulaw[start : start + FRAME_BYTES] for start in range(0, len(mulaw), FRAME_BYTES))
    return sum(not is_silent(piece) for piece in pieces)

"""The service's certificates (`Interruption` notes) against the tap: does it know what its caller heard? Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from actors.world.heard import Heard
from actors.world.tap import Run
from engine.audio import FRAME_MS
from engine.journal import Record


@dataclass(frozen=True, slots=True)
class CertificateCheck:
    """One `Interruption` note against the tap; differences in milliseconds, without their signs."""

    data: dict[str, Any] = field(repr=False)
    silent_ms: float = 0.0  # when silence came, beyond what the line's delay explains
    still_heard_ms: float = 0.0  # how much was heard after the onset
    heard_ms: float = 0.0  # how much of the speech had been heard at the hold
    right_decision: bool = True

    onset_ms: float = 0.0  # on the tap's clock

    @property
    def worst_ms(self) -> float:
        return max(self.silent_ms, self.still_heard_ms, self.heard_ms)


def check_certificates(heard: Heard) -> Iterator[CertificateCheck]:
    for record in heard.lived.records:
        if record.name == "Interruption" and record.data.get("clear_ms") is not None:
            yield _check(heard, record.data)


def _check(heard: Heard, data: dict[str, Any]) -> CertificateCheck:
    line = heard.lived.plan.line
    onset_ms = data["onset_at"] * 1000 + heard.admitted_ms
    cleared_ms = onset_ms + data["clear_ms"] + line.down_ms
    before = [run for run in heard.runs if run.at_ms < cleared_ms]
    if not before:
        return CertificateCheck(data, onset_ms=onset_ms)
    last = before[-1]
    silent = still = 0.0
    if data.get("silent_ms") is not None:
        late_ms = onset_ms + data["silent_ms"] - last.end_ms
        slack_ms = line.up_ms + line.down_ms + line.up_jitter_ms + line.down_jitter_ms
        silent = -late_ms if late_ms < 0 else max(0.0, late_ms - slack_ms) if last.end_ms >= cleared_ms else 0.0
    if data.get("still_heard_ms") is not None:
        since_ms = data.get("onset_line_ms", onset_ms)  # the line's clock is the tap's
        still = abs(data["still_heard_ms"] - heard.ms_between(since_ms, last.end_ms))
    reached = abs(data["heard_ms"] - _reached_ms(heard, data["utterance"], last))
    speech = heard.speech_of(last)
    right = True
    if speech is not None:
        goes_on = any(run.at_ms >= cleared_ms for run in heard.pieces(speech))
        right = goes_on == (data["decision"] == "resumed") or not data["unheard_ms"]
    return CertificateCheck(data, silent, still, reached, right, onset_ms)


def _reached_ms(heard: Heard, utterance: int, last: Run) -> float:
    """How far into an utterance the caller had heard. A frame that was heard twice is one."""
    began = _began(heard, utterance)
    if began is None:
        return 0.0  # nothing of it was sent yet
    began_ms, ours = heard.admitted_ms + began.at_ms, began.data.get("ours", False)
    its = [
        run
        for run in heard.runs
        if run.at_ms >= began_ms - FRAME_MS and run.end_ms <= last.end_ms and run.is_agent is not ours
    ]
    if not its:
        return 0.0
    if ours:
        return sum(run.ms for run in its)
    first = next(run for run in its if heard.speech_of(run) is heard.speech_of(its[-1]))  # two may leave at once
    return its[-1].number + its[-1].ms - first.number


def _began(heard: Heard, utterance: int) -> Record | None:
    """The journal's word on when the service began to send it."""
    for record in heard.lived.records:
        if record.name == "UtteranceStarted" and record.data["utterance"] == utterance:
            return record
    return None

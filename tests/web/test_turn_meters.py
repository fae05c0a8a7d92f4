"""Interruptions and our own lines in `/metrics`: as one process tells them, and as several are put together."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from quart_trio import QuartTrio

from web.health import Meters, _Scrape, add_health
from web.turn_meters import LATEST, MOST_LABELS, TurnMeters


def meters() -> Meters:
    return Meters(lambda: {"calls_live": 1.0}, dict, dict, TurnMeters())


def interruption(silent_ms: object = 43.0, **changes: object) -> dict[str, object]:
    told = {"hold_ms": 40.0, "silent_ms": silent_ms, "decided_ms": 350.0, "decision": "dropped", "reason": "words"}
    return {**told, **changes}


def text_of(told: Mapping[str, Mapping[str, Any]]) -> str:
    """As a scrape; the numbers have gone through JSON, as those of a sibling do."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(json.loads(json.dumps(told))))
    return generate_latest(registry).decode()


async def test_what_a_scrape_shows() -> None:
    """Buckets around the goals, percentiles of the latest, and how it ended and why."""
    counted = meters()
    for _ in range(98):
        counted.turns.noted("Interruption", interruption())
    counted.turns.noted("Interruption", interruption(silent_ms=110.0, reason="vapi"))
    counted.turns.noted("Interruption", interruption(silent_ms=None, decision="resumed", reason="noise"))
    counted.turns.noted("Line", {"kind": "filler", "text": "Okay.", "how": "clip"})
    counted.turns.noted("AgentHeard", {"kind": "filler"})
    app = QuartTrio("health")
    add_health(app, not_ready=lambda: "", meters=counted)
    lines = (await (await app.test_client().get("/metrics")).get_data(as_text=True)).splitlines()
    for expected in (
        'callscope_interruption_hold_seconds_bucket{le="0.04"} 100.0',
        'callscope_interruption_hold_seconds_bucket{le="0.03"} 0.0',
        'callscope_interruption_silence_seconds_bucket{le="0.06"} 98.0',
        'callscope_interruption_silence_seconds_bucket{le="0.12"} 99.0',
        "callscope_interruption_silence_seconds_count 99.0",
        'callscope_interruption_silence_recent_seconds{quantile="0.5"} 0.043',
        'callscope_interruption_silence_recent_seconds{quantile="0.99"} 0.11',
        'callscope_hold_seconds_bucket{le="0.3"} 0.0',
        'callscope_hold_seconds_bucket{le="0.4"} 1.0',
        "callscope_hold_seconds_sum 0.31",
        'callscope_interruptions_total{decision="dropped",reason="words"} 98.0',
        'callscope_interruptions_total{decision="resumed",reason="noise"} 1.0',
        'callscope_lines_total{kind="filler"} 1.0',
        "callscope_calls_live 1.0",
    ):
        assert expected in lines


def test_several_workers_in_one_scrape() -> None:
    """Each line says whose it is; a worker that has counted nothing has no lines."""
    first, second, idle = meters(), meters(), meters()
    first.turns.noted("Interruption", interruption())
    second.turns.noted("Interruption", interruption(reason="key"))
    text = text_of({"0": first.told(), "1": second.told(), "2": idle.told()})
    assert 'callscope_interruptions_total{decision="dropped",reason="words",worker="0"} 1.0' in text
    assert 'callscope_interruptions_total{decision="dropped",reason="key",worker="1"} 1.0' in text
    assert 'callscope_interruption_silence_recent_seconds{quantile="0.95",worker="1"} 0.043' in text
    assert 'callscope_hold_seconds_bucket{le="+Inf",worker="2"} 0.0' in text
    assert 'quantile="0.95",worker="2"' not in text


def test_before_the_first_interruption() -> None:
    """The histograms are there and empty, so that a rate over them begins at nothing."""
    text = text_of({"": meters().told()})
    assert 'callscope_interruption_silence_seconds_bucket{le="+Inf"} 0.0' in text
    assert 'callscope_hold_seconds_bucket{le="+Inf"} 0.0' in text
    assert "quantile=" not in text


@pytest.mark.parametrize("odd", [None, "43", True, [], {}])
def test_what_was_not_measured_is_not_counted(odd: object) -> None:
    """No hold before a drop, no proof of silence: the interruption counts, the time does not."""
    counted = TurnMeters()
    counted.noted("Interruption", interruption(hold_ms=odd, silent_ms=odd, decision="resumed", reason=odd))
    assert all(one["buckets"][-1][1] == 0 for one in counted.histograms().values())
    ((labels, count),) = counted.labelled()["counters"]["interruptions"]
    assert count == 1 and labels == {"decision": "resumed", "reason": str(odd)}


def test_memory_is_bounded() -> None:
    """Neither reasons nor kinds nor measurements pile up."""
    counted = TurnMeters()
    for n in range(3 * LATEST):
        counted.noted("Interruption", interruption(silent_ms=float(n), reason=f"reason {n}"))
        counted.noted("Line", {"kind": f"kind {n}"})
    told = counted.labelled()
    assert (
        len(told["counters"]["interruptions"]) <= MOST_LABELS + 2 and len(told["counters"]["lines"]) <= MOST_LABELS + 1
    )
    assert sum(count for _, count in told["counters"]["interruptions"]) == 3 * LATEST
    assert told["gauges"]["interruption_silence_recent_seconds"][0][1] == pytest.approx(2.5 * LATEST / 1000, abs=0.002)


JSON: st.SearchStrategy[object] = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=9) | st.just([])
)
KEYS = st.sampled_from(["hold_ms", "silent_ms", "decided_ms", "decision", "reason", "kind"])


@given(st.sampled_from(["Interruption", "Line", "Other"]), st.dictionaries(KEYS, JSON))
def test_no_note_raises_and_every_scrape_can_be_read(name: str, data: dict[str, object]) -> None:
    """A call must never suffer from being counted, nor a scrape from what was in a note."""
    counted = meters()
    counted.turns.noted(name, data)
    assert list(text_string_to_metric_families(text_of({"": counted.told()})))

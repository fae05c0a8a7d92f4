"""The turns bench: its figures are added up rightly, it plays both bridges, and its goals can be missed."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pytest
import trio
from rich.console import Console

from actors.world.referee import Fate, Ruling
from engine.audio import LINEAR
from web.bench.corpus import level_of
from web.bench.report import write_json
from web.bench.turns import HEADLINE, Plan, in_virtual_time, naive_house, new_result, one_call, over_sockets, play
from web.bench.turns_report import GOALS, goals_met, misses, print_turns
from web.bench.turns_scenes import CONDITIONS, background_at, calls, false_sounds, levelled, true_sounds
from web.bench.turns_tally import Tally, percentiles, together

KEYS = {
    "onset_to_silence_ms", "true_rate", "false_rate", "holds_resumed", "resume_error_frames_max", "longest_silence_ms",
    "overlaps", "words_lost", "certificate_error_frames_max", "interruptions",
}  # fmt: skip


def ruling(fate: Fate, *, is_speech: bool, silent_ms: float | None = 50.0) -> Ruling:
    return Ruling("x", "speech" if is_speech else "cough", is_speech, 1000.0, fate, silent_ms)


def test_percentiles_are_values_that_occurred() -> None:
    assert percentiles([]) == {}
    assert percentiles([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0, "max": 7.0}
    assert percentiles([float(n) for n in range(1, 101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}


def test_rates() -> None:
    """True ones must end a speech, false ones must not; what fell into no speech counts for nothing."""
    tally = Tally()
    for fate, is_speech in [
        (Fate.ENDED, True), (Fate.ENDED, True), (Fate.ENDED, True), (Fate.RESUMED, True), (Fate.NOTHING, True),
        (Fate.FINISHED, True), (Fate.ENDED, False), (Fate.RESUMED, False), (Fate.UNTOUCHED, False),
        (Fate.OVERTAKEN, False), (Fate.RESUMED, False), (Fate.UNTOUCHED, False),
    ]:  # fmt: skip
        tally.count(ruling(fate, is_speech=is_speech), "a call")
    figures = tally.figures()
    assert (figures["true_rate"], figures["false_rate"], figures["holds_resumed"]) == (0.75, 0.2, 2)
    assert figures["interruptions"] == 10
    assert figures["onset_to_silence_ms"]["p50"] == 50.0
    assert tally.worst_of("missed") == ["1 a call at 1000 ms"]
    assert Tally().figures()["true_rate"] is None


def test_tallies_add_up() -> None:
    one, two = Tally(), Tally()
    one.count_silences([(0.0, 700.0)], "one")
    two.count_silences([(100.0, 300.0)], "two")
    two.count_overlaps([(0.0, 40.0), (90.0, 130.0)], "two")
    total = together([one, two])
    assert (total.longest_silence_ms, total.overlaps) == (700.0, 2)
    assert total.worst_of("silence ms") == ["700 one at 0 ms", "200 two at 100 ms"]


def test_a_call_is_a_function_of_its_number_and_seed() -> None:
    first, again, other = (list(calls(30, seed)) for seed in (5, 5, 6))
    assert first == again != other
    few = {condition.name for condition, _ in calls(sum(condition.share for condition in CONDITIONS), 1)}
    assert few == {condition.name for condition in CONDITIONS} and few > HEADLINE


def test_the_corpus_has_both_kinds() -> None:
    assert all(sound.is_speech and sound.text for sound in true_sounds())
    assert {"backchannel", "cough", "click"} <= {sound.kind for sound in false_sounds()}
    assert not any(sound.is_speech for sound in false_sounds())
    levels = [level_of([LINEAR[code] for code in levelled(sound).mulaw]) for sound in true_sounds()[:6]]
    assert max(levels) < 1.05 * min(levels)
    assert background_at("white", 20.0) != background_at("white", 5.0)


@pytest.mark.slow
def test_both_bridges_are_played_and_told_apart(tmp_path: Path) -> None:
    """The tutorials' bridge waits for words; ours does not. What is printed is what is in the file."""
    result = new_result(Plan())
    in_virtual_time(Plan(calls=26, naive_calls=26), result, say=lambda line: None)
    figures = result.figures()
    assert set(figures) >= KEYS and set(figures["naive"]) >= KEYS
    assert figures["onset_to_silence_ms"]["p50"] < figures["naive"]["onset_to_silence_ms"]["p50"] / 2
    assert figures["naive"]["overlaps"] > figures["overlaps"]
    assert figures["naive"]["certificates"] == 0 < figures["certificates"]
    write_json(figures, tmp_path / "turns.json")
    assert msgspec.json.decode((tmp_path / "turns.json").read_bytes())["true_rate"] == figures["true_rate"]
    console = Console(record=True, width=100, file=io.StringIO())
    print_turns(result, console)
    printed = console.export_text()
    assert all(goal.what in printed for goal in GOALS) and "20 dB noise" in printed


def test_the_same_seed_gives_the_same_figures() -> None:
    """Also for a call that is looked at by itself: same plan, same caller."""
    house = naive_house()
    assert not isinstance(house, str)
    quiet = CONDITIONS[:1]
    first, again = (play(house, 3, 9, conditions=quiet)["quiet"].figures() for _ in range(2))
    assert first == again
    one, other = (one_call(1, 9, house)[1] for _ in range(2))
    assert one == other and one.rulings


def test_goals_can_be_missed() -> None:
    result = new_result(Plan())
    assert not any(goals_met(result).values()), "without a run nothing is met"
    tally = result.ours["quiet"] = Tally()
    tally.count(ruling(Fate.ENDED, is_speech=True), "x")
    tally.count(ruling(Fate.RESUMED, is_speech=False), "x")
    assert all(goals_met(result).values())
    tally.count(ruling(Fate.ENDED, is_speech=False, silent_ms=None), "x")
    tally.count_silences([(0.0, 2001.0)], "x")
    tally.lost_frames += [-1.1]
    missed = {what for what, met in goals_met(result).items() if not met}
    assert missed == {"false ones that ended a speech", "longest silence, ms", "lost or repeated, frames"}
    loud = result.ours["5 dB noise"] = Tally(calls=1)
    tally.calls = 1
    loud.count_overlaps([(0.0, 100.0)], "x")
    told = misses(result.figures())
    assert len(told) == 4 and "two voices at once: 1 in 5 dB noise: noise as loud" in "".join(told), (
        "and it is said why"
    )
    assert sum("not known why" in line for line in told) == 3


def test_without_a_checkout_the_peer_is_left_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("web.bench.turns.PEERS", tmp_path)
    assert isinstance(naive_house(), str)


@pytest.mark.slow
def test_over_sockets() -> None:
    """Both twins, real speech, one call on one kind of line."""
    plan = Plan(real_calls=1, real_lines=("quiet",))
    result = new_result(plan)
    trio.run(lambda: over_sockets(plan, result, say=lambda line: None))
    quiet = result.real["quiet"].figures()
    assert quiet["calls"] == 1 and quiet["interruptions"] + quiet["misheard"] + quiet["missed_steps"] >= 1
    assert quiet["certificates"] >= 1

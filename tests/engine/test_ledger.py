"""The tool ledger's rules: what may begin, what counts as the same, what an interruption or a crash does."""

from __future__ import annotations

import pytest

from engine import ledger
from engine.call import Call
from engine.ledger import Fate, Happening, Ruling, Stage, fate, ruling
from engine.phases import Phase
from engine.tools import Breaker, ToolEffect, ToolPolicy, ToolSpec, policy_faults, toolbox_faults

E, S = ToolEffect, Stage
CALM = Call("c", phase=Phase.LISTENING, prompted_at=5.0, said_at=5.0)


def held(**more: object) -> Call:
    return Call("c", phase=Phase.SPEAKING, prompted_at=5.0, held_at=6.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "effect", "says"),
    [
        (CALM, E.COMMIT, Ruling.RUN),
        (CALM, E.TERMINAL, Ruling.RUN),
        (held(), E.READ, Ruling.RUN),
        (held(), E.IDEMPOTENT, Ruling.WAIT),
        (held(), E.COMMIT, Ruling.WAIT),
        (Call("c", phase=Phase.SPEAKING, prompted_at=5.0), E.COMMIT, Ruling.RUN),
        (Call("c", phase=Phase.SPEAKING, prompted_at=5.0), E.TERMINAL, Ruling.WAIT),
        (Call("c", phase=Phase.LISTENING, prompted_at=5.0, agent_talking=True), E.TERMINAL, Ruling.WAIT),
        (Call("c", phase=Phase.INTERRUPTED, cut_at=6.5, prompted_at=5.0), E.COMMIT, Ruling.DISCARD),
        (Call("c", phase=Phase.INTERRUPTED, cut_at=6.5, prompted_at=6.9), E.COMMIT, Ruling.WAIT),
        (Call("c", phase=Phase.LISTENING, cut_at=6.5, prompted_at=5.0), E.COMMIT, Ruling.DISCARD),
        (Call("c", phase=Phase.LISTENING, cut_at=6.5, prompted_at=5.0), E.READ, Ruling.RUN),
        (Call("c", phase=Phase.LISTENING, cut_at=7.5, prompted_at=7.5), E.COMMIT, Ruling.DISCARD),
        (Call("c", phase=Phase.ENDED), E.READ, Ruling.DISCARD),
    ],
)
def test_what_may_begin(call: Call, effect: ToolEffect, says: Ruling) -> None:
    """Asked for at 7 s: now, later, or never."""
    assert ruling(call, effect, 7.0) is says


def test_asked_again_after_being_told() -> None:
    """The model heard that the caller cut in, and asks for it all the same: that is its decision."""
    cut = Call("c", phase=Phase.LISTENING, cut_at=6.5, prompted_at=5.0)
    assert ruling(cut, E.COMMIT, 7.0, asked_twice=True) is Ruling.RUN


def test_the_table_is_complete_and_sane() -> None:
    """Each class has an answer for each happening; nothing that has begun is cut short but a read."""
    assert set(ledger.TABLE) == {(effect, happening) for effect in E for happening in Happening}
    for effect in set(E) - {E.READ}:
        for happening in (Happening.INTERRUPTED, Happening.HUNG_UP):
            assert fate(effect, S.WAITING, happening) is fate(effect, S.INTENDED, happening) is Fate.DISCARD
            assert fate(effect, S.RUNNING, happening) not in (Fate.DISCARD, Fate.CANCEL)
    assert fate(E.COMMIT, S.UNKNOWN, Happening.RESTARTED) is Fate.NOT_KNOWN
    assert fate(E.IDEMPOTENT, S.UNKNOWN, Happening.RESTARTED) is Fate.RUN_AGAIN


def test_the_same_arguments_have_the_same_key_in_any_order() -> None:
    """A key is of the call, the tool, what is asked for, and how often it was meant."""
    first = ledger.key_of("c", "book", ledger.canonical({"a": 1, "b": [2]}), 0)
    assert first == ledger.key_of("c", "book", ledger.canonical({"b": [2], "a": 1}), 0)
    others = [("d", "book", 0), ("c", "cancel", 0), ("c", "book", 1)]
    keys = {ledger.key_of(call, name, ledger.canonical({"a": 1, "b": [2]}), n) for call, name, n in others}
    assert len(keys | {first}) == 4


def test_an_answer_takes_a_moment() -> None:
    """Words that end within a second of the question are not its answer."""
    assert not ledger.is_answered(Call("c", said_at=10.9), 10.0)
    assert ledger.is_answered(Call("c", said_at=11.1), 10.0)


@pytest.mark.parametrize(
    ("effect", "policy", "says"),
    [
        (E.COMMIT, ToolPolicy(retries=1), "could do it twice"),
        (E.IDEMPOTENT, ToolPolicy(cache_s=5), "only a read is cached"),
        (E.READ, ToolPolicy(confirm=True), "only a commit is confirmed"),
        (E.READ, ToolPolicy(undo="x"), "only a commit is undone"),
        (E.TERMINAL, ToolPolicy(background_s=5), "cannot go on after the call"),
        (E.TERMINAL, ToolPolicy(again=True), "no second time"),
    ],
)
def test_policies_that_cannot_be_meant(effect: ToolEffect, policy: ToolPolicy, says: str) -> None:
    """Each says what to do."""
    (fault,) = policy_faults("book", effect, policy)
    assert says in fault and "tool book" in fault


def test_tools_that_do_not_go_together() -> None:
    """An undo must be there, and be something that changes the world back."""

    def spec(name: str, effect: ToolEffect = E.COMMIT, undo: str = "") -> ToolSpec:
        return ToolSpec(name, "x", {}, effect, ToolPolicy(undo=undo, breaker=Breaker()))

    assert list(toolbox_faults([spec("book", undo="cancel"), spec("cancel")])) == []
    assert "there is no tool cancel" in next(toolbox_faults([spec("book", undo="cancel")]))
    assert "must be another tool" in next(toolbox_faults([spec("book", undo="look"), spec("look", E.READ)]))
    assert "two of that name" in next(toolbox_faults([spec("a"), spec("a")]))

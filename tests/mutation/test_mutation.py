"""The harness that judges the tests, judged; and a short sample of the engine's mutants."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.equivalents import EQUIVALENT
from tests.mutation.harness import files_of
from tests.mutation.mutants import ROOT, Cleaned, Source, mutants_of
from tests.mutation.targets import FILES, MODULES

CODE = '''
LIMIT_S = 2.0

def late(at: float, due: float = 1.0) -> bool:
    """Not a number: 7."""
    if at > due and not stopped():
        return True
    seen.append(at + 1)
    return at in (3, 4)

def orders(call):
    return (f.Hold(), f.Drop(reason="x"))

def rows():
    yield rule(LISTENING, e.Voice, STAY, hold, why="so")
    yield from stay(LISTENING, e.Quiet, e.Words)
'''


def changes(code: str) -> set[str]:
    return {f"{one.function}: {one.change}" for one in mutants_of("sample", ast.parse(code))}


def test_every_kind_of_slip_is_made() -> None:
    """Boundaries, opposites, forgotten statements, other numbers, effects, rules; never annotations or docstrings."""
    assert changes(CODE) == {
        ": 2.0 → 4.0",
        ": 2.0 → 1.0",
        ": 1.0 → 2.0",
        ": 1.0 → 0.5",
        "late: at > due → at >= due",
        "late: at > due → at <= due",
        "late: at > due and (not stopped()) → at > due or not stopped()",
        "late: not stopped() → stopped()",
        "late: True → False",
        "late: seen.append(at + 1) → (removed)",
        "late: at + 1 → at - 1",
        "late: 1 → 2",
        "late: at in (3, 4) → at not in (3, 4)",
        "late: 3 → 4",
        "late: 3 → 2",
        "late: 4 → 5",
        "late: 4 → 3",
        "orders: (f.Hold(), f.Drop(reason='x')) → (f.Drop(reason='x'),)",
        "orders: (f.Hold(), f.Drop(reason='x')) → (f.Hold(),)",
        "orders: (f.Hold(), f.Drop(reason='x')) → (f.Drop(reason='x'), f.Hold())",
        "orders: f.Drop(reason='x') → without reason",
        "rows: yield rule(LISTENING, e.Voice, STAY, hold, why='so') → (removed)",
        "rows: rule(LISTENING, e.Voice, STAY, hold, why='so') → to LISTENING",
        "rows: rule(LISTENING, e.Voice, STAY, hold, why='so') → to ENDED",
        "rows: rule(LISTENING, e.Voice, STAY, hold, why='so') → asks for nothing",
        "rows: yield from stay(LISTENING, e.Quiet, e.Words) → (removed)",
        "rows: stay(LISTENING, e.Quiet, e.Words) → without e.Quiet",
        "rows: stay(LISTENING, e.Quiet, e.Words) → without e.Words",
    }


def mutated(code: str, change: str) -> str:
    tree = ast.parse(code)
    (mutant,) = [one for one in mutants_of("sample", tree) if one.change == change]
    mutant.apply()
    return ast.unparse(Cleaned().visit(tree))


@pytest.mark.parametrize(
    ("code", "change", "after"),
    [
        ("def f(a): return a < 2", "a < 2 → a <= 2", "return a <= 2"),
        ("def f(a): return not a", "not a → a", "return a"),
        (
            "def f(a): return {'x': 1, **a} | {'y': a}",
            "{'x': 1, **a} | {'y': a} → {'x': 1, **a}",
            "return {'x': 1, **a}",
        ),
        ("def f(a): return {'x': a, **a}", "{'x': a, **a} → without a", "return {'x': a}"),
        ("def f(a): return min(a, 1)", "min(a, 1) → max(a, 1)", "return max(a, 1)"),
        ("def f(a):\n    a.x = 1", "a.x = 1 → (removed)", "pass"),
        ("def f(a):\n    if a:\n        a += 1", "a → not a", "if not a"),
    ],
)
def test_a_change_is_what_it_says(code: str, change: str, after: str) -> None:
    """What the report tells is what was run."""
    assert after in mutated(code, change)


def test_every_mutant_of_the_engine_compiles() -> None:
    """None is found out only because it is no Python; the keys of one module's mutants lead to it."""
    for module in ("step", "digits", "lines"):
        source = Source.of(module)
        for number in range(len(source.mutants)):
            fresh = Source.of(module)
            before = ast.dump(fresh.tree)
            fresh.mutants[number].apply()
            changed = Cleaned().visit(fresh.tree)
            assert ast.dump(changed) != before, fresh.mutants[number]
            compile(ast.fix_missing_locations(changed), "mutant", "exec")


def test_what_is_called_equivalent_exists() -> None:
    """A mutant that is excused is one that could be made, and its reason is a sentence."""
    keys = {one.key for module in MODULES for one in Source.of(module).mutants}
    assert not EQUIVALENT.keys() - keys
    assert all(len(reason) > 20 for reason in EQUIVALENT.values())


def test_every_module_has_judges() -> None:
    """A module without tests of its own would have only survivors."""
    for module in FILES:
        assert files_of([module]), module


def judged(tmp_path: Path, *options: str) -> dict[str, object]:
    """A run of its own: it forks, and pytest runs in pytest only by accident."""
    path = tmp_path / "result.json"
    command = [sys.executable, "-m", "tests.mutation", "--json", str(path), *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert path.exists(), run.stdout + run.stderr
    found: dict[str, object] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_a_sample_of_the_engine(tmp_path: Path) -> None:
    """Eight slips, drawn with a seed: the engine's own tests find nearly all. All of them: `-m tests.mutation`."""
    found = judged(tmp_path, "--module", "call,turns,step,digits,lines", "--sample", "8", "--seed", "7")
    assert found["mutants"] == 8
    assert isinstance(found["killed"], int) and found["killed"] >= 5, found["survived"]

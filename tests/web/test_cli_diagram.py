"""`callscope diagram` for reviewers: what tests fire, what another revision did, whether a call can get stuck."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import BadSettings
from engine.phase_tables import rows
from tests.edges import joined
from web.cli.diagram import diagram
from web.cli.rules_at import ROOT, rules_at

CHECKOUT = (ROOT / ".git").exists()


def counted(path: Path, **counts: int) -> Path:
    edges = [
        {"phase": name.partition("__")[0], "event": name.partition("__")[2], "count": count, "by": []}
        for name, count in counts.items()
    ]
    path.write_text(json.dumps({"edges": edges}), encoding="utf-8")
    return path


def test_which_rules_tests_fire(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words, in tables and in a picture; also rules that are gone since the count."""
    path = counted(tmp_path / "edges.json", speaking__CallerVoice=7, speaking__Sneezed=1)
    diagram(tmp_path / "shown.mmd", coverage=path, svg=True)
    told = capsys.readouterr().out
    live = [row for row in rows() if row.phase != "ended"]
    assert told.startswith(f"1 of {len(live)} rules were fired, 8 times")
    assert "fired by nothing: listening → speaking on UtteranceStarted" in told
    assert "fired, and not in the rules any more: speaking on Sneezed" in told
    assert "| CallerVoice | stays | `Hold` |" in (tmp_path / "shown.md").read_text(encoding="utf-8")
    assert (tmp_path / "shown.mmd").read_text(encoding="utf-8").startswith("%% Green: fired so often.")
    assert (tmp_path / "shown.svg").read_text(encoding="utf-8").startswith("<svg")


@pytest.mark.parametrize("text", [None, "no JSON", "[]", '{"edges": [{"phase": "speaking"}]}'])
def test_a_count_that_is_none(tmp_path: Path, text: str | None) -> None:
    """The message says what writes one."""
    path = tmp_path / "edges.json"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(BadSettings, match=r"dev test --edges"):
        diagram(coverage=path)


def test_the_count_is_of_what_goes_through_step(tmp_path: Path) -> None:
    """A story counts, with its name; a walk over the table does not; and without the option nothing is put in."""
    path = tmp_path / "edges.json"
    chosen = ["tests/engine/test_stories.py::test_a_short_call", "tests/engine/test_rules.py"]
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--edges", str(path), *chosen]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}  # no worker's child
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120, env=env)
    edges = json.loads(path.read_text(encoding="utf-8"))["edges"]
    found = {(one["phase"], one["event"]): one for one in edges}
    assert ("speaking", "LastWordsHeard") in found and ("listening", "AgentLost") not in found
    assert found["connecting", "BothLegsUp"] == {
        "phase": "connecting", "event": "BothLegsUp", "count": 1, "by": [chosen[0]],
    }  # fmt: skip


def test_counts_of_several_workers(tmp_path: Path) -> None:
    """They are added up."""
    paths = [counted(tmp_path / "a", speaking__CallerVoice=7), counted(tmp_path / "b", speaking__CallerVoice=2)]
    assert joined(paths) == {"edges": [{"phase": "speaking", "event": "CallerVoice", "count": 9, "by": []}]}


@pytest.mark.skipif(not CHECKOUT, reason="not a git checkout")
def test_against_another_revision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In words and colours; a name that ends in .svg is a picture at once."""
    diagram(tmp_path / "diff.svg", diff="HEAD")
    told = capsys.readouterr().out
    assert told.startswith("Against HEAD: ") and (tmp_path / "diff.svg").read_text(encoding="utf-8").startswith("<svg")


def git(root: Path, *words: str) -> None:
    who = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    subprocess.run(["git", "-C", str(root), *who, *words], check=True, capture_output=True)


def test_the_rules_of_an_older_engine(tmp_path: Path) -> None:
    """They are read from its own code, by a process of its own, whatever that engine looks like otherwise."""
    engine = tmp_path / "engine"
    engine.mkdir()
    (engine / "__init__.py").touch()
    (engine / "effects.py").write_text("class Effect: pass\nclass Hold(Effect): pass\n")
    (engine / "rules.py").write_text(
        "from types import SimpleNamespace as Row\n"
        "from engine import effects as f\n"
        "class CallerVoice: pass\n"
        "def hold(call, event):\n    return (f.Hold(),)\n"
        "RULES = [Row(phase='speaking', event=CallerVoice, to=None, then=hold, why='so')]\n"
    )
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "engine")
    git(tmp_path, "commit", "-qm", "old")
    (row,) = rules_at("HEAD", tmp_path)
    assert (row.phase, row.event, row.to, row.effects, row.why) == ("speaking", "CallerVoice", "", ("Hold",), "so")
    (engine / "rules.py").write_text("raise SystemError('broken')\n")
    git(tmp_path, "commit", "-qam", "broken")
    with pytest.raises(BadSettings, match=r"cannot be read here .SystemError: broken"):
        rules_at("HEAD", tmp_path)
    with pytest.raises(BadSettings, match="git knows no such revision"):
        rules_at("nowhere", tmp_path)
    git(tmp_path, "rm", "-rqf", "engine")
    git(tmp_path, "commit", "-qm", "gone")
    with pytest.raises(BadSettings, match="has no engine/"):
        rules_at("HEAD", tmp_path)


def test_where_there_is_no_git(tmp_path: Path) -> None:
    """The message says so."""
    with pytest.raises(BadSettings, match="is not a git checkout"):
        rules_at("HEAD", tmp_path)


def test_can_a_call_get_stuck(capsys: pytest.CaptureFixture[str]) -> None:
    """How far was looked, and that nothing was found; a fault ends the command with status 1."""
    diagram(check_model=True, states=40)
    told = capsys.readouterr().out
    assert "40 states" in told and "No dead phase, no trap, no wait without a time-out" in told


def test_a_call_that_can_get_stuck(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each fault is told with the way there."""
    monkeypatch.setattr("engine.model_check.HAND_OVER_S", -30.0)
    with pytest.raises(SystemExit) as ended:
        diagram(check_model=True, states=4)
    assert ended.value.code == 1 and "s too late, left alone after opened" in capsys.readouterr().err


def test_tables_are_written_and_compared_as_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A table that somebody edited is found."""
    picture = tmp_path / "call.mmd"
    diagram(picture)
    diagram(picture, check=True)
    tables = tmp_path / "phases.md"
    tables.write_text(tables.read_text(encoding="utf-8").replace("speaking", "talking"), encoding="utf-8")
    with pytest.raises(SystemExit):
        diagram(picture, check=True)
    assert "phases.md is not what the rules say now" in capsys.readouterr().err

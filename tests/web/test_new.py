"""`callscope new`: a folder with an agent that talks, checks clean and passes its scenario; all of it, or nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.errors import BadSettings
from web.agent_schema import agent_schema
from web.agents import load_agent
from web.cli.check import check
from web.cli.new import new
from web.cli.test import test as play
from web.scaffold import make_agent
from web.settings import _HOW_TO_GET

FILES = [
    ".env.example", ".gitignore", "README.md", "agent.schema.json", "agent.yaml", "scenarios/first_call.scenario.yaml",
    "tools.py",
]  # fmt: skip


def test_everything_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Named for its folder, with the schema that its first line names, and told what comes next."""
    folder = tmp_path / "teams" / "demo-agent"
    new(folder)
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()) == FILES
    loaded = load_agent(folder)
    assert (loaded.agent.name, list(loaded.toolbox.tools)) == ("demo-agent", ["opening_hours"])
    first = (folder / "agent.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=agent.schema.json"
    assert json.loads((folder / "agent.schema.json").read_text(encoding="utf-8")) == agent_schema()
    written = [path for path in folder.rglob("*.*") if path.is_file() and path.suffix != ".json"]
    assert "{{" not in "".join(path.read_text(encoding="utf-8") for path in written), "no blank of a template is left"
    assert f"callscope demo {folder}" in capsys.readouterr().out
    assert len((folder / "README.md").read_text(encoding="utf-8").splitlines()) <= 10


def test_it_checks_clean(tmp_path: Path) -> None:
    """Not one warning."""
    make_agent(tmp_path / "demo-agent")
    check(tmp_path / "demo-agent", strict=True)


def test_its_scenario_passes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first thing that a new user runs is green."""
    make_agent(tmp_path / "demo-agent")
    try:
        play(tmp_path / "demo-agent" / "scenarios")
    except SystemExit as left:
        assert not left.code, capsys.readouterr().out
    assert "1 passed" in capsys.readouterr().out


def test_its_env_example_names_what_a_service_needs(tmp_path: Path) -> None:
    """Copied and filled in, nothing is missing; git never sees the copy."""
    make_agent(tmp_path / "demo-agent")
    named = (tmp_path / "demo-agent" / ".env.example").read_text(encoding="utf-8")
    assert [name for name in _HOW_TO_GET if f"\n{name}=" not in named] == []
    assert ".env\n" in (tmp_path / "demo-agent" / ".gitignore").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("My Agent", "no agent's name: small letters, digits and hyphens, like my-agent; try my-agent"),
        ("1st", "try st"),
        ("agent_", "try agent"),
        ("ünder", "try nder"),
        ("---", "like my-agent"),
        ("a" * 41, "has 41 characters; Vapi takes names of at most 40"),
    ],
)
def test_a_name_that_will_not_do(tmp_path: Path, name: str, says: str) -> None:
    """Said with one that would, and nothing is written."""
    with pytest.raises(BadSettings, match="name") as caught:
        make_agent(tmp_path / name)
    assert says in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """What is there stays as it is; an empty folder may be filled."""
    folder = tmp_path / "demo-agent"
    folder.mkdir()
    make_agent(folder)
    (folder / "agent.yaml").write_text("name: mine\n", encoding="utf-8")
    with pytest.raises(BadSettings, match="there already"):
        make_agent(folder)
    assert (folder / "agent.yaml").read_text(encoding="utf-8") == "name: mine\n"
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    with pytest.raises(BadSettings, match="there already"):
        make_agent(tmp_path / "a-file")


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    """Said so, and nothing half-made is left."""
    (tmp_path / "a-file").write_text("", encoding="utf-8")
    with pytest.raises(BadSettings, match="cannot be made"):
        make_agent(tmp_path / "a-file" / "demo-agent")
    assert [path.name for path in tmp_path.iterdir()] == ["a-file"]

"""`callscope test` and the pytest plugin: what they print, what they write, how they exit."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine.errors import BadSettings
from tests.scenarios.playing import ASKS, BISTRO, ROOT, desk, written
from web.cli.test import test as callscope_test
from web.scenario_file import find_scenarios

GOOD = f"scenario: All is well\n{ASKS}expect: [heard: there is a table]\n"
BAD = f"""scenario: It went differently
{ASKS}expect:
  - phases: [connecting, ended]
  - heard: which one would you like
"""
FAULTY = "scenario: x\nexpect: [never: two voice]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return desk(tmp_path)


def run(*given: Path, **options: object) -> int:
    """The exit code."""
    try:
        callscope_test(*given, **options)  # type: ignore[arg-type]
    except SystemExit as left:
        return int(str(left.code))
    return 0


def test_all_went_as_expected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each, and one for all."""
    path = written(folder, GOOD)
    assert run(path) == 0
    first, last = capsys.readouterr().out.splitlines()
    assert re.match(rf"✓ All is well  {re.escape(str(path))}  \d+\.\d s of call in \d+ ms", first)
    assert re.match(r"1 passed in \d+\.\d\d s \(\d+ a minute\)", last)


def test_what_went_differently(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Expected beside happened, and the transcript with the place in it."""
    written(folder, BAD, "bad")
    written(folder, GOOD, "good")
    assert run(folder) == 1
    out = capsys.readouterr().out
    assert "✗ It went differently" in out and "✓ All is well" in out
    assert "  ✗ expected  phases: [connecting, ended]\n    happened  connecting → listening → speaking" in out
    assert re.search(r"✗ +listening\s", out)  # beside each other
    assert re.search(r"✗ +which one would you like +\d\.\d+  We have one at six", out)
    assert "caller   ▸ cuts in “eight works”" in out and "caller   ▸ makes a sound: cough" in out
    assert "speaking → interrupted" in out
    assert out.rstrip().splitlines()[-1].startswith("1 passed, 1 failed in ")


def test_every_transcript_if_asked_for(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also of what went well, with what held."""
    assert run(written(folder, GOOD), verbose=True) == 0
    out = capsys.readouterr().out
    assert "  ✓ heard: there is a table" in out and "caller   ▸ says “a table please”" in out


def test_a_file_with_faults(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The others are played all the same; the exit code tells the difference."""
    written(folder, FAULTY, "faulty")
    written(folder, GOOD, "good")
    assert run(folder) == 2
    out = capsys.readouterr().out
    assert "faulty.scenario.yaml:2:17: `never` must be one of" in out
    assert "1 passed, 1 not readable in " in out


def test_only_some(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By name or by path, whatever the case."""
    written(folder, BAD, "bad")
    written(folder, GOOD, "good")
    assert run(folder, only="WELL") == 0
    assert run(folder, only="good.scen") == 0
    assert "differently" not in capsys.readouterr().out
    with pytest.raises(BadSettings, match="no scenario holds 'xyzzy'"):
        run(folder, only="xyzzy")


def test_junit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One case a file, with what happened in it."""
    for name, text in (("bad", BAD), ("good", GOOD), ("faulty", FAULTY)):
        written(folder, text, name)
    assert run(folder, junit=folder / "out" / "junit.xml") == 2
    suite = ElementTree.parse(folder / "out" / "junit.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {
        "tests": "3", "failures": "1", "errors": "1"
    }  # fmt: skip
    by_name = {case.get("name"): case for case in suite}
    failure = by_name["It went differently"].find("failure")
    assert failure is not None and failure.text is not None
    assert str(failure.get("message")).startswith("phases: [connecting, ended]: connecting → listening")
    assert "caller   ▸ cuts in “eight works”" in failure.text
    assert by_name["All is well"].find("failure") is None
    assert by_name["faulty.scenario.yaml"].find("error") is not None
    assert capsys.readouterr().out


def test_another_agent_and_another_seed(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The same file, with an agent that has nothing to say."""
    path = written(folder, GOOD)
    other = tmp_path_factory.mktemp("other")
    (other / "agent.yaml").write_text("name: other\nassistant: {firstMessage: Hello there}\n", "utf-8")
    assert run(path, seed=7) == 0
    assert run(path, agent=other) == 1


CONFTEST = """
from web import pytest_plugin

def pytest_configure(config):
    if not config.pluginmanager.has_plugin("callscope"):
        config.pluginmanager.register(pytest_plugin, "callscope")
"""


def test_pytest_collects_the_same_files(folder: Path) -> None:
    """A failure is the report, a fault is the fault, and nothing is a traceback."""
    for name, text in (("bad", BAD), ("good", GOOD), ("faulty", FAULTY)):
        written(folder, text, name)
    (folder / "conftest.py").write_text(CONFTEST, "utf-8")
    (folder / "pytest.ini").write_text("[pytest]\ntrio_mode = true\n", "utf-8")  # as most users have it
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", str(folder)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PASSED good.scenario.yaml::good" in done.stdout
    assert "2 failed, 1 passed" in done.stdout
    assert "✗ expected  phases: [connecting, ended]" in done.stdout
    assert "`never` must be one of" in done.stdout
    assert "Traceback" not in done.stdout


def test_the_bistros_are_collected(request: pytest.FixtureRequest) -> None:
    """`pytest` without arguments plays every scenario of ours, through the plugin."""
    from tests.conftest import SCENARIOS  # noqa: PLC0415

    assert BISTRO.parent == ROOT / SCENARIOS
    assert len(find_scenarios([BISTRO])) >= 10
    assert request.config.pluginmanager.has_plugin("callscope")

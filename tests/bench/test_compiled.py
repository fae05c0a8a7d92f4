"""The compiled wheel is the same engine: built as `./dev wheel` builds it, and what its modules do is tested in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.bench.peers import find
from tests.bench.peers.compiled import ROOT

pytestmark = pytest.mark.slow

TESTS = (
    "tests/engine/test_playout.py", "tests/engine/test_playout_slips.py", "tests/engine/test_recording.py",
    "tests/engine/test_voice.py", "tests/actors/media/test_media_session.py", "tests/actors/media/test_media_plane.py",
    "tests/actors/media/test_media_bad_input.py", "tests/actors/test_call_actor.py", "tests/actors/world",
)  # fmt: skip
TESTS_S = 400.0


def test_the_compiled_wheel_does_the_same(tmp_path: Path) -> None:
    """Sockets, playout, detector, recording and calls in virtual time, on the modules made into machine code."""
    found = find("compiled")
    if isinstance(found, str):
        pytest.skip(found)
    home = tmp_path / "home"
    shutil.copytree(found[0], home)
    for name in ("tests", "specs"):
        shutil.copytree(ROOT / name, home / name, ignore=shutil.ignore_patterns("__pycache__", "node_modules"))
    shutil.copy(ROOT / "pyproject.toml", home)
    hook = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["hatch"]["build"]["targets"]["wheel"]
    for name in hook["hooks"]["mypyc"]["include"]:
        assert list(home.glob(f"{name[1:].removesuffix('.py')}.*.so")), f"{name} was not compiled"
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", *TESTS],
        cwd=home, env=env, capture_output=True, text=True, timeout=TESTS_S, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout
    which = "import engine.playout as one, actors.media.wire as other; print(one.__file__, other.__file__)"
    told = subprocess.run([sys.executable, "-c", which], cwd=home, env=env, capture_output=True, text=True, check=True)
    assert told.stdout.count(".so") == 2 and told.stdout.count(str(home)) == 2

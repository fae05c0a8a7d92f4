"""Ourselves with the hot modules compiled by mypyc: an experiment that runs beside the others (decision 0006).

Nothing is changed but how ten modules are loaded. `build` makes a copy of our packages with the compiled modules in it,
under .venv, once for each state of the sources.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("engine", "actors", "web", "specs")
HOT = (
    "actors/media/frames.py", "actors/media/outbox.py", "actors/media/session.py", "actors/media/wire.py",
    "actors/bridge.py", "actors/twilio_leg.py", "actors/vapi_leg.py", "engine/playout.py", "engine/recording.py",
    "engine/voice.py",
)  # fmt: skip
BUILD_S = 300.0

_SETUP = """\
from mypyc.build import mypycify
from setuptools import setup

setup(
    name="callscope-compiled",
    packages=[],
    py_modules=[],
    ext_modules=mypycify(["--follow-imports=silent", "--ignore-missing-imports", *{hot!r}], opt_level="3"),
)
"""


def build() -> list[str] | str:
    """The directory with the copy, or why there is none."""
    if find_spec("mypyc") is None or find_spec("setuptools") is None:
        return "mypy and setuptools are not installed here"
    if shutil.which("gcc") is None:
        return "no gcc on PATH"
    sources = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file())
    state = hashlib.sha256(sys.version.encode())
    for path in sources:
        if "__pycache__" not in path.parts:
            state.update(path.read_bytes())
    home = ROOT / ".venv" / f"compiled-{state.hexdigest()[:12]}"
    if home.is_dir():
        return [str(home)]
    with tempfile.TemporaryDirectory(dir=ROOT / ".venv", prefix="compiling-") as folder:
        copy = Path(folder) / "copy"
        for name in PACKAGES:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        (copy / "setup.py").write_text(_SETUP.format(hot=HOT), encoding="utf-8")
        try:
            subprocess.run(
                [sys.executable, "setup.py", "build_ext", "--inplace"],
                cwd=copy, check=True, capture_output=True, text=True, timeout=BUILD_S,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            return f"mypyc failed: {said[-1] if said else type(error).__name__}"
        shutil.rmtree(copy / "build", ignore_errors=True)
        copy.rename(home)
    return [str(home)]

"""The wheel with the hot modules compiled by mypyc, as `./dev wheel` makes it; beside the others in the bench.

Nothing is changed but how those modules are loaded; pyproject.toml names them (decision 0006). `build` unpacks the
wheel under .venv, once for each state of the sources.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[3]
PACKAGES = ("engine", "actors", "web", "specs")
FILES = ("pyproject.toml", "README.md", "LICENSE")
BUILD_S = 300.0


def build() -> list[str] | str:
    """The directory with the unpacked wheel, or why there is none."""
    state = hashlib.sha256(sys.version.encode() + (ROOT / "pyproject.toml").read_bytes())
    for path in sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*") if path.is_file()):
        if "__pycache__" not in path.parts:
            state.update(path.read_bytes())
    home = ROOT / ".venv" / f"compiled-{state.hexdigest()[:12]}"
    if home.is_dir():
        return [str(home)]
    with tempfile.TemporaryDirectory(dir=ROOT / ".venv", prefix="compiling-") as folder:
        made = wheel(Path(folder))
        if isinstance(made, str):
            return made
        unpacked = Path(folder) / "unpacked"
        with zipfile.ZipFile(made) as archive:
            archive.extractall(unpacked)
        unpacked.rename(home)
    return [str(home)]


def wheel(into: Path) -> Path | str:
    """Build the wheel from a copy, so that nothing compiled is left beside the sources; or say why there is none."""
    if find_spec("hatch_mypyc") is None:
        return "hatch-mypyc is not installed here"
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        return "no C compiler on PATH"
    with tempfile.TemporaryDirectory(prefix="callscope-wheel-") as folder:
        copy = Path(folder) / "callscope"
        for name in PACKAGES:
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
        for name in FILES:
            shutil.copy(ROOT / name, copy / name)
        command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", str(copy)]
        try:
            subprocess.run(
                [*command, "--wheel-dir", str(into.resolve())],
                cwd=copy, env={**os.environ, "HATCH_BUILD_HOOK_ENABLE_MYPYC": "1"},
                check=True, capture_output=True, text=True, timeout=BUILD_S,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            return f"mypyc failed: {said[-1] if said else type(error).__name__}"
    return max(into.glob("callscope-*.whl"), key=lambda path: path.stat().st_mtime)


if __name__ == "__main__":
    into = Path(sys.argv[1] if sys.argv[1:] else ROOT / "dist")
    into.mkdir(parents=True, exist_ok=True)
    made = wheel(into)
    sys.stdout.write(f"{made}\n")
    sys.exit(isinstance(made, str))

"""Install what the peers need, into places that git ignores: one line for each, and never a failure of the whole.

./dev python tests/bench/peers/install.py [floor] [node] [pipecat]      all three when none is named
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import venv
from pathlib import Path

from tests.bench import peers

NPM_S = 300.0
PIP_S = 900.0


def npm_packages() -> str:
    npm = shutil.which("npm")
    if npm is None:
        return "skipped: no npm on PATH"
    quiet = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    briefly = ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]  # offline, minutes of trying again help nobody
    return _run([npm, "install", "--omit=dev", *quiet, *briefly], cwd=peers.NODE, seconds=NPM_S)


def pipecat() -> str:
    """A virtual environment of its own: Pipecat's libraries are not ours to test with."""
    if peers.pipecat_mark().is_file():
        return "ok (was there)"
    try:
        venv.create(peers.PIPECAT, clear=True, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        return f"skipped: no virtual environment: {error}"
    python = str(peers.PIPECAT / "bin" / "python")
    wanted = str(peers.HERE / "requirements-pipecat.txt")
    said = _run([python, "-m", "pip", "-q", "install", "-r", wanted], cwd=peers.HERE, seconds=PIP_S)
    if said == "ok":
        peers.pipecat_mark().touch()
    return said


def floor() -> str:
    found = peers.find("floor")
    return "ok" if isinstance(found, list) else f"skipped: {found}"


def _run(command: list[str], *, cwd: Path, seconds: float) -> str:
    """`ok`, or the first line that speaks of an error: what follows it is advice."""
    name = Path(command[0]).name
    try:
        subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=seconds)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip().splitlines() or [f"exit code {error.returncode}"]
        return f"skipped: {name} failed: {next((line for line in said if 'error' in line.lower()), said[-1])}"
    except subprocess.TimeoutExpired:
        return f"skipped: {name} took longer than {seconds:.0f} s"
    except OSError as error:
        return f"skipped: {error}"
    return "ok"


INSTALLERS = {"floor": floor, "node": npm_packages, "pipecat": pipecat}


def main() -> int:
    wanted = sys.argv[1:] or list(INSTALLERS)
    for name in wanted:
        if name not in INSTALLERS:
            sys.stderr.write(f"no peer {name!r}: choose from {', '.join(INSTALLERS)}\n")
            return 2
    for name in wanted:
        sys.stdout.write(f"{name}: {INSTALLERS[name]()}\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())

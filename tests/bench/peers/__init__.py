"""What `callscope bench` compares us with: how each peer is started, or why it cannot run here.

A media peer is a bridge between Twilio's stream and Vapi's socket; a webhook peer answers Vapi's server messages. Each
is one process that prints `{"ready": true, "port": N}` and ends with its standard input. Media peers also take
`--vapi ws://HOST:PORT/PATH`; webhook peers read VAPI_SERVER_SECRET from the environment.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench.peers.compiled import build

HERE = Path(__file__).parent
VENV = HERE.parents[2] / ".venv"
NODE = HERE / "node"
PIPECAT = VENV / "pipecat"
INSTALL = "./dev python tests/bench/peers/install.py"
COMPILE_S = 60.0

Found = list[str] | str
"""The command, or a sentence that says why there is none."""


def find(name: str) -> Found:
    """How to start this peer. Compiles the floor if that was not done yet.

    Raises:
        KeyError: there is no peer of that name.
    """
    return PEERS[name]()


def node(script: str) -> Found:
    program = shutil.which("node")
    if program is None:
        return "no node on PATH"
    wanted = "ws" if script == "bridge.js" else "express"
    if not (NODE / "node_modules" / wanted / "package.json").is_file():
        return f"npm packages not installed: {INSTALL}"
    return [program, str(NODE / script)]


def python(script: str) -> Found:
    return [sys.executable, str(HERE / script)]


def pipecat() -> Found:
    if not pipecat_mark().is_file():
        return f"Pipecat not installed: {INSTALL}"
    return [str(PIPECAT / "bin" / "python"), str(HERE / "pipecat_echo.py")]


def pipecat_mark() -> Path:
    """Stands in Pipecat's environment when what the requirements name was installed there, all of it."""
    wanted = (HERE / "requirements-pipecat.txt").read_bytes()
    return PIPECAT / f"ready-{hashlib.sha256(wanted).hexdigest()[:10]}"


def floor() -> Found:
    source = HERE / "floor.c"
    program = VENV / "floor" / f"floor-{hashlib.sha256(source.read_bytes()).hexdigest()[:10]}"
    if not program.is_file():
        compiler = shutil.which("gcc")
        if compiler is None:
            return "no gcc on PATH"
        said = _compiled(compiler, source, program)
        if said:
            return said
    return [str(program)]


def _compiled(compiler: str, source: Path, program: Path) -> str:
    """Put the program under its name in one step: two may do it at once. Returns what went wrong."""
    program.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=program.parent) as folder:
        made = Path(folder) / "floor"
        try:
            subprocess.run(
                [compiler, "-O2", "-Wall", "-Wextra", "-o", str(made), str(source)],
                check=True, capture_output=True, text=True, timeout=COMPILE_S,
            )  # fmt: skip
        except subprocess.CalledProcessError as error:
            return f"gcc failed: {(error.stderr.strip() or str(error)).splitlines()[-1]}"
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"gcc failed: {error}"
        made.replace(program)
    return ""


PEERS: dict[str, Callable[[], Found]] = {
    "compiled": build,
    "floor": floor,
    "node": lambda: node("bridge.js"),
    "naive": lambda: python("naive.py"),
    "pipecat": pipecat,
    "express": lambda: node("express.js"),
    "quart": lambda: python("quart_webhooks.py"),
}
MEDIA = ("floor", "node", "naive", "pipecat")
WEBHOOKS = ("express", "quart")
OURSELVES = ("compiled",)
"""No program, but a directory with another copy of our packages."""

"""The rules of another git revision: its engine is unpacked beside ours and read by a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

import engine.rule_rows
from engine.errors import BadSettings
from engine.rule_rows import Row

ROOT = Path(engine.rule_rows.__file__).parents[1]
PATIENCE_S = 60.0

_READ = """
import dataclasses, importlib.util, json, sys
tree, reader = sys.argv[1:]
sys.path.insert(0, tree)
spec = importlib.util.spec_from_file_location("callscope_rule_rows", reader)
module = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = module
spec.loader.exec_module(module)
from engine.effects import Effect
from engine.rules import RULES
print(json.dumps([dataclasses.asdict(row) for row in module.rows_of(RULES, Effect)]))
"""


def rules_at(revision: str, root: Path = ROOT) -> list[Row]:
    """The rows of the rules table at that revision.

    Raises:
        BadSettings: no git checkout, no such revision, or one whose rules cannot be read; the message says which.
    """
    commit = _commit(revision, root)
    try:
        packed = _git(root, "archive", "--format=tar", commit, "engine")
    except subprocess.CalledProcessError:
        raise BadSettings(f"--diff {revision}: that revision has no engine/ to compare with.") from None
    with TemporaryDirectory(prefix="callscope-rules-") as tree:
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            archive.extractall(tree, filter="data")
        read = subprocess.run(
            [sys.executable, "-I", "-c", _READ, tree, engine.rule_rows.__file__],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    if read.returncode:
        last = (read.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise BadSettings(f"--diff {revision}: the rules of that revision cannot be read here ({last}).")
    return [Row(**{**row, "effects": tuple(row["effects"])}) for row in json.loads(read.stdout)]


def _commit(revision: str, root: Path) -> str:
    try:
        _git(root, "rev-parse", "--git-dir")
    except FileNotFoundError:
        raise BadSettings("--diff needs git, and there is none on PATH.") from None
    except subprocess.CalledProcessError:
        raise BadSettings(f"--diff compares with a git revision, and {root} is not a git checkout.") from None
    try:
        return (
            _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
            .decode()
            .strip()
        )
    except subprocess.CalledProcessError:
        raise BadSettings(f"--diff {revision}: git knows no such revision; `git log --oneline` lists them.") from None


def _git(root: Path, *words: str) -> bytes:
    return subprocess.run(["git", "-C", str(root), *words], capture_output=True, check=True, timeout=PATIENCE_S).stdout

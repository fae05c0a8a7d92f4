"""The house: arrows point one way, the engine is pure, nothing committed names a machine or a registry."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LAYERS = {"engine": {"engine"}, "actors": {"engine", "actors"}, "web": {"engine", "actors", "web"}}
OURS = {"engine", "actors", "web", "specs", "tests"}
PURE = {"trio", "socket", "time", "random", "httpx", "threading", "subprocess", "os", "asyncio", "secrets", "uuid"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """The top-level names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


@pytest.mark.parametrize("folder", LAYERS)
def test_arrows_point_one_way(folder: str) -> None:
    """web → actors → engine, and nobody imports specs or tests."""
    for path in modules(folder):
        assert imported(path) & OURS <= LAYERS[folder], path


def test_the_engine_is_pure() -> None:
    """No await, clock, randomness or socket."""
    for path in modules("engine"):
        assert not imported(path) & PURE, path
        waiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith)
        assert not any(isinstance(node, waiting) for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))), (
            path
        )


def test_the_top_level_is_the_customers() -> None:
    """pyproject.toml engine/ actors/ web/ specs/ tests/ and the usual files."""
    names = {name.split("/")[0] for name in tracked()}
    assert {name for name in names if not name.startswith(".")} == {
        "pyproject.toml", "engine", "actors", "web", "specs", "tests", "README.md", "LICENSE", "CHANGELOG.md", "dev",
        "requirements.lock",
    }  # fmt: skip


def test_nothing_names_a_registry_or_a_path_of_this_machine() -> None:
    """What is committed works anywhere."""
    forbidden = ["pypi" + ".org", "files.python" + "hosted", "registry.npm" + "js", str(ROOT.parent) + "/"]
    for name in tracked():
        path = ROOT / name
        if path.is_file():
            text = path.read_bytes()
            assert not [word for word in forbidden if word.encode() in text], name


def tracked() -> list[str]:
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()

"""Makes the folder of a new agent from the templates: all of it, or nothing."""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from engine.errors import BadSettings
from engine.wire.vapi_calls import MOST_NAME_CHARS
from web.agent_schema import SCHEMA_NAME, schema_text

__all__ = ["make_agent"]

_TEMPLATE = Path(__file__).parent / "template"
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_DOTTED = {"env.example": ".env.example", "gitignore": ".gitignore"}  # a dot would hide them from packaging
_MARK = "{{name}}"


def make_agent(folder: Path) -> list[Path]:
    """Write a new agent, named for its folder. Returns its files.

    Raises:
        BadSettings: the name will not do, something is there already, or the folder cannot be written.
    """
    folder = folder.absolute()
    _check_name(folder.name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise BadSettings(f"{folder} is there already, and not empty: nothing was written; choose another name")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as unfinished:
            made = Path(unfinished) / folder.name
            _write(made, folder.name)
            made.replace(folder)  # an empty folder may be there
    except OSError as problem:
        raise BadSettings(f"{folder} cannot be made ({problem.strerror}); nothing was written") from problem
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _write(made: Path, name: str) -> None:
    for source in sorted(_TEMPLATE.rglob("*")):
        if not source.is_file() or "__pycache__" in source.parts:
            continue
        path = made / source.relative_to(_TEMPLATE).with_name(_DOTTED.get(source.name, source.name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source.read_text(encoding="utf-8").replace(_MARK, name), encoding="utf-8")
        shutil.copymode(source, path)
    (made / SCHEMA_NAME).write_text(schema_text(), encoding="utf-8")


def _check_name(name: str) -> None:
    if len(name) > MOST_NAME_CHARS:
        raise BadSettings(f"{name!r} has {len(name)} characters; Vapi takes names of at most {MOST_NAME_CHARS}")
    if _NAME.fullmatch(name):
        return
    near = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-").lstrip("0123456789-")
    hint = f"; try {near}" if _NAME.fullmatch(near) else ""
    raise BadSettings(f"{name!r} is no agent's name: small letters, digits and hyphens, like my-agent{hint}")

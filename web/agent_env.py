"""`${NAME}` in an agent file: a value that stands in the environment, so that no secret stands in the file.

`${NAME}`           what NAME holds; a fault when it is not set, or empty
`${NAME:-default}`  the default where NAME is not set, or empty
`$${`               the two characters `${` themselves

Any value of one line, and any text inside `assistant`, may hold some. Names of keys may not. `.env` here and beside the
agent file are read too; what the process has been given goes before both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path

from dotenv import dotenv_values

__all__ = ["REFERENCE", "Missing", "Resolved", "agent_environment", "is_secret", "looks_secret", "resolve"]

REFERENCE = r"\$\{[A-Za-z_][A-Za-z0-9_]*(?::-[^{}]*)?\}"
_TOKEN = re.compile(r"\$\$\{|\$\{(?:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^{}]*)?\})?")
_MOST_NEAR = 3
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|AUTH|CREDENTIAL|PRIVATE|SIGN|_PW\b|COOKIE|BEARER", re.IGNORECASE)
_SECRET_VALUE = re.compile(
    r"""\bsk-[A-Za-z0-9_-]{8,}          # OpenAI, Anthropic and others
    | \b[rs]k_(?:live|test)_\w{8,}      # Stripe
    | \b(?:SK|AC)[0-9a-fA-F]{32}\b      # Twilio's key and account
    | (?<![0-9a-fA-F-])[0-9a-fA-F]{32,}(?![0-9a-fA-F-])
    | \bBearer\s+[A-Za-z0-9._~+/=-]{8,}
    | \bBasic\s+[A-Za-z0-9+/=]{12,}
    | \bgh[opsu]_[A-Za-z0-9]{20,} | \bgithub_pat_\w{20,} | \bxox[abprs]-[\w-]{10,} | \bAKIA[0-9A-Z]{16}\b
    | \bAIza[\w-]{30,} | \beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*
    | -----BEGIN[ ][A-Z ]*PRIVATE[ ]KEY""",
    re.VERBOSE,
)
_RANDOM_CHARS = 20  # a word of so many characters, letters and figures mixed, is nobody's name


@dataclass(frozen=True, slots=True)
class Missing:
    """A reference that means nothing. `offset` is where it begins in the text."""

    offset: int
    what: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """A text with its references filled in."""

    text: str
    names: tuple[str, ...] = ()  # of the variables that it holds
    secrets: tuple[str, ...] = ()  # values that nobody may read
    missing: tuple[Missing, ...] = ()


def agent_environment(folder: Path) -> dict[str, str]:
    """What an agent file in this folder may refer to: the process's environment, `.env` here, `.env` there."""
    there, here = folder / ".env", Path.cwd() / ".env"
    read = {path: dotenv_values(path) for path in (there, here) if path.is_file()}
    found = {name: value for values in read.values() for name, value in values.items() if value is not None}
    return {**found, **os.environ}


def resolve(text: str, env: Mapping[str, str]) -> Resolved:
    """Fill in the references of one text."""
    names: list[str] = []
    secrets: list[str] = []
    missing: list[Missing] = []

    def filled(found: re.Match[str]) -> str:
        name = found["name"]
        if found[0] == "$${":
            return "${"
        if name is None:
            missing.append(
                Missing(
                    found.start(), "`${` begins a reference like ${NAME} or ${NAME:-default}; write `$${` for itself"
                )
            )
            return found[0]
        names.append(name)
        value = env.get(name, "")
        if value:
            if is_secret(name, value):
                secrets.append(value)
            return value
        if found["default"] is not None:
            return found["default"].removeprefix(":-")
        missing.append(Missing(found.start(), _not_set(name, env)))
        return found[0]

    return Resolved(_TOKEN.sub(filled, text), tuple(names), tuple(secrets), tuple(missing))


def looks_secret(text: str) -> str:
    """The part of a text that is written like a key or token of somebody's; empty when nothing is."""
    found = _SECRET_VALUE.search(text)
    return found[0] if found else ""


def is_secret(name: str, value: str) -> bool:
    """Whether nobody may read a variable's value: by its name, by its form, or because it looks drawn at random."""
    return bool(_SECRET_NAME.search(name) or looks_secret(value) or _is_random(value))


def _is_random(text: str) -> bool:
    """A long word of small and capital letters and figures, much mixed. (Some ids look like that too.)"""
    for word in re.findall(rf"[A-Za-z0-9_+/=-]{{{_RANDOM_CHARS},}}", text):
        changes = sum(one.isdigit() != other.isdigit() for one, other in pairwise(word))
        if changes >= 4 and any(map(str.islower, word)) and any(map(str.isupper, word)):
            return True
    return False


def _not_set(name: str, env: Mapping[str, str]) -> str:
    """Why there is nothing, and which names come near. Never what they hold."""
    how = f"set it in the environment or in .env, or write ${{{name}:-default}}"
    if name in env:
        return f"${{{name}}}: {name} is empty; {how}"
    stem = name.split("_", maxsplit=1)[0] + "_"
    near = get_close_matches(name, env, n=_MOST_NEAR, cutoff=0.7)
    near += [one for one in sorted(env) if one.startswith(stem) and one not in near]
    hint = f"; set nearby: {', '.join(near[:_MOST_NEAR])}" if near else ""
    return f"${{{name}}}: {name} is not set{hint}; {how}"

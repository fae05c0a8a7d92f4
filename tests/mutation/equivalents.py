"""Mutants that no test can find, each with the reason: they do the same, or differ by less than anybody could tell."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {
    "turns: TYPE_CHECKING → not TYPE_CHECKING": "only what the type checker imports is imported at run time as well",
}
"""`Mutant.key` → why."""

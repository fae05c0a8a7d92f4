"""Mutants that no test can find, each with the reason: they do the same, or differ by less than anybody could tell."""

from __future__ import annotations

EQUIVALENT: dict[str, str] = {}
"""`Mutant.key` → why."""

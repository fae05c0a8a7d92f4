"""Mutants that no test can find, each with the reason: they do the same, or differ by less than anybody could tell."""

from __future__ import annotations

_LEAVES_ONCE = "there is no number until a call leaves, and it leaves once"

EQUIVALENT: dict[str, str] = {
    "turns: TYPE_CHECKING → not TYPE_CHECKING": "only what the type checker imports is imported at run time as well",
    "call._goodbye: {'reason': reason(event), 'next_words': call.policy.goodbye_words, 'next_number': None} → without "
    "'next_number'": _LEAVES_ONCE,
    "call._hang_up: {'reason': event.reason, 'next_words': words, 'next_number': None} → without 'next_number'": (
        _LEAVES_ONCE
    ),
    "interrupting.in_force: begin < end → begin <= end": "hours that begin when they end are refused (`minutes_of`)",
}
"""`Mutant.key` → why."""

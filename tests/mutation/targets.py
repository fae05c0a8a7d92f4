"""Which modules are mutated, and which of the engine's own tests are about each.

Pictures and tables are no judges: they only say that something is different, and whoever makes them anew has agreed.
"""

from __future__ import annotations

CALLS = tuple(f"engine/test_{name}" for name in ("notes", "orders", "edges", "rules", "stories"))
FILES: dict[str, tuple[str, ...]] = {
    "rules": CALLS,
    "call": CALLS,
    "turns": CALLS,
    "step": CALLS,
    "interrupting": ("engine/test_interrupting", "engine/test_stories"),
    "playout": ("engine/test_playout",),
    "digits": ("engine/test_digits", "engine/test_stories", "engine/test_notes"),
    "lines": ("engine/test_lines",),
    "pace": ("engine/test_pace", "engine/test_heard"),
    "phrases": ("engine/test_phrases", "engine/test_interrupting"),
    "certificate": ("engine/test_certificate",),
    "heard": ("engine/test_heard",),
    "speech": ("engine/test_heard",),
    "echo": ("engine/test_echo",),
    "voice": ("engine/test_voice",),
    "ledger": ("engine/test_ledger",),
}
"""The quickest and nearest first."""
MODULES = tuple(FILES)

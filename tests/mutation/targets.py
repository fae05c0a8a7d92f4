"""Which modules are mutated, and which of the engine's own tests are about each.

Pictures and tables are no judges: they only say that something is different, and whoever makes them anew has agreed.
"""

from __future__ import annotations

CALLS = ("test_notes", "test_orders", "test_edges", "test_rules", "test_stories")
FILES: dict[str, tuple[str, ...]] = {
    "rules": CALLS,
    "call": CALLS,
    "turns": CALLS,
    "step": CALLS,
    "interrupting": ("test_interrupting", "test_stories"),
    "playout": ("test_playout",),
    "digits": ("test_digits", "test_stories"),
    "lines": ("test_lines",),
    "pace": ("test_pace", "test_heard"),
    "phrases": ("test_phrases", "test_interrupting"),
    "certificate": ("test_certificate",),
    "heard": ("test_heard",),
    "speech": ("test_heard",),
    "echo": ("test_echo",),
    "voice": ("test_voice",),
    "ledger": ("test_ledger", "test_tool_ledger"),
}
MODULES = tuple(FILES)

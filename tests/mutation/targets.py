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
    "interrupting": ("engine/test_interrupting", "engine/test_stories", "engine/test_slips"),
    "playout": ("engine/test_playout", "engine/test_playout_slips"),
    "digits": ("engine/test_digits", "engine/test_stories", "engine/test_notes", "engine/test_slips"),
    "lines": ("engine/test_lines", "engine/test_slips"),
    "pace": ("engine/test_pace", "engine/test_heard", "engine/test_slips"),
    "phrases": ("engine/test_phrases", "engine/test_interrupting", "engine/test_slips"),
    "certificate": ("engine/test_certificate", "engine/test_slips"),
    "heard": ("engine/test_heard_slips", "engine/test_heard"),
    "speech": ("engine/test_heard_slips", "engine/test_heard"),
    "echo": ("engine/test_echo", "engine/test_plain_ears"),
    "voice": ("engine/test_voice", "engine/test_plain_ears"),
    "ledger": ("engine/test_ledger", "engine/test_slips"),
}
"""The quickest and nearest first."""
MODULES = tuple(FILES)

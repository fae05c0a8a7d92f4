"""Prompts and messages with `{{ name }}` filled in from variableValues (vapi.md §11.3); no other Liquid than that."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

__all__ = ["filled"]

_SLOT = re.compile(r"\{\{\s*([A-Za-z0-9_.]+)\s*\}\}")


def filled(text: str, variables: Mapping[str, Any]) -> str:
    """An unknown name becomes nothing, as in Liquid."""
    return _SLOT.sub(lambda slot: str(variables.get(slot[1], "")), text)

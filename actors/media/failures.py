"""How an exception of somebody else's code is logged here: its kind and place, never its message or its variables.

A message may quote what a caller said, and must not enter a log (STYLE §5).
"""

from __future__ import annotations

import traceback

import structlog

__all__ = ["log_failure"]

log = structlog.get_logger(__name__)


def log_failure(event: str, error: BaseException, **facts: object) -> None:
    """Write one ERROR line: the exception's type and its last frames (file, line, source)."""
    place = "".join(traceback.format_tb(error.__traceback__)[-3:])
    log.error(event, error=type(error).__name__, place=place, **facts)

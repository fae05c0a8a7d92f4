"""Logging for people and machines: one line an event, to stderr, as JSON when asked for."""

from __future__ import annotations

import logging
import sys

import structlog

from actors.hidden import HIDDEN


def set_up_logs(*, json: bool = False, level: int = logging.INFO) -> None:
    """Configure structlog once per process. Callers' words and numbers are never passed to it (reliability.md S10)."""
    renderer: structlog.types.Processor = (
        structlog.processors.JSONRenderer()
        if json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    exceptions = [structlog.processors.format_exc_info] if json else []
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *exceptions,
            renderer,
            _without_secrets,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),  # a line is one write: workers share the stream
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)


def _without_secrets(logger: object, method: str, line: object) -> str:
    """The finished line, whatever had got into it."""
    return HIDDEN.out_of(str(line))

"""Our own few words, made once at the start with the voice that comes in a wheel. Without it there are no clips."""

from __future__ import annotations

import structlog
import trio

log = structlog.get_logger(__name__)

HOLDING_WORDS = "One moment, please."


async def holding_clip(words: str = HOLDING_WORDS) -> bytes:
    """The holding sentence as µ-law; empty where the voice is not installed (then the fallback comes earlier)."""
    try:
        from web.twins.speech.voice import speak  # noqa: PLC0415 — a native wheel that some machines do not have
    except ImportError as missing:
        log.warning("no holding clip", why=str(missing))
        return b""
    return await trio.to_thread.run_sync(speak, words)

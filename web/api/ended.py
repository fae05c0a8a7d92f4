"""Sessions that were ended before their time: a file for each, in a folder that all workers of one data folder share.

Whoever logs out does so at every worker, and a restart does not let them in again. A file is empty, bears the session's
name, and its time of change is the end that the session would have had anyway: after it the file may go.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path

import structlog

__all__ = ["FOLDER", "EndedSessions"]

log = structlog.get_logger(__name__)

FOLDER = "sessions-ended"
MOST = 10_000  # who can make more has a key; the ones that end first go first
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class EndedSessions:
    """The ended sessions of one data folder."""

    def __init__(self, data: Path, *, most: int = MOST) -> None:
        self._folder, self._most = data / FOLDER, most
        self._here: dict[str, float] = {}  # those that could not be written

    def __contains__(self, session: str) -> bool:
        """One look at the folder, some microseconds: asked with each request that bears a cookie."""
        return session in self._here or not _NAME.fullmatch(session) or (self._folder / session).exists()

    def end(self, session: str, until_s: float, now_s: float) -> None:
        """Note it, and forget those whose time is over. Blocks: for a thread.

        Args:
            until_s: when the session would have ended by itself.
        """
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            path = self._folder / session
            path.touch(mode=0o600)
            os.utime(path, (until_s, until_s))
        except OSError as problem:
            log.error("session ended here only", why=str(problem))  # noqa: TRY400 — a full disk, not a fault of ours
            self._here = {one: until for one, until in self._here.items() if until > now_s} | {session: until_s}
        else:
            self._forget(now_s)

    def _forget(self, now_s: float) -> None:
        kept: list[tuple[float, str]] = []
        with os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(FileNotFoundError):  # another worker was quicker
                    kept.append((entry.stat().st_mtime, entry.path))
        kept.sort()
        too_many = len(kept) - self._most
        for n, (until_s, path) in enumerate(kept):
            if until_s < now_s or n < too_many:
                with suppress(OSError):
                    Path(path).unlink()

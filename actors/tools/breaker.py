"""A circuit breaker: a tool that keeps failing is left alone for a while, then one try decides. Knows no tool."""

from __future__ import annotations

from collections import deque

from engine.tools import Breaker


class CircuitBreaker:
    """Closed, open, or half open. Times are Trio's.

    Every `admits` that said yes must be followed by one of `succeeded`, `failed` or `undecided`.
    """

    __slots__ = ("_failed_at", "_open_until", "_policy", "_trying", "opened")

    def __init__(self, policy: Breaker) -> None:
        self._policy = policy
        self._failed_at: deque[float] = deque(maxlen=policy.failures)
        self._open_until: float | None = None  # None: closed
        self._trying = False
        self.opened = 0

    @property
    def state(self) -> str:
        if self._open_until is None:
            return "closed"
        return "half open" if self._trying else "open"

    def admits(self, now: float) -> bool:
        """Whether the tool may be tried. Once the open time is over it is let through once, and that try decides."""
        if self._open_until is None:
            return True
        if now < self._open_until or self._trying:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        self._failed_at.clear()
        self._open_until, self._trying = None, False

    def failed(self, now: float) -> None:
        self._failed_at.append(now)
        full = len(self._failed_at) == self._policy.failures
        if self._trying or (full and now - self._failed_at[0] <= self._policy.within_s):
            self._open_until, self._trying = now + self._policy.open_s, False
            self._failed_at.clear()
            self.opened += 1

    def undecided(self) -> None:
        """It was tried and called off: that says nothing."""
        self._trying = False

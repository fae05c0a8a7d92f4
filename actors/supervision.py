"""Restart budgets: how often something may crash before its owner gives up."""

from __future__ import annotations


class RestartBudget:
    """At most `most` restarts within `within_s` seconds; the count is per owner, so one bad call harms no other."""

    def __init__(self, *, most: int, within_s: float) -> None:
        self.most, self.within_s = most, within_s
        self._restarts: list[float] = []

    def allows(self, now: float) -> bool:
        """Whether one more restart may be made now; if so it is counted."""
        while self._restarts and now - self._restarts[0] > self.within_s:
            self._restarts.pop(0)
        if len(self._restarts) >= self.most:
            return False
        self._restarts.append(now)
        return True

"""What a storm raises: a law that did not hold."""

from __future__ import annotations

from engine.errors import CallscopeError


class LawBroken(CallscopeError):
    """A law did not hold. `law` is its name, `at` the moment on the call's clock."""

    def __init__(self, law: str, at: float, what: str) -> None:
        super().__init__(f"{law} at {at:.4f} s: {what}")
        self.law, self.at, self.what = law, at, what

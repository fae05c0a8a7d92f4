"""What the REST side answers when it refuses: `{message, error, statusCode}` (vapi.md §2)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

__all__ = ["INVALID_KEY", "NO_AUTHORIZATION", "Problem"]

NO_AUTHORIZATION = "Missing Authorization Header."
INVALID_KEY = "Invalid Key. Hot tip, you may be using the private key instead of the public key, or vice versa."


class Problem(Exception):
    """An answer that is not 2xx. `message` is a text or, from the validation of a body, a list of them.

    `raw`: the whole body instead, for a fault that was ordered.
    """

    def __init__(self, status: int, message: str | list[str], *, raw: Any = None) -> None:
        super().__init__(f"{status} {message}")
        self.status, self.message, self._raw = status, message, raw

    def body(self) -> Any:
        if self._raw is not None:
            return self._raw
        return {"message": self.message, "error": HTTPStatus(self.status).phrase, "statusCode": self.status}

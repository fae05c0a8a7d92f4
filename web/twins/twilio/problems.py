"""Twilio's error codes, as far as the twin can run into them (reference/twilio.md §17.7, §21.1)."""

from __future__ import annotations

from typing import Any

TEXTS = {
    11200: "HTTP retrieval failure",
    11205: "HTTP connection failure",
    11215: "HTTP too many redirects",
    11750: "TwiML response body too large",
    12100: "Document parse failure",
    12102: "Response root element missing",
    12200: "Schema validation warning",
    12300: "Invalid Content-Type",
    31901: "Stream - WebSocket - Connection timeout",
    31902: "Stream - WebSocket - Connection refused",
    31903: "Stream - WebSocket - Connection broken pipe",
    31920: "Stream - WebSocket - Handshake Error",
    31921: "Stream - WebSocket - Close Error",
    31922: "Stream - WebSocket - Invalid protocol",
    31931: "Stream - Media - Playback queue overflow",
    31941: "Stream - Invalid Track configuration",
    31950: "Stream - Message - Invalid message received",
    31951: "Stream - Message - Invalid JSON message received",
}


class RestError(Exception):
    """An error answer of the REST side, in Twilio's older shape."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message

    def body(self) -> dict[str, Any]:
        more = f"https://www.twilio.com/docs/errors/{self.code}"
        return {"code": self.code, "message": self.message, "more_info": more, "status": self.status}


class TwimlProblem(Exception):
    """A document that Twilio cannot use."""

    def __init__(self, code: int, detail: str = "") -> None:
        super().__init__(f"{code} {TEXTS.get(code, '')} {detail}".strip())
        self.code, self.detail = code, detail

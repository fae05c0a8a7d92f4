"""Reads what a request brings."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from quart import request

from web.api.problems import Problem
from web.bodies import raw_body

__all__ = ["LONGEST_KEY_CHARS", "body_of", "idempotency_key"]

MOST_BODY_BYTES = 64 * 1024
LONGEST_KEY_CHARS = 200

Body = TypeVar("Body")


async def body_of(kind: type[Body]) -> Body:
    """The request's body as that type.

    Raises:
        Problem: 400, 413, 415 or 422.
    """
    if request.mimetype != "application/json":
        raise Problem(415, "Send JSON, with the header `Content-Type: application/json`.")
    data = await raw_body()
    if len(data) > MOST_BODY_BYTES:
        raise Problem(413, "The body is too large: 64 KiB are enough for everything that this API takes.")
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as unfit:
        raise Problem(422, f"{unfit}. /openapi.json describes what fits.", kind="body") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise Problem(400, "The body is not JSON.", kind="body") from None


def idempotency_key() -> str:
    """The request's `Idempotency-Key`; empty if it has none.

    Raises:
        Problem: 400.
    """
    key = request.headers.get("Idempotency-Key", "")
    if len(key) > LONGEST_KEY_CHARS:
        raise Problem(400, f"Idempotency-Key has at most {LONGEST_KEY_CHARS} characters.")
    return key

"""How the receiver of a webhook knows Vapi: the headers of vapi.md §9, by what its `server` has configured."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

__all__ = ["headers_for"]


def headers_for(
    server: Mapping[str, Any],
    plan: Mapping[str, Any] | None,
    *,
    body: bytes,
    now_ms: int,
    message_id: str,
    timestamp_in_seconds: bool = False,
) -> dict[str, str]:
    """Headers for one POST. `plan`: the `authenticationPlan` of the server's credential, if it has one."""
    headers: dict[str, str] = {}
    if server.get("secret"):
        headers["X-Vapi-Secret"] = server["secret"]
    if plan is not None and plan["type"] == "bearer":
        headers |= _bearer(plan)
    elif plan is not None and plan["type"] == "hmac":
        stamp = str(now_ms // 1000 if timestamp_in_seconds else now_ms)
        headers |= _hmac(plan, url=str(server.get("url", "")), body=body, stamp=stamp, message_id=message_id)
    given = {str(name): str(text) for name, text in (server.get("headers") or {}).items()}
    taken = {name.lower() for name in given}  # an Authorization given by hand wins over the credential
    return {name: text for name, text in headers.items() if name.lower() not in taken} | given


def _bearer(plan: Mapping[str, Any]) -> dict[str, str]:
    prefix = "Bearer " if plan.get("bearerPrefixEnabled", True) else ""
    return {plan.get("headerName") or "Authorization": prefix + plan["token"]}


def _hmac(plan: Mapping[str, Any], *, url: str, body: bytes, stamp: str, message_id: str) -> dict[str, str]:
    """A signature over the raw body, put where `payloadFormat` says."""
    with_stamp = plan.get("includeTimestamp", True)
    layout = plan.get("payloadFormat") or ("{timestamp}.{body}" if with_stamp else "{body}")
    for name, text in (("timestamp", stamp), ("method", "POST"), ("url", url), ("svix-id", message_id)):
        layout = layout.replace(f"{{{name}}}", text)
    signed = layout.encode().replace(b"{body}", body)
    secret = plan["secretKey"]
    key = base64.b64decode(secret) if plan.get("secretIsBase64") else secret.encode()
    digest = hmac.new(key, signed, getattr(hashlib, plan["algorithm"])).digest()
    signature = base64.b64encode(digest).decode() if plan.get("signatureEncoding") == "base64" else digest.hex()
    headers = {plan.get("signatureHeader") or "x-signature": (plan.get("signaturePrefix") or "") + signature}
    if with_stamp:
        headers[plan.get("timestampHeader") or "x-timestamp"] = stamp
    if plan.get("messageIdHeader"):
        headers[plan["messageIdHeader"]] = message_id
    return headers

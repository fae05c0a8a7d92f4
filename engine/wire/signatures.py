"""Who sent this: Twilio's signatures and Vapi's webhook authentication. Pure; time comes in as an argument.

Sources: reference/twilio.md §6 (and its vectors), reference/vapi.md §9. Every comparison takes constant time;
everything that does not fit is `Refused`, and no reason holds a header's value.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import parse_qs, urlsplit, urlunsplit

from engine.errors import Refused

_SIGNATURE = "x-twilio-signature"
_SETTINGS = "x-twilio-webhooks-signature-settings"
_HASHES = {"HMAC_SHA1": hashlib.sha1, "HMAC_SHA256": hashlib.sha256}
_DEFAULT_PORTS = {"https": 443, "wss": 443, "http": 80, "ws": 80}


class Headers(Protocol):
    """Any mapping of header names; names are compared without regard to case."""

    def items(self) -> Iterable[tuple[str, str]]: ...


def _header(headers: Headers, name: str) -> str:
    """The value of a header that stands there once; empty when it is missing, or repeated with another value."""
    values = {value for key, value in headers.items() if key.lower() == name}
    return values.pop() if len(values) == 1 else ""


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def public_url(base: str, raw_path: str, raw_query: bytes = b"") -> str:
    """The address that Twilio signed: our configured base, and path and query as they came. Never the Host header."""
    query = raw_query.decode("latin-1")
    return base.rstrip("/") + raw_path + (f"?{query}" if query else "")


# --- Twilio ----------------------------------------------------------------------------------------------------------


def twilio_signature(secret: str, url: str, params: Sequence[tuple[str, str]], algorithm: str = "HMAC_SHA1") -> str:
    """The signature of a request: the address, then each distinct name and value in byte order (§6.1)."""
    text = url + "".join(name + value for name, value in sorted(set(params)))
    return b64encode(
        hmac.new(secret.encode(), text.encode("utf-8", "surrogatepass"), _HASHES[algorithm]).digest()
    ).decode()


def _spellings(url: str) -> list[str]:
    """The address with and without its port: what Twilio signs depends on scheme and stack (§6.1)."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return [url]  # no address at all: it will match nothing
    if ":" in host:
        host = f"[{host}]"
    default = _DEFAULT_PORTS.get(parts.scheme)
    netlocs = [host] if port else [f"{host}:{default}"]
    return [url, *(urlunsplit(parts._replace(netloc=netloc)) for netloc in netlocs)]


@dataclass(frozen=True)
class TwilioSignatures:
    """Checks `X-Twilio-Signature`.

    Args:
        auth_tokens: the account's; a second one during rotation.
        shared_keys: key id → secret, for webhooks signed with SHA-256 (§6.2). A request that names a key must match
            that key's secret; without the settings header only the auth tokens count: no header weakens the check.
    """

    auth_tokens: Sequence[str] = field(repr=False)
    shared_keys: Mapping[str, str] = field(default_factory=dict, repr=False)

    def check_form(self, url: str, params: Sequence[tuple[str, str]], headers: Headers) -> None:
        """A form POST, parameters decoded once, blank and repeated ones included.

        Raises:
            Refused: not signed by us.
        """
        self._check(_spellings(url), params, headers)

    def check_get(self, url: str, headers: Headers) -> None:
        """A GET: everything is in the address. Raises `Refused`."""
        self._check(_spellings(url), (), headers)

    def check_json(self, url: str, body: bytes, headers: Headers) -> None:
        """A JSON POST: the address is signed, and holds the body's hash. Raises `Refused`."""
        (claimed,) = parse_qs(urlsplit(url).query).get("bodySHA256", [""])[:1]
        if not _same(claimed.lower(), hashlib.sha256(body).hexdigest()):
            raise Refused("body does not match its hash")
        self._check(_spellings(url), (), headers)

    def check_handshake(self, url: str, headers: Headers) -> None:
        """A websocket upgrade: the stream's address with its websocket scheme, perhaps with a slash added (§6.3)."""
        spelled = [spelling for base in (url, url.rstrip("/") + "/") for spelling in _spellings(base)]
        self._check(spelled, (), headers)

    def _check(self, urls: Sequence[str], params: Sequence[tuple[str, str]], headers: Headers) -> None:
        given = _header(headers, _SIGNATURE)
        if not given:
            raise Refused("no Twilio signature")
        secrets, algorithm = self._secrets(_header(headers, _SETTINGS))
        good = False
        for secret in secrets:
            for url in urls:
                good |= _same(given, twilio_signature(secret, url, params, algorithm))
        if not good:
            raise Refused("wrong Twilio signature")

    def _secrets(self, settings: str) -> tuple[Sequence[str], str]:
        """Which secrets may have signed, and how."""
        named = dict(part.strip().partition("=")[::2] for part in settings.split(",") if "=" in part)
        algorithm = named.get("algorithm", "").strip()
        if not algorithm:
            return self.auth_tokens, "HMAC_SHA1"
        secret = self.shared_keys.get(named.get("key", "").strip())
        if algorithm not in _HASHES or secret is None:
            raise Refused("unknown signing key or algorithm")
        return [secret], algorithm


# --- Vapi ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HmacPlan:
    """How an HMAC credential signs (vapi.md §9 `HMACAuthenticationPlan`)."""

    secret: str = field(repr=False)
    algorithm: str = "sha256"
    signature_header: str = "x-signature"
    timestamp_header: str = "x-timestamp"
    message_id_header: str = ""
    prefix: str = ""
    payload_format: str = "{timestamp}.{body}"
    encoding: str = "hex"  # or base64
    secret_is_base64: bool = False
    window_s: float = 300.0

    def sign(self, timestamp: str, body: bytes, message_id: str = "") -> str:
        """The signature of a body; `{method}` is POST, `{url}` is not supported."""
        key = b64decode(self.secret) if self.secret_is_base64 else self.secret.encode()
        template = self.payload_format.replace("{timestamp}", timestamp).replace("{method}", "POST")
        before, placeholder, after = template.replace("{svix-id}", message_id).partition("{body}")
        payload = before.encode() + (body if placeholder else b"") + after.encode()
        digest = hmac.new(key, payload, self.algorithm).digest()
        return self.prefix + (digest.hex() if self.encoding == "hex" else b64encode(digest).decode())


class VapiAuth:
    """Checks Vapi's webhooks: a request passes when one of the configured schemes passes.

    Args:
        shared_secret: the plain `X-Vapi-Secret` (or, as docs had it for a while, `X-Vapi-Signature`).
        bearer_token: `Authorization: Bearer …`.
        hmac_secret: an HMAC credential with Vapi's defaults; `hmac_plan` for any other.
    """

    MOST_SEEN = 20_000  # signatures remembered against replay: more than a window of a busy host's webhooks

    def __init__(
        self,
        *,
        shared_secret: str = "",
        bearer_token: str = "",
        bearer_header: str = "authorization",
        hmac_secret: str = "",
        hmac_plan: HmacPlan | None = None,
    ) -> None:
        self._shared_secret = shared_secret
        self._bearer_token, self._bearer_header = bearer_token, bearer_header.lower()
        self._plan = hmac_plan or (HmacPlan(hmac_secret) if hmac_secret else None)
        self._seen: OrderedDict[str, float] = OrderedDict()

    def check(self, headers: Headers, body: bytes, now_s: float) -> None:
        """Whether Vapi sent this.

        Args:
            now_s: Unix seconds, for the replay window.

        Raises:
            Refused: 401. Also when nothing is configured: an open door is nobody's default.
        """
        if self._is_shared(headers) or self._is_bearer(headers) or self._is_hmac(headers, body, now_s):
            return
        raise Refused("Vapi's webhook is not authenticated", status=401)

    def _is_shared(self, headers: Headers) -> bool:
        if not self._shared_secret:
            return False
        names = ("x-vapi-secret", "x-vapi-signature")
        return any(_same(_header(headers, name), self._shared_secret) for name in names)

    def _is_bearer(self, headers: Headers) -> bool:
        if not self._bearer_token:
            return False
        scheme, _, token = _header(headers, self._bearer_header).partition(" ")
        if self._bearer_header != "authorization" and not token:
            scheme, token = "bearer", scheme  # the prefix is optional under a header of one's own (§9)
        return scheme.lower() == "bearer" and _same(token.strip(), self._bearer_token)

    def _is_hmac(self, headers: Headers, body: bytes, now_s: float) -> bool:
        plan = self._plan
        if plan is None:
            return False
        timestamp = _header(headers, plan.timestamp_header.lower())
        if not _is_fresh(timestamp, now_s, plan.window_s):
            return False
        message_id = _header(headers, plan.message_id_header.lower()) if plan.message_id_header else ""
        expected = plan.sign(timestamp, body, message_id)
        good = False
        for given in _given_signatures(headers, plan):
            good |= _same(given, expected) or _same(given, expected.removeprefix(plan.prefix))
        return good and not self._is_replay(message_id or expected, now_s, plan.window_s)

    def _is_replay(self, identity: str, now_s: float, window_s: float) -> bool:
        while self._seen and (
            len(self._seen) >= self.MOST_SEEN or next(iter(self._seen.values())) < now_s - 2 * window_s
        ):
            self._seen.popitem(last=False)
        if identity in self._seen:
            return True
        self._seen[identity] = now_s
        return False


def _given_signatures(headers: Headers, plan: HmacPlan) -> Iterator[str]:
    """The plan's own header; and `X-Vapi-Signature`, under which examples put it, `sha256=` before it or not."""
    for name in dict.fromkeys((plan.signature_header.lower(), "x-vapi-signature")):
        value = _header(headers, name)
        if value:
            yield value.removeprefix("sha256=")
            yield value


def _is_fresh(timestamp: str, now_s: float, window_s: float) -> bool:
    """Within the window; seconds or milliseconds, both are accepted (§9)."""
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 16):
        return False
    value = int(timestamp)
    then_s = value / 1000 if value > 1e11 else float(value)
    return abs(now_s - then_s) <= window_s

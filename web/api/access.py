"""Who may ask: keys with roles, sessions for browsers, and what keeps other pages from asking in a visitor's name.

Open, as an operator, is only a service that nobody outside this machine can reach and that has no keys; its `Host` is
then checked, because a page elsewhere may point its own name at 127.0.0.1. In all other cases a key is needed: as
`Authorization: Bearer`, or exchanged once for a cookie. A cookie is signed with a secret that the workers of one data
folder share, as they share which sessions were ended; it dies with the key that it was made from.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import structlog
import trio
from quart import Response, request

from web.api.ended import EndedSessions
from web.api.peers import client_of
from web.api.problems import Problem
from web.api.types import Role
from web.settings import Settings, is_loopback

__all__ = ["Access", "Identity", "Key", "keys_of"]

log = structlog.get_logger(__name__)

NO_KEYS = (
    "This service can be reached from outside, so its console and API need a key. Set CALLSCOPE_OPERATOR_KEY "
    "(and CALLSCOPE_VIEWER_KEY, if some may only look) and start it again."
)
SESSION_S = 12 * 3600.0
CSRF_HEADER = "X-CSRF-Token"
MOST_FAILURES, FAILURES_S = 10, 60.0  # wrong keys from one address
MOST_ADDRESSES = 10_000
SECRET_FILE = "session.secret"  # noqa: S105 — where it lies, not what it is
ROLES: Sequence[Role] = ("viewer", "operator")


@dataclass(frozen=True, slots=True)
class Key:
    """A key of the settings: `secret`, or `name:secret`; the name is who did it, in the journal."""

    role: Role
    who: str
    secret: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.secret.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks."""

    role: Role
    who: str
    how: str  # open, key or session
    session: str = ""  # what its CSRF token is made from
    until_s: float = inf  # when its session ends by itself


class _Cookie(msgspec.Struct, frozen=True):
    role: Role
    who: str
    until_s: float
    id: str
    key: str  # a fingerprint of the key: without it the session is over


def keys_of(settings: Settings) -> tuple[Key, ...]:
    """The keys of the settings, operators first."""
    found: list[Key] = []
    for role, given in (("operator", settings.operator_keys), ("viewer", settings.viewer_keys)):
        for n, one in enumerate(given, 1):
            name, colon, rest = one.partition(":")
            who, secret = (name, rest) if colon and name and rest else (f"{role} {n}", one)
            found.append(Key("operator" if role == "operator" else "viewer", who, secret))
    return tuple(found)


class Access:
    """Decides who a request is from.

    Args:
        reachable: the service listens where other machines can reach it.
        secret: signs the sessions.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        reachable: bool = False,
        secret: bytes | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = keys_of(settings)
        self._public, self._clock = settings.public_url, clock
        self._exposed = reachable or not is_loopback(settings.public_url)
        self.https = settings.public_url.startswith("https:")
        self._secret = secret or _shared_secret(settings.data)
        if self._exposed and not self._keys:
            log.warning("console closed", why=NO_KEYS)
        self._ended = EndedSessions(settings.data)
        self._proxies = settings.trusted_proxies
        self._failures: OrderedDict[str, list[float]] = OrderedDict()

    @property
    def cookie_name(self) -> str:
        return "__Host-callscope" if self.https else "callscope"

    # --- who ------------------------------------------------------------------------------------------------------

    def needs_login(self) -> bool:
        return bool(self._keys) or self._exposed or not _is_local(request.scope)

    def identify(self) -> Identity | None:
        """Who the present request is from; None: somebody who has not said.

        Raises:
            Problem: a wrong key, a foreign `Host`, or a service that should have keys and has none.
        """
        self.check_address()
        if not self.needs_login():
            return Identity("operator", "local operator", "open", "open")
        scheme, _, given = request.headers.get("Authorization", "").partition(" ")
        if given and scheme.casefold() == "bearer":
            key = self.key_of(given.strip())
            return Identity(key.role, key.who, "key")
        return self._from_cookie(request.cookies.get(self.cookie_name, ""))

    def check_address(self) -> None:
        """Whether one may ask here at all, whoever it is.

        Raises:
            Problem: a foreign `Host`, or a service that should have keys and has none.
        """
        if not self.needs_login():
            self._check_host()
        elif not self._keys:
            raise Problem(
                403,
                NO_KEYS,
                kind="no-keys",
            )

    def require(self, role: Role = "viewer", *, changes: bool = False) -> Identity:
        """Who the present request is from, who must be this or more.

        Args:
            changes: the request changes something: a browser must show that our own page sent it.

        Raises:
            Problem: 401, 403 or 421.
        """
        identity = self.identify()
        if identity is None:
            raise Problem(
                401,
                "Log in first: POST /api/session with a key, or send it as `Authorization: Bearer …`. An expired "
                "session needs a new login.",
                kind="login",
                headers={"WWW-Authenticate": 'Bearer realm="callscope"'},
            )
        if ROLES.index(identity.role) < ROLES.index(role):
            raise Problem(403, f"This needs the role {role}; you are {identity.role}.", kind="role")
        if changes:
            self.check_csrf(identity)
        return identity

    def key_of(self, given: str) -> Key:
        """The key that was given.

        Raises:
            Problem: there is no such key, or too many wrong ones came from there.
        """
        address, now = client_of(_peer(request.scope), request.headers, self._proxies), self._clock()
        failures = [at for at in self._failures.get(address, ()) if at > now - FAILURES_S]
        if len(failures) >= MOST_FAILURES:
            raise Problem(
                429,
                "Too many wrong keys from your address. Wait a minute, then try again.",
                kind="too-many-tries",
                headers={"Retry-After": str(int(FAILURES_S))},
            )
        found = None
        digest = hashlib.sha256(given.encode("utf-8", "surrogatepass")).digest()
        for key in self._keys:  # all of them, so that time tells nothing
            if hmac.compare_digest(digest, key.digest) and found is None:
                found = key
        if found is not None:
            return found
        self._failures[address] = [*failures, now]
        self._failures.move_to_end(address)
        while len(self._failures) > MOST_ADDRESSES:
            self._failures.popitem(last=False)
        raise Problem(
            401,
            "That key is not known here. The keys are in CALLSCOPE_OPERATOR_KEY and CALLSCOPE_VIEWER_KEY.",
            kind="wrong-key",
            headers={"WWW-Authenticate": 'Bearer realm="callscope", error="invalid_token"'},
        )

    # --- sessions --------------------------------------------------------------------------------------------------

    def csrf(self, identity: Identity) -> str:
        return self._sign(b"csrf " + identity.session.encode())

    def check_csrf(self, identity: Identity) -> None:
        """A key in a header proves itself: no page can add one. A cookie, or nothing, does not.

        Raises:
            Problem: 403.
        """
        if identity.how == "key" or (identity.how == "open" and not _from_browser()):
            return
        given = request.headers.get(CSRF_HEADER, "")
        if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), self.csrf(identity).encode()):
            raise Problem(
                403, f"The header {CSRF_HEADER} is missing or old: GET /api/session gives the present one.", kind="csrf"
            )

    def log_in(self, response: Response, key: Key) -> Identity:
        """Begin a session, in this response."""
        cookie = _Cookie(key.role, key.who, self._clock() + SESSION_S, secrets.token_urlsafe(16), self._mark(key))
        body = base64.urlsafe_b64encode(msgspec.json.encode(cookie)).decode().rstrip("=")
        self._set(response, f"{body}.{self._sign(body.encode())}", max_age_s=int(SESSION_S))
        return Identity(key.role, key.who, "session", cookie.id, cookie.until_s)

    async def log_out(self, response: Response, identity: Identity | None) -> None:
        """End a session: in the browser, and at all workers, should somebody have a copy of the cookie."""
        self._set(response, "", max_age_s=0)
        if identity is not None and identity.how == "session":
            ended = identity.session, identity.until_s, self._clock()
            await trio.to_thread.run_sync(self._ended.end, *ended)

    def is_over(self, identity: Identity) -> bool:
        """Whether who was let in once would not be let in any more: their session was ended, or has ended by itself."""
        return identity.how == "session" and (identity.until_s < self._clock() or identity.session in self._ended)

    def _from_cookie(self, given: str) -> Identity | None:
        body, dot, signature = given.partition(".")
        if not dot or not hmac.compare_digest(_raw(signature), self._sign(_raw(body)).encode()):
            return None
        cookie = msgspec.json.decode(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)), type=_Cookie)
        known = any(hmac.compare_digest(cookie.key, self._mark(key)) and key.role == cookie.role for key in self._keys)
        identity = Identity(cookie.role, cookie.who, "session", cookie.id, cookie.until_s)
        return identity if known and not self.is_over(identity) else None

    def _set(self, response: Response, value: str, *, max_age_s: int) -> None:
        response.set_cookie(
            self.cookie_name, value, max_age=max_age_s, path="/", httponly=True, secure=self.https, samesite="Strict"
        )

    def _sign(self, what: bytes) -> str:
        return hmac.new(self._secret, what, hashlib.sha256).hexdigest()

    def _mark(self, key: Key) -> str:
        return self._sign(b"key " + key.digest)[:16]

    # --- rebinding -------------------------------------------------------------------------------------------------

    def _check_host(self) -> None:
        host = _host_of(request.headers.get("Host", ""))
        if host not in ("localhost", "127.0.0.1", "::1", urlsplit(self._public).hostname):
            raise Problem(
                421, "This address is not ours. Open the console at http://localhost and its port.", kind="foreign-host"
            )


def _from_browser() -> bool:
    """Browsers say where a request comes from; programs do not."""
    return any(request.headers.get(name) for name in ("Origin", "Sec-Fetch-Site", "Referer"))


def _host_of(header: str) -> str | None:
    with suppress(ValueError):
        return urlsplit(f"//{header}").hostname
    return None


def _is_local(scope: object) -> bool:
    """Whether both ends of the connection are on this machine."""
    ends = [scope.get(name) if isinstance(scope, dict) else None for name in ("client", "server")]
    return all(end is None or _is_loopback_address(str(end[0])) for end in ends)


def _is_loopback_address(address: str) -> bool:
    with suppress(ValueError):
        found = ip_address(address.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None)
        return bool((mapped or found).is_loopback)
    return not address or address.startswith(("/", "unix:", "<local>"))


def _peer(scope: object) -> str:
    client = scope.get("client") if isinstance(scope, dict) else None
    return str(client[0]) if client else ""


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _shared_secret(data: Path) -> bytes:
    """The secret of this data folder, made by whoever comes first: its workers accept each other's sessions."""
    path = data / SECRET_FILE
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    for _ in range(3):
        with suppress(FileExistsError):
            made = data / f".{SECRET_FILE}.{os.getpid()}"
            made.write_bytes(b"")
            made.chmod(0o600)
            made.write_bytes(secrets.token_bytes(32))
            try:
                os.link(made, path)  # whole or not at all, and never over another's
            finally:
                made.unlink()
        secret = path.read_bytes()
        if len(secret) >= 32:
            return secret
        path.unlink(missing_ok=True)
    return secrets.token_bytes(32)

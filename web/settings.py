"""Settings from the environment and `.env`. All that is missing is said at once, each with the way to get it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from urllib.parse import urlsplit

from dotenv import dotenv_values

from engine.errors import BadSettings

TWILIO_BASE_URL = "https://api.twilio.com"
VAPI_BASE_URL = "https://api.vapi.ai"
SHORTEST_KEY_CHARS = 16

_HOW_TO_GET = {
    "VAPI_API_KEY": "the private key from dashboard.vapi.ai → Organization → API keys",
    "VAPI_SERVER_SECRET": "any long random text of yours; Vapi sends it back with each webhook "
    "(or set VAPI_SERVER_BEARER_TOKEN or VAPI_SERVER_HMAC_SECRET for those schemes)",
    "TWILIO_ACCOUNT_SID": "the Account SID (AC…) from console.twilio.com",
    "TWILIO_AUTH_TOKEN": "the Auth Token from console.twilio.com, beside the Account SID",
    "PUBLIC_URL": "the https address under which Twilio and Vapi reach this server, e.g. https://calls.example.com",
}


@dataclass(frozen=True)
class Settings:
    """What an operator decides. Secrets never show in a repr."""

    public_url: str
    twilio_account_sid: str
    twilio_auth_token: str = field(repr=False)
    vapi_api_key: str = field(repr=False)
    vapi_server_secret: str = field(default="", repr=False)
    vapi_server_bearer_token: str = field(default="", repr=False)
    vapi_server_hmac_secret: str = field(default="", repr=False)
    vapi_assistant_id: str = ""
    twilio_auth_token_secondary: str = field(default="", repr=False)
    twilio_phone_number: str = ""
    twilio_base_url: str = TWILIO_BASE_URL
    vapi_base_url: str = VAPI_BASE_URL
    port: int = 8080
    data: Path = Path("callscope-data")
    operator_keys: tuple[str, ...] = field(
        default=(), repr=False
    )  # of the console and the API: `secret`, `name:secret`
    viewer_keys: tuple[str, ...] = field(default=(), repr=False)
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Whose `X-Forwarded-For` or `Forwarded` is believed when wrong keys are counted. Signatures go by `public_url`."""

    @property
    def media_url(self) -> str:
        """The address that Twilio's stream is given: the public one with a websocket scheme."""
        return "ws" + self.public_url.removeprefix("http") + "/media"

    def media_url_of(self, worker: int | str | None) -> str:
        """The same for one worker of several: its stream's address names it, and Twilio signs that."""
        return self.media_url if worker is None else f"{self.media_url}/w{worker}"

    @property
    def offline(self) -> bool:
        """Whether both vendors are stand-ins on this machine."""
        return all(is_loopback(url) for url in (self.twilio_base_url, self.vapi_base_url))


def is_loopback(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")


def environment(directory: Path | None = None) -> dict[str, str]:
    """The process environment over `.env` of that directory (the present one)."""
    path = (directory or Path.cwd()) / ".env"
    from_file = {name: value for name, value in dotenv_values(path).items() if value is not None}
    return {**from_file, **os.environ}


def settings_from(env: Mapping[str, str]) -> Settings:
    """Settings from environment variables.

    Raises:
        BadSettings: something is missing or wrong; every such variable in one message.
    """
    problems = [f"{name} is not set: {how}" for name, how in _HOW_TO_GET.items() if not _have(env, name)]
    public_url = env.get("PUBLIC_URL", "").strip().rstrip("/")
    problems += _public_url_problems(public_url)
    for name, default in (("TWILIO_BASE_URL", TWILIO_BASE_URL), ("VAPI_BASE_URL", VAPI_BASE_URL)):
        if urlsplit(env.get(name, default)).scheme not in ("http", "https"):
            problems.append(f"{name} is not an http(s) address; leave it out to use {default}")
    if not env.get("PORT", "8080").isdecimal():
        problems.append("PORT is not a number; leave it out to use 8080")
    problems += [
        problem for name in ("CALLSCOPE_OPERATOR_KEY", "CALLSCOPE_VIEWER_KEY") for problem in _key_problems(env, name)
    ]
    trusted_proxies, proxy_problems = _trusted_proxies(env)
    problems += proxy_problems
    if problems:
        raise BadSettings("\n".join(problems))
    return Settings(
        public_url=public_url,
        twilio_account_sid=env["TWILIO_ACCOUNT_SID"].strip(),
        twilio_auth_token=env["TWILIO_AUTH_TOKEN"].strip(),
        vapi_api_key=env["VAPI_API_KEY"].strip(),
        vapi_server_secret=env.get("VAPI_SERVER_SECRET", ""),
        vapi_server_bearer_token=env.get("VAPI_SERVER_BEARER_TOKEN", ""),
        vapi_server_hmac_secret=env.get("VAPI_SERVER_HMAC_SECRET", ""),
        vapi_assistant_id=env.get("VAPI_ASSISTANT_ID", "").strip(),
        twilio_auth_token_secondary=env.get("TWILIO_AUTH_TOKEN_SECONDARY", "").strip(),
        twilio_phone_number=env.get("TWILIO_PHONE_NUMBER", "").strip(),
        twilio_base_url=env.get("TWILIO_BASE_URL", TWILIO_BASE_URL).rstrip("/"),
        vapi_base_url=env.get("VAPI_BASE_URL", VAPI_BASE_URL).rstrip("/"),
        port=int(env.get("PORT", "8080")),
        data=Path(env.get("CALLSCOPE_DATA", "callscope-data")),
        operator_keys=_keys(env, "CALLSCOPE_OPERATOR_KEY"),
        viewer_keys=_keys(env, "CALLSCOPE_VIEWER_KEY"),
        trusted_proxies=trusted_proxies,
    )


def _have(env: Mapping[str, str], name: str) -> bool:
    others = ("VAPI_SERVER_BEARER_TOKEN", "VAPI_SERVER_HMAC_SECRET") if name == "VAPI_SERVER_SECRET" else ()
    return any(env.get(one, "").strip() for one in (name, *others))


def _keys(env: Mapping[str, str], name: str) -> tuple[str, ...]:
    return tuple(key for one in env.get(name, "").split(",") if (key := one.strip()))


def _key_problems(env: Mapping[str, str], name: str) -> list[str]:
    """A key that could be guessed is none; `name:` before it does not count."""
    if all(len(key.partition(":")[2] or key) >= SHORTEST_KEY_CHARS for key in _keys(env, name)):
        return []
    return [f"{name} has a key of less than {SHORTEST_KEY_CHARS} characters; `openssl rand -hex 16` makes a good one"]


def _trusted_proxies(env: Mapping[str, str]) -> tuple[tuple[IPv4Network | IPv6Network, ...], list[str]]:
    """Addresses and networks, and what is wrong with the others."""
    found, problems = [], []
    for one in _keys(env, "CALLSCOPE_TRUSTED_PROXIES"):
        try:
            found.append(ip_network(one))
        except ValueError:
            problems.append(
                f"CALLSCOPE_TRUSTED_PROXIES names {one!r}, which is no address or network such as 10.0.0.5 or "
                "10.0.0.0/24"
            )
    return tuple(found), problems


def _public_url_problems(url: str) -> list[str]:
    if not url:
        return []  # said already
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return [f"PUBLIC_URL {url!r} is not an address like https://calls.example.com"]
    if parts.scheme == "http" and not is_loopback(url):
        return [f"PUBLIC_URL {url!r} must be https: Twilio opens media streams over wss only"]
    if parts.query or parts.fragment or parts.username:
        return [f"PUBLIC_URL {url!r} must be scheme, host and path only: Twilio signs exactly this address"]
    return []

"""Who may do what: keys, roles, sessions, and pages that ask in a visitor's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine.errors import BadSettings
from tests.web.api.journals import call_id_of, whole_call, write, write_recording
from tests.web.api.service import OPERATOR, VIEWER, open_service
from web.api.access import MOST_FAILURES
from web.api.openapi import OPERATIONS, Operation
from web.settings import settings_from

ONE = call_id_of(1)
ALLOWED = {"dial": 415, "getDial": 404, "getHandsetCall": 400}  # after the key: no body, no call of ours, no sid
PUBLIC = "https://calls.example.com"
VIEWER_SECRET = VIEWER.partition(":")[2]
KEYS: dict[str, Any] = {"operator_keys": (OPERATOR,), "viewer_keys": (VIEWER,)}


def cookie_of(response: httpx.Response) -> str:
    return response.headers["set-cookie"].partition(";")[0]


async def ask(http: httpx.AsyncClient, one: Operation, call_id: str, headers: Mapping[str, str]) -> httpx.Response:
    """Each operation as somebody would use it. Of a stream only the head is read."""
    body: Any = {"json": {"action": "mark"}} if one.name == "act" else {}
    async with http.stream(one.method.upper(), one.path.replace("{id}", call_id), headers=headers, **body) as response:
        if response.headers.get("content-type", "").startswith("text/event-stream"):
            return response
        await response.aread()
    return response


async def test_who_may_ask_what(tmp_path: Path) -> None:
    """Every address without a key, with a wrong one, as a viewer, as an operator, and for a call that is not there."""
    write(tmp_path, whole_call(1))
    write_recording(tmp_path, 1)
    async with open_service(tmp_path, **KEYS) as service, service.client() as http:

        async def status(one: Operation, key: str, call_id: str = ONE) -> int:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            return (await ask(http, one, call_id, headers)).status_code

        for one in (one for one in OPERATIONS if one.role is not None):
            assert await status(one, "") == 401, one.name
            done = ALLOWED.get(one.name, one.status)
            assert await status(one, VIEWER_SECRET) == (403 if one.role == "operator" else done), one.name
            assert await status(one, OPERATOR) == done, one.name
            if "{id}" in one.path:
                for stranger in ("call-" + "9" * 26, "etc"):
                    assert await status(one, OPERATOR, stranger) == 404, one.name
                    assert await status(one, "", stranger) == 401, "who is not known does not learn what there is"
        for one in (one for one in OPERATIONS if one.role is not None):
            assert await status(one, "x" * 30) in (401, 429), one.name


async def test_a_session(tmp_path: Path) -> None:
    """Log in, look, act with the token, log out; a copy of the cookie is worth nothing then."""
    write(tmp_path, whole_call(1))
    async with open_service(tmp_path, public_url=PUBLIC, **KEYS) as service, service.client() as http:
        nobody = service.validate(await http.get("/api/session"))
        assert nobody == {"role": None, "who": None, "csrf": None, "needs_login": True}
        wrong = await http.post("/api/session", json={"key": "not the key at all"})
        assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
        response = await http.post("/api/session", json={"key": VIEWER_SECRET})
        assert service.validate(response)["who"] == "ann"
        given = response.headers["set-cookie"]
        assert given.startswith("__Host-callscope=")
        for flag in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/", "Max-Age=43200"):
            assert flag in given
        response = await http.post("/api/session", json={"key": OPERATOR})
        session, cookie = service.validate(response), {"Cookie": cookie_of(response)}
        assert (session["role"], session["who"]) == ("operator", "operator 1")
        assert service.validate(await http.get("/api/session", headers=cookie)) == session
        mark = {"json": {"action": "mark"}}
        url = f"/api/calls/{ONE}/actions"
        for headers in (cookie, {**cookie, "X-CSRF-Token": "0" * 64}, {**cookie, "X-CSRF-Token": b"\xe9"}):
            refused = await http.post(url, headers=headers, **mark)  # type: ignore[arg-type]
            assert refused.status_code == 403 and service.validate(refused)["type"] == "urn:callscope:csrf"
        good = {**cookie, "X-CSRF-Token": session["csrf"]}
        assert (await http.post(url, headers=good, **mark)).status_code == 202  # type: ignore[arg-type]
        assert (await http.delete("/api/session", headers=cookie)).status_code == 403
        gone = await http.delete("/api/session", headers=good)
        assert gone.status_code == 204 and "Max-Age=0" in gone.headers["set-cookie"]
        assert (await http.get("/api/calls", headers=cookie)).status_code == 401


async def test_cookies_that_are_not_ours(tmp_path: Path) -> None:
    """Changed, cut, of another role or another data folder: nobody."""
    async with open_service(tmp_path / "a", **KEYS) as service, service.client() as http:
        cookie = cookie_of(await http.post("/api/session", json={"key": VIEWER_SECRET}))
        assert (await http.get("/api/calls", headers={"Cookie": cookie})).status_code == 200
        name, _, value = cookie.partition("=")
        body, _, signature = value.partition(".")
        for n in range(0, len(value), 7):
            changed = value[:n] + ("A" if value[n] != "A" else "B") + value[n + 1 :]
            assert (await http.get("/api/calls", headers={"Cookie": f"{name}={changed}"})).status_code == 401, n
        for odd in ("", ".", body, f"{body}.", f".{signature}", "é.é"):
            odd_headers = {"Cookie": f"{name}={odd}".encode()}
            assert (await http.get("/api/calls", headers=odd_headers)).status_code == 401  # type: ignore[arg-type]
    async with open_service(tmp_path / "b", **KEYS) as service, service.client() as http:
        assert (await http.get("/api/calls", headers={"Cookie": cookie})).status_code == 401


async def test_a_session_dies_with_its_key_and_outlives_a_restart(tmp_path: Path) -> None:
    """The next start knows the session, unless the key that made it was taken away."""
    async with open_service(tmp_path, **KEYS) as service, service.client() as http:
        cookie = {"Cookie": cookie_of(await http.post("/api/session", json={"key": OPERATOR}))}
    assert (tmp_path / "session.secret").stat().st_mode & 0o777 == 0o600
    async with open_service(tmp_path, **KEYS) as service, service.client() as http:
        assert (await http.get("/api/calls", headers=cookie)).status_code == 200
    async with open_service(tmp_path, operator_keys=("another-key-0123456789",)) as service, service.client() as http:
        assert (await http.get("/api/calls", headers=cookie)).status_code == 401


async def test_guessing_a_key(tmp_path: Path) -> None:
    """After a few wrong keys nothing more is tried for a minute, not even a right one."""
    async with open_service(tmp_path, **KEYS) as service, service.client() as http:
        for _ in range(MOST_FAILURES):
            assert (await http.post("/api/session", json={"key": "wrong"})).status_code == 401
        refused = await http.post("/api/session", json={"key": OPERATOR})
        assert refused.status_code == 429 and refused.headers["retry-after"] == "60"
        bearer = {"Authorization": f"Bearer {OPERATOR}"}
        assert service.validate(await http.get("/api/calls", headers=bearer))["type"] == "urn:callscope:too-many-tries"


async def test_reachable_from_outside_without_keys(tmp_path: Path) -> None:
    """A service with a public address and no key shows nothing, and says what to set."""
    write(tmp_path, whole_call(1))
    async with open_service(tmp_path, public_url=PUBLIC) as service, service.client() as http:
        for path in ("/api/calls", "/api/session", f"/api/calls/{ONE}/recording.wav", "/api/events"):
            problem = service.validate(await http.get(path))
            assert problem["status"] == 403 and "CALLSCOPE_OPERATOR_KEY" in problem["detail"]
        assert (await http.post("/api/session", json={"key": "x"})).status_code == 403


async def test_open_on_this_machine_only(tmp_path: Path) -> None:
    """On loopback without keys whoever sits here is an operator; a page that gave its own name our address is not."""
    write(tmp_path, whole_call(1))
    async with open_service(tmp_path) as service, service.client() as http:
        session = service.validate(await http.get("/api/session"))
        assert (session["role"], session["needs_login"]) == ("operator", False)
        port = service.url.rpartition(":")[2]
        for host, status in ((f"localhost:{port}", 200), (f"127.0.0.1:{port}", 200), (f"[::1]:{port}", 200),
                             (f"evil.example:{port}", 421), ("localhost.evil.example", 421), ("[", 421)):  # fmt: skip
            assert (await http.get("/api/calls", headers={"Host": host})).status_code == status, host
        mark, url = {"action": "mark"}, f"/api/calls/{ONE}/actions"
        for header in ("Origin", "Sec-Fetch-Site", "Referer"):
            refused = await http.post(url, json=mark, headers={header: "https://evil.example"})
            assert refused.status_code == 403, "a browser must show our page's token"
        own = {"Origin": service.url, "X-CSRF-Token": session["csrf"]}
        assert (await http.post(url, json=mark, headers=own)).status_code == 202
        assert (await http.post(url, json=mark)).status_code == 202, "a program needs none"
        login = await http.post("/api/session", json={"key": "whatever it is"})
        assert login.status_code == 409


def test_keys_that_could_be_guessed() -> None:
    """A short key is refused at the start, with the way to make a good one; a name does not make it longer."""
    env = {
        "PUBLIC_URL": PUBLIC, "VAPI_API_KEY": "k", "VAPI_SERVER_SECRET": "s", "TWILIO_ACCOUNT_SID": "AC1",
        "TWILIO_AUTH_TOKEN": "t",
    }  # fmt: skip
    for bad in ("secret", "ann:secret", f"{OPERATOR},short"):
        with pytest.raises(BadSettings, match=re.escape("openssl rand -hex 16")):
            settings_from({**env, "CALLSCOPE_OPERATOR_KEY": bad})
    settings = settings_from({**env, "CALLSCOPE_VIEWER_KEY": f" {VIEWER} , {OPERATOR},"})
    assert settings.viewer_keys == (VIEWER, OPERATOR)
    assert OPERATOR not in repr(settings)


async def test_headers_of_every_answer(tmp_path: Path) -> None:
    """Nobody keeps, frames or sniffs what the API says; refused or not."""
    async with open_service(tmp_path, **KEYS) as service, service.client() as http:
        for path in ("/api/calls", "/api/session", "/api/nothing"):
            headers = (await http.get(path)).headers
            assert headers["cache-control"] == "no-store" and headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]

"""Who may do what: keys, roles, sessions, and pages that ask in a visitor's name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from quart import Response
from quart_trio import QuartTrio
from werkzeug.datastructures import Headers

from engine.errors import BadSettings
from tests.web.api.journals import call_id_of, whole_call, write, write_recording
from tests.web.api.service import OPERATOR, VIEWER, EventClient, open_service
from web.api.access import MOST_FAILURES, SESSION_S, Access
from web.api.ended import FOLDER, EndedSessions
from web.api.openapi import OPERATIONS, Operation
from web.api.peers import client_of
from web.settings import settings_from

ONE = call_id_of(1)
ALLOWED = {"dial": 415, "getDial": 404, "getHandsetCall": 400}  # after the key: no body, no call of ours, no sid
PUBLIC = "https://calls.example.com"
VIEWER_SECRET = VIEWER.partition(":")[2]
KEYS: dict[str, Any] = {"operator_keys": (OPERATOR,), "viewer_keys": (VIEWER,)}
ENV = {
    "PUBLIC_URL": PUBLIC, "VAPI_API_KEY": "k", "VAPI_SERVER_SECRET": "s", "TWILIO_ACCOUNT_SID": "AC1",
    "TWILIO_AUTH_TOKEN": "t",
}  # fmt: skip


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


async def test_logging_out_holds_at_every_worker(tmp_path: Path) -> None:
    """Two processes' worth of service on one data folder: out at one is out at both, and stays so after a restart."""
    async with (
        open_service(tmp_path, **KEYS) as one,
        open_service(tmp_path, **KEYS) as other,
        one.client() as http,
        other.client() as elsewhere,
    ):
        mine, ann = [await http.post("/api/session", json={"key": key}) for key in (OPERATOR, VIEWER_SECRET)]
        cookie, her_cookie = [{"Cookie": cookie_of(response)} for response in (mine, ann)]
        good = {**cookie, "X-CSRF-Token": mine.json()["csrf"]}
        assert (await elsewhere.get("/api/calls", headers=cookie)).status_code == 200
        assert (await http.delete("/api/session", headers=good)).status_code == 204
        for worker in (http, elsewhere):
            assert (await worker.get("/api/calls", headers=cookie)).status_code == 401
            assert (await worker.get("/api/calls", headers=her_cookie)).status_code == 200, "hers goes on"
    async with open_service(tmp_path, **KEYS) as service, service.client() as http:
        assert (await http.get("/api/calls", headers=cookie)).status_code == 401


async def test_a_key_of_another_role(tmp_path: Path) -> None:
    """Who was an operator when they logged in, and whose key is a viewer's now, has to log in again."""
    async with open_service(tmp_path, operator_keys=(OPERATOR,)) as service, service.client() as http:
        cookie = {"Cookie": cookie_of(await http.post("/api/session", json={"key": OPERATOR}))}
    async with open_service(tmp_path, viewer_keys=(OPERATOR,)) as service, service.client() as http:
        assert (await http.get("/api/calls", headers=cookie)).status_code == 401


async def test_who_logs_out_sees_no_more_events(tmp_path: Path) -> None:
    """A stream that was opened with the session ends with it, at whichever worker it is open."""
    async with open_service(tmp_path, **KEYS) as one, open_service(tmp_path, **KEYS) as other, one.client() as http:
        mine = await http.post("/api/session", json={"key": OPERATOR})
        cookie = {"Cookie": cookie_of(mine)}
        with trio.fail_after(5):
            async with EventClient.open(other.url, "/api/events", cookie) as viewer:
                hello = await viewer.event()
                assert hello is not None and hello.name == "hello"
                out = {**cookie, "X-CSRF-Token": mine.json()["csrf"]}
                assert (await http.delete("/api/session", headers=out)).status_code == 204
                write(tmp_path, whole_call(1))
                last = await viewer.event()
                assert last is not None and last.name == "dropped" and "log in" in last.data["reason"]
                assert await viewer.event() is None


async def test_a_session_ends_by_itself(tmp_path: Path) -> None:
    """After twelve hours, and nothing is kept of one that was ended, once it would be over anyway."""
    now_s = 1_800_000_000.0
    settings = replace(settings_from({**ENV, "CALLSCOPE_OPERATOR_KEY": OPERATOR}), data=tmp_path)
    access, other = [Access(settings, clock=lambda: now_s) for _ in range(2)]
    app = QuartTrio("t")
    async with app.test_request_context("/"):
        left, stays = Response(), Response()
        ended, going_on = access.log_in(left, access.key_of(OPERATOR)), access.log_in(stays, access.key_of(OPERATOR))
        await access.log_out(Response(), ended)
    assert other.is_over(ended) and not other.is_over(going_on)
    assert [one.name for one in (tmp_path / FOLDER).iterdir()] == [ended.session]
    now_s += SESSION_S + 1
    assert access.is_over(going_on)
    async with app.test_request_context("/", headers={"Cookie": stays.headers["set-cookie"].partition(";")[0]}):
        assert other.identify() is None
        third = access.log_in(Response(), access.key_of(OPERATOR))
        await access.log_out(Response(), third)
    assert [one.name for one in (tmp_path / FOLDER).iterdir()] == [third.session]


def test_ended_sessions_are_bounded(tmp_path: Path) -> None:
    """The ones that would end first make room; a disk that takes no more leaves them ended in this process."""
    sessions = EndedSessions(tmp_path, most=3)
    for n in range(5):
        sessions.end(f"s{n}", 100.0 + n, 50.0)
    assert [f"s{n}" in sessions for n in range(5)] == [False, False, True, True, True]
    assert "../session.secret" in sessions, "no name of ours"
    full = EndedSessions(tmp_path / "file")
    (tmp_path / "file").write_text("no folder")
    full.end("one", 100.0, 50.0)
    full.end("two", 300.0, 200.0)
    assert "two" in full and "one" not in full


async def test_guessing_behind_a_proxy(tmp_path: Path) -> None:
    """Behind a proxy that is trusted each client has tries of their own; without that the header is anybody's word."""
    for trusted, statuses in (((ip_network("127.0.0.0/8"),), [429, 200, 429]), ((), [429, 429, 429])):
        async with (
            open_service(tmp_path / str(len(trusted)), trusted_proxies=trusted, **KEYS) as service,
            service.client() as http,
        ):
            for n in range(MOST_FAILURES):
                forged = {"X-Forwarded-For": f"198.51.100.{n}, 203.0.113.7"}
                assert (await http.post("/api/session", json={"key": "wrong"}, headers=forged)).status_code == 401
            asked = [
                (await http.post("/api/session", json={"key": OPERATOR}, headers={name: value})).status_code
                for name, value in (
                    ("X-Forwarded-For", "203.0.113.7"),
                    ("X-Forwarded-For", "203.0.113.8"),
                    ("Forwarded", 'for="203.0.113.7:4711";proto=https'),
                )
            ]
            assert asked == statuses


PROXIES = (ip_network("10.0.0.0/24"), ip_network("2001:db8:1::/64"))


@pytest.mark.parametrize(
    ("peer", "headers", "client"),
    [
        ("203.0.113.9", [("X-Forwarded-For", "198.51.100.1")], "203.0.113.9"),  # no proxy of ours
        ("10.0.0.5", [], "10.0.0.5"),
        ("10.0.0.5", [("X-Forwarded-For", "198.51.100.1")], "198.51.100.1"),
        ("::ffff:10.0.0.5", [("X-Forwarded-For", "198.51.100.1:4711")], "198.51.100.1"),
        ("10.0.0.5", [("X-Forwarded-For", "6.6.6.6, 198.51.100.1, 10.0.0.7")], "198.51.100.1"),
        ("10.0.0.5", [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "198.51.100.1")], "198.51.100.1"),
        ("10.0.0.5", [("X-Forwarded-For", "6.6.6.6, nonsense")], "10.0.0.5"),
        ("10.0.0.5", [("X-Forwarded-For", "10.0.0.7")], "10.0.0.5"),
        ("10.0.0.5", [("X-Forwarded-For", ", ".join(["6.6.6.6"] + ["10.0.0.7"] * 20))], "10.0.0.5"),
        ("10.0.0.5", [("Forwarded", 'For="[2001:db8::7]:47"')], "2001:db8::7"),
        ("2001:db8:1::1", [("Forwarded", "for=6.6.6.6, by=10.0.0.5;for=198.51.100.1;proto=https")], "198.51.100.1"),
        ("10.0.0.5", [("Forwarded", "for=unknown")], "10.0.0.5"),
        ("10.0.0.5", [("Forwarded", "for=198.51.100.1"), ("X-Forwarded-For", "198.51.100.1")], "198.51.100.1"),
        ("10.0.0.5", [("Forwarded", "for=6.6.6.6"), ("X-Forwarded-For", "198.51.100.1")], "10.0.0.5"),  # one is forged
        ("", [("X-Forwarded-For", "198.51.100.1")], ""),
    ],
)
def test_who_asks(peer: str, headers: list[tuple[str, str]], client: str) -> None:
    assert client_of(peer, Headers(headers), PROXIES) == client


def test_proxies_of_the_settings() -> None:
    """Addresses and networks; what is neither is said at the start."""
    settings = settings_from({**ENV, "CALLSCOPE_TRUSTED_PROXIES": "10.0.0.5, 2001:db8::/64"})
    assert settings.trusted_proxies == (ip_network("10.0.0.5/32"), ip_network("2001:db8::/64"))
    assert settings_from(ENV).trusted_proxies == ()
    for bad in ("10.0.0.300", "proxy.example.com", "10.0.0.5/8"):
        with pytest.raises(BadSettings, match=re.escape(bad)):
            settings_from({**ENV, "CALLSCOPE_TRUSTED_PROXIES": f"10.0.0.5,{bad}"})


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
    for bad in ("secret", "ann:secret", f"{OPERATOR},short"):
        with pytest.raises(BadSettings, match=re.escape("openssl rand -hex 16")):
            settings_from({**ENV, "CALLSCOPE_OPERATOR_KEY": bad})
    settings = settings_from({**ENV, "CALLSCOPE_VIEWER_KEY": f" {VIEWER} , {OPERATOR},"})
    assert settings.viewer_keys == (VIEWER, OPERATOR)
    assert OPERATOR not in repr(settings)


async def test_headers_of_every_answer(tmp_path: Path) -> None:
    """Nobody keeps, frames or sniffs what the API says; refused or not."""
    async with open_service(tmp_path, **KEYS) as service, service.client() as http:
        for path in ("/api/calls", "/api/session", "/api/nothing"):
            headers = (await http.get(path)).headers
            assert headers["cache-control"] == "no-store" and headers["x-frame-options"] == "DENY"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]

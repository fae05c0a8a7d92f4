"""Twilio's own SDK, unmodified but for the address, against the twin's REST side."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import trio
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

from tests.twins.twilio.harness import NUMBER, SID, TOKEN, World, open_world

OURS = "+12025550123"


class Elsewhere(TwilioHttpClient):  # type: ignore[misc]  # the SDK has no types
    """The SDK's own transport, sent to another host."""

    def __init__(self, base: str) -> None:
        super().__init__()
        self._base = urlsplit(base)

    def request(self, method: str, url: str, *args: Any, **more: Any) -> Any:
        moved = urlsplit(url)._replace(scheme=self._base.scheme, netloc=self._base.netloc)
        return super().request(method, urlunsplit(moved), *args, **more)


async def ask(world: World, question: Any, token: str = TOKEN) -> Any:
    """Run the synchronous SDK in a thread."""

    def run() -> Any:
        transport = Elsewhere(world.url)
        try:
            return question(Client(SID, token, http_client=transport))
        finally:
            transport.session.close()

    return await trio.to_thread.run_sync(run)


async def refused(world: World, question: Any, token: str = TOKEN) -> tuple[int, int]:
    with pytest.raises(TwilioRestException) as trouble:
        await ask(world, question, token)
    return trouble.value.status, trouble.value.code


async def test_calls_by_the_sdk() -> None:
    """Create, fetch, list, redirect and end a call, with every field that the SDK reads."""
    async with open_world() as world:
        say = "<Response><Say>one two three four five six seven eight nine ten</Say></Response>"
        world.twiml["/long"] = say
        url = world.server_url + "/long"
        made = await ask(world, lambda c: c.calls.create(to=OURS, from_=NUMBER, url=url, status_callback=url + "/cb",
                         status_callback_event=["initiated", "ringing", "answered", "completed"]))  # fmt: skip
        assert (made.status, made.direction, made.to) == ("queued", "outbound-api", OURS)
        call = world.twin.calls[made.sid]
        with trio.fail_after(5):
            while not call.is_live:
                await trio.sleep(0.01)
        fetched = await ask(world, lambda c: c.calls(made.sid).fetch())
        assert (fetched.status, fetched.sid, fetched.account_sid) == ("in-progress", made.sid, SID)
        ended = await ask(world, lambda c: c.calls(made.sid).update(status="completed"))
        assert ended.sid == made.sid
        with trio.fail_after(5):
            await call.ended.wait()
            while sum(path == "/long/cb" for path in world.paths()) < 4:
                await trio.sleep(0.01)
        listed = await ask(world, lambda c: c.calls.list(status="completed", limit=5))
        assert [one.sid for one in listed] == [made.sid]
        callbacks = [params for path, params, good in world.hooks if path == "/long/cb" and good]
        assert [one["CallStatus"] for one in callbacks] == ["initiated", "ringing", "in-progress", "completed"]
        assert [one["SequenceNumber"] for one in callbacks] == ["0", "1", "2", "3"]
        assert (await refused(world, lambda c: c.calls(made.sid).update(twiml="<Response/>"))) == (400, 21220)


async def test_phone_numbers_by_the_sdk() -> None:
    """Found by number, pointed elsewhere, read back."""
    async with open_world() as world:
        (number,) = await ask(world, lambda c: c.incoming_phone_numbers.list(phone_number=NUMBER))
        changed = await ask(world, lambda c: c.incoming_phone_numbers(number.sid).update(
            voice_url="https://x.example/v", voice_fallback_url="https://x.example/f", status_callback="https://x.example/s",
        ))  # fmt: skip
        assert (changed.voice_url, changed.voice_fallback_url) == ("https://x.example/v", "https://x.example/f")
        again = await ask(world, lambda c: c.incoming_phone_numbers(number.sid).fetch())
        assert (again.status_callback, again.capabilities["voice"]) == ("https://x.example/s", True)


async def test_refusals_by_the_sdk() -> None:
    """The codes that Twilio gives."""
    async with open_world() as world:
        url = "https://x.example/v"
        cases: list[tuple[Any, tuple[int, int]]] = [
            (lambda c: c.calls("CA" + "0" * 32).fetch(), (404, 20404)),
            (lambda c: c.calls.create(to="+1", from_=NUMBER, url=url), (400, 21211)),
            (lambda c: c.calls.create(to="+15005550001", from_=NUMBER, url=url), (400, 21217)),
            (lambda c: c.calls.create(to=OURS, from_="+12025550000", url=url), (400, 21210)),
            (lambda c: c.calls.create(to=OURS, from_=NUMBER), (400, 21205)),
            (lambda c: c.calls.create(to=OURS, from_=NUMBER, url="no address"), (400, 21205)),
            (lambda c: c.calls.create(to=NUMBER, from_=NUMBER, url=url), (400, 21266)),
            (lambda c: c.calls.create(to=OURS, from_=NUMBER, twiml="x" * 4001), (400, 32018)),
        ]
        for question, expected in cases:
            assert await refused(world, question) == expected
        assert await refused(world, lambda c: c.calls("CA1").fetch(), token="wrong") == (401, 20003)

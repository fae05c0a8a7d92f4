"""What a live call weighs: every Python object that lives because it does, ours and the libraries'."""

from __future__ import annotations

import gc
import tracemalloc
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.web.doors import NOBODY
from web.agents import load_agent
from web.bench.contenders import _AGENT, ACCOUNT_SID, Contender
from web.bench.driver import load_generator
from web.bench.vapi_rest import run_vapi_rest
from web.front_door import listen
from web.serve import serve_calls
from web.settings import Settings

CALLS = 20
MOST_KB = 40.0
OURS = ("/engine/", "/actors/", "/web/")


@pytest.mark.slow
async def test_a_live_call_weighs_little(tmp_path: Path) -> None:
    """Real sockets, both legs talking, journal and recording on: at most 40 kB of Python objects a call."""
    (tmp_path / "agent.yaml").write_text(_AGENT, encoding="utf-8")
    listeners = await listen("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
    stop = trio.Event()
    async with load_generator(cores=set(range(64))) as driver, trio.open_nursery() as nursery:
        vapi_url = await nursery.start(run_vapi_rest, lambda: driver.agent_url)
        settings = Settings(
            public_url=url,
            twilio_account_sid=ACCOUNT_SID,
            twilio_auth_token="token",
            vapi_api_key="key",
            vapi_server_secret="bench",
            vapi_base_url=str(vapi_url),
            twilio_base_url=NOBODY,
            data=tmp_path,
        )
        run = partial(serve_calls, settings, load_agent(tmp_path), listeners, drain_patience_s=0.0, stop=stop)
        await nursery.start(run)
        async with httpx.AsyncClient(timeout=30) as http:
            service = Contender("callscope", 0, in_order=False, http=http, auth_token="token", url=url)
            await _ready(http, url)
            await driver.open_calls(service, 5)  # what is made once, at the first call, is not a call's weight
            await driver.drop_oldest(5)
            await _calls_are(http, url, 0)
            tracemalloc.start()
            try:
                before = _living_kb()
                for calls in range(5, CALLS + 1, 5):  # traced, everything is slow
                    assert await driver.open_calls(service, calls)
                await driver.measure(3.0)
                after = _living_kb()
            finally:
                tracemalloc.stop()
            await driver.hang_up()
            await _calls_are(http, url, 0)
        stop.set()
        nursery.cancel_scope.cancel()
    ours, all_of_it = ((after[n] - before[n]) / CALLS for n in (0, 1))
    print(f"a live call: {ours:.1f} kB allocated by our code, {all_of_it:.1f} kB of Python objects in all")
    assert 1 < ours < MOST_KB
    assert all_of_it < 2 * MOST_KB


def _living_kb() -> tuple[float, float]:
    """Allocated in our packages, and anywhere; at the moment of asking."""
    gc.collect()
    ours = everything = 0
    for one in tracemalloc.take_snapshot().statistics("filename"):
        everything += one.size
        if any(folder in one.traceback[0].filename for folder in OURS) and "site-packages" not in str(one.traceback):
            ours += one.size
    return ours / 1024, everything / 1024


async def _ready(http: httpx.AsyncClient, url: str) -> None:
    with trio.fail_after(20):
        while (await http.get(url + "/ready")).status_code != 200:
            await trio.sleep(0.05)


async def _calls_are(http: httpx.AsyncClient, url: str, wanted: int) -> None:
    with trio.fail_after(20):
        while f"callscope_calls_live {wanted:.1f}\n" not in (await http.get(url + "/metrics")).text:
            await trio.sleep(0.1)

"""Whether the console may phone: only a twin on this machine has handsets, and only operators get one."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from tests.web.api.journals import call_id_of, whole_call, write
from tests.web.api.service import OPERATOR, VIEWER, open_service
from tests.web.doors import NOBODY
from web.agents import example, load_agent
from web.api.handset import handset_of, handset_origin
from web.settings import Settings

SETTINGS = Settings(
    public_url="https://calls.example.com",
    twilio_account_sid="AC" + "1" * 32,
    twilio_auth_token="token",
    vapi_api_key="key",
    twilio_phone_number="+12025550199",
)


def test_only_a_twin_has_handsets() -> None:
    """With the real Twilio the page learns no address, and may open none."""
    agent = load_agent(example()).agent
    for url in ("https://api.twilio.com", "http://10.0.0.7:8701", "http://localhost.example.com", "ftp://127.0.0.1"):
        real = replace(SETTINGS, twilio_base_url=url)
        assert handset_origin(real) == ""
        told = handset_of(real, agent)
        assert (told.available, told.url, told.script) == (False, None, []) and told.why_not
    twin = replace(SETTINGS, twilio_base_url="http://127.0.0.1:8701/base", vapi_base_url="http://localhost:8702")
    told = handset_of(twin, agent)
    assert (told.available, told.url, told.number) == (True, "ws://127.0.0.1:8701/twin/phone", "+12025550199")
    assert "Eight works" in told.phrases and told.script[0]["say"].startswith("Hello")
    assert handset_of(replace(twin, vapi_base_url="https://api.vapi.ai"), agent).phrases == []
    assert "TWILIO_PHONE_NUMBER" in (handset_of(replace(twin, twilio_phone_number=""), agent).why_not or "")


async def test_operators_only_and_the_call_by_its_sid(tmp_path: Path) -> None:
    """A viewer gets no handset; a call of the twin's is found by Twilio's name for it; the page may connect there."""
    sid = "CA" + "5" * 32
    call = whole_call(1, began_s=time.time())
    call[0].data["twilio_call_sid"] = sid
    write(tmp_path, call)
    async with open_service(tmp_path, operator_keys=(OPERATOR,), viewer_keys=(VIEWER,)) as service:
        async with service.client(VIEWER.partition(":")[2]) as http:
            assert (await http.get("/api/handset")).status_code == 403
            assert (await http.get("/api/handset/call", params={"sid": sid})).status_code == 403
        async with service.client(OPERATOR) as http:
            assert service.validate(await http.get("/api/handset"))["available"] is False, "no number is set"
            found = await http.get("/api/handset/call", params={"sid": sid})
            assert service.validate(found) == {"id": call_id_of(1)}
            assert (await http.get("/api/handset/call", params={"sid": "CA" + "0" * 32})).status_code == 404
            assert (await http.get("/api/handset/call", params={"sid": "' OR 1"})).status_code == 400
            policy = (await http.get("/")).headers["content-security-policy"]
    assert f"connect-src 'self' {NOBODY.replace('http', 'ws')};" in policy

"""The REST side, against the samples."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
import trio

from tests.twins.vapi.helpers import KEY, sample
from web.agents import example, load_agent
from web.twins.vapi import Dials, VapiTwin

WEBSOCKET = {
    "provider": "vapi.websocket",
    "audioFormat": {"format": "mulaw", "container": "raw", "sampleRate": 8000},
}


async def made(rest: httpx.AsyncClient, **fields: Any) -> dict[str, Any]:
    answer = await rest.post("/assistant", json={"name": "Front desk", **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def same_form(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Where two JSON values differ in the names and kinds of what they hold (not in the values)."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        lacks = [f"{path}.{name} is missing" for name in wanted if name not in found]
        common = [name for name in wanted if name in found]
        return lacks + [one for name in common for one in same_form(found[name], wanted[name], f"{path}.{name}")]
    if isinstance(wanted, list) and isinstance(found, list):
        return same_form(found[0], wanted[0], f"{path}[0]") if wanted and found else []
    same = type(found) is type(wanted) or all(isinstance(one, int | float) for one in (found, wanted))
    return [] if same else [f"{path}: {found!r} is not like {wanted!r}"]


async def test_keys_are_checked_with_vapis_own_words(twin: VapiTwin) -> None:
    async with httpx.AsyncClient(base_url=twin.url, trust_env=False) as stranger:
        for path in ("/assistant", "/call", "/phone-number", "/credential", "/call/x"):
            missing = await stranger.get(path)
            assert (missing.status_code, missing.json()["message"]) == (401, "Missing Authorization Header.")
        wrong = await stranger.post("/call", json={}, headers={"Authorization": f"Bearer {KEY}x"})
        assert (wrong.status_code, wrong.json()) == (401, sample("rest-error-401"))


async def test_an_assistant_lives_and_dies(rest: httpx.AsyncClient) -> None:
    wanted = sample("rest-assistant-create.request")
    created = (await rest.post("/assistant", json=wanted)).json()
    assert created["name"] == wanted["name"]
    assert same_form(created, sample("rest-assistant.response")) == []
    path = f"/assistant/{created['id']}"
    assert (await rest.get(path)).json() == created
    assert [one["id"] for one in (await rest.get("/assistant")).json()] == [created["id"]]
    changed = (await rest.patch(path, json={"voice": {"provider": "vapi", "voiceId": "Kylie"}})).json()
    assert changed["voice"] == {"provider": "vapi", "voiceId": "Kylie"}
    assert changed["model"] == created["model"]
    assert (await rest.delete(path)).status_code == 200
    gone = await rest.get(path)
    assert (gone.status_code, gone.json()["message"]) == (404, "Assistant not found.")


async def test_a_websocket_call_answers_like_the_sample(rest: httpx.AsyncClient, twin: VapiTwin) -> None:
    assistant = await made(rest)
    body = {**sample("rest-call-create-websocket.request"), "assistantId": assistant["id"]}
    answer = await rest.post("/call", json=body)
    assert answer.status_code == 201
    call = answer.json()
    assert same_form(call, sample("rest-call-create-websocket.response")) == []
    assert "monitor" not in call
    assert call["id"][14] == "7"
    assert call["transport"]["websocketCallUrl"] == f"{twin.url.replace('http', 'ws')}/{call['id']}/transport"
    seen = (await rest.get(f"/call/{call['id']}")).json()
    assert seen["monitor"]["controlUrl"] == f"{twin.url}/{call['id']}/control"
    assert "websocketCallUrl" not in seen["transport"]
    named = (await rest.patch(f"/call/{call['id']}", json={"name": "a label"})).json()
    assert named["name"] == "a label"
    refused = await rest.patch(f"/call/{call['id']}", json={"status": "ended"})
    assert refused.json()["message"] == ["property status should not exist"]
    listed = (await rest.get("/call", params={"assistantId": assistant["id"], "limit": 5})).json()
    assert [one["id"] for one in listed] == [call["id"]]
    assert (await rest.get("/call", params={"createdAtGt": "2100-01-01T00:00:00Z"})).json() == []
    assert (await rest.delete(f"/call/{call['id']}")).json()["endedReason"] == "call-deleted"
    assert (await rest.get(f"/call/{call['id']}")).json() == sample("rest-error-404")


@pytest.mark.parametrize("name", ["inline", "restored"])
async def test_the_other_sample_requests_pass(rest: httpx.AsyncClient, name: str) -> None:
    body = sample(
        f"rest-call-create-websocket-{name}.request" if name == "inline" else f"rest-call-create-{name}.request"
    )
    if "assistantId" in body:
        body["assistantId"] = (await made(rest))["id"]
    assert (await rest.post("/call", json=body)).status_code == 201


async def test_the_example_agents_assistant_passes(rest: httpx.AsyncClient) -> None:
    assistant = load_agent(example()).agent.assistant
    answer = await rest.post("/assistant", json=assistant)
    assert answer.status_code == 201, answer.text


async def test_unknown_properties_are_refused(rest: httpx.AsyncClient) -> None:
    body = {
        "assistantId": (await made(rest))["id"],
        "assistantOverrides": {"silenceTimeoutSeconds": 30},
        "transport": WEBSOCKET,
        "phoneNumber": None,
        "metadata": {"kept": True},
    }
    answer = await rest.post("/call", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"] == ["assistantOverrides.property silenceTimeoutSeconds should not exist"]
    assert answer.json() | {"message": 0} == sample("rest-error-400") | {"message": 0}


WRONG_ASSISTANTS: list[tuple[dict[str, Any], str]] = [
    ({"serverUrl": "https://x.example"}, "property serverUrl should not exist"),
    ({"server": {"url": "https://x.example", "retries": 1}}, "server.property retries should not exist"),
    ({"server": {"url": "x"}}, "server.url must match"),
    ({"name": "x" * 41}, "name must be shorter than or equal to 40 characters"),
    ({"maxDurationSeconds": 5}, "maxDurationSeconds must not be less than 10"),
    ({"stopSpeakingPlan": {"voiceSeconds": 2}}, "stopSpeakingPlan.voiceSeconds must not be greater than 0.5"),
    ({"clientMessages": ["transcripts"]}, "clientMessages.0 must be one of the following values"),
    ({"firstMessage": 5}, "firstMessage must be a string"),
    ({"model": {"provider": "openai", "model": "gpt-4o", "systemPrompt": "x"}}, "model.property systemPrompt"),
    ({"model": {"messages": []}}, "model.provider should not be empty"),
    (
        {"model": {"provider": "a", "model": "b", "tools": [{"type": "function", "function": {"name": "a b"}}]}},
        "model.tools.0.function.name must match",
    ),
]


@pytest.mark.parametrize(("body", "message"), WRONG_ASSISTANTS, ids=lambda one: str(one)[:40])
async def test_wrong_assistants_are_named(rest: httpx.AsyncClient, body: dict[str, Any], message: str) -> None:
    answer = await rest.post("/assistant", json=body)
    assert answer.status_code == 400
    assert answer.json()["message"][0].startswith(message)


async def test_a_call_needs_an_assistant_and_a_line(rest: httpx.AsyncClient) -> None:
    assistant = await made(rest)
    no_line = await rest.post("/call", json={"assistantId": assistant["id"]})
    assert no_line.json() == sample("rest-error-400-string")
    both = {"assistantId": assistant["id"], "phoneNumberId": "x", "transport": WEBSOCKET}
    answer = await rest.post("/call", json=both)
    assert answer.status_code == 400
    assert "phoneNumberId" in answer.json()["message"][0]
    assert (await rest.post("/call", json={"transport": WEBSOCKET})).status_code == 400
    unknown = await rest.post("/call", json={"assistantId": "nobody", "transport": WEBSOCKET})
    assert (unknown.status_code, unknown.json()["message"]) == (404, "Assistant not found.")
    wrong = {**WEBSOCKET, "audioFormat": {"format": "opus", "sampleRate": 8000}}
    assert (await rest.post("/call", json={"assistantId": assistant["id"], "transport": wrong})).status_code == 400


async def test_what_is_no_json_is_400(rest: httpx.AsyncClient) -> None:
    for body in (b"{", b"[]", b"\xff\xfe", b""):
        answer = await rest.post("/call", content=body)
        assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    lost = await rest.get("/calls")
    assert (lost.status_code, lost.json()["message"]) == (404, "Cannot GET /calls")


async def test_a_fresh_assistant_is_not_there_yet(rest: httpx.AsyncClient, dials: Dials) -> None:
    dials.replication_lag_ms = 250
    assistant = await made(rest)
    began = trio.current_time()
    body = {"assistantId": assistant["id"], "transport": WEBSOCKET}
    assert (await rest.get(f"/assistant/{assistant['id']}")).status_code == 404
    assert (await rest.post("/call", json=body)).status_code == 404
    with trio.fail_after(2):
        while (await rest.get(f"/assistant/{assistant['id']}")).status_code == 404:
            await trio.sleep(0.01)
    assert 0.2 < trio.current_time() - began < 0.6
    assert (await rest.post("/call", json=body)).status_code == 201


async def test_monitor_can_be_late(rest: httpx.AsyncClient, dials: Dials) -> None:
    dials.monitor_delay_ms = 150
    call = (await rest.post("/call", json={"assistant": {}, "transport": WEBSOCKET})).json()
    assert "monitor" not in (await rest.get(f"/call/{call['id']}")).json()
    with trio.fail_after(2):
        while "monitor" not in (await rest.get(f"/call/{call['id']}")).json():
            await trio.sleep(0.01)


async def test_only_so_many_calls_at_once(rest: httpx.AsyncClient, dials: Dials) -> None:
    dials.concurrency_limit = 1
    body = {"assistant": {}, "transport": WEBSOCKET}
    first = (await rest.post("/call", json=body)).json()
    assert first["subscriptionLimits"]["remainingConcurrentCalls"] == 0
    second = await rest.post("/call", json=body)
    assert (second.status_code, second.json()) == (400, sample("rest-error-400-concurrency"))


async def test_phone_numbers(rest: httpx.AsyncClient) -> None:
    wanted = sample("rest-phone-number-import-twilio.request")
    assistant = await made(rest)
    number = (await rest.post("/phone-number", json={**wanted, "assistantId": assistant["id"]})).json()
    assert same_form(number, sample("rest-phone-number.response")) == []
    assert "twilioAuthToken" not in number
    path = f"/phone-number/{number['id']}"
    without = await rest.patch(path, json={"name": "New"})
    assert without.status_code == 400
    assert (await rest.patch(path, json={"provider": "twilio", "name": "New"})).json()["name"] == "New"
    assert (await rest.post("/phone-number", json={**wanted, "colour": "red"})).status_code == 400
    outbound = {
        **sample("rest-call-create-outbound.request"),
        "assistantId": assistant["id"],
        "phoneNumberId": number["id"],
    }
    call = (await rest.post("/call", json=outbound)).json()
    assert same_form(call, sample("rest-call-create-outbound.response")) == [".monitor.listenUrl is missing"]
    with trio.fail_after(2):
        while (await rest.get(f"/call/{call['id']}")).json()["status"] != "ended":
            await trio.sleep(0.01)
    assert (await rest.get(f"/call/{call['id']}")).json()["endedReason"] == "customer-did-not-answer"
    batch = {**outbound, "customers": [{"number": "+15555550143"}, {"number": "+15555550144"}]}
    batch.pop("customer")
    answer = (await rest.post("/call", json=batch)).json()
    assert set(answer) == {"results", "errors", "subscriptionLimits"}
    assert [one["customer"]["number"] for one in answer["results"]] == ["+15555550143", "+15555550144"]
    assert (await rest.delete(path)).status_code == 200


async def test_credentials_do_not_show_their_secret(rest: httpx.AsyncClient) -> None:
    for name in ("bearer", "hmac"):
        answer = await rest.post("/credential", json=sample(f"rest-credential-{name}.request"))
        assert answer.status_code == 201
        assert "secret>" not in answer.text
    assert len((await rest.get("/credential")).json()) == 2
    wrong = {"provider": "webhook", "authenticationPlan": {"type": "oauth2", "url": "x"}}
    assert (await rest.post("/credential", json=wrong)).status_code == 400


async def test_faults_come_as_ordered_and_go(rest: httpx.AsyncClient) -> None:
    body = {"assistant": {}, "transport": WEBSOCKET}
    for status, name in ((401, "rest-error-401"), (429, "rest-error-429"), (500, None)):
        await rest.post("/twin/faults", json={"create_status": status})
        answer = await rest.post("/call", json=body)
        assert answer.status_code == status
        assert name is None or answer.json() == sample(name)
        assert (await rest.post("/call", json=body)).status_code == 201
    await rest.post("/twin/faults", json={"create_status": 503, "create_body": {"oh": "no"}, "times": 2})
    assert [(await rest.post("/call", json=body)).status_code for _ in range(3)] == [503, 503, 201]
    await rest.post("/twin/faults", json={"create_status": "hang"})
    with pytest.raises(httpx.ReadTimeout):
        await rest.post("/call", json=body, timeout=0.2)
    orders = (await rest.post("/twin/faults", json={"replication_lag_ms": 7})).json()
    assert orders["dials"]["replication_lag_ms"] == 7
    for wrong in ({"lag": 7}, {"create_status": 200}, {"socket": "melts"}, {"endpoint_ms": "x"}, {"endpoint_ms": -1}):
        assert (await rest.post("/twin/faults", json=wrong)).status_code == 400


async def test_no_foreign_page_may_use_the_twin(rest: httpx.AsyncClient, dials: Dials) -> None:
    """A page of another origin in the user's browser turns no dial; a page of this machine, and any program, may."""
    turn = {"endpoint_ms": 333}
    for origin in ("https://evil.example", "null"):
        refused = await rest.post("/twin/faults", json=turn, headers={"Origin": origin})
        assert refused.status_code == 403 and dials.endpoint_ms == 200
    for given in ({}, {"Origin": "http://localhost:8080"}):
        assert (await rest.post("/twin/faults", json=turn, headers=given)).status_code == 200
    assert dials.endpoint_ms == 333

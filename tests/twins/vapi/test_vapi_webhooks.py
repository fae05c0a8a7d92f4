"""Server messages: shape, auth, order, retries, time limits; each against a real server on loopback."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import httpx
import pytest
import trio

from tests.twins.vapi.fakes import Codes
from tests.twins.vapi.helpers import Hook, HookServer, calling, sample, until
from tests.twins.vapi.test_vapi_rest import WEBSOCKET, same_form
from tests.twins.vapi.test_vapi_transport import TOOL, created, timeline
from web.twins.vapi import Dials
from web.twins.vapi.tooling import ToolCall, ToolResult, result_of
from web.twins.vapi.webhooks import Answer

ALL_MESSAGES = [
    "status-update", "end-of-call-report", "tool-calls", "transcript", "speech-update", "user-interrupted",
    "conversation-update", "model-output", "voice-input", "assistant.started",
]  # fmt: skip


def answering(result: Any) -> Any:
    """A receiver whose tool results are this (or what this makes of the tool call's id)."""

    def answer(hook: Hook) -> Any:
        if hook.kind != "tool-calls":
            return {}
        return result(hook.message["toolCallList"][0]["id"]) if callable(result) else result

    return answer


async def asked(
    rest: httpx.AsyncClient, codes: Codes, server: dict[str, Any], *, tool: dict[str, Any] | None = None
) -> Any:
    """One call in which the assistant calls its tool: what the assistant said after it, and the timeline."""
    model = {**TOOL, "tools": [{**TOOL["tools"][0], "messages": [], "server": None, **(tool or {})}]}
    assistant = {"firstMessage": "Hi.", "model": model, "server": server, "serverMessages": ALL_MESSAGES}
    call_id, url = await created(rest, **assistant)
    async with calling(url) as caller:
        await caller.heard("transcript", role="assistant", transcript="Hi.")
        caller.say(codes.audio("eight works"))
        await until(lambda: len(caller.of("transcript", role="assistant", transcriptType="final")) == 3, within_s=8)
        said = [one["transcript"] for one in caller.of("transcript", role="assistant", transcriptType="final")]
        await caller.send(type="end-call")
        await caller.is_closed()
    return said[1:], await timeline(rest, call_id)


def free(tool_call_id: str) -> Any:
    return {"results": [{"toolCallId": tool_call_id, "name": "check_table", "result": "Free."}]}


async def test_all_messages_have_the_form_of_the_samples(
    rest: httpx.AsyncClient, codes: Codes, hooks: HookServer
) -> None:
    hooks.answer = answering(free)
    said, facts = await asked(rest, codes, {"url": hooks.url})
    assert said == ["One moment.", "Free. More?"]
    assert facts["complaints"] == []
    await hooks.got("end-of-call-report")
    finals = [one for one in hooks.of("transcript") if one.message["transcriptType"] == "final"]
    pairs = {
        "status-update-in-progress": hooks.of("status-update")[0],
        "status-update-ended": hooks.of("status-update")[-1],
        "speech-update-started": hooks.of("speech-update")[0],
        "conversation-update": hooks.of("conversation-update")[-1],
        "assistant-started": hooks.of("assistant.started")[0],
        "model-output-text": hooks.of("model-output")[0],
        "voice-input": hooks.of("voice-input")[0],
        "transcript-assistant-final": next(one for one in finals if one.message["role"] == "assistant"),
        "transcript-final": next(one for one in finals if one.message["role"] == "user"),
        "tool-calls": hooks.of("tool-calls")[0],
        "end-of-call-report": hooks.of("end-of-call-report")[0],
    }
    for name, hook in pairs.items():
        differs = same_form(hook.message, sample(name)["message"])
        assert [one for one in differs if not _may_differ(one)] == [], name
        assert hook.message["call"]["status"] == "queued"
        assert hook.headers["x-call-id"] == hook.message["call"]["id"]
        assert b"websocketCallUrl" not in hook.raw


def _may_differ(where: str) -> bool:
    """An inline assistant has no id; this one has no voice; the twin keeps no recordings, and nothing can listen in."""
    ours = (
        "assistantId", "assistantOverrides", ".assistant.id", ".assistant.orgId", ".voice", ".transcriber", "ecording",
        "logUrl", "listenUrl", "structuredData", "turnLatencies", "toolWithToolCallList[0].server",
        "analysisCostBreakdown", "variables", "variableValues", "temperature", "messages[1]",
    )  # fmt: skip
    return any(part in where for part in ours)


async def test_tool_calls_are_the_live_form(rest: httpx.AsyncClient, codes: Codes, hooks: HookServer) -> None:
    """Field for field as the capture: three lists, arguments as objects, the tool's own settings beside the call."""
    hooks.answer = answering(free)
    tool = {"server": {"url": hooks.url, "timeoutSeconds": 10}, "messages": TOOL["tools"][0]["messages"]}
    await asked(rest, codes, {"url": hooks.url}, tool=tool)
    wanted, found = sample("tool-calls")["message"], hooks.of("tool-calls")[0].message
    assert list(found) == list(wanted)
    for name in ("toolCalls", "toolCallList"):
        (theirs,), (ours,) = wanted[name], found[name]
        assert ours == theirs | {"id": ours["id"], "isPrecededByText": True}
    (theirs,), (ours,) = wanted["toolWithToolCallList"], found["toolWithToolCallList"]
    assert set(ours) == set(theirs)
    assert ours["toolCall"] == found["toolCallList"][0]
    assert ours["function"] == theirs["function"]
    assert ours["id" if "id" in ours else "type"] == "function"
    assert [one["role"] for one in found["artifact"]["messages"]] == ["system", "bot", "user"]
    assert found["artifact"]["messagesOpenAIFormatted"][-1] == {"role": "user", "content": "eight works"}


def is_signed(hook: Hook, secret: str) -> bool:
    stamp = hook.headers["x-timestamp"]
    wanted = hmac.new(secret.encode(), f"{stamp}.".encode() + hook.raw, hashlib.sha256).hexdigest()
    return hmac.compare_digest(hook.headers["x-vapi-signature"], wanted)


@pytest.mark.parametrize("scheme", ["secret", "bearer", "hmac", "headers"])
async def test_receivers_know_the_sender(rest: httpx.AsyncClient, codes: Codes, hooks: HookServer, scheme: str) -> None:
    server: dict[str, Any] = {"url": hooks.url}
    if scheme == "secret":
        server["secret"] = "s3cret"
    elif scheme == "headers":
        server["headers"] = {"Authorization": "Bearer by-hand", "x-team": "7"}
    else:
        body = sample(f"rest-credential-{scheme}.request")
        server["credentialId"] = (await rest.post("/credential", json=body)).json()["id"]
    _, url = await created(rest, firstMessage="Hi.", server=server)
    async with calling(url):
        hook = await hooks.got("status-update")
    match scheme:
        case "secret":
            assert hook.headers["x-vapi-secret"] == "s3cret"
            assert "s3cret" not in hook.raw.decode()
        case "bearer":
            assert hook.headers["x-vapi-secret"] == "<shared secret>"
        case "headers":
            assert (hook.headers["authorization"], hook.headers["x-team"]) == ("Bearer by-hand", "7")
        case _:
            assert is_signed(hook, "<shared secret>")
            assert abs(int(hook.headers["x-timestamp"]) - hook.message["timestamp"]) < 5000


async def test_other_layouts_of_signatures(rest: httpx.AsyncClient, hooks: HookServer, dials: Dials) -> None:
    dials.hmac_timestamp_in_seconds = True
    plan = {
        "type": "hmac",
        "secretKey": base64.b64encode(b"key").decode(),
        "secretIsBase64": True,
        "algorithm": "sha512",
        "signatureHeader": "x-sig",
        "signaturePrefix": "sha512=",
        "timestampHeader": "x-when",
        "messageIdHeader": "x-id",
        "payloadFormat": "{svix-id}.{timestamp}.{method}.{body}",
        "signatureEncoding": "base64",
    }
    credential = await rest.post("/credential", json={"provider": "webhook", "authenticationPlan": plan})
    server = {"url": hooks.url, "credentialId": credential.json()["id"]}
    _, url = await created(rest, server=server)
    async with calling(url):
        hook = await hooks.got("status-update")
    signed = f"{hook.headers['x-id']}.{hook.headers['x-when']}.POST.".encode() + hook.raw
    digest = hmac.new(b"key", signed, hashlib.sha512).digest()
    assert hook.headers["x-sig"] == "sha512=" + base64.b64encode(digest).decode()
    assert len(hook.headers["x-when"]) == 10


async def test_a_bad_answer_of_a_tool_is_apologised_for(
    rest: httpx.AsyncClient, codes: Codes, hooks: HookServer
) -> None:
    hooks.answer = answering((500, {}))
    said, facts = await asked(rest, codes, {"url": hooks.url})
    assert said[1] == "Sorry, I could not check that just now."
    assert any("answered 500, not 200" in one for one in facts["complaints"])


BAD_ANSWERS: list[tuple[Any, str]] = [
    ({"result": "Free."}, "no list of results"),
    ({}, "no list of results"),
    ([1], "no list of results"),
    ({"results": [{"toolCallId": "call_other", "result": "Free."}]}, "toolCallId"),
    ({"results": [{"toolCallId": "ID", "result": {"free": True}}]}, "must be strings"),
    ({"results": [{"toolCallId": "ID"}]}, "must be strings"),
]


@pytest.mark.parametrize(("body", "complaint"), BAD_ANSWERS, ids=str)
def test_what_counts_as_no_result(body: Any, complaint: str) -> None:
    call = ToolCall(TOOL["tools"][0], {}, is_preceded_by_text=False)
    answer = Answer(200, json.dumps(body).replace("ID", call.id).encode(), 1.0)
    result = result_of(call, answer)
    assert (result.failed, result.text) == (True, "No result returned.")
    assert complaint in result.complaint


def test_results_with_faults_are_still_taken() -> None:
    call = ToolCall(TOOL["tools"][0], {}, is_preceded_by_text=False)
    wrapped = {"results": [{"toolCallId": call.id, "name": "check_table", "result": "two\nlines"}]}
    result = result_of(call, Answer(200, json.dumps(wrapped).encode(), 1.0))
    assert (result.text, result.failed, result.complaint) == ("two lines", False, "a result has line breaks")
    good = sample("tool-calls.response")
    good["results"][0]["toolCallId"] = call.id
    assert result_of(call, Answer(201, json.dumps(good).encode(), 1.0)) == ToolResult("Free. Reference BL-204.")


async def test_a_tool_may_fail_and_may_have_its_own_words(
    rest: httpx.AsyncClient, codes: Codes, hooks: HookServer
) -> None:
    error = sample("tool-calls.response-error")["results"][0]
    hooks.answer = answering(lambda one: {"results": [{**error, "toolCallId": one}]})
    failed = {"messages": [{"type": "request-failed", "content": "The book is closed."}]}
    said, facts = await asked(rest, codes, {"url": hooks.url}, tool=failed)
    assert said[1] == "The book is closed."
    assert facts["complaints"] == []
    spoken = sample("tool-calls.response-with-message")["results"][0]
    hooks.answer = answering(lambda one: {"results": [{**spoken, "toolCallId": one}]})
    said, _ = await asked(rest, codes, {"url": hooks.url})
    assert said[1] == "That table is yours."


async def test_a_slow_tool_is_given_up_after_its_own_limit(
    rest: httpx.AsyncClient, codes: Codes, hooks: HookServer
) -> None:
    async def late(_: str) -> Any:
        await trio.sleep(5)

    hooks.answer = answering(late)
    tool = {"server": {"url": hooks.url, "timeoutSeconds": 1}}
    said, facts = await asked(rest, codes, {"url": hooks.url}, tool=tool)
    assert said == ["One moment.", "Sorry, I could not check that just now."]
    notes = {one["what"]: one["at_ms"] for one in facts["timeline"]}
    assert 990 < notes["tool_result"] - notes["tool_calls"] < 1400
    assert any("no answer within 1 s" in one for one in facts["complaints"])


async def test_where_events_go(rest: httpx.AsyncClient, codes: Codes, hooks: HookServer, nursery: trio.Nursery) -> None:
    """Tool's server for its calls, else this call's, else the assistant's; each event goes to one."""
    other, tools = HookServer(), HookServer(answer=answering(free))
    await nursery.start(other.run)
    await nursery.start(tools.run)
    model = {**TOOL, "tools": [{**TOOL["tools"][0], "server": {"url": tools.url}, "messages": []}]}
    assistant = {"name": "Desk", "firstMessage": "Hi.", "model": model, "server": {"url": other.url}}
    saved = (await rest.post("/assistant", json=assistant)).json()
    body = {
        "assistantId": saved["id"],
        "assistantOverrides": {"server": {"url": hooks.url, "secret": "x"}, "firstMessage": "Hello {{ who }}.",
                               "variableValues": {"who": "Ms Ito"}},
        "transport": WEBSOCKET,
    }  # fmt: skip
    call = (await rest.post("/call", json=body)).json()
    assert call["assistantOverrides"] == {"firstMessage": "Hello {{ who }}.", "variableValues": {"who": "Ms Ito"}}
    async with calling(call["transport"]["websocketCallUrl"]) as caller:
        await caller.heard("transcript", role="assistant", transcript="Hello Ms Ito.")
        caller.say(codes.audio("eight works"))
        await caller.heard("transcript", transcript="Free. More?")
    report = await hooks.got("end-of-call-report")
    assert report.message["artifact"]["variableValues"] == {"who": "Ms Ito"}
    assert report.message["assistant"]["id"] == saved["id"]
    assert {one.kind for one in tools.hooks} == {"tool-calls"}
    assert other.hooks == []
    assert hooks.of("transcript") == [], "not in the default list"
    assert hooks.of("tool-calls") == []


async def test_retries_follow_the_plan(rest: httpx.AsyncClient, hooks: HookServer) -> None:
    hooks.answer = lambda hook: (500 if len(hooks.of(hook.kind)) < 3 else 200, {})
    plan = {"type": "exponential", "maxRetries": 3, "baseDelaySeconds": 0.05, "excludedStatusCodes": [404]}
    server = {"url": hooks.url, "backoffPlan": plan}
    _, url = await created(rest, server=server, serverMessages=["status-update"])
    async with calling(url):
        await until(lambda: len(hooks.hooks) == 3)
    at = [one.at for one in hooks.hooks]
    assert at[1] - at[0] > 0.045
    assert at[2] - at[1] > 0.095
    hooks.answer = lambda _: (500, {})
    call_id, url = await created(rest, server={"url": hooks.url}, serverMessages=["status-update"])
    async with calling(url) as caller:
        await caller.heard("status-update")
        await caller.send(type="end-call")
        await caller.is_closed()
    with trio.fail_after(2):
        while len((await timeline(rest, call_id))["complaints"]) < 2:
            await trio.sleep(0.01)
    assert len([one for one in hooks.hooks if one.headers["x-call-id"] == call_id]) == 2


async def test_duplicates_and_disorder(rest: httpx.AsyncClient, hooks: HookServer, dials: Dials) -> None:
    dials.duplicate_every, dials.shuffle_ms = 2, 200
    _, url = await created(rest, firstMessage="Hi.", server={"url": hooks.url}, serverMessages=ALL_MESSAGES)
    async with calling(url) as caller:
        await caller.heard("transcript", transcript="Hi.")
    await hooks.got("end-of-call-report")
    await until(lambda: len(hooks.hooks) > len({one.raw for one in hooks.hooks}))
    stamps = [one.message["timestamp"] for one in hooks.hooks]
    assert stamps != sorted(stamps)


async def test_a_down_server_does_not_matter(rest: httpx.AsyncClient) -> None:
    call_id, url = await created(rest, firstMessage="Hi.", server={"url": "http://127.0.0.1:9/hook"})
    async with calling(url) as caller:
        await caller.heard("transcript", transcript="Hi.")
    with trio.fail_after(3):
        while not (await timeline(rest, call_id))["complaints"]:
            await trio.sleep(0.01)
    assert "ConnectError" in (await timeline(rest, call_id))["complaints"][0]


async def test_interruptions_are_told_by_webhook_too(rest: httpx.AsyncClient, codes: Codes, hooks: HookServer) -> None:
    long = {"firstMessage": "So many words to say. " * 4, "firstMessageInterruptionsEnabled": True}
    _, url = await created(rest, server={"url": hooks.url}, **long)
    async with calling(url) as caller:
        await caller.heard("speech-update")
        caller.say(codes.audio("goodbye", 400))
        frame = await caller.heard("user-interrupted")
        hook = await hooks.got("user-interrupted")
    assert same_form(hook.message, sample("user-interrupted")["message"] | {"call": {}, "assistant": {}}) == []
    assert hook.message["turnId"] == frame["turnId"]
    report = (await hooks.got("end-of-call-report")).message
    assert report["artifact"]["performanceMetrics"]["numUserInterrupted"] == 1


async def test_ringing_asks_for_an_assistant(rest: httpx.AsyncClient, hooks: HookServer, dials: Dials) -> None:
    hooks.answer = lambda _: sample("assistant-request.response-id")
    report = (await rest.post("/twin/ring", json={"server": {"url": hooks.url, "secret": "x"}})).json()
    assert (report["ok"], report["status"], report["limit_ms"]) == (True, 200, 7500)
    assert report["answer"] == sample("assistant-request.response-id")
    assert hooks.hooks[0].headers["x-vapi-secret"] == "x"
    assert same_form(hooks.hooks[0].message, sample("assistant-request")["message"]) == []
    hooks.answer = lambda _: {}
    assert "exactly one" in (await rest.post("/twin/ring", json={"url": hooks.url})).json()["problem"]
    dials.assistant_request_s = 0.2

    async def late() -> Any:
        await trio.sleep(1)

    hooks.answer = lambda _: late()
    report = (await rest.post("/twin/ring", json={"url": hooks.url})).json()
    assert (report["ok"], report["status"]) == (False, None)
    assert 190 < report["took_ms"] < 500
    assert (await rest.post("/twin/ring", json={})).status_code == 400


async def test_calls_are_kept_as_files(rest: httpx.AsyncClient, twin: Any, tmp_path: Any) -> None:
    object.__setattr__(twin.settings, "data", tmp_path)
    call_id, url = await created(rest, firstMessage="Hi.")
    async with calling(url) as caller:
        await caller.heard("transcript", transcript="Hi.")
    kept = tmp_path / f"{call_id}.json"
    await until(lambda: kept.exists() and kept.stat().st_size > 0)
    assert json.loads(kept.read_text())["call"]["endedReason"] == "customer-ended-call"

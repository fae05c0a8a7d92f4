"""Whole calls over real sockets, with third-party websocket clients."""

from __future__ import annotations

import json
import statistics
from base64 import b64decode
from contextlib import suppress
from itertools import pairwise
from typing import Any

import httpx
import pytest
import trio
import trio_websocket
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from engine.audio import duration_ms, mulaw_to_pcm16
from tests.twins.vapi.fakes import Codes
from tests.twins.vapi.helpers import Caller, HookServer, calling, sample, until
from tests.twins.vapi.test_vapi_rest import WEBSOCKET
from web.twins.vapi import Dials, VapiTwin

HELLO = "Bistro Lune, how can I help?"
TOOL = sample("rest-assistant-create.request")["model"]


async def created(rest: httpx.AsyncClient, **assistant: Any) -> tuple[str, str]:
    """A call's id and the address of its socket."""
    usual = {"name": "Desk", "firstMessage": HELLO, "startSpeakingPlan": {"waitSeconds": 0.2}}
    body = {"assistant": usual | assistant, "transport": WEBSOCKET}
    answer = await rest.post("/call", json=body)
    assert answer.status_code == 201, answer.text
    call = answer.json()
    return call["id"], call["transport"]["websocketCallUrl"]


async def timeline(rest: httpx.AsyncClient, call_id: str) -> dict[str, Any]:
    return dict((await rest.get(f"/twin/calls/{call_id}")).json())


async def test_a_whole_call(rest: httpx.AsyncClient, codes: Codes, hooks: HookServer) -> None:
    """Greeting, question, answer, tool, goodbye: frames in the captured order, and the socket closes with 1000."""

    def answer(hook: Any) -> Any:
        if hook.kind == "tool-calls":
            call = hook.message["toolCallList"][0]
            return {"results": [{"toolCallId": call["id"], "name": "check_table", "result": "Free."}]}
        return {}

    hooks.answer = answer
    model = {**TOOL, "tools": [{**TOOL["tools"][0], "server": {"url": hooks.url}}]}
    call_id, url = await created(rest, model=model, server={"url": hooks.url})
    async with calling(url) as caller:
        await caller.heard("speech-update", role="assistant", status="stopped")
        assert caller.texts[0][1] == {"type": "status-update", "status": "in-progress"}
        caller.say(codes.audio("what times do you have"))
        await caller.heard("transcript", role="user", transcriptType="final", transcript="what times do you have")
        await until(lambda: len(caller.of("speech-update", role="assistant", status="stopped")) == 2)
        caller.say(codes.audio("eight works"))
        await caller.heard("transcript", role="assistant", transcript="Free. More?", within_s=8)
        caller.say(codes.audio("goodbye"))
        code, _ = await caller.is_closed()
    assert code == 1000
    assert caller.texts[-1][1] == {"type": "status-update", "status": "ended", "endedReason": "assistant-ended-call"}
    kinds = {frame["type"] for _, frame in caller.texts}
    assert kinds == {frame["frame"]["type"] for frame in sample("ws-text-frames-in-order")} - {"user-interrupted"}
    assert list(caller.of("tool-calls")[0]) == list(sample("ws-tool-calls"))
    turns = [frame["turn"] for frame in caller.of("speech-update", status="started")]
    assert turns == list(range(8))
    partials = caller.of("transcript", role="user", transcriptType="partial")
    assert {frame["transcript"] for frame in partials} <= {"what times do you have", "eight works", "goodbye"}
    assert len(partials) >= 2
    said = "".join(codes.phrase(payload) and "x" for _, payload in caller.audio)
    assert len(said) == len(caller.audio), "only speech was sent"
    facts = await timeline(rest, call_id)
    assert facts["complaints"] == []
    assert facts["endedReason"] == "assistant-ended-call"
    report = (await hooks.got("end-of-call-report")).message
    assert report["endedReason"] == "assistant-ended-call"
    assert report["artifact"]["transcript"].splitlines()[0] == f"AI: {HELLO}"
    roles = [one["role"] for one in report["artifact"]["messages"]]
    assert roles[:6] == ["system", "bot", "user", "bot", "user", "tool_calls"]
    assert sorted(roles[6:9]) == ["bot", "bot", "tool_call_result"]
    assert roles[9:] == ["user", "bot"]
    ended = (await rest.get(f"/call/{call_id}")).json()
    assert ended["status"] == "ended"
    assert set(sample("rest-call-get-ended")) - set(ended) == {"assistantId", "assistantOverrides"}


async def test_frames_have_the_captured_form(rest: httpx.AsyncClient, codes: Codes) -> None:
    """Every text frame has just the fields of its capture: slim, no envelope (vapi.md §4.4)."""
    _, url = await created(rest)
    async with calling(url) as caller:
        await caller.heard("speech-update", role="assistant", status="stopped")
        caller.say(codes.audio("my number is <digits>"))
        await caller.heard("transcript", role="user", transcriptType="final")
        await caller.heard("transcript", role="assistant", transcript="Pardon?")
    allowed: dict[str, set[str]] = {}
    for one in sample("ws-text-frames-in-order"):
        allowed.setdefault(one["frame"]["type"], set()).update(one["frame"])
    sure = {"confidence", "confidenceSource"}  # newer than the captures: of the caller's finals only (§7)
    for _, frame in caller.texts:
        if (frame["type"], frame.get("role"), frame.get("transcriptType")) == ("transcript", "user", "final"):
            assert sure <= set(frame)
            allowed["transcript"] |= sure
        else:
            assert not sure & set(frame)
        assert set(frame) <= allowed[frame["type"]], frame


async def test_audio_comes_in_clumps_at_real_time_pace(rest: httpx.AsyncClient, codes: Codes) -> None:
    words = "This is a rather long greeting, long enough to measure how its audio is paced on the wire."
    _, url = await created(rest, firstMessage=words)
    async with calling(url) as caller:
        await caller.heard("speech-update", role="assistant", status="stopped", within_s=8)
    expected = codes.audio(words)
    assert b"".join(payload for _, payload in caller.audio) == expected
    assert {len(payload) for _, payload in caller.audio} == {160}
    arrived = [at for at, _ in caller.audio]
    gaps = [b - a for a, b in pairwise(arrived)]
    assert statistics.median(gaps) < 0.005
    length_s = duration_ms(expected) / 1000
    assert length_s - 0.3 < arrived[-1] - arrived[0] < length_s + 0.2
    stopped = caller.when("speech-update", role="assistant", status="stopped")
    started = caller.when("speech-update", role="assistant", status="started")
    assert length_s - 0.05 < stopped - started < length_s + 0.25


async def test_pcm_at_16_khz(rest: httpx.AsyncClient, codes: Codes) -> None:
    """The default format: 640 bytes a frame, each way; an odd piece is put together again."""
    transport = {"provider": "vapi.websocket"}
    answer = await rest.post("/call", json={"assistant": {"firstMessage": "Hi there."}, "transport": transport})
    url = answer.json()["transport"]["websocketCallUrl"]
    assert answer.json()["transport"]["audioFormat"] == {"format": "pcm_s16le", "container": "raw", "sampleRate": 16000}
    mulaw = codes.audio("goodbye", 600) + codes.audio("goodbye", 20)[:0] + b"\xff" * 4800
    pcm8 = mulaw_to_pcm16(mulaw)
    pcm16 = b"".join(pcm8[i : i + 2] * 2 for i in range(0, len(pcm8), 2))
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            stream = await trio.open_tcp_stream("127.0.0.1", int(url.split(":")[2].split("/")[0]))
            path = "/" + url.split("/", 3)[3]
            socket = await trio_websocket.wrap_client_stream(nursery, stream, "twin", path)
            sizes, texts = set(), []

            async def receive() -> None:
                try:
                    while True:
                        message = await socket.get_message()
                        if isinstance(message, bytes):
                            sizes.add(len(message))
                        else:
                            texts.append(json.loads(message))
                except trio_websocket.ConnectionClosed:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(receive)
            await until(lambda: any(one.get("status") == "stopped" for one in texts))
            for start in range(0, len(pcm16), 333):
                await socket.send_message(pcm16[start : start + 333])
        await trio.aclose_forcefully(stream)
    assert sizes == {640}
    finals = [one["transcript"] for one in texts if one["type"] == "transcript" and one["transcriptType"] == "final"]
    assert finals == ["Hi there.", "goodbye", "Goodbye."]
    assert texts[-1]["endedReason"] == "assistant-ended-call"


async def test_the_websockets_client_in_a_thread(rest: httpx.AsyncClient, twin: VapiTwin) -> None:
    """Another library, another thread, and an Authorization header as Vapi's own tester sends it."""
    call_id, url = await created(rest)

    def talk() -> tuple[list[dict[str, Any]], int]:
        frames: list[dict[str, Any]] = []
        audio = 0
        with connect(url, additional_headers={"Authorization": "Bearer whatever"}, proxy=None) as socket:
            while True:
                with suppress(ConnectionClosed):
                    socket.send(b"\xff" * 160)
                message = socket.recv(timeout=5)
                if isinstance(message, bytes):
                    audio += len(message)
                    continue
                frames.append(json.loads(message))
                if frames[-1].get("transcriptType") == "final":
                    socket.send(json.dumps({"type": "end-call"}))
                if frames[-1].get("status") == "ended":
                    return frames, audio

    frames, audio = await trio.to_thread.run_sync(talk)
    assert frames[0] == {"type": "status-update", "status": "in-progress"}
    assert audio > 0
    assert (await timeline(rest, call_id))["endedReason"] == "manually-canceled"


@pytest.mark.parametrize(
    "text", ['{"type":"ping"}', "hello", "[]", '{"type":"say"}', '{"type":"control","control":"x"}']
)
async def test_other_text_closes_the_socket(rest: httpx.AsyncClient, text: str) -> None:
    call_id, url = await created(rest)
    async with calling(url) as caller:
        await caller.heard("status-update")
        await caller.send_raw(text)
        code, _ = await caller.is_closed()
    assert code in (1000, 1005)
    facts = await timeline(rest, call_id)
    assert facts["status"] == "ended"
    assert len(facts["complaints"]) == 1


async def test_client_messages_are_respected(rest: httpx.AsyncClient, codes: Codes) -> None:
    wanted = ["status-update", 'transcript[transcriptType="final"]']
    _, url = await created(rest, clientMessages=wanted)
    async with calling(url) as caller:
        await caller.heard("transcript", role="assistant")
        caller.say(codes.audio("goodbye", 800))
        await caller.is_closed()
    kinds = [(frame["type"], frame.get("transcriptType")) for _, frame in caller.texts]
    assert kinds == [("status-update", None)] + [("transcript", "final")] * 3 + [("status-update", None)]


async def test_say_add_message_and_control_by_socket(rest: httpx.AsyncClient) -> None:
    call_id, url = await created(rest, firstMessage="Hi.")
    async with calling(url) as caller:
        await caller.heard("transcript", role="assistant", transcript="Hi.")
        await caller.send(type="say", content="One moment, please.")
        await caller.heard("transcript", role="assistant", transcript="One moment, please.")
        await caller.send(type="add-message", message={"role": "system", "content": "The kitchen has closed."})
        await caller.send(type="add-message", message={"role": "user", "content": "my number is four two"})
        await caller.heard("transcript", transcript="I heard four two.")
        await caller.send(type="control", control="say-first-message")
        await until(lambda: len(caller.of("transcript", transcript="Hi.")) == 2)
        await caller.send(type="say", content="Bye.", endCallAfterSpoken=True)
        await caller.is_closed()
    conversation = caller.of("conversation-update")[-1]["conversation"]
    assert {"role": "system", "content": "The kitchen has closed."} in conversation
    assert (await timeline(rest, call_id))["endedReason"] == "assistant-ended-call-after-message-spoken"


async def test_live_control(rest: httpx.AsyncClient, twin: VapiTwin) -> None:
    call_id, url = await created(rest, firstMessage="Hi.")
    control = (await rest.get(f"/call/{call_id}")).json()["monitor"]["controlUrl"]
    async with httpx.AsyncClient(trust_env=False) as anybody, calling(url) as caller:
        await caller.heard("transcript", role="assistant", transcript="Hi.")
        assert (await anybody.post(control, json=sample("control-say"))).status_code == 200
        await caller.heard("transcript", transcript="One moment, please.")
        for name in ("control-mute-assistant", "control-unmute-assistant", "control-add-message"):
            assert (await anybody.post(control, json=sample(name))).status_code == 200
        for name in ("control-transfer", "control-hangup-docs-websocket"):
            assert (await anybody.post(control, json=sample(name))).status_code == 400
        assert (await anybody.post(f"{twin.url}/{call_id[:-1]}x/control", json={})).status_code == 404
        assert (await anybody.post(control, json=sample("control-say-and-hang-up"))).status_code == 200
        await caller.is_closed()
        assert (await anybody.post(control, json=sample("control-say"))).status_code == 400


async def test_nobody_connects_and_nobody_speaks(rest: httpx.AsyncClient, dials: Dials) -> None:
    dials.unconnected_s = 0.4
    lonely, _ = await created(rest)
    call_id, url = await created(rest)
    async with calling(url) as caller:
        caller.is_sending = False
        code, _ = await caller.is_closed()
        assert code in (1000, 1005)
    assert (await timeline(rest, call_id))["endedReason"].endswith("did-not-receive-customer-audio")
    assert (await timeline(rest, lonely))["endedReason"].endswith("transport-never-connected")


async def test_a_silent_caller_and_a_long_call_end(rest: httpx.AsyncClient, dials: Dials) -> None:
    dials.customer_silence_s = 0.3
    call_id, url = await created(rest, firstMessage="Hi.")
    async with calling(url) as caller:
        await caller.is_closed()
    assert (await timeline(rest, call_id))["endedReason"] == "silence-timed-out"


async def test_hanging_up_ends_the_call_and_its_address(rest: httpx.AsyncClient) -> None:
    call_id, url = await created(rest)
    async with calling(url) as caller:
        await caller.heard("status-update")
        with pytest.raises(PermissionError):
            await _knock(url)

    async def ended() -> bool:
        return str((await timeline(rest, call_id))["status"]) == "ended"

    with trio.fail_after(2):
        while not await ended():
            await trio.sleep(0.01)
    assert (await timeline(rest, call_id))["endedReason"] == "customer-ended-call"
    with pytest.raises(PermissionError):
        await _knock(url)


async def _knock(url: str) -> None:
    """Try to open a socket.

    Raises:
        PermissionError: it was refused.
    """
    host, _, path = url.removeprefix("ws://").partition("/")
    stream = await trio.open_tcp_stream("127.0.0.1", int(host.split(":")[1]))
    try:
        async with trio.open_nursery() as nursery:
            await trio_websocket.wrap_client_stream(nursery, stream, host, f"/{path}")
            nursery.cancel_scope.cancel()
    except* trio_websocket.ConnectionRejected as group:
        raise PermissionError from group
    finally:
        await trio.aclose_forcefully(stream)


async def test_socket_faults(rest: httpx.AsyncClient) -> None:
    await rest.post("/twin/faults", json={"socket": "refuse"})
    _, url = await created(rest)
    with pytest.raises(PermissionError):
        await _knock(url)

    await rest.post("/twin/faults", json={"socket": "drop_after_ms", "drop_after_ms": 200})
    call_id, url = await created(rest)
    async with calling(url) as caller:
        began = trio.current_time()
        code, _ = await caller.is_closed()
        assert code == 1006
        assert trio.current_time() - began < 0.6
    assert "worker-died" in (await timeline(rest, call_id))["endedReason"]

    await rest.post("/twin/faults", json={"socket": "never_opens"})
    _, url = await created(rest)
    with trio.move_on_after(0.3) as scope:
        await _knock(url)
    assert scope.cancelled_caught

    await rest.post("/twin/faults", json={"socket": "stall"})
    _, url = await created(rest)
    async with calling(url) as caller:
        await trio.sleep(0.3)
        assert (caller.texts, caller.audio, caller.closed) == ([], [], None)


async def test_send_silence_fills_the_pauses(rest: httpx.AsyncClient, dials: Dials) -> None:
    dials.send_silence = True
    _, url = await created(rest, firstMessageMode="assistant-waits-for-user")
    async with calling(url) as caller:
        await until(lambda: len(caller.audio) >= 20)
    assert {payload for _, payload in caller.audio} == {b"\xff" * 160}
    lasted = caller.audio[-1][0] - caller.audio[0][0]
    assert abs(len(caller.audio) * 0.020 - lasted) < 0.15


def _interrupter(caller: Caller) -> list[float]:
    return [at for at, frame in caller.texts if frame["type"] == "user-interrupted"]


async def test_barge_in_over_the_wire(rest: httpx.AsyncClient, codes: Codes) -> None:
    """200 ms of voice stop the assistant: nothing more of that speech comes, and the caller is answered."""
    call_id, url = await created(rest, firstMessage="Hi.", stopSpeakingPlan={"backoffSeconds": 0})
    async with calling(url) as caller:
        await caller.heard("transcript", role="assistant", transcript="Hi.")
        caller.say(codes.audio("what times do you have"))
        await until(lambda: len(caller.of("speech-update", role="assistant", status="started")) == 2)
        await trio.sleep(0.2)
        began = trio.current_time()
        caller.say(codes.audio("goodbye", 400))
        await caller.heard("user-interrupted")
        interrupted = _interrupter(caller)[0]
        assert 0.15 < interrupted - began < 0.40
        await caller.is_closed()
    late = [at for at, payload in caller.audio if at > interrupted and "times" in codes.phrase(payload)]
    assert late == []
    after = [codes.phrase(payload) for at, payload in caller.audio if at > interrupted]
    assert set(after) == {"Goodbye."}
    facts = await timeline(rest, call_id)
    assert [one["what"] for one in facts["timeline"]].count("interrupted") == 1


async def test_a_black_hole_by_order_and_what_was_made(rest: httpx.AsyncClient, codes: Codes) -> None:
    """The socket stays open and takes everything; what the voice made and what the model knows can be had by REST."""
    order = {"output_jitter_ms": 40, "ahead_ms": 100, "socket": "black_hole_after_ms", "black_hole_after_ms": 300}
    told = (await rest.post("/twin/faults", json=order)).json()
    assert (told["dials"]["ahead_ms"], told["faults"]["socket"]) == (100, "black_hole_after_ms")
    call_id, url = await created(rest, firstMessage=HELLO * 4)
    async with calling(url) as caller:
        await caller.heard("speech-update", role="assistant", status="started")
        await trio.sleep(0.5)
        came = len(caller.audio) + len(caller.texts)
        caller.say(codes.audio("goodbye", 400))
        await trio.sleep(0.4)
        assert len(caller.audio) + len(caller.texts) == came and caller.closed is None
    (made,) = (await rest.get(f"/twin/calls/{call_id}/generated")).json()
    mulaw = b64decode(made["mulaw"])
    assert made["words"] == HELLO * 4
    sent = b"".join(payload for _, payload in caller.audio)
    assert sent and mulaw.startswith(sent) and len(sent) < len(mulaw)
    known = await timeline(rest, call_id)
    kept = known["history"][-1]["content"]
    assert kept and (HELLO * 4).startswith(kept) and kept != HELLO * 4, "the model knows how far it came"
    assert {"what": "fault", "socket": "black_hole"}.items() <= next(
        one for one in known["timeline"] if one["what"] == "fault"
    ).items()

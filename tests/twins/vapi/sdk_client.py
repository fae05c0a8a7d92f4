"""Vapi's own Python client, unmodified, against a twin whose address comes on stdin.

A program of its own, because its imports take seconds of processor time: they pass while other tests wait.
"""

from __future__ import annotations

import gc
import sys

import httpx
import pytest
from vapi import Vapi
from vapi.core.api_error import ApiError
from vapi.phone_numbers.types import CreatePhoneNumbersRequest_Twilio, UpdatePhoneNumbersRequestBody_Twilio

from tests.twins.vapi.helpers import KEY, sample


def main() -> None:
    gc.disable()  # a fifth of what the client takes to import goes into looking at what stays anyway
    preload = Vapi(token=KEY)
    assert preload.assistants
    assert preload.calls
    assert preload.phone_numbers
    _use(sys.stdin.readline().strip())
    print("passed")


def _use(url: str) -> None:
    with httpx.Client(trust_env=False) as http:  # it does not close one of its own
        client = Vapi(token=KEY, base_url=url, httpx_client=http)
        _assistants(client)
        _calls(client)
        _numbers(client)
        stranger = Vapi(token="wrong", base_url=url, httpx_client=http)
        with pytest.raises(ApiError) as refused:
            stranger.assistants.list()
    assert (refused.value.status_code, refused.value.body) == (401, sample("rest-error-401"))


def _numbers(client: Vapi) -> None:
    number = client.phone_numbers.create(
        request=CreatePhoneNumbersRequest_Twilio(
            number="+15555550100", twilio_account_sid="AC1", twilio_auth_token="t", name="Desk"
        )
    )
    assert (number.provider, number.number, number.status) == ("twilio", "+15555550100", "active")
    assert client.phone_numbers.get(number.id).id == number.id
    changed = client.phone_numbers.update(number.id, request=UpdatePhoneNumbersRequestBody_Twilio(name="Front"))
    assert changed.name == "Front"
    assert [one.id for one in client.phone_numbers.list()] == [number.id]
    client.phone_numbers.delete(number.id)


def _assistants(client: Vapi) -> None:
    wanted = sample("rest-assistant-create.request")
    assistant = client.assistants.create(
        name=wanted["name"],
        first_message=wanted["firstMessage"],
        model=wanted["model"],
        voice=wanted["voice"],
        server=wanted["server"],
        stop_speaking_plan=wanted["stopSpeakingPlan"],
        client_messages=wanted["clientMessages"],
        server_messages=wanted["serverMessages"],
    )
    assert assistant.first_message == wanted["firstMessage"]
    assert assistant.model.tools[0].function.name == "check_table"
    assert client.assistants.get(assistant.id).name == wanted["name"]
    assert client.assistants.update(assistant.id, first_message="Hello.").first_message == "Hello."
    assert assistant.id in [one.id for one in client.assistants.list()]
    assert client.assistants.delete(assistant.id).id == assistant.id
    with pytest.raises(ApiError) as missing:
        client.assistants.get(assistant.id)
    assert missing.value.status_code == 404
    with pytest.raises(ApiError) as wrong:
        client.assistants.create(name="x" * 41)
    assert wrong.value.status_code == 400
    assert "40 characters" in wrong.value.body["message"][0]


def _calls(client: Vapi) -> None:
    transport = sample("rest-call-create-websocket.request")["transport"]
    assistant = client.assistants.create(name="Desk", first_message="Hi.")
    call = client.calls.create(assistant_id=assistant.id, transport=transport, name="a call")
    assert (call.type, call.status, call.name) == ("vapi.websocketCall", "queued", "a call")
    assert call.transport.websocketCallUrl.startswith("ws://")
    seen = client.calls.get(call.id)
    assert seen.monitor.control_url.endswith(f"/{call.id}/control")
    assert client.calls.update(call.id, name="renamed").name == "renamed"
    assert [one.id for one in client.calls.list(assistant_id=assistant.id)] == [call.id]
    assert client.calls.delete(call.id).ended_reason == "call-deleted"
    with pytest.raises(ApiError) as wrong:
        client.calls.create(assistant_id=assistant.id, transport=transport, phone_number_id="x")
    assert wrong.value.status_code == 400
    with pytest.raises(ApiError) as lost:
        client.calls.create(assistant_id="nobody", transport=transport)
    assert lost.value.status_code == 404


if __name__ == "__main__":
    main()

"""Who sent this: the vectors, the official validator as a judge, and everything that must be refused."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twilio.request_validator import RequestValidator

from engine.errors import Refused
from engine.wire.signatures import HmacPlan, TwilioSignatures, VapiAuth, public_url, twilio_signature

SAMPLES = Path(__file__).parents[2] / "samples" / "twilio"
VECTORS: list[dict[str, Any]] = json.loads((SAMPLES / "signature-vectors.json").read_text(encoding="utf-8"))
NOW_S = 1_780_000_000.0
BODY = b'{"message": {"type": "status-update"}}'


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_the_vectors(vector: dict[str, Any]) -> None:
    """All 21 cases of the reference, valid and invalid."""
    headers = {"X-Twilio-Signature": vector["signature"]}
    shared: dict[str, str] = {}
    if vector["algorithm"] == "HMAC_SHA256":
        shared = {"key1": vector["auth_token"]}
        headers["X-Twilio-Webhooks-Signature-Settings"] = "key=key1,algorithm=HMAC_SHA256"
    checks = TwilioSignatures([vector["auth_token"]], shared)
    params = [(name, value) for name, value in vector.get("params", [])]
    try:
        if vector["url"].startswith("wss:"):
            checks.check_handshake(vector["url"], headers)
        elif "body" in vector:
            checks.check_json(vector["url"], vector["body"].encode(), headers)
        elif params:
            checks.check_form(vector["url"], params, headers)
        else:
            checks.check_get(vector["url"], headers)
    except Refused as refused:
        assert not vector["valid"], refused.why
    else:
        assert vector["valid"]


TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(
    st.dictionaries(TEXT.filter(bool), TEXT, max_size=8), st.sampled_from(["a", "b?x=1&y=%20", ""]), TEXT.filter(bool)
)
@settings(max_examples=1500, deadline=None)
def test_it_is_what_the_official_validator_computes(params: dict[str, str], path: str, token: str) -> None:
    """Whatever Twilio may sign, we and the SDK agree."""
    url = f"https://calls.example.com/{path}"
    expected = RequestValidator(token).compute_signature(url, params)
    assert twilio_signature(token, url, list(params.items())) == expected


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_every_change_is_refused(data: st.DataObject) -> None:
    """One character more, less or other in address, value or signature: refused."""
    url, params = "https://calls.example.com/webhook/twilio", {"CallSid": "CA1", "From": "+12025550123"}
    signature = twilio_signature("token", url, list(params.items()))
    which = data.draw(st.sampled_from(["url", "From", "signature"]))
    text = {"url": url, "From": params["From"], "signature": signature}[which]
    at = data.draw(st.integers(0, len(text) - 1))
    char = data.draw(st.characters(codec="ascii", min_codepoint=33).filter(lambda c: c != text[at]))
    changed = text[:at] + char + text[at + 1 :]
    changed_params = {**params, "From": changed} if which == "From" else params
    checks = TwilioSignatures(["token"])
    with pytest.raises(Refused):
        checks.check_form(
            changed if which == "url" else url,
            list(changed_params.items()),
            {"X-Twilio-Signature": changed if which == "signature" else signature},
        )


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "ü" * 28},
        {"X-Twilio-Signature": "x" * 100_000},
        {"X-Twilio-Signature": "AAAA", "x-twilio-signature": "BBBB"},
    ],
)
def test_odd_headers_are_refused(headers: dict[str, str]) -> None:
    """Missing, empty, foreign, huge, twice with different values."""
    with pytest.raises(Refused) as refused:
        TwilioSignatures(["token"]).check_get("https://x.example/", headers)
    assert refused.value.status == 403


def test_a_header_cannot_choose_a_weaker_check() -> None:
    """A settings header names a key that we do not have, or an unknown algorithm: refused, even if SHA-1 would fit."""
    url = "https://x.example/"
    good = {"X-Twilio-Signature": twilio_signature("token", url, ())}
    checks = TwilioSignatures(["token"], {"known": "secret"})
    checks.check_get(url, good)
    for settings_header in ("key=other,algorithm=HMAC_SHA256", "key=known,algorithm=MD5", "algorithm=HMAC_SHA1"):
        with pytest.raises(Refused):
            checks.check_get(url, {**good, "X-Twilio-Webhooks-Signature-Settings": settings_header})


def test_two_tokens_during_rotation() -> None:
    """The old and the new token are both good."""
    url = "https://x.example/"
    checks = TwilioSignatures(["new", "old"])
    for token in ("new", "old"):
        checks.check_get(url, {"X-Twilio-Signature": twilio_signature(token, url, ())})


def test_the_public_url_is_the_configured_one() -> None:
    """Path and query as they came, the rest as configured."""
    assert public_url("https://a.example/base/", "/webhook", b"a=1&b=%20") == "https://a.example/base/webhook?a=1&b=%20"


# --- Vapi ---


def test_nothing_configured_refuses_everything() -> None:
    """An open door is nobody's default."""
    for headers in ({}, {"X-Vapi-Secret": ""}, {"Authorization": "Bearer "}, {"x-signature": "", "x-timestamp": "1"}):
        with pytest.raises(Refused) as refused:
            VapiAuth().check(headers, BODY, NOW_S)
        assert refused.value.status == 401


@pytest.mark.parametrize("name", ["X-Vapi-Secret", "x-vapi-secret", "X-Vapi-Signature"])
def test_the_shared_secret(name: str) -> None:
    """Verbatim, under both names that the docs have had; nothing shorter, longer or empty."""
    auth = VapiAuth(shared_secret="s3cret")
    auth.check({name: "s3cret"}, BODY, NOW_S)
    for wrong in ("", "s3cre", "s3crets", "S3CRET", "ß3cret"):
        with pytest.raises(Refused):
            auth.check({name: wrong}, BODY, NOW_S)


def test_the_bearer_token() -> None:
    """Under Authorization, or under a header of one's own with or without the prefix."""
    VapiAuth(bearer_token="tok").check({"authorization": "bearer tok"}, BODY, NOW_S)
    own = VapiAuth(bearer_token="tok", bearer_header="X-Vapi-Secret")
    own.check({"X-Vapi-Secret": "tok"}, BODY, NOW_S)
    for wrong in ("tok", "Basic tok", "Bearer", "Bearer tok2"):
        with pytest.raises(Refused):
            VapiAuth(bearer_token="tok").check({"Authorization": wrong}, BODY, NOW_S)


def signed(body: bytes, at: str, *, prefix: str = "", key: bytes = b"k") -> dict[str, str]:
    digest = hmac.new(key, at.encode() + b"." + body, hashlib.sha256).hexdigest()
    return {"X-Signature": prefix + digest, "X-Timestamp": at}


@pytest.mark.parametrize("at", [str(int(NOW_S)), str(int(NOW_S * 1000)), str(int(NOW_S) - 299), str(int(NOW_S) + 299)])
def test_hmac_within_the_window(at: str) -> None:
    """Seconds and milliseconds are both taken; the same signature only once."""
    auth = VapiAuth(hmac_secret="k")
    auth.check(signed(BODY, at), BODY, NOW_S)
    with pytest.raises(Refused):
        auth.check(signed(BODY, at), BODY, NOW_S + 1)


@pytest.mark.parametrize(
    "headers",
    [
        signed(BODY, str(int(NOW_S) - 301)),
        signed(BODY, str(int(NOW_S) + 301)),
        signed(BODY, "now"),
        signed(BODY, "-5"),
        signed(BODY, "9" * 40),
        signed(BODY, str(int(NOW_S)), key=b"other"),
        {"X-Signature": "zz", "X-Timestamp": str(int(NOW_S))},
        {"X-Signature": "", "X-Timestamp": str(int(NOW_S))},
        {"X-Timestamp": str(int(NOW_S))},
        {"X-Signature": signed(BODY, str(int(NOW_S)))["X-Signature"]},
    ],
)
def test_hmac_that_does_not_fit(headers: dict[str, str]) -> None:
    """Too old, too new, no number, another key, no hex, nothing."""
    with pytest.raises(Refused):
        VapiAuth(hmac_secret="k").check(headers, BODY, NOW_S)


def test_hmac_of_other_plans() -> None:
    """SHA-512 in base64 with a prefix, a message id, a base64 key, and the header name that examples use."""
    plan = HmacPlan("c2VjcmV0", algorithm="sha512", encoding="base64", prefix="v1,", secret_is_base64=True,
                    payload_format="{svix-id}.{timestamp}.{body}", message_id_header="svix-id")  # fmt: skip
    at = str(int(NOW_S))
    headers = {"x-signature": plan.sign(at, BODY, "m1"), "x-timestamp": at, "svix-id": "m1"}
    VapiAuth(hmac_plan=plan).check(headers, BODY, NOW_S)
    example = signed(BODY, at, prefix="sha256=")
    VapiAuth(hmac_secret="k").check({"X-Vapi-Signature": example["X-Signature"], "X-Timestamp": at}, BODY, NOW_S)

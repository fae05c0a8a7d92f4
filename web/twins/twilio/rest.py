"""Twilio's REST API as far as a voice bridge uses it: Calls and IncomingPhoneNumbers (reference/twilio.md §17)."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from email.utils import formatdate
from typing import Any

import msgspec
from quart import Response, request
from quart_trio import QuartTrio

from web.twins.twilio.call import StatusPlan, TwinCall
from web.twins.twilio.callee import check_settings
from web.twins.twilio.problems import RestError
from web.twins.twilio.twin import Number, TwilioTwin

E164 = re.compile(r"^\+[1-9]\d{6,14}$")
MOST_TWIML_CHARS = 4_000
CANNOT_BE_REACHED = {"+15005550001": 21217}
NUMBER_FIELDS = {
    "VoiceUrl": "voice_url",
    "VoiceMethod": "voice_method",
    "VoiceFallbackUrl": "voice_fallback_url",
    "VoiceFallbackMethod": "voice_fallback_method",
    "StatusCallback": "status_callback",
    "StatusCallbackMethod": "status_callback_method",
    "FriendlyName": "friendly_name",
}


def add_rest(app: QuartTrio, twin: TwilioTwin) -> None:
    """The routes under `/2010-04-01/Accounts/{sid}`."""
    base = "/2010-04-01/Accounts/<account_sid>"

    def check(account_sid: str) -> None:
        given = request.authorization
        good = given is not None and (given.username, given.password) == (
            twin.settings.account_sid,
            twin.settings.auth_token,
        )
        if not good:
            raise RestError(401, 20003, "Authenticate")
        if account_sid != twin.settings.account_sid:
            raise _not_found()

    def find(call_sid: str) -> TwinCall:
        call = twin.calls.get(call_sid)
        if call is None:
            raise _not_found()
        return call

    @app.post(f"{base}/Calls.json")
    async def create(account_sid: str) -> Response:
        check(account_sid)
        form = await request.form
        wanted = {name: str(form[name]) for name in form}
        _check_call(wanted, twin)
        events = tuple(form.getlist("StatusCallbackEvent")) or ("completed",)
        plan = StatusPlan(wanted.get("StatusCallback", ""), wanted.get("StatusCallbackMethod", "POST"), events)
        return _json(twin.dial(wanted, plan).resource(), 201)

    @app.get(f"{base}/Calls.json")
    async def list_calls(account_sid: str) -> Response:
        check(account_sid)
        asked = request.args
        found = [
            call.resource()
            for call in reversed(twin.calls.values())
            if asked.get("Status", call.status) == call.status
            and asked.get("To", call.to_number) == call.to_number
            and asked.get("From", call.from_number) == call.from_number
        ]
        return _page("calls", found)

    @app.get(f"{base}/Calls/<call_sid>.json")
    async def fetch(account_sid: str, call_sid: str) -> Response:
        check(account_sid)
        return _json(find(call_sid).resource())

    @app.post(f"{base}/Calls/<call_sid>.json")
    async def update(account_sid: str, call_sid: str) -> Response:
        check(account_sid)
        call = find(call_sid)
        form = await request.form
        _update(call, {name: str(form[name]) for name in form})
        return _json(call.resource())

    @app.get(f"{base}/IncomingPhoneNumbers.json")
    async def list_numbers(account_sid: str) -> Response:
        check(account_sid)
        wanted = request.args.get("PhoneNumber")
        found = [_number(one, twin) for one in twin.numbers.values() if wanted in (None, one.phone_number)]
        return _page("incoming_phone_numbers", found)

    @app.route(f"{base}/IncomingPhoneNumbers/<number_sid>.json", methods=["GET", "POST"])
    async def number(account_sid: str, number_sid: str) -> Response:
        check(account_sid)
        known = next((one for one in twin.numbers.values() if one.sid == number_sid), None)
        if known is None:
            raise _not_found()
        if request.method == "POST":
            form = await request.form
            for name, attribute in NUMBER_FIELDS.items():
                if name in form:
                    setattr(known, attribute, str(form[name]))
            if known.voice_fallback_url and not known.voice_url:
                raise RestError(400, 21405, "A fallback URL needs a URL")
            known.updated_s = time.time()
        return _json(_number(known, twin))

    @app.route("/2010-04-01/<path:rest>", methods=["GET", "POST", "DELETE"])
    async def unknown(rest: str) -> Response:
        raise _not_found()

    @app.errorhandler(RestError)
    async def refused(problem: RestError) -> Response:
        return _json(problem.body(), problem.status)


def _check_call(wanted: Mapping[str, str], twin: TwilioTwin) -> None:
    to_number, from_number = wanted.get("To", ""), wanted.get("From", "")
    if not to_number:
        raise RestError(400, 21201, "No 'To' number is specified")
    if not E164.match(to_number):
        raise RestError(400, 21211, f"The 'To' number {to_number} is not a valid phone number.")
    if to_number in CANNOT_BE_REACHED:
        raise RestError(400, CANNOT_BE_REACHED[to_number], f"The 'To' number {to_number} cannot be reached.")
    if not from_number:
        raise RestError(400, 21213, "No 'From' number is specified")
    if from_number not in twin.numbers:
        raise RestError(400, 21210, f"The source phone number provided, {from_number}, is not yet verified.")
    if to_number == from_number:
        raise RestError(400, 21266, "'To' and 'From' are the same")
    if not (wanted.get("Url") or wanted.get("Twiml")):
        raise RestError(400, 21205, "Url parameter is required.")
    _check_instructions(wanted)
    check_settings(wanted)


def _check_instructions(wanted: Mapping[str, str]) -> None:
    if len(wanted.get("Twiml", "")) > MOST_TWIML_CHARS:
        raise RestError(400, 32018, f"Twiml is longer than {MOST_TWIML_CHARS} characters")
    if wanted.get("Url") and not wanted["Url"].startswith(("http://", "https://")):
        raise RestError(400, 21205, f"Url is not a valid URL: {wanted['Url'][:100]}")


def _update(call: TwinCall, wanted: Mapping[str, str]) -> None:
    status = wanted.get("Status")
    if (status == "completed" and call.is_live) or (status == "canceled" and call.status in ("queued", "ringing")):
        call.hang_up("server")
    elif status is None and call.is_live and (wanted.get("Url") or wanted.get("Twiml")):
        _check_instructions(wanted)
        if wanted.get("Url"):
            call.go_elsewhere("url", wanted["Url"])
        else:
            call.go_elsewhere("twiml", wanted["Twiml"])
    elif call.is_live or status not in (None, "completed", "canceled"):
        raise RestError(400, 21218 if status is None else 20001, "Nothing to update, or a status that cannot be set")
    else:
        raise RestError(400, 21220, "Call is not in-progress. Cannot redirect.")


def _number(number: Number, twin: TwilioTwin) -> dict[str, Any]:
    uri = f"/2010-04-01/Accounts/{twin.settings.account_sid}/IncomingPhoneNumbers/{number.sid}.json"
    updated = formatdate(number.updated_s).replace("-0000", "+0000")
    return {
        "account_sid": twin.settings.account_sid, "address_sid": None, "address_requirements": "none",
        "api_version": "2010-04-01", "beta": False,
        "capabilities": {"voice": True, "sms": True, "mms": True, "fax": False},
        "date_created": updated, "date_updated": updated,
        "friendly_name": number.friendly_name or number.phone_number, "identity_sid": None,
        "phone_number": number.phone_number, "origin": "twilio", "sid": number.sid,
        "sms_application_sid": "", "sms_fallback_method": "POST", "sms_fallback_url": "", "sms_method": "POST",
        "sms_url": "", "status_callback": number.status_callback,
        "status_callback_method": number.status_callback_method, "trunk_sid": None, "uri": uri,
        "voice_receive_mode": "voice", "voice_application_sid": "", "voice_caller_id_lookup": False,
        "voice_fallback_method": number.voice_fallback_method, "voice_fallback_url": number.voice_fallback_url,
        "voice_method": number.voice_method, "voice_url": number.voice_url, "emergency_status": "Inactive",
        "emergency_address_sid": None, "emergency_address_status": "unregistered", "bundle_sid": None,
        "status": "in-use", "type": "local",
    }  # fmt: skip


def _not_found() -> RestError:
    return RestError(404, 20404, f"The requested resource {request.path} was not found")


def _page(key: str, found: list[Any]) -> Response:
    size = min(1000, int(request.args.get("PageSize", "50")))
    uri = f"{request.path}?PageSize={size}&Page=0"
    shown = found[:size]
    page = {
        key: shown, "first_page_uri": uri, "next_page_uri": None, "previous_page_uri": None, "uri": uri,
        "page": 0, "page_size": size, "start": 0, "end": max(0, len(shown) - 1),
    }  # fmt: skip
    return _json(page)


def _json(body: Mapping[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, content_type="application/json")

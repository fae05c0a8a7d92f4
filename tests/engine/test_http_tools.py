"""HTTP tools of an agent file: what arguments may fill, what an answer means, what a file may not say."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.http_answers import DONE_UNREAD, MOST_WORDS_CHARS, NOT_CERTAIN, UNREADABLE, outcome_of
from engine.http_faults import faults_of
from engine.http_tools import HttpTool, Unsendable, place_of, request_of
from engine.templates import fill, fill_all, look_up, names_in
from engine.tool_parameters import LARGEST_INTEGER, Misfit, Parameter, fit, schema_of

OF_THE_CALL = {"caller.number": "+15550123", "call.id": "call-1", "idempotency_key": "key-1"}
ORDER = {
    "description": "Look up an order.",
    "effect": "read",
    "url": "https://shop.example.com/orders/{order_id}",
    "parameters": {"order_id": {}},
}


def tool(**keys: Any) -> HttpTool:
    return msgspec.convert({**ORDER, **keys}, HttpTool)


def asked(a_tool: HttpTool, **arguments: Any) -> Any:
    return request_of(a_tool, place_of(a_tool.url), arguments, OF_THE_CALL)


def wrong(**keys: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for at, what in faults_of(tool(**keys)):
        found[at] = f"{found[at]}; {what}" if at in found else what
    return found


# Parameters


def params(**given_: dict[str, Any]) -> dict[str, Parameter]:
    return {name: msgspec.convert(one, Parameter) for name, one in given_.items()}


BOOKING = params(
    party={"type": "integer", "minimum": 1, "maximum": 12, "description": "how many come"},
    day={"format": "date"},
    at={"format": "time"},
    name={"max_length": 40, "optional": True},
    seat={"enum": ["inside", "terrace"], "default": "inside"},
    extras={"type": "array", "items": {"type": "string"}, "max_items": 2, "optional": True},
)


def test_the_short_form_becomes_json_schema() -> None:
    """The model is told each parameter as JSON Schema, and which of them it must give."""
    assert schema_of(BOOKING) == {
        "type": "object",
        "properties": {
            "party": {"type": "integer", "minimum": 1, "maximum": 12, "description": "how many come"},
            "day": {"type": "string", "format": "date"},
            "at": {"type": "string", "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$"},
            "name": {"type": "string", "maxLength": 40},
            "seat": {"type": "string", "enum": ["inside", "terrace"], "default": "inside"},
            "extras": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        },
        "required": ["party", "day", "at"],
    }


def test_numbers_that_a_model_writes_as_text_are_numbers() -> None:
    """ "4" is four, 4.0 is four, blanks are nothing, and what nobody asked for is left out."""
    given_ = {"party": " 4", "day": " 2026-03-31 ", "at": "18:30", "name": None, "mood": "good"}
    assert fit(BOOKING, given_) == {"party": 4, "day": "2026-03-31", "at": "18:30", "seat": "inside"}
    assert fit(params(x={"type": "integer"}), {"x": 4.0}) == {"x": 4}
    assert fit(params(x={"type": "boolean"}), {"x": "True"}) == {"x": True}


@pytest.mark.parametrize(
    ("parameter", "value", "said"),
    [
        ({"type": "integer"}, "4.5", "x must be a whole number"),
        ({"type": "integer"}, True, "x must be a whole number"),
        ({"type": "integer"}, 10**30, "x must be a whole number"),
        ({"type": "integer"}, "9" * 5000, "x must be a whole number"),
        ({"type": "integer"}, "٤", "x must be a whole number"),
        ({"type": "integer", "minimum": 1}, 0, "x must be at least 1"),
        ({"type": "integer", "minimum": 1, "maximum": 3}, 4, "x must be from 1 to 3"),
        ({"type": "number"}, "nan", "x must be a number"),
        ({"type": "number"}, float("inf"), "x must be a number"),
        ({"type": "number"}, "1e999", "x must be a number"),
        ({"type": "boolean"}, "yes", "x must be true or false"),
        ({}, ["a"], "x must be a text"),
        ({}, "a" * 5000, "x must have at most 4000 characters"),
        ({"pattern": "^[0-9]{6}$"}, "12345", "x must look like ^[0-9]{6}$"),
        ({"pattern": "^\\d{3}$"}, "１２３", "x must look like ^\\d{3}$"),
        ({"pattern": "^a+$"}, "a" * 201, "x must have at most 200 characters"),
        ({}, "a\r\nX-Evil: 1", "x must hold no control characters"),
        ({}, "\ud800", "x must hold no control characters"),
        ({"format": "date"}, "2026-02-30", "x must be a date like 2026-03-31"),
        ({"format": "time"}, "25:00", "x must be a time from 00:00 to 23:59, like 18:30"),
        ({"format": "date-time"}, "tomorrow", "x must be a date and time like 2026-03-31T18:30:00+02:00"),
        ({"format": "phone"}, "0800", "x must be a phone number with + and country code"),
        ({"enum": ["a", "b"]}, "c", "x must be one of a, b"),
        ({"type": "array", "max_items": 1}, ["a", "b"], "x must have 0 to 1 items"),
        ({"type": "array", "items": {"type": "integer"}}, [1, "b"], "x[1] must be a whole number"),
        ({"type": "array"}, "a", "x must be a list"),
        ({"type": "object", "properties": {"y": {}}}, {}, "x.y is missing"),
        ({"type": "object"}, 1, "x must be an object"),
        ({}, None, "x is missing"),
    ],
)
def test_what_does_not_fit_is_said_without_the_callers_words(parameter: dict[str, Any], value: Any, said: str) -> None:
    """The model is told what each argument must be; the value is not repeated."""
    with pytest.raises(Misfit) as misfit:
        fit(params(x=parameter), {"x": value})
    assert str(misfit.value) == said


def test_a_line_break_cannot_hide_behind_the_end_of_a_pattern() -> None:
    """Python's $ also fits before a last line break; here it is stripped before anything is checked."""
    assert fit(params(x={"pattern": "^[0-9]{3}$"}), {"x": "123\n"}) == {"x": "123"}


JSONISH = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("019٤aé漢\ud800\n\x00-:.eE+_ ", max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.fixed_dictionaries({}, optional=dict.fromkeys(BOOKING, JSONISH)))
def test_whatever_a_model_gives_fits_or_is_a_misfit(given_: dict[str, Any]) -> None:
    """No argument crashes the check, and what passes it can be sent as JSON."""
    try:
        fitted = fit(BOOKING, given_)
    except Misfit:
        return
    assert json.loads(msgspec.json.encode(fitted)) == fitted
    assert 1 <= fitted["party"] <= 12 <= LARGEST_INTEGER


# Templates


def test_a_lone_place_keeps_its_type_and_vanishes_when_nobody_gave_it() -> None:
    """{"id": "{x}"} sends a number as a number, and no id at all when there is none."""
    body = {"id": "{x}", "note": "{y}", "all": ["{x}", "{y}", "n{x}"], "plain": "{{x}} {no place} }", "n": 1}
    assert fill_all(body, {"x": 5}) == {"id": 5, "all": [5, "n5"], "plain": "{x} {no place} }", "n": 1}
    assert sorted(set(names_in(body))) == ["x", "y"]


def test_only_values_are_encoded_and_values_are_not_read_again() -> None:
    """A value that looks like a place stays what it is."""
    assert fill("<{a}-{b}>", {"a": "{b}", "b": 2.0}, lambda text: f"[{text}]") == "<[{b}]-[2]>"


@pytest.mark.parametrize("path", ["a.2", "a.x", "a.-1", "b.c", "a.0.x", "a.99999999999999999999", "a.²"])
def test_a_path_that_leads_nowhere_is_missing(path: str) -> None:
    """An answer without the place that was asked for is no crash."""
    assert repr(look_up({"a": [1, 2], "b": "text"}, path)) == "MISSING"


# Requests


def test_arguments_stand_encoded_in_their_places() -> None:
    """Path, query, headers and body each take an argument in their own writing."""
    request = asked(
        tool(
            method="POST", effect="commit", url="https://shop.example.com/v1/{order_id}?key=a&q={q}",
            headers={"X-Caller": "{caller.number}", "Authorization": "Bearer s3cret"},
            query={"lang": "en", "n": "{n}", "none": "{none}", "tags": ["a", "{q}"], "yes": True},
            parameters={"order_id": {}, "q": {}, "n": {"type": "integer"}, "none": {"optional": True}},
            body={"id": "{n}", "from": "{caller.number}", "words": "{q}!"},
        ),
        order_id="A 12&b", q="tea & ü/?", n=3,
    )  # fmt: skip
    tea = "tea%20%26%20%C3%BC%2F%3F"
    assert request.target == f"/v1/A%2012%26b?key=a&q={tea}&lang=en&n=3&tags=a&tags={tea}&yes=true"
    assert json.loads(request.body) == {"id": 3, "from": "+15550123", "words": "tea & ü/?!"}
    assert dict(request.headers) == {
        "Content-Type": "application/json", "X-Caller": "+15550123", "Authorization": "Bearer s3cret",
        "Idempotency-Key": "key-1",
    }  # fmt: skip


def test_a_form_is_sent_as_a_form() -> None:
    """Some backends take only what browsers send."""
    request = asked(tool(method="POST", url="https://a.example.com/", form={"a": "{order_id}", "b": 1}), order_id="x&y")
    assert request.body == b"a=x%26y&b=1"
    assert dict(request.headers) == {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(("effect", "has_key"), [("read", False), ("idempotent", True), ("commit", True)])
def test_only_what_changes_something_has_an_idempotency_key(effect: str, has_key: bool) -> None:
    """A read needs no key."""
    assert ("Idempotency-Key" in dict(asked(tool(effect=effect), order_id="1").headers)) is has_key


@pytest.mark.parametrize(
    "value",
    [
        "..", ".", "../admin", "%2e%2e", "%252e%252e%252fadmin", "..%2fadmin", "a/b", "a\\b", "a%2fb", "a%252Fb",
        "..;x", "", "a\x00b", "a%00b", "a\r\nb", "%" + "25" * 40 + "2f",
    ],
)  # fmt: skip
def test_an_argument_cannot_leave_its_path_segment(value: str) -> None:
    """No argument leads a request to another address, however it is written."""
    with pytest.raises(Unsendable) as problem:
        asked(tool(), order_id=value)
    assert len(value) < 4 or value not in str(problem.value)


def test_two_arguments_cannot_climb_together() -> None:
    """Two dots from two arguments are still two dots."""
    parts = tool(url="https://a.example.com/x/{order_id}{b}/y", parameters={"order_id": {}, "b": {}})
    with pytest.raises(Unsendable):
        asked(parts, order_id=".", b=".")
    assert asked(parts, order_id="a.", b=".").target == "/x/a../y"


ANY_TEXT = st.text("az09é漢😀\u202e\u2028./\\%25eEfF;?#&=@:{}[]\r\n\x00 ", max_size=40)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT)
def test_no_argument_moves_a_request(order_id: str, q: str, h: str) -> None:
    """Whatever the caller says, the request has the same host, the same segments, the same parameters and headers."""
    a_tool = tool(
        url="https://a.example.com/v1/{order_id}/items?q={q}",
        query={"h": "{h}"},
        headers={"X-Said": "{h} {q}"},
        parameters={"order_id": {}, "q": {}, "h": {}},
    )
    try:
        request = asked(a_tool, order_id=order_id, q=q, h=h)
    except Unsendable:
        return
    assert request.target.isascii() and request.target.isprintable() and " " not in request.target
    parts = urlsplit("https://a.example.com" + request.target)
    assert (parts.hostname, parts.fragment) == ("a.example.com", "")
    first, segment, last = parts.path[1:].split("/")
    assert (first, unquote(segment), last) == ("v1", order_id, "items")
    assert [one.split("=")[0] for one in parts.query.split("&")] == ["q", "h"]
    ((name, value),) = request.headers
    assert name == "X-Said" and value.isascii() and value.isprintable()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://a.example.com/", "must begin with https://"),
        ("//a.example.com/", "must begin with https://"),
        ("https://a.example.com/#x", "no # part"),
        ("https://user:s3cret@a.example.com/", "no user name or password"),
        ("https://a.example.com@evil.example.com/", "no user name or password"),
        ("https://{host}.example.com/", "fixed host"),
        ("https://a.example.com:{port}/", "fixed host"),
        ("https://a.example.com\\@evil.example.com/", "no user name"),
        ("https://a.example.com\\evil/", "needs a host name"),
        ("https://[fe80::1%25eth0]/", "needs a host name"),
        ("https://a%2eexample.com/", "needs a host name"),
        ("https://a example.com/", "needs a host name"),
        ("https:///path", "needs a host name"),
        ("https://:80/", "needs a host name"),
        ("https://./", "without empty parts"),
        ("https://a..example.com/", "without empty parts"),
        ("https://a.example.com:0/", "a port from 1 to 65535"),
        ("https://a.example.com:65536/", "a port from 1 to 65535"),
        ("https://a.example.com:8x/", "needs a host name"),
    ],
)
def test_a_url_is_read_strictly(url: str, said: str) -> None:
    """A URL that two programs could read in two ways is refused when the file is read."""
    with pytest.raises(ValueError, match=r".") as problem:
        place_of(url)
    assert said in str(problem.value)
    assert "s3cret" not in str(problem.value)


def test_a_url_is_read_into_its_parts() -> None:
    """Case, default ports and a trailing dot make no difference; brackets are no part of an address."""
    place = place_of("HTTPS://Shop.Example.com./a/{b}?c=d")
    assert (place.scheme, place.host, place.port, place.path, place.query) == (
        "https", "shop.example.com", 443, "/a/{b}", "c=d",
    )  # fmt: skip
    assert (place_of("http://[::1]:8080").host, place_of("http://[::1]:8080").port) == ("::1", 8080)


@given(
    st.text("htps:/@[]%.\\?#{}0aé漢\n ", max_size=60)
    | st.from_regex(r"https?://[a-z0-9.@:\[\]%\\/?#{}-]{0,40}", fullmatch=True)
)
def test_any_url_is_read_or_refused(url: str) -> None:
    """No URL crashes the reader, and the host it reads is the one that others read."""
    try:
        place = place_of(url)
    except ValueError:
        return
    try:
        others = urlsplit(url).hostname
    except ValueError:  # an address that is none: nobody can connect there
        return
    assert others is not None and place.host == others.lower().removesuffix(".")


def test_what_may_hold_secrets_is_never_shown() -> None:
    """Neither the file's part nor the request shows its URL, headers or body when printed."""
    a_tool = tool(
        url="https://a.example.com/?key=s3cret",
        headers={"A": "s3cret"},
        method="POST",
        parameters={},
        body={"k": "s3cret"},
    )
    assert "s3cret" not in f"{a_tool!r} {a_tool} {asked(a_tool)!r} {[a_tool]}"


# Answers


def told(a_tool: HttpTool, status: int, body: bytes | None, kind: str = "application/json") -> tuple[str, bool, bool]:
    outcome = outcome_of(a_tool, status, kind, body)
    return outcome.words, outcome.ok, outcome.again


def test_a_result_is_made_from_the_answer() -> None:
    """Places lead into the JSON answer; the rest of the sentence stands."""
    a_tool = tool(result="{state}, {items.0.name} for {total}, {gone}")
    body = b'{"state": "on its\\nway", "items": [{"name": "tea"}], "total": 12.0, "gone": null}'
    assert told(a_tool, 200, body) == ("on its way, tea for 12, unknown", True, False)
    assert told(a_tool, 200, b'{"other": 1}') == (UNREADABLE, False, False)


def test_without_a_mapping_the_whole_answer_is_the_result() -> None:
    """JSON in one line, a plain text in one line, and something to say for nothing."""
    assert told(tool(), 200, b'{"a": [1,\n 2]}')[0] == '{"a":[1,2]}'
    assert told(tool(), 200, b'"hello\\nyou"')[0] == "hello you"
    assert (
        told(tool(), 200, "Grüße\n aus Köln".encode("latin-1"), "text/plain; charset=ISO-8859-1")[0] == "Grüße aus Köln"
    )
    assert told(tool(), 200, b"", "")[0] == "The answer was empty."
    assert told(tool(effect="commit"), 204, b"", "")[0] == "Done."


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("text/html", b"<html>hello</html>"),
        ("text/plain", b"<!doctype html>"),
        ("text/plain", b"\x00\x01\x02"),
        ("text/plain", b"\xff\xfe\xff"),
        ("text/plain; charset=utf-16", b"a"),
        ("text/plain; charset=klingon", b"hello"),
        ("application/json", b"{nope"),
        ("application/json", b'{"a": "\xff"}'),
        ("application/json", b"[" * 100_000),
        ("application/octet-stream", b"hello"),
        ("image/png", b"\x89PNG"),
        ("", b"<p>"),
        ("application/json", None),
    ],
)
def test_garbage_is_a_short_sentence(kind: str, body: bytes | None) -> None:
    """What cannot be read is not read aloud; and a commit that was accepted is not called failed."""
    assert told(tool(), 200, body, kind) == (UNREADABLE, False, False)
    assert told(tool(effect="commit", result="{a}"), 201, body, kind) == (DONE_UNREAD, True, False)


@given(st.binary(max_size=200), st.sampled_from(["", "application/json", "text/plain", "text/plain; charset=utf-16"]),
       st.integers(200, 599))  # fmt: skip
def test_any_answer_is_one_line_of_words(body: bytes, kind: str, status: int) -> None:
    """No answer crashes; the model gets one printable line."""
    words, _, _ = told(tool(problems={"4xx": "No: {a.b}."}), status, body, kind)
    assert words and "\n" not in words and "\x00" not in words and len(words) <= MOST_WORDS_CHARS
    words.encode()


def test_a_long_answer_is_cut() -> None:
    """A megabyte of words is not put before the model."""
    assert len(told(tool(), 200, b"x " * 500_000, "text/plain")[0]) == MOST_WORDS_CHARS


@pytest.mark.parametrize(
    ("effect", "status", "words", "again"),
    [
        ("read", 404, "There is no such order.", False),
        ("read", 410, "Not now: sold out.", False),
        ("read", 500, "The service has a problem just now.", True),
        ("read", 429, "Not now: sold out.", True),
        ("read", 302, "The service has moved and could not be asked.", False),
        ("commit", 404, "There is no such order.", False),
        ("commit", 503, "Closed for lunch.", True),
        ("commit", 500, NOT_CERTAIN, False),
        ("commit", 502, NOT_CERTAIN, False),
        ("commit", 504, NOT_CERTAIN, False),
        ("idempotent", 504, "The service has a problem just now.", True),
    ],
)
def test_a_status_is_told_in_words(effect: str, status: int, words: str, again: bool) -> None:
    """The file's own words where it has some; and a commit that may have happened is never called failed."""
    problems = {"404": "There is no such order.", "4xx": "Not now: {why}.", "503": "Closed for lunch."}
    assert told(tool(effect=effect, problems=problems), status, b'{"why": "sold out"}') == (words, False, again)


def test_words_that_need_what_the_answer_has_not_fall_back() -> None:
    """A problem without its reason still has a sentence."""
    assert told(tool(problems={"422": "{message}"}), 422, b"{}")[0] == "The service did not accept these details."


# Files


def test_a_good_tool_has_no_fault() -> None:
    """The example of the documentation is right."""
    assert (
        wrong(headers={"Authorization": "Bearer x{y"}, retries=2, timeout_s=5, problems={"404": "No.", "5xx": "No."})
        == {}
    )


@pytest.mark.parametrize(
    ("keys", "at", "said"),
    [
        ({"url": "http://a.example.com/{order_id}"}, "url", "`allow_private: true`"),
        ({"url": "https://a.example.com/../{order_id}"}, "url", "no `.` or `..`"),
        ({"url": "https://a.example.com/{oder_id}"}, "url", "did you mean {order_id}?"),
        ({"parameters": {"order_id": {"optional": True}}}, "url", "is optional"),
        ({"parameters": {"order_id": {"type": "array"}}}, "url", "cannot stand in a URL"),
        ({"parameters": {"order_id": {}, "x": {}}}, "parameters.x", "is used nowhere"),
        ({"parameters": {"order_id": {}, "a.b": {}}}, "parameters.a.b", "cannot be a parameter's name"),
        ({"parameters": {"order_id": {"pattern": "["}}}, "parameters.order_id.pattern", "no regular expression"),
        ({"parameters": {"order_id": {"minimum": 1}}}, "parameters.order_id.minimum", "is for numbers"),
        ({"parameters": {"order_id": {"enum": [True]}}}, "parameters.order_id.enum", 'in quotes, like "yes"'),
        ({"parameters": {"order_id": {"min_length": 9, "max_length": 2}}}, "parameters.order_id.min_length", "is over"),
        (
            {"parameters": {"order_id": {"type": "integer", "default": "x"}}},
            "parameters.order_id.default",
            "does not fit",
        ),
        ({"parameters": {"order_id": {"items": {}}}}, "parameters.order_id.items", "is for `type: array`"),
        ({"headers": {"Host": "b"}}, "headers.Host", "leave it out"),
        ({"headers": {"Idempotency-Key": "b"}}, "headers.Idempotency-Key", "leave it out"),
        ({"headers": {"A B": "b"}}, "headers.A B", "is no header name"),
        ({"headers": {"A": "s3cret\nB: c"}}, "headers.A", "one line of ASCII"),
        ({"headers": {"A": "s3cret{b}"}}, "headers.A", "is no parameter"),
        ({"body": {"a": 1}}, "body", "a GET has no `body`"),
        ({"method": "POST", "body": {"a": 1}, "form": {"a": 1}}, "form", "not both"),
        ({"method": "POST", "body": {"a": object()}}, "body", "not JSON"),
        ({"query": {"a": {"b": 1}}}, "query.a", "must be a text"),
        ({"effect": "commit", "retries": 1}, "retries", "could do it twice"),
        ({"effect": "idempotent", "cache_s": 1}, "cache_s", "only a read is cached"),
        ({"confirm": True}, "confirm", "only a commit is confirmed"),
        ({"problems": {"40": "No."}}, "problems.40", "no status"),
        ({"problems": {"200": "No."}}, "problems.200", "no status"),
    ],
)
def test_what_a_file_cannot_mean_is_said_where_it_stands(keys: dict[str, Any], at: str, said: str) -> None:
    """Each fault names its key, says what to do, and quotes no secret."""
    found = wrong(**keys)
    assert said in found.get(at, f"nothing; but {found}")
    assert "s3cret" not in str(found)

"""What we would send to Vapi, held against the types of its official SDK: `callscope check --against-vapi`.

The SDK's models take any key besides their own, and any text for an enum, so that they bear a newer Vapi. Vapi itself
answers an unknown key with 400 (reference/vapi.md §2). So the models are walked field by field here: keys that no
model knows are errors at any depth, values of the wrong type are, and texts that no enum lists are warnings.

The SDK is a development dependency; nothing else of Callscope imports it.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from engine.errors import BadSettings
from web.agent_lints import place_of
from web.agent_problems import Reading
from web.agents import LoadedAgent, inspect_agent
from web.assistant import Assistant, assistant_body, call_bodies
from web.findings import Finding, Severity
from web.settings import Settings

__all__ = ["against_vapi", "misfits"]

PACKAGE = "vapi-server-sdk"
# A key that Vapi takes and the SDK's types do not have (reference/vapi.md §9): the plain secret of our webhooks.
TAKEN = ".server.secret"
_ANYTHING = Settings(
    public_url="https://calls.example.com",
    twilio_account_sid="AC" + "0" * 32,
    twilio_auth_token="0" * 32,
    vapi_api_key="key",
    vapi_server_secret="secret",  # noqa: S106 — nothing is sent
)

Misfit = tuple[str, Severity, str, str]
"""Path, how bad, what, and what would be right."""


def against_vapi(agent: LoadedAgent) -> list[Finding]:
    """What of the bodies for `POST /assistant` and `POST /call` the SDK's types do not allow.

    Raises:
        BadSettings: the SDK is not installed; names the package.
    """
    try:
        from vapi.types import CreateAssistantDto, CreateOutboundCallDto  # noqa: PLC0415 — see above
    except ImportError as missing:
        raise BadSettings(
            f"--against-vapi needs Vapi's SDK: pip install {PACKAGE} (it is in `./dev`'s environment)"
        ) from missing
    reading = inspect_agent(agent.path).reading
    found: list[Misfit] = []
    if agent.agent.assistant is not None:
        found += misfits(assistant_body(_ANYTHING, agent), CreateAssistantDto, "$.assistant")
    for known in (Assistant(), Assistant("00000000-0000-4000-8000-000000000000")):
        if known.id is None and agent.agent.assistant is None:
            continue
        body = call_bodies(_ANYTHING, agent, known)("call-1", "+12025550123")
        found += misfits(body, CreateOutboundCallDto, "$")
    return _placed(reading, found)


def misfits(value: object, wanted: Any, at: str) -> list[Misfit]:
    """What of a value does not fit a type of the SDK's."""
    plain = msgspec.json.decode(msgspec.json.encode(value))
    return [one for one in _walk(plain, wanted, at) if not one[0].endswith(TAKEN)]


def _placed(reading: Reading, found: list[Misfit]) -> list[Finding]:
    """With the line of the agent file that each comes from; what we add ourselves stands at the top."""
    findings = {
        Finding(*place_of(reading, at), "vapi-sdk", severity, at, what, fix) for at, severity, what, fix in found
    }
    return sorted(findings)


def _walk(value: Any, wanted: Any, at: str) -> Iterator[Misfit]:
    wanted, discriminant = _bare(wanted)
    if wanted is Any or wanted is object:
        return
    origin, inner = typing.get_origin(wanted), typing.get_args(wanted)
    if origin in (typing.Union, types.UnionType):
        yield from _walk_union(value, inner, discriminant, at)
    elif isinstance(origin, type) and issubclass(origin, Sequence):
        yield from _walk_list(value, inner, at)
    elif isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            yield at, Severity.ERROR, f"must be an object, not {_kind(value)}.", ""
            return
        for key, held in value.items():
            yield from _walk(held, inner[1], f"{at}.{key}")
    elif hasattr(wanted, "model_fields"):
        yield from _walk_model(value, wanted, at)
    else:
        yield from _leaf(value, wanted, at)


def _walk_list(value: Any, inner: tuple[Any, ...], at: str) -> Iterator[Misfit]:
    if not isinstance(value, list):
        yield at, Severity.ERROR, f"must be a list, not {_kind(value)}.", ""
        return
    for index, item in enumerate(value):
        yield from _walk(item, inner[0], f"{at}[{index}]")


def _walk_model(value: Any, model: Any, at: str) -> Iterator[Misfit]:
    if not isinstance(value, dict):
        yield at, Severity.ERROR, f"must be an object, not {_kind(value)}.", ""
        return
    fields = {_wire_name(name, field): field for name, field in model.model_fields.items()}
    for key, held in value.items():
        if key in fields:
            if held is not None or fields[key].is_required():
                yield from _walk(held, _with_metadata(fields[key]), f"{at}.{key}")
            continue
        near = get_close_matches(key, fields, n=1)
        fix = f"Did you mean `{near[0]}`?" if near else f"Known are {', '.join(sorted(fields))}."
        what = f"Vapi's {model.__name__} has no key `{key}`: it would be refused (400)."
        yield f"{at}.{key}", Severity.ERROR, what, fix
    for key, field in fields.items():
        if field.is_required() and key not in value:
            yield at, Severity.ERROR, f"`{key}` is missing: Vapi's {model.__name__} asks for it.", "Add it."


def _walk_union(value: Any, inner: tuple[Any, ...], discriminant: str, at: str) -> Iterator[Misfit]:
    """The member that is meant: by its discriminant, or else the one that fits best."""
    if value is None and type(None) in inner:
        return
    choices = [one for one in inner if one is not type(None)]
    known = [one for choice in choices for one in _literals(choice)]
    if any(choice is Any for choice in choices):
        if any(choice is str for choice in choices):
            known = []  # a list of examples, as of voices; any other text is as good
        if known and isinstance(value, str) and value not in known:
            near = get_close_matches(value, map(str, known), n=1)
            fix = f"Did you mean `{near[0]}`?" if near else f"Known are {', '.join(map(str, known))}."
            yield at, Severity.WARNING, f"`{value}` is none of the values that the SDK knows.", fix
        elif known and not isinstance(value, str):
            yield at, Severity.ERROR, f"must be one of {', '.join(map(str, known))}, not {_kind(value)}.", ""
        return
    if discriminant and isinstance(value, dict):
        yield from _walk_member(value, choices, discriminant, at)
        return
    tried = [list(_walk(value, choice, at)) for choice in choices]
    yield from min(tried, key=lambda found: (sum(one[1] is Severity.ERROR for one in found), len(found)), default=[])


def _walk_member(value: Mapping[str, Any], choices: list[Any], discriminant: str, at: str) -> Iterator[Misfit]:
    members = {}
    for choice in choices:
        field = next((f for n, f in choice.model_fields.items() if _wire_name(n, f) == discriminant), None)
        for one in _literals(_bare(field.annotation)[0]) if field is not None else ():
            members[one] = choice
    given = value.get(discriminant)
    if given in members:
        yield from _walk_model(value, members[given], at)
        return
    near = get_close_matches(str(given), map(str, members), n=1)
    fix = f"Did you mean `{near[0]}`?" if near else f"Known are {', '.join(map(str, members))}."
    what = f"`{discriminant}` is missing." if given is None else f"`{given}` is no {discriminant} that the SDK knows."
    yield (at if given is None else f"{at}.{discriminant}"), Severity.ERROR, what, fix


def _leaf(value: Any, wanted: Any, at: str) -> Iterator[Misfit]:
    import pydantic  # noqa: PLC0415 — comes with the SDK

    try:
        pydantic.TypeAdapter(wanted).validate_json(msgspec.json.encode(value), strict=True)
    except pydantic.ValidationError as problem:
        what = problem.errors()[0]["msg"]
        yield at, Severity.ERROR, f"{what}, not {_kind(value)}.", ""


def _bare(wanted: Any) -> tuple[Any, str]:
    """A type without its annotations, and the key by which the members of a union are told apart."""
    discriminant = ""
    while typing.get_origin(wanted) is typing.Annotated:
        found = [one.discriminant for one in wanted.__metadata__ if hasattr(one, "discriminant")]
        discriminant = found[0] if found else discriminant
        wanted = wanted.__origin__
    return wanted, discriminant


def _with_metadata(field: Any) -> Any:
    """A field's type with what pydantic has moved out of it."""
    found = [one for one in field.metadata if hasattr(one, "discriminant")]
    return typing.Annotated[field.annotation, found[0]] if found else field.annotation


def _wire_name(name: str, field: Any) -> str:
    return str(next((one.alias for one in field.metadata if hasattr(one, "alias")), None) or field.alias or name)


def _literals(wanted: Any) -> list[Any]:
    return list(typing.get_args(wanted)) if typing.get_origin(wanted) is typing.Literal else []


def _kind(value: object) -> str:
    kinds = {
        str: "a text",
        bool: "true or false",
        int: "a number",
        float: "a number",
        list: "a list",
        dict: "an object",
    }
    return "nothing" if value is None else kinds[type(value)]

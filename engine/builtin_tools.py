"""The built-in tools, as an agent file asks for them: end the call, transfer it, press keys, take a message. Pure.

    builtins:
      end_call: {}
      transfers:
        support: {to: "+15550100", when: "The caller wants a person, or has a complaint.", words: "One moment."}
      take_message: {read_back: false}

A transfer goes to a name of this list. The model never says a number: what a caller can talk a model into, it cannot
dial (reference/reliability.md S6).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from engine.tools import ToolEffect, ToolPolicy, ToolSpec

END_CALL, TRANSFER_CALL, SEND_KEYS, TAKE_MESSAGE = "end_call", "transfer_call", "send_keys", "take_message"

Name = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_-]{0,39}$")]
Where = Annotated[str, Meta(pattern=r"^(\+[1-9][0-9]{6,14}|sips?:[^\s@<>\"]+@[^\s<>\"]+)$")]
When = Annotated[str, Meta(max_length=500)]
MOST_KEYS, MOST_MESSAGE_CHARS = 40, 2000


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    pass


class EndCall(_Strict, frozen=True):
    when: When = "The conversation is over and both sides have said goodbye."


class Transfer(_Strict, frozen=True):
    to: Where  # E.164, or a SIP address
    when: When = ""  # for the model: when it is right to transfer there
    words: Annotated[str, Meta(max_length=500)] = ""  # said by Twilio before it dials


class SendKeys(_Strict, frozen=True):
    when: When = "A machine on the line asks for a key to be pressed."


class TakeMessage(_Strict, frozen=True):
    when: When = "The caller wants to leave a message, or cannot be helped now."
    read_back: bool = True  # the message is read back to the caller, and kept when they agree


class Builtins(_Strict, frozen=True):
    """Which of the built-in tools the agent has; those that are left out it has not."""

    end_call: EndCall | None = None
    transfers: dict[Name, Transfer] = {}
    send_keys: SendKeys | None = None
    take_message: TakeMessage | None = None


def builtin_specs(builtins: Builtins) -> Iterator[ToolSpec]:
    """The tools as Vapi's model is told about them."""
    if builtins.end_call is not None:
        yield _spec(END_CALL, f"Hang up. {builtins.end_call.when}", ToolEffect.TERMINAL, {})
    if builtins.transfers:
        yield _spec(TRANSFER_CALL, _transfers_told(builtins), ToolEffect.TERMINAL, {"to": _choice(builtins)})
    if builtins.send_keys is not None:
        keys = {
            "type": "string",
            "pattern": f"^[0-9A-D*#w]{{1,{MOST_KEYS}}}$",
            "description": "0 to 9, A to D, * and #; w waits half a second",
        }
        # The same key may be asked for at two points of a menu.
        policy = ToolPolicy(again=True)
        yield _spec(
            SEND_KEYS, f"Press keys of the phone. {builtins.send_keys.when}", ToolEffect.COMMIT, {"keys": keys}, policy
        )
    if builtins.take_message is not None:
        properties = {
            "message": {"type": "string", "minLength": 1, "maxLength": MOST_MESSAGE_CHARS, "description": "All of it"},
            "name": {"type": "string", "maxLength": 200, "description": "Who it is from, as the caller said it"},
            "call_back": {
                "type": "string",
                "maxLength": 40,
                "description": "Another number than the one they call from",
            },
        }
        policy = ToolPolicy(confirm=builtins.take_message.read_back)
        told = f"Write down a message of the caller's. {builtins.take_message.when}"
        yield _spec(TAKE_MESSAGE, told, ToolEffect.COMMIT, properties, policy, required=["message"])


def _transfers_told(builtins: Builtins) -> str:
    told = "; ".join(f"{name}: {one.when}" if one.when else name for name, one in builtins.transfers.items())
    return f"Connect the caller with a person. To: {told}"


def _choice(builtins: Builtins) -> dict[str, Any]:
    return {"type": "string", "enum": list(builtins.transfers), "description": "Whom to connect the caller with"}


def _spec(
    name: str,
    description: str,
    effect: ToolEffect,
    properties: dict[str, Any],
    policy: ToolPolicy | None = None,
    *,
    required: list[str] | None = None,
) -> ToolSpec:
    needed = list(properties) if required is None else required
    parameters = {"type": "object", "properties": properties, "required": needed}
    return ToolSpec(name, description, parameters, effect, policy or ToolPolicy())

"""Calls that the service makes itself: what an agent file allows, and what becomes of a machine that answers. Pure.

    outbound:
      allow: ["+1555"]
      hours: 09:00-20:00
      timezone: America/New_York
      variables: [name, day]
      machine: leave_message
      message: Hello {{name}}, please call us back about {{day}}.

Nothing is dialled that this part does not allow (reference/reliability.md S6): without it there are no outbound calls.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from engine.errors import BadSettings

E164 = re.compile(r"\+[1-9][0-9]{6,14}")
VOICEMAIL = "a machine answered"  # the reason of a call that ended at an answering machine
LOST_SPAN_S = 120.0  # beyond ring and longest talk: by then a call of which nothing was heard is over
MACHINES = ("machine_start", "machine_end_beep", "machine_end_silence", "machine_end_other", "fax")
FINAL = frozenset({"completed", "busy", "no-answer", "failed", "canceled"})
"""Twilio's last words about a call (reference/twilio.md §13)."""
OUR_VARIABLES = ("caller",)  # that every call has
MOST_VARIABLE_CHARS = 500

# Numbers that cost who calls them, or lie off every tariff: never dialled, whatever `allow` says. ITU-T E.164 for the
# global codes; national premium ranges of countries where they are known. A net under `allow`, not instead of it.
PREMIUM = (
    "+1900", "+870", "+878", "+881", "+882", "+883", "+888", "+979",  # NANP pay calls; satellite; global networks
    "+4487", "+4490", "+4491", "+4498", "+4470",  # United Kingdom
    "+49137", "+49180", "+49900", "+3389", "+39199", "+39892", "+39894", "+39895", "+39899",  # Germany, France, Italy
    "+34803", "+34806", "+34807", "+34905", "+31900", "+31906", "+31909", "+3290",  # Spain, Netherlands, Belgium
    "+41900", "+41901", "+41906", "+43900", "+43901", "+43930", "+43931", "+35315",  # Switzerland, Austria, Ireland
    "+61190", "+6490", "+81990",  # Australia, New Zealand, Japan
)  # fmt: skip
_NANP_PAY = re.compile(r"\+1[2-9][0-9]{2}976[0-9]{4}")  # pay-per-call exchange of every area
_SLOT = re.compile(r"\{\{\s*([A-Za-z0-9_]+)\s*\}\}")

Prefix = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{0,14}$")]
VariableName = Annotated[str, Meta(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,39}$")]
Number = Annotated[str, Meta(pattern=r"^\+[1-9][0-9]{6,14}$")]
PerDay = Annotated[int, Meta(ge=1, le=1_000_000)]


class Outbound(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"from_": "from"}):
    """What may be dialled, when and how often, and what is said to a machine."""

    allow: Annotated[tuple[Prefix, ...], Meta(min_length=1)]
    block: tuple[Prefix, ...] = ()
    from_: Number | None = None  # one of the account's numbers; else TWILIO_PHONE_NUMBER
    hours: str = "09:00-20:00"
    timezone: str = "UTC"
    do_not_call: str = ""  # a file beside the agent file
    per_number_per_day: PerDay = 3  # of 24 hours, as the next two
    per_day: PerDay = 100
    at_once: Annotated[int, Meta(ge=1, le=10_000)] = 10
    ring_s: Annotated[int, Meta(ge=5, le=600)] = 30
    variables: tuple[VariableName, ...] = ()  # what each call must be given, and nothing else
    machine: Literal["hang_up", "leave_message", "talk"] = "hang_up"
    message: Annotated[str, Meta(max_length=1000)] = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a number is not dialled. `kind` is for programs; the words hold nothing that the asker gave."""

    kind: str
    detail: str
    status: int = 422


def number_refusal(outbound: Outbound, to: str, do_not_call: Collection[str]) -> Refusal | None:
    """Whether this number may be dialled at all."""
    if not E164.fullmatch(to):
        return Refusal("number", "`to` is a number in E.164: + and 7 to 15 digits, without spaces.")
    if to.startswith(PREMIUM) or _NANP_PAY.fullmatch(to):
        return Refusal("premium", "Premium, satellite and global-network numbers are never dialled.")
    if to.startswith(outbound.block) or not to.startswith(outbound.allow):
        return Refusal(
            "not-allowed", "`outbound.allow` and `block` of the agent file do not let this number be dialled."
        )
    if to in do_not_call:
        return Refusal("do-not-call", "This person does not want to be called: the number is on the do-not-call list.")
    return None


def hours_refusal(outbound: Outbound, span: tuple[int, int], local_minutes: int) -> Refusal | None:
    """Whether people may be called at this minute of their day. `span`: begin and end of `hours` in minutes."""
    begin, end = span
    inside = begin <= local_minutes < end if begin < end else local_minutes >= begin or local_minutes < end
    if inside:
        return None
    return Refusal("hours", f"Nobody is called outside {outbound.hours} ({outbound.timezone}).", status=409)


def variables_refusal(outbound: Outbound, given: Mapping[str, str]) -> Refusal | None:
    """Whether a call has what its words need: no more and no less, so that a misspelt name is no silent gap."""
    wanted = set(outbound.variables)
    names = ", ".join(outbound.variables) or "none"
    if wanted - given.keys() or given.keys() - wanted:
        return Refusal("variables", f"`variables` must be exactly those of the agent file: {names}.")
    if any(len(value) > MOST_VARIABLE_CHARS or not value.strip() for value in given.values()):
        return Refusal("variables", f"Each of `variables` is a text of 1 to {MOST_VARIABLE_CHARS} characters.")
    return None


def numbers_of(text: str) -> frozenset[str]:
    """A do-not-call list: a number a line, `#` begins a comment.

    Raises:
        BadSettings: a line that is no number: better no calls than one to somebody who said no.
    """
    lines = (line.partition("#")[0] for line in text.splitlines())
    numbers = ["".join(char for char in line if char not in " \t-()./") for line in lines]
    for row, number in enumerate(numbers, start=1):
        if number and not E164.fullmatch(number):
            raise BadSettings(f"the do-not-call list: line {row} is no number in E.164, like +12025550123")
    return frozenset(filter(None, numbers))


def words_for_machine(outbound: Outbound | None, answered_by: str, variables: Mapping[str, str]) -> str | None:
    """What is said before hanging up on what answered; empty: nothing. None: the call goes on."""
    if outbound is None or outbound.machine == "talk" or answered_by not in MACHINES:
        return None
    leaves = outbound.machine == "leave_message" and answered_by != "fax"
    return filled(outbound.message, variables) if leaves else ""


def detection(outbound: Outbound) -> str:
    """`MachineDetection` of Twilio (§14): a message wants the greeting's end, a hang-up wants to be quick."""
    return {"leave_message": "DetectMessageEnd", "hang_up": "Enable", "talk": ""}[outbound.machine]


def filled(text: str, variables: Mapping[str, str]) -> str:
    """`{{ name }}` filled in, as Vapi does (reference/vapi.md §11.3). An unknown name becomes nothing."""
    return _SLOT.sub(lambda slot: variables.get(slot[1], ""), text)


def slots_of(text: str) -> list[str]:
    """The names that a text wants."""
    return _SLOT.findall(text)


def filled_in(value: Any, variables: Mapping[str, str]) -> Any:
    """Data with all its texts filled."""
    if isinstance(value, str):
        return filled(value, variables)
    if isinstance(value, Mapping):
        return {key: filled_in(one, variables) for key, one in value.items()}
    return [filled_in(one, variables) for one in value] if isinstance(value, list | tuple) else value

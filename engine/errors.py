"""Every error of ours, by whose fault it is. Facts are attributes; a caller's words and numbers never enter a message.

CallscopeError
├── OurMistake            a bug of ours
│   ├── NotInThisPhase    no rule for an event in a phase
│   └── InboxFull         a call's control inbox overflowed
├── BadSettings           the operator's: a variable or agent file is wrong; the message says what to do
├── BadMessage            the peer's: not what the wire's reference allows
├── Refused               the peer's: who asks may not (bad signature, used token)
├── VendorTrouble         the vendor answered with an error, or not at all
│   ├── TwilioTrouble
│   └── VapiTrouble
└── JournalUnavailable    the store could not keep a record
"""

from __future__ import annotations


class CallscopeError(Exception):
    """Root of everything that Callscope raises on purpose."""


class OurMistake(CallscopeError):
    """A bug in Callscope: please report it with the journal of the call."""


class NotInThisPhase(OurMistake):
    """An event arrived in a phase that has no rule for it."""

    def __init__(self, phase: str, event: str) -> None:
        super().__init__(f"{event} has no place in {phase}")
        self.phase, self.event = phase, event


class InboxFull(OurMistake):
    """A call's control inbox is full: its actor stands still."""


class BadSettings(CallscopeError):
    """A setting is missing or wrong. The message names it and says how to put it right."""


class BadMessage(CallscopeError):
    """A peer sent something that the wire does not allow. `why` is safe to log: it holds no caller's words."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Refused(CallscopeError):
    """Who asks is not who they should be."""

    def __init__(self, why: str, *, status: int = 403) -> None:
        super().__init__(why)
        self.why, self.status = why, status


class VendorTrouble(CallscopeError):
    """A vendor's API failed us. `status` is the HTTP status (None: no answer); `retry`: trying again is safe."""

    vendor = "vendor"

    def __init__(self, what: str, *, status: int | None = None, code: int | None = None, retry: bool = False) -> None:
        answered = f"answered {status}" if status is not None else "did not answer"
        super().__init__(f"{self.vendor} {answered}: {what}")
        self.what, self.status, self.code, self.retry = what, status, code, retry


class TwilioTrouble(VendorTrouble):
    vendor = "Twilio"


class VapiTrouble(VendorTrouble):
    vendor = "Vapi"


class JournalUnavailable(CallscopeError):
    """The journal could not make a record durable."""

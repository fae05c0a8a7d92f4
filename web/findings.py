"""What a check has found: a place, a code that stays, a reason, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from web.agent_problems import Fault

__all__ = ["Finding", "Severity", "allowed_there", "of_fault"]

_ALLOWED = re.compile(r"(?:#|<!--)\s*callscope: allow ([\w ,-]+)")


class Severity(StrEnum):
    ERROR = "error"  # it will not work, or not as it stands there
    WARNING = "warning"  # it works, and somebody will be surprised


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """One thing found. `line` and `column` count from 1."""

    line: int
    column: int
    code: str
    severity: Severity
    at: str  # the path in the file: `$.assistant.voice`, or an element of TwiML
    what: str
    fix: str

    def __str__(self) -> str:
        fix = f" Fix: {self.fix}" if self.fix else ""
        return f"{self.line}:{self.column}: {self.severity} {self.code}: {self.what}{fix} (at `{self.at}`)"

    def as_json(self, file: str) -> dict[str, Any]:
        """For editors and CI."""
        return {"file": file, **asdict(self)}


def of_fault(fault: Fault) -> Finding:
    """A fault of the file as a finding: what to do is in its words."""
    return Finding(fault.line, fault.column, "fault", Severity.ERROR, fault.at, fault.what, "")


def allowed_there(findings: Iterable[Finding], lines: Sequence[str]) -> list[Finding]:
    """Without those that their line allows with a comment: `# callscope: allow own-server`. Faults stay."""
    return sorted(one for one in findings if one.code == "fault" or one.code not in _allows(lines, one.line))


def _allows(lines: Sequence[str], line: int) -> set[str]:
    found = _ALLOWED.search(lines[line - 1]) if 0 < line <= len(lines) else None
    return set(re.split(r"[ ,]+", found[1].strip())) if found else set()

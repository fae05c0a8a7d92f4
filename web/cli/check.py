"""`callscope check`: is this agent file one that Callscope can run, and is it wise?"""

from __future__ import annotations

import json as json_text
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import httpx
from cyclopts import Parameter

from actors.hidden import HIDDEN
from engine.errors import BadSettings
from web.agent_lints import lint_agent
from web.agent_schema import schema_text
from web.agents import LoadedAgent, example, inspect_agent, loaded
from web.findings import Finding, Severity, of_fault
from web.twiml_lints import MOST_BYTES, lint_twiml

TWIML_S = 5.0

_Flag = Parameter(negative="")


def check(
    agent: Path | None = None,
    /,
    *more: Path,
    strict: Annotated[bool, _Flag] = False,
    json: Annotated[bool, _Flag] = False,
    schema: Annotated[bool, _Flag] = False,
    twiml: str | None = None,
    against_vapi: Annotated[bool, _Flag] = False,
) -> None:
    """Check an agent file and its tools. Exit 0: fine; 1: warnings, with --strict; 2: something is wrong.

    Parameters
    ----------
    agent
        The agent file, or its folder; the bistro example when left out.
    more
        More of them; the exit status is the worst one's.
    strict
        Warnings count too: exit 1.
    json
        Print what was found as JSON, for editors and CI; a list for each file.
    schema
        Print the JSON Schema of the agent file, for editors.
    twiml
        Lint this TwiML document instead: a file, or the http(s) address that answers it.
    against_vapi
        Hold what would be sent to Vapi against the types of its official SDK.
    """
    if schema:
        sys.stdout.write(schema_text())
        return
    if twiml is not None:
        _tell(twiml, lint_twiml(_document(twiml)), f"{twiml}: nothing to complain of", strict=strict, as_json=json)
        return
    paths = [agent or example(), *more]
    statuses = [0]
    for path in paths:
        try:
            _check(path, strict=strict, as_json=json, against=against_vapi)
        except (SystemExit, BadSettings) as wrong:
            if len(paths) == 1:
                raise
            if isinstance(wrong, BadSettings):
                print(f"callscope: {wrong}", file=sys.stderr)
            statuses.append(1 if isinstance(wrong, SystemExit) and wrong.code == 1 else 2)
    if worst := max(statuses):
        raise SystemExit(worst)


def _check(path: Path, *, strict: bool, as_json: bool, against: bool) -> None:
    """One agent file.

    Raises:
        BadSettings: it has faults; all of them are in the message.
        SystemExit: unless nothing is wrong.
    """
    found = inspect_agent(path)
    if found.faults and not as_json:
        loaded(found)  # raises, with all of them
    findings = [of_fault(one) for one in found.faults]
    fine = ""
    if not findings:
        good = loaded(found)
        findings = lint_agent(found) + (_against_vapi(good) if against else [])
        names = ", ".join(good.toolbox.tools) or "none"
        fine = f"{good.path}: agent {good.agent.name!r} is fine; tools: {names}"
        fine += "; Vapi's SDK knows every key" if against else ""
    _tell(str(found.path), findings, fine, strict=strict, as_json=as_json)


def _tell(file: str, findings: Sequence[Finding], fine: str, *, strict: bool, as_json: bool) -> None:
    """Print it, and leave with the status that it means.

    Raises:
        SystemExit: unless nothing is wrong.
    """
    if as_json:
        print(HIDDEN.out_of(json_text.dumps([one.as_json(file) for one in findings], indent=2, ensure_ascii=False)))
    else:
        for one in findings:
            print(HIDDEN.out_of(f"{file}:{one}"))
        if not any(one.severity is Severity.ERROR for one in findings):
            warnings = f" ({len(findings)} warning{'s' if len(findings) > 1 else ''})" if findings else ""
            print(fine + warnings)
    if any(one.severity is Severity.ERROR for one in findings):
        raise SystemExit(2)
    if findings and strict:
        raise SystemExit(1)


def _against_vapi(agent: LoadedAgent) -> list[Finding]:
    from web.against_vapi import against_vapi  # noqa: PLC0415 — the SDK takes a second to import, and may not be there

    return against_vapi(agent)


def _document(where: str) -> str:
    """A TwiML document, from a file or an address.

    Raises:
        BadSettings: it cannot be had; says why.
    """
    if where.startswith(("http://", "https://")):
        try:
            with httpx.stream("GET", where, timeout=TWIML_S) as answer:
                body = b""
                for some in answer.iter_bytes():
                    body += some
                    if len(body) > 2 * MOST_BYTES:
                        break
                status = answer.status_code
        except (httpx.HTTPError, httpx.InvalidURL) as problem:
            raise BadSettings(f"no TwiML from {where}: {type(problem).__name__}") from problem
        if status != 200:
            raise BadSettings(f"{where} answered {status}, not 200; save what it answers Twilio, and check the file")
        return body.decode("utf-8", errors="replace")
    try:
        return Path(where).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise BadSettings(f"TwiML file {where} cannot be read: {problem}") from problem

"""`callscope dial +15550123 --var name=Ada`: let the running service call somebody."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import httpx
import trio
from cyclopts import Parameter
from rich.console import Console

from engine.errors import BadSettings
from engine.outbound import number_refusal, variables_refusal
from web.agents import load_agent
from web.outbound import NotTaken, Service
from web.settings import environment
from web.stack import STACK_FILE

console = Console(highlight=False)
LONGEST_S = 3600.0


def dial(
    number: str,
    /,
    *,
    agent: Path | None = None,
    var: Annotated[list[str] | None, Parameter(negative="")] = None,
    url: str = "",
    data: Path | None = None,
    key: str = "",
    wait: bool = True,
) -> None:
    """Let the running service call a number, and print how it goes. Exit status 1: nobody was talked to.

    Parameters
    ----------
    number
        Whom to call, in E.164: +12025550123.
    agent
        The agent file that the service should run: checked here first, and by the service.
    var
        name=value, for each of the agent's `outbound.variables`; may be repeated.
    url
        The service; the demo's of the data folder, or PORT on this machine, when left out.
    data
        The demo's data folder; CALLSCOPE_DATA, or ./callscope-data, when left out.
    key
        Asked again with the same key, nobody is called twice. A new one when left out.
    wait
        Follow the call to its end.
    """
    env = environment()
    variables = _variables(var or [])
    name = _checked(agent, number, variables) if agent is not None else ""
    where = url.rstrip("/") or _service(data or Path(env.get("CALLSCOPE_DATA") or "callscope-data"), env)
    secret = env.get("CALLSCOPE_OPERATOR_KEY", "").partition(",")[0].strip()
    operator_key = secret.partition(":")[2] or secret
    try:
        reached = trio.run(_dial, where, operator_key, number, variables, key or secrets.token_hex(16), name, wait)
    except* NotTaken as refused:
        raise BadSettings(str(refused.exceptions[0])) from None
    if not reached:
        raise SystemExit(1)


def _variables(given: list[str]) -> dict[str, str]:
    pairs = [one.partition("=") for one in given]
    if any(not equals for _, equals, _ in pairs):
        raise BadSettings("write --var name=value")
    return {name.strip(): value for name, _, value in pairs}


def _checked(agent: Path, number: str, variables: Mapping[str, str]) -> str:
    """The agent's name, if it would call this number with these variables."""
    loaded = load_agent(agent)
    outbound = loaded.agent.outbound
    if outbound is None:
        raise BadSettings(f"{loaded.path} has no `outbound:`, so it calls nobody")
    refusal = number_refusal(outbound, number, ()) or variables_refusal(outbound, variables)
    if refusal is not None:
        raise BadSettings(refusal.detail)
    return loaded.agent.name


def _service(folder: Path, env: Mapping[str, str]) -> str:
    """The demo's service; else the one that would listen on this machine's PORT."""
    try:
        return str(json.loads((folder / STACK_FILE).read_text(encoding="utf-8"))["service"])
    except (OSError, ValueError, KeyError):
        return f"http://127.0.0.1:{env.get('PORT') or '8080'}"


async def _dial(
    url: str, operator_key: str, number: str, variables: Mapping[str, str], key: str, agent: str, wait: bool
) -> bool:
    async with httpx.AsyncClient(timeout=45.0) as http:
        service = Service(url, http, operator_key)
        now = await service.dial(number, variables, idempotency_key=key, agent=agent)
        console.print(f"{now['id']}  to {now['to']}")
        if not wait:
            _tell(now)
            return True
        try:
            async for step in service.follow(str(now["id"]), timeout_s=LONGEST_S):
                _tell(now := step)
        except trio.TooSlowError:
            console.print("still not over; `callscope calls show` tells more")
            return False
        ended = await service.outcome(str(now["id"]))
        if ended is not None:
            console.print(f"[bold]{ended['outcome']}[/]: {ended['reason']}, after {ended['duration_ms'] / 1000:.1f} s")
            return str(ended["outcome"]) in ("completed", "voicemail")
        return bool(now["status"] == "completed")


def _tell(now: Mapping[str, object]) -> None:
    told = [str(now["status"])]
    told += [f"answered by {now['answered_by']}"] if now["answered_by"] else []
    told += [str(now["reason"])] if now["reason"] else []
    console.print("  " + " · ".join(told))

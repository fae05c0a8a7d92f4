"""Plan files: what `callscope storm --plan FILE` lives again. YAML of a `StormPlan`, or of an engine's facts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from actors.replay import FACTS
from actors.storm.engine_level import EnginePlan
from actors.storm.plan import StormPlan
from engine.call import Policy
from engine.errors import BadSettings


def write(path: Path, plan: StormPlan | EnginePlan, *, why: str) -> None:
    """`why` becomes a comment at the top: which law it broke."""
    data = _engine_data(plan) if isinstance(plan, EnginePlan) else {"storm": msgspec.to_builtins(plan)}
    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110)
    comment = "".join(f"# {line}\n" for line in why.splitlines())
    path.write_text(comment + text, encoding="utf-8")


def read(path: Path) -> StormPlan | EnginePlan:
    """The plan in a file.

    Raises:
        BadSettings: it cannot be read, or holds no plan.
    """
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as trouble:
        raise BadSettings(f"plan {path} cannot be read: {trouble}") from trouble
    try:
        if isinstance(data, dict) and "storm" in data:
            return msgspec.convert(data["storm"], StormPlan)
        if isinstance(data, dict) and "engine" in data:
            return _engine_plan(data["engine"])
    except (msgspec.ValidationError, KeyError, TypeError) as misfit:
        raise BadSettings(f"plan {path} is no plan of this version: {misfit}") from misfit
    raise BadSettings(
        f"{path} is no plan: it has neither `storm:` nor `engine:`. `callscope storm --seed K` writes one."
    )


def _engine_data(plan: EnginePlan) -> dict[str, Any]:
    facts = [{"fact": type(fact).__name__, **_plain(fact)} for fact in plan.facts]
    return {
        "engine": {
            "seed": plan.seed,
            "policy_number": plan.policy_number,
            "lateness_s": plan.lateness_s,
            "wild": plan.wild,
            "policy": msgspec.to_builtins(plan.policy),
            "facts": facts,
        }
    }


def _plain(fact: Any) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(fact)
    return {"at": data.pop("at"), **data}


def _engine_plan(data: dict[str, Any]) -> EnginePlan:
    facts = tuple(
        msgspec.convert({key: value for key, value in one.items() if key != "fact"}, FACTS[one["fact"]])
        for one in data["facts"]
    )
    return EnginePlan(
        msgspec.convert(data["policy"], Policy),
        facts,
        float(data.get("lateness_s", 0.0)),
        wild=bool(data.get("wild", False)),
        seed=int(data.get("seed", 0)),
        policy_number=int(data.get("policy_number", 0)),
    )

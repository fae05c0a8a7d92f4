"""`./dev python -m tests.mutation`: how many small wrong changes of the engine its own tests find.

--module rules,turns   only these modules       --sample 50 --seed 1   only so many mutants, drawn with this seed
--json FILE            what became of each      --verbose              each mutant as it is judged
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import Counter
from pathlib import Path

from tests.mutation.equivalents import EQUIVALENT
from tests.mutation.harness import Result, run
from tests.mutation.mutants import Mutant, Source
from tests.mutation.targets import MODULES

GOAL = 0.9


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("--module", default="", help="names with commas; all by default")
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    modules = asked.module.split(",") if asked.module else list(MODULES)
    if unknown := [name for name in modules if name not in MODULES]:
        parser.error(f"no such module: {', '.join(unknown)}; there are {', '.join(MODULES)}")
    sources = [Source.of(name) for name in modules]
    mutants = drawn(sources, asked.sample, asked.seed)

    out = sys.stdout  # pytest's own goes elsewhere

    def told(mutant: Mutant, killed: bool) -> None:
        if asked.verbose:
            print(f"{'killed  ' if killed else 'SURVIVED'} {mutant}", file=out, flush=True)

    result = run(sources, mutants, told=told)
    print(report(result))
    if asked.json:
        asked.json.write_text(json.dumps(as_json(result), indent=1) + "\n", encoding="utf-8")
    return 0 if result.share >= GOAL else 1


def drawn(sources: list[Source], sample: int, seed: int) -> list[Mutant]:
    """All mutants that are not known to change nothing, or so many of them."""
    mutants = [one for source in sources for one in source.mutants if one.key not in EQUIVALENT]
    return random.Random(seed).sample(mutants, min(sample, len(mutants))) if sample else mutants


def report(result: Result) -> str:
    killed, survived = Counter(one.module for one in result.killed), Counter(one.module for one in result.survived)
    every = len(result.killed) + len(result.survived)
    lines = [f"{'module':14} {'mutants':>8} {'killed':>8} {'survived':>9} {'killed %':>9}"]
    for module in MODULES:
        if all_of_it := killed[module] + survived[module]:
            share = f"{killed[module] / all_of_it:.1%}"
            lines.append(f"{module:14} {all_of_it:8} {killed[module]:8} {survived[module]:9} {share:>9}")
    lines.append(f"{'all':14} {every:8} {len(result.killed):8} {len(result.survived):9} {result.share:9.1%}")
    lines.append(f"{result.seconds:.0f} s, {result.seconds / max(1, every) * 1000:.0f} ms a mutant")
    if result.survived:
        lines += ["", "survived:", *(f"  {one}" for one in result.survived)]
    return "\n".join(lines)


def as_json(result: Result) -> dict[str, object]:
    return {
        "mutants": len(result.killed) + len(result.survived),
        "killed": len(result.killed),
        "survived": [one.key for one in result.survived],
        "seconds": round(result.seconds, 1),
    }


if __name__ == "__main__":
    sys.exit(main())

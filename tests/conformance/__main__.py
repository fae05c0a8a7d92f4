"""`python -m tests.conformance`: all of Autobahn's cases but compression, in both roles and both ways of reading.

Prints a table, writes one JSON report a run when asked to (`--out DIR`), and exits 1 when a case fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import trio

from tests.conformance.peers import ALL_CASES, Role, Verdict, run_cases
from tests.conformance.report import Run, failures_of, table_of, write_report

ROLES: tuple[Role, ...] = ("server", "client")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("--out", type=Path, help="write the verdicts of each run into this folder, as JSON")
    parser.add_argument("--cases", nargs="+", default=[*ALL_CASES], help="numbers or globs, e.g. 6.* 9.1.6")
    options = parser.parse_args()
    runs: list[Run] = []
    for role in ROLES:
        for in_place in (True, False):
            began = time.monotonic()
            verdicts = trio.run(_run, role, in_place, options.cases)
            runs.append(Run(role, in_place, verdicts, time.monotonic() - began))
            if options.out is not None:
                write_report(runs[-1], options.out)
    print(table_of(runs))
    failures = failures_of(runs)
    print(failures, end="")
    return 1 if failures or not all(run.verdicts for run in runs) else 0


async def _run(role: Role, in_place: bool, cases: list[str]) -> list[Verdict]:
    return await run_cases(role, in_place=in_place, cases=cases)


if __name__ == "__main__":
    sys.exit(main())

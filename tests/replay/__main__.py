"""`./dev python -m tests.replay [FIRST LAST]`: every journal of these seeds of the storm, lived again, three times.

Through the engine, through the actors, and with the policy that it had, which must change nothing. A call that a plan
made crash is left out: what its actor forgot is not in the journal.
"""

from __future__ import annotations

import sys
from collections import Counter

from actors.replay import counterfactual, first_difference, opening_of, orders_of, replay
from actors.replay_actor import replay_actor
from actors.storm.actor_level import live_plan
from actors.storm.coverage import Coverage
from actors.storm.plan import plan_of


def main() -> None:
    first, last = (0, 1000) if len(sys.argv) < 3 else (int(sys.argv[1]), int(sys.argv[2]))
    counts: Counter[str] = Counter()
    for seed in range(first, last):
        for call in live_plan(plan_of(seed), Coverage()).calls:
            if "F29 step crashes" in call.kinds:
                counts["left out"] += 1
                continue
            counts["journals"] += 1
            engine, actors = replay(call.records), replay_actor(call.records)
            found = {"engine": engine.differences, "actors": actors.differences}
            if max(engine.largest_delay_ms, actors.largest_delay_ms) < 1:  # a loop that stood still is no policy
                counts["judged by the same policy"] += 1
                again = counterfactual(call.records, opening_of(call.records).policy)
                same = first_difference(orders_of(call.records), again, within_ms=1.0)
                found["same policy"] = [same] if same is not None else []
            for how, differences in found.items():
                for difference in differences:
                    counts[f"{how}: differs"] += 1
                    print(f"seed {seed}, call {call.number}, {how}: {difference}")
    differ = sum(count for name, count in counts.items() if "differs" in name)
    print(
        f"seeds {first}-{last - 1}: {differ} differences;",
        ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())),
    )
    sys.exit(differ > 0)


if __name__ == "__main__":
    main()

"""`callscope bench media`: what one relayed audio frame costs, how many calls a core carries, and peers beside it.

Every figure is of one run on one machine: ours and the peers take turns under the same load, and what is printed beside
the absolute numbers are their ratios. A frame is relayed once when Twilio's 20 ms reach Vapi's socket, or the other
way round. Behind every call of ours lives its whole actor, with journal and recording.
"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import trio

from web.bench.contenders import Contender, find_peer, ours, peer
from web.bench.driver import Driver, load_generator
from web.bench.process import cpu_s, resident_bytes

WAYS = ("to_agent_us", "to_line_us")
PEERS = ("compiled", "floor", "node", "naive", "pipecat")
SMALL = {"naive": 20, "pipecat": 20}
"""Peers that saturate below 50 calls are measured at so many; the others at `Plan.cost_calls`."""

MOST_P99_MS = 20.0
PACED_P99_MS = {"pipecat": 100.0}
"""Pipecat paces what it sends by sleeping, which is no overload: it is let pass much later than the others."""

SETTLE_S = 1.5
MORE_TRIES = 2  # at a number of calls that was too much: the machine has other things to do, too
MOST_LATE_MS = 8.0  # a generator later than this is itself what is slow
MOST_CLEAR_MS = 10.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How long and how far."""

    rounds: int = 4
    cost_calls: int = 200
    cost_s: float = 6.0
    step_s: float = 4.0
    steps: tuple[int, ...] = tuple(range(100, 1001, 50))
    small_steps: tuple[int, ...] = (10, 20, 30, 40, 50, 60, 80, 100, 120)
    clear_s: float = 20.0
    workers: int = 2

    @classmethod
    def quick(cls) -> Plan:
        return cls(
            rounds=2, cost_calls=150, cost_s=3.0, step_s=2.0, steps=(200, 300, 350, 400, 450, 500),
            small_steps=(40, 60, 80), clear_s=6.0, workers=0,
        )  # fmt: skip


@dataclass
class Reading:
    """One window of measuring."""

    name: str
    calls: int
    us_per_frame: float
    cpu_share: float
    latency_ms: dict[str, float]  # p50, p99, max over both ways
    lost: int
    disordered: int
    undelivered: int
    generator_late_ms: float
    generator_share: float
    kb_per_call: float = 0.0

    @property
    def is_good(self) -> bool:
        return (
            self.latency_ms.get("p99", 1e9) <= PACED_P99_MS.get(self.name, MOST_P99_MS)
            and not self.lost
            and not self.disordered
            and self.undelivered <= self.calls  # one frame of each call may be on its way
        )

    @property
    def is_generators_fault(self) -> bool:
        return self.generator_late_ms > MOST_LATE_MS or self.generator_share > 0.9


@dataclass
class Result:
    """What the table and the JSON are made of."""

    command: str
    machine: dict[str, Any]
    ours: dict[str, float] = field(default_factory=dict)
    peers: dict[str, dict[str, float]] = field(default_factory=dict)
    ratio: dict[str, float] = field(default_factory=dict)
    ratio_compiled: dict[str, float] = field(default_factory=dict)  # as `ratio`, of the compiled wheel
    skipped: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    readings: list[dict[str, Any]] = field(default_factory=list)


def machine() -> dict[str, Any]:
    """What it ran on, in the words of a report."""
    model = "?"
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return {
        "cores": os.cpu_count(),
        "cpu": model,
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


class MediaBench:
    """One run."""

    def __init__(self, plan: Plan, *, peers: tuple[str, ...] = PEERS, say: Say = lambda line: None) -> None:
        self.plan, self._wanted, self._say = plan, peers, say
        self.result = Result(command="callscope " + " ".join(sys.argv[1:]), machine=machine())
        cores = sorted(os.sched_getaffinity(0))
        self._server_cores = {cores[0]}
        self._load_cores = {cores[-1]}
        self._all_cores = set(cores)

    async def run(self) -> Result:
        with tempfile.TemporaryDirectory(prefix="callscope-bench-") as folder:
            async with load_generator(cores=self._load_cores) as driver, AsyncExitStack() as stack:
                contenders = await self._start(stack, driver, Path(folder))
                await self._cost(driver, contenders)
                await self._capacity(driver, contenders)
            if self.plan.workers > 1:
                await self._several_workers(Path(folder))
        self._ratios()
        return self.result

    async def _start(self, stack: AsyncExitStack, driver: Driver, folder: Path) -> list[Contender]:
        self._say("starting callscope serve")
        contenders = [
            await stack.enter_async_context(
                ours(lambda: driver.agent_url, folder / "ours", workers=1, cores=self._server_cores)
            )
        ]
        for name in self._wanted:
            argv = await trio.to_thread.run_sync(find_peer, name)
            if isinstance(argv, str):
                self.result.skipped[name] = argv
                self._say(f"skipped {name}: {argv}")
                continue
            self._say(f"starting {name}")
            try:
                contenders.append(await stack.enter_async_context(self._peer(name, argv, driver, folder)))
            except (OSError, RuntimeError, trio.TooSlowError) as trouble:
                self.result.skipped[name] = f"did not start: {trouble or type(trouble).__name__}"
                self._say(f"skipped {name}: {self.result.skipped[name]}")
        return contenders

    def _peer(self, name: str, argv: list[str], driver: Driver, folder: Path) -> AbstractAsyncContextManager[Contender]:
        cores = self._server_cores
        if name == "compiled":  # ourselves, with the hot modules made into machine code
            return ours(lambda: driver.agent_url, folder / name, workers=1, cores=cores, name=name, home=Path(argv[0]))
        return peer(name, argv, driver.agent_url, folder, cores=cores)

    # ---- what a frame costs: all take turns

    async def _cost(self, driver: Driver, contenders: list[Contender]) -> None:
        seen: dict[str, list[Reading]] = {contender.name: [] for contender in contenders}
        for turn in range(self.plan.rounds):
            for contender in contenders[:: 1 if turn % 2 == 0 else -1]:
                calls = SMALL.get(contender.name, self.plan.cost_calls)
                self._say(f"round {turn + 1}/{self.plan.rounds}: {contender.name}, {calls} calls")
                if not await driver.open_calls(contender, calls):
                    self._say(f"{contender.name}: not all of {calls} calls came up")
                await trio.sleep(SETTLE_S)
                seen[contender.name].append(await self._read(driver, contender, calls, self.plan.cost_s))
                await driver.hang_up()
                await trio.sleep(SETTLE_S)
        for name, readings in seen.items():
            known = self._known(name)
            known["us_per_frame"] = round(median(reading.us_per_frame for reading in readings), 2)
            known["cost_calls"] = readings[0].calls
            known["latency_ms_p50_at_cost"] = median(reading.latency_ms.get("p50", 0.0) for reading in readings)
            known["latency_ms_p99_at_cost"] = median(reading.latency_ms.get("p99", 0.0) for reading in readings)

    async def _read(self, driver: Driver, contender: Contender, calls: int, seconds: float) -> Reading:
        cpu_before = cpu_s(contender.pid)
        seen = await driver.measure(seconds)
        cpu = cpu_s(contender.pid) - cpu_before
        both = [seen[way] for way in WAYS]
        some = [one for one in both if one]
        latency = {
            "p50": max((one["p50"] for one in some), default=0.0) / 1000,
            "p99": max((one["p99"] for one in some), default=0.0) / 1000,
            "max": max((one["max"] for one in some), default=0.0) / 1000,
        }
        reading = Reading(
            name=contender.name,
            calls=calls,
            us_per_frame=cpu / max(1, seen["received"]) * 1e6,
            cpu_share=cpu / seen["seconds"],
            latency_ms=latency,
            lost=seen["lost"],
            disordered=seen["disordered"],
            undelivered=max(0, seen["sent"] - seen["received"]),
            generator_late_ms=seen["late_us"].get("p99", 0.0) / 1000,
            generator_share=seen["cpu_s"] / seen["seconds"],
        )
        if seen["open"] < calls:
            reading.lost += calls - seen["open"]  # a call that ended under load is worse than a lost frame
        self.result.readings.append(asdict(reading))
        return reading

    # ---- how many calls a core carries

    async def _capacity(self, driver: Driver, contenders: list[Contender]) -> None:
        for contender in contenders:
            if contender.name == "floor":
                continue  # nothing stops it but the generator
            steps = self.plan.small_steps if contender.name in SMALL else self.plan.steps
            if contender.name in ("node", "compiled") and self.plan.workers == 0:
                continue  # the quick run has no time for them
            best, memory_kb = await self._ramp(driver, contender, steps)
            known = self._known(contender.name)
            known["calls_per_core"] = best.calls if best else 0
            if best:
                known |= {f"latency_ms_{name}": round(ms, 2) for name, ms in best.latency_ms.items()}
                known["kb_per_call"] = round(memory_kb, 1)
            await driver.hang_up()
            await trio.sleep(SETTLE_S)
            if contender.name in ("callscope", "compiled") and best:
                known |= await self._clear(driver, contender, best.calls)

    async def _ramp(self, driver: Driver, contender: Contender, steps: tuple[int, ...]) -> tuple[Reading | None, float]:
        """Add calls until it gets too late. The last good reading, and the memory of a call by then."""
        empty = resident_bytes(contender.pid)
        best: Reading | None = None
        memory_kb = 0.0
        for calls in steps:
            came_up = await driver.open_calls(contender, calls)
            await trio.sleep(SETTLE_S)
            reading = await self._read(driver, contender, calls, self.plan.step_s)
            for _ in range(MORE_TRIES):
                if not came_up or reading.is_good:
                    break
                reading = await self._read(driver, contender, calls, self.plan.step_s)
            verdict = "good" if came_up and reading.is_good else "too much"
            self._say(
                f"{contender.name}: {calls} calls, {reading.cpu_share:.0%} of a core, p99 "
                f"{reading.latency_ms['p99']:.1f} ms, generator {reading.generator_share:.0%} → {verdict}"
            )
            if verdict != "good":
                if reading.is_generators_fault:
                    self.result.notes.append(
                        f"{contender.name} at {calls} calls: the load generator was late itself "
                        f"({reading.generator_late_ms:.0f} ms at p99); the server may carry more"
                    )
                break
            best, memory_kb = reading, (resident_bytes(contender.pid) - empty) / 1024 / calls
        else:
            self.result.notes.append(f"{contender.name}: {steps[-1]} calls were the most that was tried")
        return best, memory_kb

    # ---- how soon the agent is silenced

    async def _clear(self, driver: Driver, contender: Contender, calls: int) -> dict[str, float]:
        self._say(f"{contender.name}: interruptions at {calls} calls")
        await driver.open_calls(contender, calls)
        await trio.sleep(SETTLE_S)
        seen = await driver.measure(self.plan.clear_s, interrupt_every_s=5.0)
        await driver.hang_up()
        await trio.sleep(SETTLE_S)
        clears = seen["clear_us"]
        return {
            "clear_ms_p50": round(clears.get("p50", 0.0) / 1000, 2),
            "clear_ms_p99": round(clears.get("p99", 0.0) / 1000, 2),
            "clear_ms_max": round(clears.get("max", 0.0) / 1000, 2),
            "clear_frames_ms_p99": round(max(seen[way].get("p99", 0.0) for way in WAYS) / 1000, 2),
            "clear_generator_late_ms_p99": round(seen["late_us"].get("p99", 0.0) / 1000, 2),
            "interruptions": seen["interruptions"],
            "cleared": seen["cleared"],
            "stale_frames": seen["stale"],
        }

    # ---- more cores than one

    async def _several_workers(self, folder: Path) -> None:
        self._say(f"{self.plan.workers} workers, the generator on the same cores")
        async with (
            load_generator(cores=self._all_cores) as driver,
            ours(lambda: driver.agent_url, folder / "fleet", workers=self.plan.workers, cores=self._all_cores) as fleet,
        ):
            fleet.name = f"callscope × {self.plan.workers}"
            best, memory_kb = await self._ramp(driver, fleet, self.plan.steps[4:])
            await driver.hang_up()
            self.result.ours["calls_on_workers"] = best.calls if best else 0
            self.result.ours["workers"] = self.plan.workers
            if best:
                self.result.ours["workers_latency_ms_p99"] = round(best.latency_ms["p99"], 2)
                self.result.ours["workers_kb_per_call"] = round(memory_kb, 1)

    def _known(self, name: str) -> dict[str, float]:
        return self.result.ours if name == "callscope" else self.result.peers.setdefault(name, {})

    def _ratios(self) -> None:
        peers = self.result.peers
        self.result.ratio = _over(self.result.ours, peers)
        if "compiled" in peers:
            self.result.ratio_compiled = _over(
                peers["compiled"], {name: known for name, known in peers.items() if name != "compiled"}
            )


def _over(mine: Mapping[str, float], peers: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """CPU a frame of ours over theirs, and calls a core."""
    found: dict[str, float] = {}
    for name, known in peers.items():
        if known.get("us_per_frame") and mine.get("us_per_frame"):
            found[name] = round(mine["us_per_frame"] / known["us_per_frame"], 3)
        if known.get("calls_per_core") and "calls_per_core" in mine:
            found[f"{name}_calls"] = round(mine["calls_per_core"] / known["calls_per_core"], 1)
    return found

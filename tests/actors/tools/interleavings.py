"""Every order of what may come between a tool's ask and its answer, lived by the real ledger, and by a naive handler.

    python -m tests.actors.tools.interleavings            all of them, about a minute
    python -m tests.actors.tools.interleavings --quick    what CI lives

The happenings: Vapi asks, asks again with the same id, asks for the same under another id; the tool ends; the caller's
voice begins and turns out to be words or a false alarm; what is being said was heard; the caller hangs up; the disk has
written; the process dies, and another one finds its journal. The real `ToolRuns`, `ToolRunner`, `LedgerReplay`, the
engine's own rules and journal records; in place of the sockets a call without sound. Time is a mock clock's.

Four laws are judged. No double effect: at most one per idempotency key, and for what must happen once at most one at
all. No effect of a discarded turn: nothing begins that was asked for before the caller cut in. No lost result: what was
done is told, or is in the journal for who asks again. Every webhook gets one answer, the same as its copies; and in the
end nothing runs.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio
import trio.testing

from actors.call_journal import CallJournal
from actors.journal_memory import MemoryJournal
from actors.ports import JournalStatistics
from actors.tool_runs import ToolRuns
from actors.tools import Caller, Toolbox, ToolContext, ToolRunner
from actors.tools.detached import Detached
from actors.tools.ledger import MemoryToolLedger
from actors.tools.ledger_replay import LedgerReplay
from engine import effects as f
from engine import events as e
from engine.call import Call, Policy
from engine.errors import JournalUnavailable
from engine.journal import Kind, Record
from engine.ledger import UNSURE
from engine.phases import Phase
from engine.step import apply, opened, step
from engine.tools import ToolEffect, ToolPolicy, ToolResult, ToolSpec
from engine.wire import vapi

ASK, RETRY, ASK_2 = "ask", "retry", "ask the same anew"
END, VOICE, WORDS, ALARM, HEARD = "tool ends", "voice", "words", "false alarm", "heard"
HANG_UP, CRASH, DISK = "hang-up", "crash", "disk"
FIRST, SECOND, CALL_ID, AGENT_CALL = "t1", "t2", "call-1", "agent-1"
DONE = "Booked under number seven."
DEADLINE_S = 18.0

Order = tuple[str, ...]


@dataclass(frozen=True)
class Setting:
    """What kind of tool, and in what kind of world."""

    effect: ToolEffect
    happens_early: bool = False  # the effect is there as soon as the tool begins; else just before it ends
    speaking: bool = False  # the agent speaks while it asks
    slow_disk: bool = False  # what is written is durable only when the disk says so
    undo: bool = False
    twice: bool = False  # the model asks for the same under a second id
    longest: int = 6

    def __str__(self) -> str:
        more = [name for name in ("happens_early", "speaking", "slow_disk", "undo", "twice") if getattr(self, name)]
        return " ".join([str(self.effect), *(name.replace("_", " ") for name in more)])


def orders(setting: Setting) -> Iterator[Order]:
    """All orders of happenings that can be, up to the setting's length."""
    alphabet = [ASK, RETRY, END, VOICE, WORDS, ALARM, HANG_UP, CRASH]
    alphabet += [HEARD] * setting.speaking + [DISK] * setting.slow_disk + [ASK_2] * setting.twice
    most = {RETRY: 2, DISK: 2}

    def grow(order: Order) -> Iterator[Order]:
        if ASK in order:
            yield order
        if len(order) == setting.longest:
            return
        for one in alphabet:
            if order.count(one) < most.get(one, 1) and _may_follow(order, one):
                yield from grow((*order, one))

    return grow(())


def _may_follow(order: Order, one: str) -> bool:
    if CRASH in order:
        return one == RETRY
    if HANG_UP in order:
        return one in (END, RETRY, CRASH, DISK)
    if one in (WORDS, ALARM):
        return VOICE in order and not {WORDS, ALARM} & set(order)
    if one in (END, RETRY, CRASH, DISK, HANG_UP, ASK_2):
        return ASK in order
    return True


# --- one world -------------------------------------------------------------------------------------------------------


@dataclass
class World:
    """What one order did, as an observer outside of the process sees it."""

    setting: Setting
    order: Order
    step: int = 0  # which happening it is
    end: trio.Event = field(default_factory=trio.Event)
    effects: list[tuple[str, str]] = field(default_factory=list)  # key, tool call id
    began: dict[str, int] = field(default_factory=dict)  # tool call id → at which happening it first began
    asked: dict[str, int] = field(default_factory=dict)
    returned: list[str] = field(default_factory=list)  # tool call ids whose tool told its process that it was done
    undone: int = 0
    answers: list[tuple[str, int, str]] = field(default_factory=list)  # id, process, text
    webhooks: int = 0
    broken: int = 0  # webhooks whose process died
    told: list[str] = field(default_factory=list)  # what was put into the agent's conversation
    left: int = 0  # runs that never ended
    leaving: bool = False  # all is known; what is left is cancelled
    lost: list[str] = field(default_factory=list)  # done, and nobody can know

    def at(self, happening: str) -> int | None:
        return self.order.index(happening) if happening in self.order else None


@dataclass
class Process:
    """One life of the service. Dead, it does nothing to the world any more, whatever its tasks still do."""

    number: int
    alive: bool = True
    died: trio.Event = field(default_factory=trio.Event)


class Disk:
    """Fulfils `actors.ports.Journal` for one process: what it wrote is gone with it unless the disk had it."""

    def __init__(self, platter: MemoryJournal, process: Process, *, slow: bool) -> None:
        self._platter, self._process, self._slow = platter, process, slow
        self._queue: list[Record] = []
        self._written = trio.Event()

    def append(self, record: Record) -> None:
        if self._process.alive:
            self._queue.append(record)
            if not self._slow:
                self.write()

    async def commit(self, record: Record) -> None:
        self.append(record)
        if not self._process.alive:
            await trio.sleep(2.0)
            raise JournalUnavailable("the process is dead")
        written = self._written
        if self._slow:
            await written.wait()
        await trio.lowlevel.checkpoint()

    def write(self) -> None:
        for record in self._queue:
            self._platter.append(record)
        self._queue.clear()
        self._written.set()
        self._written = trio.Event()

    def always(self) -> None:
        """From now on it is quick."""
        self._slow = False
        self.write()

    async def flush(self) -> None: ...

    async def read(self, call_id: str) -> Sequence[Record]:
        return await self._platter.read(call_id)

    def statistics(self) -> JournalStatistics:
        return self._platter.statistics()


class Booking:
    """Fulfils `Tool`: it begins, the world decides when it ends, and its effect is counted from outside."""

    def __init__(self, world: World, process: Process, spec: ToolSpec) -> None:
        self._world, self._process, self.spec = world, process, spec

    def fit(self, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return arguments

    async def attempt(self, arguments: Mapping[str, Any], context: ToolContext) -> str:
        world, process = self._world, self._process
        if not process.alive:
            await trio.sleep_forever()
        if self.spec.hidden:
            world.undone += 1
            return "Taken back."
        world.began.setdefault(context.tool_call_id, world.step)
        mark = context.idempotency_key, context.tool_call_id
        if world.setting.happens_early:
            world.effects.append(mark)
        await world.end.wait()
        if process.died.is_set():
            await trio.sleep_forever()
        if not world.setting.happens_early:
            world.effects.append(mark)
        world.returned.append(context.tool_call_id)
        return DONE


def tools_for(world: World, process: Process) -> Toolbox:
    parameters = {"type": "object", "properties": {"party": {"type": "integer"}}}
    policy = ToolPolicy(undo="take_back" if world.setting.undo else "", breaker=None)
    book = ToolSpec("book", "Book.", parameters, world.setting.effect, policy)
    take_back = ToolSpec("take_back", "Undo.", parameters, ToolEffect.IDEMPOTENT, hidden=True)
    return Toolbox.of([Booking(world, process, book), Booking(world, process, take_back)])


class Soundless:
    """Fulfils `actors.tool_host.ToolHost`: a call by the engine's own rules, without legs."""

    def __init__(self, world: World, process: Process, disk: Disk, home: Detached) -> None:
        self._world, self._process = world, process
        now = trio.current_time()
        self.call: Call = opened(CALL_ID, Policy(), now)[0]
        self.journal = CallJournal(disk, CALL_ID, opened_at=now)
        self.tools = ToolRuns(
            self,
            toolbox=tools_for(world, process),
            runner=ToolRunner(),
            home=home,
            caller=Caller(CALL_ID, "+15550123"),
        )
        self.journal.keep(Kind.OPENED, "Opened", now, {"from": "+15550123"})
        self.journal.note("AgentCreated", {"agent_call_id": AGENT_CALL})
        self.post(e.StreamStarted(at=now, stream_sid="MZ1"))
        self.post(e.AgentConnected(at=now, agent_call_id=AGENT_CALL))
        self.post(e.CallerTranscript(at=now, text="a table for two please", final=True))
        if world.setting.speaking:
            self.post(e.UtteranceStarted(at=now, utterance=1))

    def post(self, fact: e.Event) -> None:
        if not self._process.alive:
            return
        self.journal.fact(fact)
        after, effects = step(self.call, fact)
        self._went(after, effects)
        if isinstance(fact, e.ToolRequested) and not any(isinstance(one, f.RunTool) for one in effects):
            self.tools.drop(fact.tool_call_id)

    def named(self, event: e.Event) -> None:
        """What only a deadline could have told."""
        self._went(*apply(self.call, event))

    def _went(self, after: Call, effects: Sequence[f.Effect]) -> None:
        if after.phase is not self.call.phase:
            self.journal.keep(Kind.PHASE, after.phase, trio.current_time(), {"from": self.call.phase})
        self.call = after
        for effect in effects:
            if isinstance(effect, f.RunTool):
                self.tools.begin(effect)
            elif isinstance(effect, f.CancelTools):
                self.tools.over()
        self.tools.after_step()

    def tell_agent(self, message: bytes) -> bool:
        if self._process.alive and self.call.phase is not Phase.ENDED:
            self._world.told.append(message.decode())
        return self.call.phase is not Phase.ENDED

    def happens(self, happening: str) -> None:
        now, phase = trio.current_time(), self.call.phase
        match happening:
            case "voice":
                self.post(e.CallerVoice(at=now, onset_at=now))
            case "words":
                self.post(e.CallerTranscript(at=now, text="no wait make it nine", final=True))
            case "false alarm" if phase is not Phase.INTERRUPTED:
                self.post(e.CallerQuiet(at=now, voiced_ms=100))
                self.named(e.FalseAlarm(at=now, reason="noise"))
            case "heard" if phase is Phase.SPEAKING:
                self.post(e.PlaybackDone(at=now, utterance=1, heard_ms=500))
            case "hang-up":
                self.post(e.CallerHungUp(at=now, status="completed"))

    def quiet(self) -> None:
        """The caller is quiet, and what was said is heard."""
        now = trio.current_time()
        if self.call.caller_voiced:
            self.post(e.CallerQuiet(at=now))
        if self.call.phase is Phase.SPEAKING and self.call.held_at is not None:
            self.named(e.FalseAlarm(at=now, reason="no words"))
        if self.call.phase is Phase.INTERRUPTED:
            self.named(e.DebouncePassedToolPending(at=now) if self.call.tools else e.DebouncePassed(at=now))
        elif self.call.held_at is not None and self.call.phase in (Phase.LISTENING, Phase.TOOL_PENDING):
            self.named(e.DebouncePassed(at=now))
        self.happens(HEARD)


Answer = Callable[[Sequence[vapi.ToolCall]], Awaitable[Sequence[ToolResult]]]


class Ours:
    """Callscope, as far as tools go: a call, and after a crash whoever finds its journal."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self._world, self._nursery = world, nursery
        self._platter = MemoryJournal()
        self._process = Process(1)
        self._homes = [Detached()]
        self._disk = Disk(self._platter, self._process, slow=world.setting.slow_disk)

    async def start(self) -> None:
        await self._nursery.start(self._homes[0].run)
        self._call: Soundless | None = Soundless(self._world, self._process, self._disk, self._homes[0])
        if self._world.setting.slow_disk:
            self._disk.write()  # the call's beginning is long durable

    @property
    def process(self) -> Process:
        return self._process

    @property
    def running(self) -> int:
        return self._homes[-1].running

    async def answer(self, asked: Sequence[vapi.ToolCall]) -> Sequence[ToolResult]:
        if self._call is not None:
            return await self._call.tools.answer(asked, deadline_s=DEADLINE_S)
        return await self._replay.answer(AGENT_CALL, asked, deadline_s=DEADLINE_S)

    def happens(self, happening: str) -> None:
        if happening == DISK:
            self._disk.write()
        elif self._call is not None:
            self._call.happens(happening)

    async def crash(self) -> None:
        self._process.alive = False
        self._process.died.set()
        self._call = None
        self._process = process = Process(2)
        self._homes.append(Detached())
        await self._nursery.start(self._homes[-1].run)
        self._disk = Disk(self._platter, process, slow=False)
        toolbox = tools_for(self._world, process)
        self._replay = LedgerReplay(
            MemoryToolLedger(self._platter),
            journal=self._disk,
            toolbox=lambda: toolbox,
            runner=ToolRunner(),
            home=self._homes[-1],
        )

    def quiet(self) -> None:
        self._disk.always()
        if self._call is not None:
            self._call.quiet()

    async def remembers(self, tool_call_id: str) -> bool:
        """Whether people can find it: the journal has its intent or its result."""
        names = ("ToolIntent", "ToolResult")
        records = await self._platter.read(CALL_ID)
        return any(one.name in names and one.data["tool_call_id"] == tool_call_id for one in records)


class Naive:
    """The tutorials' handler: the webhook runs the tool and answers. The key it gives the backend is Vapi's id."""

    def __init__(self, world: World, nursery: trio.Nursery) -> None:
        self._world = world
        self._process = Process(1)
        self.running = 0

    async def start(self) -> None: ...

    @property
    def process(self) -> Process:
        return self._process

    async def answer(self, asked: Sequence[vapi.ToolCall]) -> Sequence[ToolResult]:
        self.running += 1
        try:
            results = []
            for one in asked:
                tool = tools_for(self._world, self._process).tools[one.name]
                text = await tool.attempt(one.arguments, ToolContext(Caller(CALL_ID, ""), one.id, one.id))
                results.append(ToolResult(one.id, one.name, text, ok=True))
            return results
        finally:
            self.running -= 1

    def happens(self, happening: str) -> None: ...

    async def crash(self) -> None:
        self._process.alive = False
        self._process.died.set()
        self._process = Process(2)

    def quiet(self) -> None: ...

    async def remembers(self, tool_call_id: str) -> bool:
        return False


# --- living one ------------------------------------------------------------------------------------------------------


async def live(
    setting: Setting, order: Order, clock: trio.testing.MockClock, service: type[Ours] | type[Naive]
) -> World:
    """One order of happenings, to its end, and until nothing of it is left."""
    world, over = World(setting, order), trio.Event()

    async def lived() -> None:
        await _live(world, clock, service)
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lived)
        while not over.is_set():
            await trio.testing.wait_all_tasks_blocked()
            if world.leaving:
                clock.jump(20.0)
    return world


async def _live(world: World, clock: trio.testing.MockClock, service: type[Ours] | type[Naive]) -> None:
    order = world.order
    async with trio.open_nursery() as nursery:
        house = service(world, nursery)
        await house.start()
        clock.jump(1.0)
        for world.step, happening in enumerate(order):
            clock.jump(0.05)
            if happening in (ASK, RETRY, ASK_2):
                tool_call_id = SECOND if happening == ASK_2 else FIRST
                world.asked.setdefault(tool_call_id, world.step)
                nursery.start_soon(_webhook, world, house, tool_call_id)
            elif happening == END:
                world.end.set()
            elif happening == CRASH:
                world.end = trio.Event()
                world.end.set()  # the tools of the new process end by themselves
                await house.crash()
            else:
                house.happens(happening)
            await trio.testing.wait_all_tasks_blocked()
        world.step = len(order)
        house.quiet()
        world.end.set()
        for _ in range(4):
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(1.0)
            house.quiet()
        if isinstance(house, Ours):  # whoever asks again, ever
            nursery.start_soon(_webhook, world, house, FIRST)
        for seconds in (1.0, 20.0, 20.0):
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(seconds)
        await trio.testing.wait_all_tasks_blocked()
        world.left = house.running
        world.lost = [
            one for one in dict.fromkeys(one for _, one in world.effects) if not await _is_known(world, house, one)
        ]
        world.leaving = True
        nursery.cancel_scope.cancel()


async def _webhook(world: World, house: Ours | Naive, tool_call_id: str) -> None:
    world.webhooks += 1
    process = house.process
    call = vapi.ToolCall(tool_call_id, "book", {"party": 2})
    answered = False
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_death, process, scope)
            (result,) = await house.answer([call])
            answered = True
            nursery.cancel_scope.cancel()
    if answered and process.alive:
        world.answers.append((tool_call_id, process.number, result.text))
    else:
        world.broken += 1


async def _until_death(process: Process, connection: trio.CancelScope) -> None:
    await process.died.wait()
    connection.cancel()


async def _is_known(world: World, house: Ours | Naive, tool_call_id: str) -> bool:
    """Whether what was done was told to the model, or is there for who asks."""
    by_webhook = any(one == tool_call_id and DONE in text for one, _, text in world.answers)
    unsure = any(UNSURE.format(name="book") in text for _, _, text in world.answers)  # it knows that nobody knows
    return by_webhook or unsure or any(DONE in message for message in world.told) or await house.remembers(tool_call_id)


# --- the laws --------------------------------------------------------------------------------------------------------


def violations(world: World) -> Iterator[str]:
    """Which laws this order broke."""
    effect = world.setting.effect
    once = effect in (ToolEffect.COMMIT, ToolEffect.TERMINAL)
    if (once and len(world.effects) > 1) or (
        effect is ToolEffect.IDEMPOTENT and len({key for key, _ in world.effects}) > 1
    ):
        yield "double effect"
    if effect is not ToolEffect.READ and any(_is_of_a_discarded_turn(world, one) for _, one in world.effects):
        yield "effect of a discarded turn"
    if effect is ToolEffect.TERMINAL and world.setting.speaking and world.began.get(FIRST, 99) < _heard(world):
        yield "cuts off what is being said"
    if world.lost and effect is not ToolEffect.READ:
        yield "lost result"
    if len(world.answers) + world.broken != world.webhooks:
        yield "a webhook without an answer"
    for process in (1, 2):
        if len({text for one, number, text in world.answers if (one, number) == (FIRST, process)}) > 1:
            yield "copies of a webhook got different answers"
    if world.left:
        yield "something still runs"
    if world.setting.undo and world.undone != _should_be_undone(world):
        yield "not undone" if not world.undone else "undone in vain"


def _is_of_a_discarded_turn(world: World, tool_call_id: str) -> bool:
    """It was asked for before the caller cut in, or hung up, and began after; or while the caller was cutting in."""
    began, asked = world.began[tool_call_id], world.asked[tool_call_id]
    voice, words = world.at(VOICE), world.at(WORDS)
    if voice is not None and words is not None and voice < asked < words:
        return True
    return any(moment is not None and asked < moment < began for moment in (world.at(WORDS), world.at(HANG_UP)))


def _heard(world: World) -> int:
    """At which happening what was being said was over: heard, cut off by the caller's words, or quiet in the end."""
    ends = [moment for moment in (world.at(HEARD), world.at(WORDS)) if moment is not None]
    return min([*ends, len(world.order)])


def _should_be_undone(world: World) -> int:
    """Once, when it was done, and its result was not told before the caller hung up."""
    hung_up = world.at(HANG_UP)
    if hung_up is None or world.at(CRASH) is not None or not world.returned:
        return world.undone  # a crash leaves it to people: the journal has the intent and the result
    ended = world.at(END)
    return int(ended is None or ended > hung_up or world.began[world.returned[0]] >= hung_up)


# --- the report ------------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """What came of all orders of a setting."""

    lived: int = 0
    happenings: int = 0
    broken: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Order] = field(default_factory=dict)  # the shortest


def explore(settings: Sequence[Setting], service: type[Ours] | type[Naive]) -> dict[str, Report]:
    """Live all orders of these settings."""
    clock = trio.testing.MockClock()
    found = {str(setting): Report() for setting in settings}

    async def all_of_them() -> None:
        for setting in settings:
            report = found[str(setting)]
            for order in orders(setting):
                world = await live(setting, order, clock, service)
                report.lived += 1
                report.happenings += len(order)
                for law in violations(world):
                    report.broken[law] += 1
                    if len(report.examples.get(law, (None,) * 99)) > len(order):
                        report.examples[law] = order

    trio.run(all_of_them, clock=clock)
    return found


def settings(*, quick: bool = False) -> list[Setting]:
    """Each effect class, in each kind of world."""
    less = 2 if quick else 0
    plain = [
        Setting(effect, speaking=speaking, longest=6 - less) for effect in ToolEffect for speaking in (False, True)
    ]
    early = [Setting(effect, happens_early=True, longest=6 - less) for effect in ToolEffect]
    slow = [Setting(effect, slow_disk=True, longest=6 - less) for effect in ToolEffect if effect is not ToolEffect.READ]
    more = [
        Setting(ToolEffect.COMMIT, undo=True, longest=6 - less),
        Setting(ToolEffect.COMMIT, twice=True, longest=6 - less),
        Setting(ToolEffect.COMMIT, twice=True, speaking=True, longest=6 - less),
        Setting(ToolEffect.IDEMPOTENT, twice=True, longest=6 - less),
    ]
    return [*plain, *early, *slow, *more]


def _show(title: str, found: Mapping[str, Report]) -> int:
    print(title)
    for name, report in found.items():
        broken = ", ".join(f"{law}: {count}" for law, count in report.broken.most_common()) or "no violation"
        print(f"  {name:34} {report.lived:6} orders  {broken}")
        for law, order in report.examples.items():
            print(f"      {law}: {' → '.join(order)}")
    lived = sum(report.lived for report in found.values())
    total = sum(sum(report.broken.values()) for report in found.values())
    print(f"  {lived} orders, {sum(one.happenings for one in found.values())} happenings, {total} violations\n")
    return total


def main() -> int:
    chosen = settings(quick="--quick" in sys.argv)
    ours = _show("Callscope", explore(chosen, Ours))
    _show("The tutorials' handler: the webhook runs the tool and answers", explore(settings(quick=True), Naive))
    return 1 if ours else 0


if __name__ == "__main__":
    sys.exit(main())

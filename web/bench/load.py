"""The load generator: a process of its own that plays Twilio and Vapi for many calls at once, and times every frame.

One epoll loop in plain Python, told what to do by JSON lines on its input; it answers with JSON lines. Each call sends
50 frames a second on each of its two legs, the calls spread evenly over every 20 ms. It knows when it is itself the
bottleneck: `late_ms_p99` is how late it was in sending.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time
from typing import Any

import msgspec

from web.bench.load_legs import Agent, Leg, Line, Tally

FRAME_S = 0.020
BUCKETS = 20
BUCKET_S = FRAME_S / BUCKETS
LOUD_FRAMES, NOTICED_AFTER_FRAMES, PAUSE_FRAMES = 20, 10, 50
SENTENCE_FRAMES = 400
DIAL_BUCKETS = 3  # a new call every 3 ms at most
GIVE_UP_S, HANG_UP_S = 30.0, 0.5
GOLDEN = 0.618034


class Generator:
    """All calls, and the clock that they speak by."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._listener.setblocking(False)
        self._epoll.register(self._listener.fileno(), select.EPOLLIN)
        self._epoll.register(0, select.EPOLLIN)
        os.set_blocking(0, False)
        self._input = b""
        self._legs: dict[int, Leg] = {}
        self._tally = Tally()
        self._forget()
        self._late_us: list[int] = []
        self._is_over = False
        self._report_at: float | None = None
        self._hang_up_at: float | None = None
        self._every_frames = 0
        self._began_cpu = self._began = 0.0

    def _forget(self) -> None:
        self._lines: dict[int, Line] = {}
        self._agents: list[Agent] = []
        self._by_bucket: list[list[Leg]] = [[] for _ in range(BUCKETS)]
        self._leaving: list[tuple[float, list[Leg]]] = []
        self._dials: list[dict[str, Any]] = []
        self._stamped, self._wants_agents, self._in_order = True, True, False
        self._waits_for_agent = False
        self._wanted = 0
        self._give_up_at = 0.0

    def say(self, **what: Any) -> None:
        os.write(1, msgspec.json.encode(what) + b"\n")

    def run(self) -> None:
        self.say(ready=True, port=self._listener.getsockname()[1])
        bucket = 0
        due = time.perf_counter()
        while not self._is_over:
            pause_s = due - time.perf_counter()
            self._serve(max(0.0, pause_s))
            now = time.perf_counter()
            if now < due:
                continue
            if self._report_at is not None:
                self._late_us.append(int((now - due) * 1e6))
            if now - due > 1.0:
                due = now  # we stood still: what was missed is not sent in one burst
            self._speak(bucket)
            bucket = (bucket + 1) % BUCKETS
            due += BUCKET_S
            if self._dials and bucket % DIAL_BUCKETS == 0:
                self._dial_next()
            if bucket == 0:
                self._housekeeping(now)

    def _serve(self, timeout_s: float) -> None:
        for fd, _ in self._epoll.poll(timeout_s, 512):
            leg = self._legs.get(fd)
            if leg is not None:
                leg.read()
                if leg.is_gone:
                    self._drop(leg)
            elif fd == 0:
                self._obey()
            else:
                self._accept()

    def _speak(self, bucket: int) -> None:
        for leg in self._by_bucket[bucket]:
            if leg.is_open:
                if isinstance(leg, Line):
                    self._maybe_interrupt(leg)
                    leg.speak()
                elif isinstance(leg, Agent) and leg.line is not None:
                    leg.speak()
                    if leg.said >= SENTENCE_FRAMES:
                        leg.new_sentence()

    def _maybe_interrupt(self, line: Line) -> None:
        if not self._every_frames:
            return
        phase = (line.number + int(line.call * GOLDEN * self._every_frames)) % self._every_frames
        if phase == 0 and line.agent is not None and not line.agent.pause_left:
            line.loud_left, line.caused_at = LOUD_FRAMES, 0
            self._tally.interruptions += 1
        elif phase == NOTICED_AFTER_FRAMES and line.caused_at and line.agent is not None and line.agent.is_open:
            line.agent.break_off(PAUSE_FRAMES)

    # ---- sockets

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except BlockingIOError:
                return
            agent = Agent(sock, self._tally, stamped=self._stamped)
            self._agents.append(agent)
            self._add(agent)
            self._by_bucket[(len(self._agents) * 7 + BUCKETS // 2) % BUCKETS].append(agent)
            if self._waits_for_agent:  # dialled one after the other: the agent that comes is this line's
                _pair(self._lines[max(self._lines)], agent)
                self._waits_for_agent = False

    def _add(self, leg: Leg) -> None:
        self._legs[leg.fd] = leg
        self._epoll.register(leg.fd, select.EPOLLIN)

    def _drop(self, leg: Leg) -> None:
        if self._legs.pop(leg.fd, None) is not None:
            self._epoll.unregister(leg.fd)
            leg.is_open, leg.is_gone = False, True
            leg.sock.close()

    def _dial_next(self) -> None:
        if self._waits_for_agent:
            return
        plan = self._dials.pop(0)
        line = Line(plan, self._tally, stamped=self._stamped, echo=not self._wants_agents)
        self._lines[line.call] = line
        self._add(line)
        self._by_bucket[line.call * 7 % BUCKETS].append(line)
        self._waits_for_agent = self._in_order

    # ---- once a frame's time

    def _housekeeping(self, now: float) -> None:
        for leg in list(self._legs.values()):
            if leg.unsent:
                leg.write(b"")
            if leg.is_gone:
                self._drop(leg)
        for agent in self._agents:
            if agent.line is None and agent.heard_from in self._lines:
                _pair(self._lines[agent.heard_from], agent)
        if self._wanted and (self._is_complete() or now > self._give_up_at):
            connected = sum(line.is_open for line in self._lines.values())
            agents = sum(agent.is_open for agent in self._agents)
            self._wanted = 0
            self.say(connected=connected, agents=agents)
        if self._report_at is not None and now >= self._report_at:
            self._report(now)
        while self._leaving and now >= self._leaving[0][0]:
            for leg in self._leaving.pop(0)[1]:
                self._drop(leg)
        if self._hang_up_at is not None and now >= self._hang_up_at:
            self._hang_up_at = None
            for leg in list(self._legs.values()):
                self._drop(leg)
            self._forget()
            self.say(hung_up=True)

    def _is_complete(self) -> bool:
        lines = sum(line.is_open for line in self._lines.values())
        agents = sum(agent.is_open and agent.line is not None for agent in self._agents)
        return lines >= self._wanted and (agents >= self._wanted or not self._wants_agents) and not self._dials

    def _report(self, now: float) -> None:
        tally, self._report_at = self._tally, None
        self.say(
            seconds=now - self._began,
            cpu_s=time.process_time() - self._began_cpu,
            late_us=_summary(self._late_us),
            to_agent_us=_summary(tally.latencies_us["to_agent"]),
            to_line_us=_summary(tally.latencies_us["to_line"]),
            clear_us=_summary(tally.clears_us),
            sent=tally.sent,
            received=tally.received,
            lost=tally.lost,
            disordered=tally.disordered,
            blocked=tally.blocked,
            strange=tally.strange,
            interruptions=tally.interruptions,
            cleared=len(tally.clears_us),
            stale=tally.stale,
            open=sum(line.is_open for line in self._lines.values()),
        )

    # ---- orders

    def _obey(self) -> None:
        some = os.read(0, 1 << 20)
        if not some:
            self._is_over = True
            return
        *lines, self._input = (self._input + some).split(b"\n")
        for line in lines:
            order = msgspec.json.decode(line)
            getattr(self, "do_" + order.pop("do"))(**order)

    def do_expect(self, *, total: int, stamped: bool = True, agents: bool = True, in_order: bool = False) -> None:
        """Answer (`connected`) once so many calls are up, or after a while; dials may follow.

        `in_order`: each line's agent is the next one that connects. Otherwise the stamps tell.
        """
        self._stamped, self._wants_agents, self._in_order = stamped, agents, in_order
        self._wanted, self._give_up_at = total, time.perf_counter() + GIVE_UP_S

    def do_dial(self, *, calls: list[dict[str, Any]]) -> None:
        self._dials += calls
        self._give_up_at = time.perf_counter() + GIVE_UP_S

    def do_measure(self, *, seconds: float, interrupt_every_s: float = 0.0) -> None:
        fresh = Tally()
        self._tally.__dict__.update(fresh.__dict__)  # every leg holds this one
        self._late_us.clear()
        self._every_frames = int(interrupt_every_s / FRAME_S)
        self._began, self._began_cpu = time.perf_counter(), time.process_time()
        self._report_at = self._began + seconds

    def do_drop(self, *, calls: list[int]) -> None:
        """These callers hang up; the others go on. No answer."""
        leaving_at = time.perf_counter() + HANG_UP_S
        for call in calls:
            line = self._lines.pop(call)
            if line.is_open:
                line.hang_up()
            legs: list[Leg] = [line]
            if line.agent is not None:
                self._agents.remove(line.agent)
                legs.append(line.agent)
            for bucket in self._by_bucket:
                bucket[:] = [leg for leg in bucket if leg not in legs]
            self._leaving.append((leaving_at, legs))

    def do_hang_up(self) -> None:
        """Every caller hangs up, as Twilio tells it: `stop`, and the sockets a little later."""
        self._every_frames = 0
        for line in self._lines.values():
            if line.is_open:
                line.hang_up()
        self._by_bucket = [[] for _ in range(BUCKETS)]
        self._hang_up_at = time.perf_counter() + HANG_UP_S


def _pair(line: Line, agent: Agent) -> None:
    line.agent, agent.line = agent, line


def _summary(values: list[int]) -> dict[str, float]:
    """Percentiles in microseconds; empty when nothing was seen."""
    if not values:
        return {}
    values = sorted(values)
    last = len(values) - 1
    return {
        "n": len(values),
        "p50": values[last // 2],
        "p99": values[int(last * 0.99)],
        "max": values[-1],
    }


if __name__ == "__main__":
    sys.setswitchinterval(1.0)
    Generator().run()

"""One simulated run: instances of the real pump and the real sink, a log, a model broker, faults, a judge.

    World(log).run(plan)   ->  Report, or Wrong, or Hang

`Instance` is a supervised process: what ends it with an error that may pass, a kill, a stop
or a cancel is followed by a new process under the same name, until the judge has seen the
whole log committed; then all are asked to stop. Deadlines and pauses are the ones of
production, on virtual time.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc.errors import CdcError, Fenced
from cdc.kafka import KafkaAddress, KafkaSink, KafkaTopics
from cdc.kafka.parking import KafkaParking
from cdc.pump import Limits, Pump
from tests.simulation import clock
from tests.simulation.broker import Broker
from tests.simulation.clock import Host, VirtualLoop, spawn
from tests.simulation.faults import Fault, Frozen, Plan
from tests.simulation.judge import Judge, Log, SourceRow, Wrong
from tests.simulation.source import MemoryLog, Straight
from tests.simulation.wire import EMPTY

SOURCE, PREFIX = "shop", "cdc"
TOPICS = {"orders": 2, "mail": 1}
ADDRESS = KafkaAddress(("model:9092",))
LATEST = 100.0
"""Seconds after which no late request can come any more."""
LONGEST_STEP = 36.0
"""Seconds that a commit may take before it is given up: the sink's deadline and a bounded end of the producer."""
PATIENCE = 400.0
"""Virtual seconds from the last fault to the end: a transaction's timeout, hanging reads and back-offs fit in."""

THREE_BATCHES: Log = (
    (SourceRow("orders", "a"), SourceRow("orders", "b"), SourceRow("mail", "x")),
    (SourceRow("orders", "a"),),
    (SourceRow("mail", "x"), SourceRow("orders", "a"), SourceRow("orders", "b"), SourceRow("orders", "a")),
)


@dataclass
class Report:
    """What a run was like."""

    seconds: float
    trace: list[str]
    struck: list[tuple[int, str, Fault]]
    steps: list[tuple[float, str, str, Mapping[str, Any]]]
    starts: int
    fences: int
    writers: list[str]
    errors: list[tuple[str, int]]
    commits: list[tuple[int, int]]
    ends: dict[str, list[str]] = field(default_factory=dict)
    after_fault: float = 0.0
    requests: int = 0

    def said(self, step: str) -> int:
        return sum(1 for _, _, each, _ in self.steps if each == step)


class Instance:
    """A process under supervision. `ends` are the ways in which its lives ended."""

    def __init__(self, world: "World", name: str, **options: Any) -> None:
        self.world, self.name = world, name
        self.delay = float(options.pop("delay", 0.0))
        self.options = options
        self.host: Host | None = None
        self.hosts: list[Host] = []
        self.pump: Pump | None = None
        self._killed = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self.ends: list[str] = []

    async def supervise(self) -> None:
        """Start it again and again until the world is done; the first time after a delay."""
        await asyncio.sleep(self.delay)
        while not self.world.finished:
            self.world.starts += 1
            self.host = Host(f"{self.name}.{len(self.ends)}")
            self.hosts.append(self.host)
            self._killed.clear()
            self._life = spawn(self.host, self._live(), self.host.name)
            killed = asyncio.ensure_future(self._killed.wait())
            try:
                await asyncio.wait({self._life, killed}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                killed.cancel()
            if self._killed.is_set():
                self.ends.append("killed")
            elif self._life.cancelled():
                self.ends.append("cancelled")
            else:
                error = self._life.exception()
                self.ends.append("stopped" if error is None else type(error).__name__)
                if error is not None and not isinstance(error, CdcError):
                    raise error
                if isinstance(error, CdcError) and error.exit_code == 6:
                    raise error
            await asyncio.sleep(0.5)

    async def _live(self) -> None:
        world, options = self.world, {**self.world.options, **self.options}
        topics = KafkaTopics(ADDRESS)
        sink = world.sink(
            ADDRESS, SOURCE, instance_name=self.name, tables=("shop.outbox",), observer=self._observe, prefix=PREFIX,
            **options,
        )  # fmt: skip
        source = MemoryLog(world.log, world.pace, world.most)
        router = Straight(world.topics, world.ahead, world.policy)
        parking = KafkaParking(ADDRESS, SOURCE, prefix=PREFIX, needed=world.policy == "dead_letter")
        pump = self.pump = Pump(
            source, router, topics, sink, self._observe, start="earliest", limits=world.limits, parking=parking
        )
        try:
            await pump.run()
        finally:
            await pump.close()
            await parking.close()
            await topics.close()

    def _observe(self, step: str, /, **facts: object) -> None:
        self.world.steps.append((self.world.loop.now, str(self.host), step, facts))

    def act(self, what: str) -> None:
        """Something is done to the process."""
        if what.startswith("killed"):
            assert self.host is not None
            self.host.dead = self.host.frozen = True
            self.world.broker.cut_off(self.host)
            self._killed.set()
        elif what == "stopped" and self.pump is not None:
            self.pump.stop()
        elif what == "cancelled" and self._life is not None:
            self._life.cancel()


@dataclass(frozen=True)
class Begin:
    """What an earlier run has left in the broker, and up to where it had committed."""

    state: dict[str, Any]
    position: int | None


class World:
    """What there is in one run."""

    def __init__(
        self, log: Log = THREE_BATCHES, *, pace: float = 0.03, most: int = 1, limits: Limits | None = None, seed: int = 0,
        auto_create: bool = False, begin: "Begin | None" = None, ahead: float = 0.0, options: Mapping[str, Any] | None = None,
        topics: Mapping[str, int] = TOPICS, poison: Mapping[bytes, int] | None = None, policy: str = "stop",
        sink: type[KafkaSink] = KafkaSink, largest_request: int | None = None,
    ) -> None:  # fmt: skip
        self.log, self.pace, self.most, self.limits = log, pace, most, limits
        self.loop = VirtualLoop(until=3600.0)
        self.topics, self.policy, self.sink = topics, policy, sink
        self.broker = Broker(self.loop, auto_create=auto_create, poison=poison)
        self.broker.largest_request = largest_request or self.broker.largest_request
        if begin is None:
            for topic, partitions in topics.items():
                self.broker.create(topic, partitions)
        else:
            self.broker.take_over(begin.state)
        self.judge = Judge(self.broker, log, topics, SOURCE, PREFIX)
        self.judge.policy = policy
        if begin is not None:
            self.judge.position = begin.position
        self.steps: list[tuple[float, str, str, Mapping[str, Any]]] = []
        self.instances: list[Instance] = []
        self.starts = 0
        self.finished = False
        self.seed, self.ahead, self.options = seed, ahead, options or {}
        self.at_position: dict[int, Callable[[], None]] = {}
        """What happens once this position is committed."""

    def act(self, host: Host, what: str) -> None:
        """Do something to the process on this host."""
        for each in self.instances:
            if each.host is host:
                each.act(what)

    def run(self, faults: Mapping[int, Fault] | Plan | None = None, *, instances: Mapping[str, Mapping[str, Any]] | None = None,
            patience: float = PATIENCE) -> Report:  # fmt: skip
        """Run to the end. Raises Wrong for a broken promise, Hang where there is no end."""
        plan = faults if isinstance(faults, Plan) else Plan(faults or {})
        self.broker.strike = plan
        state = random.getstate()
        random.seed(self.seed)
        logging.disable(logging.CRITICAL)
        try:
            clock.run(self._main(plan, instances or {"one": {}}, patience), self.loop)
        finally:
            logging.disable(logging.NOTSET)
            random.setstate(state)
        self.judge.sentence()
        return Report(
            seconds=self.loop.now, trace=plan.trace, struck=plan.struck, steps=self.steps, starts=self.starts,
            fences=self.broker.coordinator.inits, writers=self.judge.writers, errors=self.broker.errors,
            commits=self.judge.commits, ends={each.name: each.ends for each in self.instances},
            requests=self.broker.count,
        )  # fmt: skip

    def left_at(self, number: int) -> Begin:
        """What the broker holds when the process is killed right after it sent this request, for ever."""
        ended = asyncio.Event()

        class Kill(Fault):
            name = "killed for good"

            def leaving(self, broker: Broker, request: Any) -> None:
                broker.loop.call_later(0.01, ended.set, context=EMPTY)
                request.host.dead = request.host.frozen = True

        async def until_killed() -> None:
            instance = Instance(self, "one")
            self.instances = [instance]
            working = asyncio.ensure_future(instance.supervise())
            await ended.wait()
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

        self.broker.strike = Plan({number: Kill()})
        clock.run(until_killed(), self.loop)
        return Begin(self.broker.state(), self.judge.position)

    async def _main(self, plan: Plan, instances: Mapping[str, Mapping[str, Any]], patience: float) -> None:
        self.instances = [Instance(self, name, **options) for name, options in instances.items()]
        working = [asyncio.ensure_future(each.supervise()) for each in self.instances]
        try:
            while not self.judge.done:
                for position in [each for each in self.at_position if each <= (self.judge.position or 0)]:
                    self.at_position.pop(position)()
                self._still_right(working, plan, patience)
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.5)
            self.finished = True
            for each in self.instances:
                each.act("stopped")
            end = self.loop.now + patience
            while not all(each.done() for each in working):
                if self.loop.now > end:
                    raise clock.Hang(f"{[each.host for each in self.instances]} do not end")
                await asyncio.sleep(0.05)
            for each in working:
                each.result()
        finally:
            for each in working:
                each.cancel()
            await asyncio.gather(*working, return_exceptions=True)
        await self._settle(plan)
        self._look_for_leaks(plan)

    def _look_for_leaks(self, plan: Plan) -> None:
        """A process that ended by itself must have let go of everything, and no step may have taken too long."""
        for host in (host for each in self.instances for host in each.hosts if not host.dead):
            if left := self.loop.left_by(host):
                raise Wrong(f"{host} has ended, and still runs {left}")
            if held := [each for each in self.broker.wires if each.host is host and not each.is_closing()]:
                raise Wrong(f"{host} has ended, and still holds {len(held)} connections")
        began: dict[str, float] = {}
        for when, host_name, step, _ in self.steps:
            if step == "beginning":
                began[host_name] = when
            elif step in {"committed", "doubt"} and host_name in began:
                took = when - began.pop(host_name)
                if took > LONGEST_STEP and not any(isinstance(fault, Frozen) for _, _, fault in plan.struck):
                    raise Wrong(f"{host_name} waited {took:.0f} s for a commit")

    async def _settle(self, plan: Plan) -> None:
        """Let what is under way come to its end: late requests, a last transaction that timed out."""
        await asyncio.sleep(max(0.5, plan.last + LATEST - self.loop.now) if plan.faults_are_late else 0.5)
        end = self.loop.now + 100
        while self.loop.now < end and not self.broker.is_settled:
            await asyncio.sleep(1.0)

    def _still_right(self, working: list[asyncio.Future[None]], plan: Plan, patience: float) -> None:
        if self.judge.complaints:
            raise Wrong("\n".join(self.judge.complaints))
        for each in working:
            if each.done():
                each.result()
        if self.loop.now - plan.last > patience:
            raise clock.Hang(
                f"committed up to {self.judge.position} of {len(self.log)}, {patience:.0f} s after {plan.struck}"
            )


__all__ = ["THREE_BATCHES", "Fenced", "Report", "World", "Wrong"]

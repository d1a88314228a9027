"""The runs that are gone through step by step: every request of theirs, with every fault that it can meet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.simulation.faults import Fault, Frozen, every
from tests.simulation.strange import OldSink, hold_open
from tests.simulation.world import THREE_BATCHES, Report, World, Wrong


def _nothing(report: Report) -> None:
    """There is nothing more to ask than what the judge does."""


@dataclass(frozen=True, eq=False)
class Scenario:
    """A way to make a world, and who lives in it. `check` raises where a run was right and yet not as promised."""

    name: str
    world: Callable[[], World]
    instances: Mapping[str, Mapping[str, Any]] | None = None
    check: Callable[[Report], None] = _nothing

    def run(self, faults: Mapping[int, Fault] | None = None) -> Report:
        return self._run(self.world(), faults or {})

    def _run(self, world: World, faults: Mapping[int, Fault]) -> Report:
        report = world.run(faults, instances=self.instances)
        self.check(report)
        return report

    def faults_at(self, api: str) -> int:
        """How many faults a kind of request can meet."""
        return len(every(api, lambda host, what: None))

    def run_with(self, step: int, api: str, which: int) -> tuple[str, Callable[[], Report]]:
        """The fault's name, and the run in which it strikes this request."""
        world = self.world()
        fault = every(api, world.act)[which]
        return fault.name, lambda: self._run(world, {step: fault})

    def pairs(self) -> Iterator[tuple[int, str, int]]:
        """All steps and faults: the number of the request, its kind, the number of the fault."""
        for step, api in enumerate(trace(self), 1):
            for which in range(self.faults_at(api)):
                yield step, api, which


@cache
def trace(scenario: Scenario) -> tuple[str, ...]:
    """The requests of a run in which nothing goes wrong."""
    return tuple(scenario.run().trace)


@cache
def _in_the_second_transaction() -> Any:
    """A predecessor was killed when the records of its second transaction were sent, and not yet committed."""
    trace = World().run().trace
    produced = [number for number, api in enumerate(trace, 1) if api == "Produce"]
    ends = [number for number, api in enumerate(trace, 1) if api == "EndTxn"]
    return World().left_at(next(number for number in produced if number > ends[1]))


FIRST = Scenario("a first start and three batches", World)
AGAIN = Scenario(
    "two batches after a predecessor's death in a transaction",
    lambda: World(THREE_BATCHES, begin=_in_the_second_transaction()),
)


# -- rows that nobody takes -------------------------------------------------------------------------

PARKED = Scenario(
    "three batches with two rows that the broker refuses, searched for and parked",
    lambda: World(poison={b"3.1": 87, b"1.2": 999}, policy="dead_letter"),
)
"""One refusal with a name, and one with an error that aiokafka does not know."""


# -- two instances ----------------------------------------------------------------------------------


def _one_fence(report: Report) -> None:
    """Where nobody was away, the first to work stays it; one who was frozen is fenced once, and that is all."""
    away = [fault for _, _, fault in report.struck]
    if all(isinstance(fault, Frozen) for fault in away):
        if report.fences > 1 + len(away):
            raise Wrong(f"{report.fences} fences, {report.ends}")
        if not away and any("Fenced" in ends for ends in report.ends.values()):
            raise Wrong(f"fenced, although nobody was away: {report.ends}")


def _both_stay(report: Report) -> None:
    """Where nothing fails nobody ends: the one that loses the race stands by."""
    if not report.struck and any(ends != ["stopped"] for ends in report.ends.values()):
        raise Wrong(f"two that started at once: {report.ends}")


STANDBY = Scenario(
    "one works on three batches, one stands by", lambda: World(pace=8.0), {"one": {}, "two": {"delay": 1.0}}, _one_fence
)
RACE = Scenario(
    "two first starts at once: the second one looks before the first one is there to be seen",
    World,
    {"one": {}, "two": {"delay": 0.013}},
    _both_stay,
)
TAKE_OVER = Scenario(
    "the second one is told to take over while the first one works",
    lambda: World(THREE_BATCHES + THREE_BATCHES, pace=1.0),
    {"one": {}, "two": {"delay": 1.5, "take_over": True}},
)


# -- strangers and old age -----------------------------------------------------------------------------


def _strangers() -> World:
    world = World(pace=1.0)
    world.at_position[1] = lambda: hold_open(world.broker, 40.0)
    return world


def _nothing_refused(report: Report) -> None:
    refused = {(api, code) for api, code in report.errors if code != 51}
    if not report.struck and refused:
        raise Wrong(f"the broker has refused something: {refused}")


STRANGERS = Scenario("somebody else's transaction is open beside our checkpoint for forty seconds", _strangers)
OLD = Scenario(
    "a producer whose sequence numbers are about to wrap", lambda: World(sink=OldSink), check=_nothing_refused
)
EVERYTHING = (FIRST, AGAIN, PARKED, STANDBY, RACE, TAKE_OVER, STRANGERS, OLD)

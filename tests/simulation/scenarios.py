"""The runs that are gone through step by step: every request of theirs, with every fault that it can meet."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from tests.simulation.faults import Fault, every
from tests.simulation.world import THREE_BATCHES, Report, World


@dataclass(frozen=True)
class Scenario:
    """A way to make a world, and who lives in it."""

    name: str
    world: Callable[[], World]
    instances: Mapping[str, Mapping[str, Any]] | None = None

    def run(self, faults: Mapping[int, Fault] | None = None) -> Report:
        return self.world().run(faults, instances=self.instances)

    def faults_at(self, api: str) -> int:
        """How many faults a kind of request can meet."""
        return len(every(api, lambda host, what: None))

    def run_with(self, step: int, api: str, which: int) -> tuple[str, Callable[[], Report]]:
        """The fault's name, and the run in which it strikes this request."""
        world = self.world()
        fault = every(api, world.act)[which]
        return fault.name, lambda: world.run({step: fault}, instances=self.instances)

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

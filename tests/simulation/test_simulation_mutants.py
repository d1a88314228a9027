"""The simulation finds what it is for: seventeen rules of the sink broken on purpose, each found by it.

A mutant takes one rule away. `hunt` runs a scenario without a fault, then with every fault at
the requests named, until a run goes wrong. That the unbroken sink passes the same runs is
test_simulation_pairs.py.
"""

import gc
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import pytest

from cdc.errors import Doubt
from cdc.kafka import checkpoints, client, delivery
from cdc.kafka import sink as sink_module
from cdc.kafka.sink import KafkaSink
from cdc.pump import Pump
from tests.simulation.scenarios import (
    AGAIN,
    FIRST,
    OLD,
    RACE,
    STANDBY,
    STRANGERS,
    TAKE_OVER,
    Scenario,
)

Patch = pytest.MonkeyPatch


@dataclass(frozen=True)
class Mutant:
    """A broken rule, and where to look for what it does."""

    rule: str
    apply: Callable[[Patch], None]
    scenario: Scenario = FIRST
    steps: tuple[str, ...] = ()
    """Kinds of requests whose faults show it; none: it shows without a fault."""


def hunt(scenario: Scenario, steps: Collection[str]) -> str | None:
    """What the first run that goes wrong says; None where none does."""
    pairs = [pair for pair in scenario.pairs() if pair[1] in steps] if steps else [None]
    for pair in pairs:
        try:
            (scenario.run if pair is None else scenario.run_with(*pair)[1])()
        except Exception as error:  # noqa: BLE001 - every way of going wrong is a find
            return f"{type(error).__name__}: {error}"
    return None


def _answers_not_awaited(patch: Patch) -> None:
    async def at_once(*_: Any, **__: Any) -> int:
        return 0

    patch.setattr(delivery, "_answered", at_once)
    patch.setattr(delivery, "_all_taken", at_once)


def _uncommitted_is_read(patch: Patch) -> None:
    read = checkpoints.read

    async def all_of_it(*arguments: Any, committed: bool, **options: Any) -> Any:
        return await read(*arguments, committed=False, **options)

    patch.setattr(checkpoints, "read", all_of_it)


def _doubt_taken_for_done(patch: Patch) -> None:
    commit = KafkaSink.commit

    async def careless(self: KafkaSink, batch: Any) -> None:
        try:
            await commit(self, batch)
        except Doubt:
            await self.fence()

    patch.setattr(KafkaSink, "commit", careless)


def _doubt_taken_for_not_done(patch: Patch) -> None:
    commit, fence = KafkaSink.commit, KafkaSink.fence
    sure: dict[int, Any] = {}

    async def remembering(self: KafkaSink, batch: Any) -> None:
        await commit(self, batch)
        sure[id(self)] = batch.position

    async def trusting(self: KafkaSink) -> Any:
        found = await fence(self)
        return replace(found, position=sure[id(self)]) if found and id(self) in sure else found

    patch.setattr(KafkaSink, "commit", remembering)
    patch.setattr(KafkaSink, "fence", trusting)


def _no_checkpoint_in_the_transaction(patch: Patch) -> None:
    pack = KafkaSink._pack
    patch.setattr(KafkaSink, "_pack", lambda self, what, records: pack(self, what, list(records)[:-1]))


def _no_deadline(patch: Patch) -> None:
    init = KafkaSink.__init__

    def patient(self: KafkaSink, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self._deadline = 1e6

    patch.setattr(KafkaSink, "__init__", patient)
    make = sink_module.make_producer
    patch.setattr(sink_module, "make_producer", lambda address, _, **options: make(address, 10.0, **options))


def _no_genesis(patch: Patch) -> None:
    deliver = KafkaSink._deliver

    async def without(self: KafkaSink, producer: Any, *records: Any) -> int:
        return await deliver(self, producer, *(each for each in records if each.key != self.names.genesis_key))

    patch.setattr(KafkaSink, "_deliver", without)


def _producer_left_alive(patch: Patch) -> None:
    async def nothing(producer: Any) -> None:
        producer._closed = True

    patch.setattr(sink_module, "cut", nothing)


def _topics_asked_for_by_name(patch: Patch) -> None:
    def half_tame(made: Any, address: Any) -> Any:
        async def bootstrap() -> None:
            await client._bootstrap(made, address)

        made.bootstrap = bootstrap
        return made

    patch.setattr(client, "_tame", half_tame)


def _one_look_is_enough(patch: Patch) -> None:
    async def once(consumer: Any, partition: Any, start: int, end: int, but: Any) -> Any:
        consumer.seek(partition, start)
        records = (await consumer.getmany(partition, timeout_ms=200)).get(partition, ())
        return {record.key: record for record in records if record.offset < end}

    patch.setattr(checkpoints, "_forward", once)


def _read_position_believed(patch: Patch) -> None:
    resume = Pump._resume

    async def hopeful(self: Pump) -> Any:
        before = self.read_position
        position = await resume(self)
        if before is not None:
            await self._source.open(before)
        return position

    patch.setattr(Pump, "_resume", hopeful)


def _read_to_the_last_stable_offset(patch: Patch) -> None:
    read = checkpoints.read_settled

    async def what_is_stable(cluster: Any, names: Any, **options: Any) -> Any:
        async def stable(topic: str) -> Any:
            found = await offsets(topic)
            return found._replace(end=found.stable)

        offsets = cluster.offsets
        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(cluster, "offsets", stable)
            return await read(cluster, names, **options)

    patch.setattr(sink_module, "read_settled", what_is_stable)


def _read_before_the_fence(patch: Patch) -> None:
    become = KafkaSink._become_writer

    async def hasty(self: KafkaSink, reason: Any) -> Any:
        found = await checkpoints.read_settled(self._cluster, self.names, patience=70)
        sure = found if found.get(self.names.checkpoint_key) else None

        async def known(*_: Any, **__: Any) -> Any:
            return sure or await checkpoints.read_settled(self._cluster, self.names, patience=70)

        with pytest.MonkeyPatch.context() as inner:
            inner.setattr(sink_module, "read_settled", known)
            return await become(self, reason)

    patch.setattr(KafkaSink, "_become_writer", hasty)


def _never_retired(patch: Patch) -> None:
    patch.setattr(sink_module, "RETIRE_AFTER", float("inf"))


async def _at_once(*_: Any, **__: Any) -> None:
    """Nobody is waited for."""


def _no_standing_by(patch: Patch) -> None:
    patch.setattr(sink_module, "stand_by", _at_once)


def _nobody_gives_way(patch: Patch) -> None:
    async def stubborn(self: KafkaSink, seen: Any, epoch: Any) -> Any:
        return seen

    patch.setattr(KafkaSink, "_give_way", stubborn)


def _the_loser_ends(patch: Patch) -> None:
    init = KafkaSink.__init__

    def old(self: KafkaSink, *arguments: Any, **options: Any) -> None:
        init(self, *arguments, **options)
        self._heartbeat._ordered = True

    patch.setattr(KafkaSink, "__init__", old)


MUTANTS = (
    Mutant("every batch's answer is awaited before the commit", _answers_not_awaited, FIRST, ("Produce",)),
    Mutant("only what is committed is read", _uncommitted_is_read, FIRST, ("EndTxn",)),
    Mutant("a doubt is not taken for done", _doubt_taken_for_done, FIRST, ("Produce",)),
    Mutant("a doubt is not taken for not done", _doubt_taken_for_not_done, FIRST, ("EndTxn",)),
    Mutant("the checkpoint is in the records' transaction", _no_checkpoint_in_the_transaction),
    Mutant("a deadline around everything", _no_deadline, FIRST, ("AddPartitions",)),
    Mutant("genesis and first checkpoint come together", _no_genesis),
    Mutant("a producer is thrown away", _producer_left_alive),
    Mutant("no topic is asked for by name", _topics_asked_for_by_name, AGAIN),
    Mutant("read until the high watermark is reached", _one_look_is_enough, AGAIN, ("Fetch",)),
    Mutant("only the checkpoint is believed", _read_position_believed, FIRST, ("Produce",)),
    Mutant(
        "read to the high watermark, not to the last stable offset",
        _read_to_the_last_stable_offset,
        STRANGERS,
        ("Produce",),
    ),
    Mutant("fence, then read", _read_before_the_fence, TAKE_OVER, ("InitProducerId",)),
    Mutant("a producer is retired before its sequence numbers wrap", _never_retired, OLD),
    Mutant("stand by while another works", _no_standing_by, STANDBY),
    Mutant("give way to a newer instance", _nobody_gives_way, STANDBY, ("Produce",)),
    Mutant("of two that start at once the loser stays", _the_loser_ends, RACE),
)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.rule.replace(" ", "-"))
def test_a_broken_rule_is_found(mutant: Mutant, monkeypatch: Patch):
    list(mutant.scenario.pairs())  # what happens in which order is learnt from the unbroken sink
    mutant.apply(monkeypatch)
    found = hunt(mutant.scenario, mutant.steps)
    monkeypatch.undo()
    gc.collect()  # mutants leave connections behind: let them complain here, where that is expected
    assert found, "the simulation does not see it"
    print(found)

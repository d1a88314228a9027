"""Refusals that the sink tells of, before it sends or after the broker said so: under each policy, whatever else fails."""

import asyncio
import random

import pytest
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc.errors import PartitionsChanged, RecordRefused, RecordTooLarge, Refused, RowRefused, Unfit
from cdc.model import Batch, Original, Part, Record, SourceTransaction
from cdc.partitions import PartitionWatch
from cdc.pump import Pump
from cdc.tailer.logs import StepLog
from tests.properties.test_pump import QUICK, Everything, MemoryKafka, MemoryLog, run_supervised, unheard


class Picky(MemoryKafka):
    """Will not have some values: says so before sending, or refuses the batch and can be asked which."""

    def __init__(self, dice, faults, *, known, unknown):
        super().__init__(dice, faults)
        self.known, self.unknown = known, unknown

    async def commit(self, batch):
        if bad := {at: RecordTooLarge("big") for at, r in enumerate(batch.records) if r.value in self.known}:
            raise Unfit("no", refusals=bad)
        if bad := [at for at, r in enumerate(batch.records) if r.value in self.unknown]:
            self.fenced = False
            raise Refused("no", suspects=tuple(bad))
        await super().commit(batch)

    async def examine(self, batch, refused):
        return {refused.suspects[0]: RecordRefused("not this one")}


class Parked:
    def __init__(self):
        self.opened = 0

    async def open(self):
        self.opened += 1

    async def park(self, origin, original, error, record):
        value = b"%s:%d:%s" % (error.reason.encode(), origin.transaction.position, origin.row.values[0])
        return [Record("dead", 0, None, value, [], None)] * 2  # in parts


class Asked(Everything):
    def original(self, row):
        return Original(row.values[0].decode(), "x", "t", None, (), "payload")


logs = st.lists(st.integers(0, 4), min_size=1, max_size=25).map(
    lambda sizes: [[f"{n}/{i}".encode() for i in range(size)] for n, size in enumerate(sizes)]
)


@given(
    log=logs,
    data=st.data(),
    seed=st.integers(0, 2**32),
    faults=st.sampled_from([0, 0.1]),
    policy=st.sampled_from(["stop", "skip", "dead_letter"]),
)
@settings(max_examples=150, deadline=None)
def test_each_policy_does_what_it_says(*, log, data, seed, faults, policy):
    rows = [value for made in log for value in made]
    poison = data.draw(st.lists(st.sampled_from(rows), max_size=4, unique=True)) if rows else []
    known, unknown = set(poison[::2]), set(poison[1::2])
    dice = random.Random(seed)
    source, kafka, router = MemoryLog(log, dice, faults), Picky(dice, faults, known=known, unknown=unknown), Asked()
    router.policy, parked = policy, Parked()
    pump = Pump(
        source, router, router, kafka, unheard,
        start="earliest", until_caught_up=True, limits=QUICK, parking=parked,
    )  # fmt: skip
    if policy == "stop" and poison:
        with pytest.raises(RowRefused):
            run_supervised(pump)
        first = next(n for n, made in enumerate(log) if set(made) & set(poison))
        assert [r.value for r in kafka.records] == [value for made in log[:first] for value in made]
        assert not kafka.released
        return
    run_supervised(pump)
    expected = []
    for position, made in enumerate(log, 1):
        for value in made:
            if value not in poison:
                expected.append(value)
            elif policy == "dead_letter":
                reason = "record_too_large" if value in known else "record_refused"
                expected += [f"{reason}:{position}:{value.decode()}".encode()] * 2
    assert [r.value for r in kafka.records] == expected
    assert kafka.released
    assert parked.opened


def test_who_was_careful_is_so_no_more_when_the_danger_is_behind():
    """What was wrong with a refused row is repaired while the source starts over: nobody is careful at the end."""
    log = [[b"%d" % n] for n in range(30)]
    dice = random.Random(1)
    source, kafka, router = MemoryLog(log, dice, 0), Picky(dice, 0, known={b"3"}, unknown=set()), Asked()
    opened = []
    plain_open = source.open

    async def opening(position, *, careful=False, snapshot=None):
        opened.append(careful)
        if careful:
            kafka.known = set()
        await plain_open(position, careful=careful, snapshot=snapshot)

    source.open = opening
    pump = Pump(source, router, router, kafka, unheard, start="earliest", until_caught_up=True, limits=QUICK)
    asyncio.run(pump.run())
    assert [r.value for r in kafka.records] == [value for made in log for value in made]
    assert opened == [False, True, False]


@given(st.lists(st.lists(st.integers(0, 3), max_size=4), max_size=6), st.data())
def test_records_know_their_rows_also_after_others_were_replaced(slices, data):
    batch, wanted, n = Batch(None), [], 0
    for sizes in slices:
        transactions = []
        for size in sizes:
            n += 1
            transactions.append(SourceTransaction(None, "b", n, 0, 0, [(n, at) for at in range(1, size + 1)]))
        batch.parts.append(Part(len(batch.records), transactions, None))
        for transaction in transactions:
            batch.records += list(transaction.rows)
            wanted += transaction.rows
    changes = data.draw(st.dictionaries(st.integers(0, len(wanted) - 1), st.integers(0, 2))) if wanted else {}
    batch.replace({at: [("letter",)] * count for at, count in changes.items()})
    for index, record in enumerate(batch.records):
        origin = batch.origin(index)
        assert (origin is None) == (record == ("letter",))
        if origin is not None:
            assert origin.row == record == (origin.transaction.position, origin.number)
    assert batch.letters == sum(changes.values())
    assert [r for r in batch.records if r != ("letter",)] == [r for at, r in enumerate(wanted) if at not in changes]


@pytest.mark.parametrize("stop", [False, True])
def test_partitions_that_change_are_said_once_or_stop(stop):
    counts, said = {"t": 3, "u": 1}, []

    class Topics:
        def partitions(self, topic):
            return counts.get(topic)

    watch = PartitionWatch(Topics(), lambda step, /, **facts: said.append(facts), stop=stop)
    records = [Record(topic, 0, b"k", b"", [], None) for topic in ("t", "u", "t")]
    watch.look(records)
    counts["t"] = 4
    if stop:
        with pytest.raises(PartitionsChanged, match="topic t has 4 partitions, and had 3"):
            watch.look(records)
        assert not said
        return
    for _ in range(3):
        watch.look(records)
    assert said == [{"topic": "t", "before": 3, "now": 4}]


def test_of_a_flood_of_refusals_a_few_are_said():
    with structlog.testing.capture_logs() as lines:
        log = StepLog("shop")
        for _ in range(1000):
            log("refused", error=RecordTooLarge("big"), where="x", policy="skip")
        log("refused", error=RecordTooLarge("big"), where="x", policy="dead_letter")
    assert [line["event"] for line in lines] == ["row passed over"] * 5 + ["row kept as a dead letter"]

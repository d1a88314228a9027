"""Compares what Kafka shows with what the table holds, and counts each kind of fault by itself.

    lost        committed rows of transactions of which nothing arrived
    torn        transactions of which a part arrived, or whose rows were committed to Kafka apart
    doubled     records too many
    phantom     records of rows that were never committed, or of nobody's rows
    reordered   records behind a later one of the same writer or key in the same partition
    misplaced   records in another partition than their key's
    altered     records whose topic, key, value, headers or time is not the row's

A record that never came counts once: as lost when its whole transaction did not come, as
torn when a part of it did. "Committed apart" is seen without a clock: the end of a Kafka
transaction takes an offset of its own in every partition it wrote to, so each run of offsets
without a hole is (a part of) one Kafka transaction. Every source transaction says that the runs
its rows are in belong together; two runs of one partition cannot, also not by way of others.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.checker import marks
from tests.checker.ledger import Entry, Ledger
from tests.checker.marks import HEADER
from tests.checker.rows import Headers, digest, identity

FAULTS = ("lost", "doubled", "phantom", "reordered", "torn", "altered", "misplaced")


class Seen(NamedTuple):
    """A record as a consumer saw it. `timestamp` is milliseconds since 1970."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


class Run(NamedTuple):
    """The records between two holes of a partition's offsets."""

    topic: str
    partition: int
    number: int


@dataclass(slots=True)
class Verdict:
    """The counts, and the first few faults in words."""

    records: int = 0
    transactions: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not self.counts

    def fault(self, kind: str, words: str, times: int = 1) -> None:
        self.counts[kind] += times
        if len(self.examples) < 20:
            self.examples.append(f"{kind}: {words}")

    def __str__(self) -> str:
        counts = ", ".join(f"{self.counts[kind]} {kind}" for kind in FAULTS)
        return "\n  ".join([f"{self.transactions} transactions, {self.records} records: {counts}", *self.examples])


def judge(
    ledger: Ledger,
    records: Iterable[Seen],
    *,
    partitions: Mapping[str, int] | None = None,
    times: tuple[int, int] | None = None,
) -> Verdict:
    """Count every fault. `partitions`: of each topic, to check keys' places; `times`: first and last allowed timestamp."""
    return _Judge(ledger, partitions or {}, times).run(records)


class _Judge:
    def __init__(self, ledger: Ledger, partitions: Mapping[str, int], times: tuple[int, int] | None) -> None:
        self.ledger, self.partitions, self.times = ledger, partitions, times
        self.verdict = Verdict(transactions=len(ledger.transactions()))
        self.first: dict[bytes, tuple[int, int, str, int]] = {}
        self.runs: dict[tuple[int, int], set[Run]] = {}
        self.apart: set[tuple[int, int]] = set()

    def run(self, records: Iterable[Seen]) -> Verdict:
        by_partition: dict[tuple[str, int], list[Seen]] = {}
        for record in records:
            by_partition.setdefault((record.topic, record.partition), []).append(record)
        for found in by_partition.values():
            found.sort(key=lambda record: record.offset)
            for record in found:
                self._note(record)
        for found in by_partition.values():
            self._partition(found)
        self._whole()
        self._missing()
        return self.verdict

    def _note(self, record: Seen) -> None:
        """Find out which of several records of a row is the first: without a key they may be in any partition."""
        event_id = self._whose(record)
        if event_id is not None:
            when = record.timestamp, record.offset, record.topic, record.partition
            self.first[event_id] = min(self.first.get(event_id, when), when)

    def _partition(self, records: list[Seen]) -> None:
        writers: dict[int, tuple[int, int]] = {}
        keys: dict[bytes, int] = {}
        number, last = 0, records[0].offset - 1
        for record in records:
            self.verdict.records += 1
            number += record.offset != last + 1
            last = record.offset
            event_id = self._whose(record)
            if event_id is None:
                self.verdict.fault("phantom", _show(record))
                continue
            entry = self.ledger.entries[event_id]
            if self.first[event_id] != (record.timestamp, record.offset, record.topic, record.partition):
                self.verdict.fault("doubled", f"{entry.place} at {_show(record)}")
            else:
                self._content(record, entry)
                self._order(record, entry, writers, keys)
                run = Run(record.topic, record.partition, number)
                self.runs.setdefault((entry.place.writer, entry.place.number), set()).add(run)

    def _whose(self, record: Seen) -> bytes | None:
        """The row this is a record of: by its id, else by its mark."""
        event_id = identity(record.headers)
        if event_id in self.ledger.entries:
            return event_id
        mark = marks.parse(record.value) or marks.parse(dict(record.headers).get(HEADER))
        return self.ledger.by_place.get(mark.place) if mark else None

    def _content(self, record: Seen, entry: Entry) -> None:
        early, late = self.times or (record.timestamp, record.timestamp)
        wrong = [
            name
            for name, right in (
                ("topic", record.topic == entry.topic),
                ("key", record.key == entry.key),
                ("value", digest(record.value) == entry.value),
                ("headers", digest(record.headers) == entry.headers),
                ("timestamp", early <= record.timestamp <= late),
            )
            if not right
        ]
        if wrong:
            self.verdict.fault("altered", f"{', '.join(wrong)} of {entry.place} at {_show(record)}")
        count = self.partitions.get(record.topic)
        if count and entry.key is not None and record.key == entry.key:
            home = java_partition(entry.key, count)
            if home != record.partition:
                self.verdict.fault("misplaced", f"{entry.place} belongs to partition {home}: {_show(record)}")

    def _order(self, record: Seen, entry: Entry, writers: dict[int, tuple[int, int]], keys: dict[bytes, int]) -> None:
        place = entry.place.number, entry.place.index
        before = writers.get(entry.place.writer, (0, 0))
        key_before = 0 if entry.key is None else keys.get(entry.key, 0)
        if place < before or (entry.key is not None and entry.sequence <= key_before):
            self.verdict.fault("reordered", f"{entry.place} behind {before} at {_show(record)}")
        writers[entry.place.writer] = max(place, before)
        if entry.key is not None:
            keys[entry.key] = max(entry.sequence, key_before)

    def _whole(self) -> None:
        """Find the source transactions that were in more than one Kafka transaction."""
        together: dict[tuple[Run, Run], list[tuple[int, int]]] = {}
        for transaction, runs in self.runs.items():
            for pair in pairwise(sorted(runs)):
                together.setdefault(pair, []).append(transaction)
        kafka_transactions = _Groups()
        # What most say is believed first: one that is torn speaks against all others of its Kafka transactions.
        for pair in sorted(together, key=lambda pair: -len(together[pair])):
            if not kafka_transactions.join(*pair):
                for transaction in set(together[pair]) - self.apart:
                    self.apart.add(transaction)
                    self.verdict.fault("torn", f"{transaction} in two Kafka transactions: {pair}")

    def _missing(self) -> None:
        there = Counter(
            (self.ledger.entries[event_id].place.writer, self.ledger.entries[event_id].place.number)
            for event_id in self.first
        )
        for transaction, rows in self.ledger.transactions().items():
            if not there[transaction]:
                self.verdict.fault("lost", f"{transaction}, {rows} rows", rows)
            elif there[transaction] < rows and transaction not in self.apart:
                self.verdict.fault("torn", f"{transaction}: {there[transaction]} of {rows} rows arrived")


class _Groups:
    """Runs that belong together (union-find); a group never holds two runs of one partition."""

    def __init__(self) -> None:
        self._parent: dict[Run, Run] = {}
        self._members: dict[Run, dict[tuple[str, int], int]] = {}

    def join(self, one: Run, two: Run) -> bool:
        """Put two runs' groups together; False where they contradict each other."""
        one, two = self._root(one), self._root(two)
        if one == two:
            return True
        small, large = sorted((self._members[one], self._members[two]), key=len)
        if any(large.get(partition, number) != number for partition, number in small.items()):
            return False
        self._parent[one] = two
        self._members[two] = large | small
        del self._members[one]
        return True

    def _root(self, run: Run) -> Run:
        if run not in self._parent:
            self._members.setdefault(run, {run[:2]: run.number})
        while run in self._parent:
            run = self._parent[run]
        return run


def java_partition(key: bytes, count: int) -> int:
    """Where Java's DefaultPartitioner puts a key: murmur2, made positive, modulo the partitions."""
    mask, mixer = 0xFFFFFFFF, 0x5BD1E995
    value = (0x9747B28C ^ len(key)) & mask
    whole = len(key) & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(key[at : at + 4], "little") * mixer & mask
        part = (part ^ part >> 24) * mixer & mask
        value = (value * mixer & mask) ^ part
    if rest := key[whole:]:
        value = (value ^ int.from_bytes(rest, "little")) * mixer & mask
    value = (value ^ value >> 13) * mixer & mask
    return ((value ^ value >> 15) & 0x7FFFFFFF) % count


def _show(record: Seen) -> str:
    return f"{record.topic}[{record.partition}]@{record.offset} key {record.key!r:.60}"

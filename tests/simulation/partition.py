"""One partition of the model broker: its log, and what it knows of producers.

What one must know to change it (all of it as recorded from the real broker, tests/vectors/broker):

* A producer id's first batch may have any sequence number; after that they must go on
  without a gap, and begin at 0 with each new epoch. The last five batches are known again.
* A refused batch leaves a gap, also where it was the producer's first: the broker remembers
  the lowest sequence it was asked to take since the transaction began here.
* A marker ends the producer's transaction here, and with it the hold on the last stable
  offset. It may carry a higher epoch than the transaction: that is what fences latecomers.
* The size is judged first, then time and key, then the sequence.
"""

import struct
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aiokafka.record.default_records import DefaultRecordBase, DefaultRecordBatch
from aiokafka.record.util import calc_crc32c

OK, OUT_OF_RANGE, UNKNOWN_TOPIC, NOT_LEADER, TOO_LARGE = 0, 1, 3, 6, 10
BAD_TIMESTAMP, OUT_OF_ORDER, FENCED, BAD_STATE, INVALID_RECORD = 32, 45, 47, 48, 87
_AN_HOUR = 3_600_000
_KEPT = 5
_SEQUENCES = 2**31
_HEADER = DefaultRecordBase.HEADER_STRUCT
_TRANSACTIONAL, _CONTROL = DefaultRecordBase.TRANSACTIONAL_MASK, DefaultRecordBase.CONTROL_MASK


class Stored(NamedTuple):
    """A record as the judge sees it."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(slots=True)
class Batch:
    """What was appended at once. `commit` is what a marker says, None for data."""

    base: int
    count: int
    pid: int
    epoch: int
    transactional: bool
    raw: bytes
    commit: bool | None = None

    @property
    def next(self) -> int:
        return self.base + self.count

    def records(self) -> list[Stored]:
        return [Stored(each.offset, each.key, each.value) for each in DefaultRecordBatch(self.raw)]


@dataclass(slots=True)
class Known:
    """What a partition knows of a producer id."""

    epoch: int
    last: int = -1
    batches: deque[tuple[int, int, int]] = field(default_factory=lambda: deque(maxlen=_KEPT))
    open_from: int | None = None


class Partition:
    """A log of batches."""

    def __init__(self, topic: str, number: int, settings: dict[str, str]) -> None:
        self.topic, self.number, self.settings = topic, number, settings
        self.log: list[Batch] = []
        self.end = 0
        self.known: dict[int, Known] = {}
        self._lowest: dict[int, int] = {}
        self.aborted: list[tuple[int, int, int]] = []
        """Producer id, first offset, offset of the marker."""

    @property
    def stable(self) -> int:
        """The last stable offset."""
        return min((known.open_from for known in self.known.values() if known.open_from is not None), default=self.end)

    def is_open(self, pid: int) -> bool:
        known = self.known.get(pid)
        return known is not None and known.open_from is not None

    def append(self, raw: bytes, now: float, poison: Mapping[bytes, int] | None = None) -> tuple[int, int]:
        """Error and base offset. `poison` are values that are refused, each with its error."""
        (_, _, _, _, _, attributes, delta, _, latest, pid, epoch, first, count) = _HEADER.unpack_from(raw)
        if pid >= 0 and not self.is_open(pid):
            self._lowest[pid] = min(first, self._lowest.get(pid, first))
        if len(raw) > int(self.settings["max.message.bytes"]):
            return TOO_LARGE, -1
        if latest > now * 1000 + _AN_HOUR:
            return BAD_TIMESTAMP, -1
        if error := self._unfit(raw, poison or {}):
            return error, -1
        transactional = bool(attributes & _TRANSACTIONAL)
        if pid >= 0:
            if first < 0:
                return INVALID_RECORD, -1
            error, duplicate = self._sequence(pid, epoch, first, count)
            if error or duplicate is not None:
                return error, -1 if duplicate is None else duplicate
        base = self._store(Batch(self.end, delta + 1, pid, epoch, transactional, raw))
        if pid >= 0:
            self._lowest.pop(pid, None)
            known = self._of(pid, epoch)
            known.last = (first + count - 1) % _SEQUENCES
            known.batches.append((first, count, base))
            if transactional and known.open_from is None:
                known.open_from = base
        return OK, base

    def _unfit(self, raw: bytes, poison: Mapping[bytes, int]) -> int:
        compacted = self.settings["cleanup.policy"] == "compact"
        if compacted or poison:
            for record in DefaultRecordBatch(raw):
                if compacted and record.key is None:
                    return INVALID_RECORD
                if record.value in poison:
                    return poison[record.value]
        return OK

    def _sequence(self, pid: int, epoch: int, first: int, count: int) -> tuple[int, int | None]:
        known = self.known.get(pid)
        if first > self._lowest.get(pid, first):
            return OUT_OF_ORDER, None
        if known is None:
            return OK, None
        if epoch < known.epoch:
            return FENCED, None
        if epoch > known.epoch:
            return (OK if first == 0 else OUT_OF_ORDER), None
        for seen_first, seen_count, base in known.batches:
            if (seen_first, seen_count) == (first, count):
                return OK, base
        return (OK if first == (known.last + 1) % _SEQUENCES else OUT_OF_ORDER), None

    def _of(self, pid: int, epoch: int) -> Known:
        known = self.known.get(pid)
        if known is None or known.epoch != epoch:
            self.known[pid] = known = Known(epoch, open_from=known.open_from if known else None)
        return known

    def mark(self, pid: int, epoch: int, *, commit: bool, now: float) -> None:
        """Write a transaction's marker."""
        offset = self._store(Batch(self.end, 1, pid, epoch, True, _marker(pid, epoch, commit, now), commit))
        known = self._of(pid, epoch)
        self._lowest.pop(pid, None)
        if known.open_from is not None and not commit:
            self.aborted.append((pid, known.open_from, offset))
        known.open_from = None

    def _store(self, batch: Batch) -> int:
        batch.raw = struct.pack(">q", batch.base) + batch.raw[8:]  # the checksum leaves this out
        self.log.append(batch)
        self.end = batch.next
        return batch.base

    def open_batches(self, pid: int) -> list[Batch]:
        """What the producer has written here in its open transaction."""
        known = self.known.get(pid)
        if known is None or known.open_from is None:
            return []
        return [each for each in self.log if each.pid == pid and each.commit is None and each.base >= known.open_from]

    def read(self, offset: int, limit: int) -> bytes:
        """Whole batches from the one that holds `offset` on, those that begin below `limit`."""
        return b"".join(batch.raw for batch in self.log if batch.next > offset and batch.base < limit)

    def aborted_in(self, offset: int, limit: int) -> list[tuple[int, int]]:
        return [(pid, first) for pid, first, marker in self.aborted if marker >= offset and first < limit]

    def visible(self) -> list[Stored]:
        """What a read_committed consumer is given."""
        limit, found = self.stable, []
        gone = [(pid, first, marker) for pid, first, marker in self.aborted]
        for batch in self.log:
            if batch.commit is not None or batch.base >= limit:
                continue
            if batch.transactional and any(p == batch.pid and f <= batch.base < m for p, f, m in gone):
                continue
            found += batch.records()
        return found


def _marker(pid: int, epoch: int, commit: bool, now: float) -> bytes:
    """A control batch: one record whose key is version 0 and the kind, 1 for commit."""
    key, value = struct.pack(">hh", 0, int(commit)), struct.pack(">hi", 0, 0)
    body = b"\0\0\0" + bytes([len(key) << 1]) + key + bytes([len(value) << 1]) + value + b"\0"
    record = bytes([len(body) << 1]) + body
    at = int(now * 1000)
    head = _HEADER.pack(
        0, _HEADER.size - 12 + len(record), 0, 2, 0, _TRANSACTIONAL | _CONTROL, 0, at, at, pid, epoch, -1, 1
    )
    raw = bytearray(head + record)
    start = DefaultRecordBase.ATTRIBUTES_OFFSET
    struct.pack_into(">I", raw, DefaultRecordBase.CRC_OFFSET, calc_crc32c(bytes(raw[start:])))
    return bytes(raw)

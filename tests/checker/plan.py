"""What the writer will do, decided before it does it: numbered transactions out of a seed.

One writer owns its keys, so the order of its own transactions is the commit order of each of
them. Undone rows use up sequence numbers: a key's numbers ascend in Kafka, with holes.
"""

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from tests.checker.marks import HEADER, Mark
from tests.checker.rows import TableRow

COMMIT, ROLLBACK, SAVEPOINT, SIDE_WRITE, TEMPORARY, XA_COMMIT, XA_ROLLBACK = KINDS = (
    "commit",
    "rollback",
    "savepoint",
    "side_write",
    "temporary",
    "xa_commit",
    "xa_rollback",
)
"""How a transaction ends.

    commit       BEGIN, rows, COMMIT
    rollback     BEGIN, rows, ROLLBACK (never in the log)
    savepoint    rows, SAVEPOINT, undone rows, ROLLBACK TO, maybe rows, COMMIT
    side_write   as savepoint, with a write to a table without transactions between: the undone rows ARE in MariaDB's log
    temporary    undone rows and a temporary table, ROLLBACK: they ARE in MariaDB's log
    xa_commit    XA END, PREPARE, COMMIT: two entries in the log
    xa_rollback  XA END, PREPARE, ROLLBACK: the undone rows ARE in the log
"""
UNDONE_KINDS = frozenset({ROLLBACK, TEMPORARY, XA_ROLLBACK})
MIX = {COMMIT: 80, ROLLBACK: 5, SAVEPOINT: 9, SIDE_WRITE: 1, TEMPORARY: 1, XA_COMMIT: 2, XA_ROLLBACK: 2}
MARIADB_ONLY = frozenset({SIDE_WRITE, TEMPORARY})
"""MySQL with GTIDs refuses the first (error 1785), and never logs the undone rows of the second."""

TIMES = (
    None,
    None,
    None,
    # An old event is published now all the same, and whole seconds have six digits too.
    *map(datetime.fromisoformat, ("2001-02-03 04:05:06", "2020-12-31 23:59:59.000070")),
)


@dataclass(frozen=True, slots=True)
class Transaction:
    """`before` and `after` are kept where the kind keeps anything; `undone` never is."""

    kind: str
    writer: int
    number: int
    before: tuple[TableRow, ...]
    undone: tuple[TableRow, ...]
    after: tuple[TableRow, ...]

    @property
    def kept(self) -> tuple[TableRow, ...]:
        return self.before + self.after


@dataclass(slots=True)
class Planner:
    """Transactions of one writer, for ever."""

    seed: str
    writer: int
    topics: Sequence[str]
    layouts: Sequence[str] = ("native",)
    mix: dict[str, int] | None = None
    largest: int = 60_000

    def __iter__(self) -> Iterator[Transaction]:
        rnd = random.Random(f"{self.seed}/{self.writer}")
        mix = self.mix or MIX
        kinds, weights = list(mix), list(mix.values())
        keys = self._keys()
        sequences = dict.fromkeys(keys, 0)
        number = 0
        while True:
            number += 1
            kind = rnd.choices(kinds, weights)[0]
            kept, undone = self._shape(rnd, kind)
            rows = []
            for index in [*range(kept), *range(-1, -undone - 1, -1)]:
                key = rnd.choice(keys)
                sequences[key] += 1
                named = None if key is None else key.hex()
                mark = Mark(self.writer, number, index, kept, named, sequences[key], index >= 0)
                rows.append(self._row(rnd, mark, key))
            cut = rnd.randint(0, kept) if undone else kept
            yield Transaction(kind, self.writer, number, tuple(rows[:cut]), tuple(rows[kept:]), tuple(rows[cut:kept]))

    def _keys(self) -> list[bytes | None]:
        name = b"%d" % self.writer
        return [
            None,
            b"order-" + name,
            b"o/" + name,
            b"\x00\xff\xfe" + name,
            b"k" * 300 + name,
            "schlüssel-".encode() + name,
        ]

    @staticmethod
    def _shape(rnd: random.Random, kind: str) -> tuple[int, int]:
        rows = rnd.choice((1, 1, 2, 3, 5))
        if kind in UNDONE_KINDS:
            return 0, rows
        if kind in {SAVEPOINT, SIDE_WRITE}:
            return rows, rnd.choice((1, 2, 3))
        return rows, 0

    def _row(self, rnd: random.Random, mark: Mark, key: bytes | None) -> TableRow:
        topic = rnd.choice(self.topics)
        name = rnd.choice(("order.created", "order.paid", "kunde.geändert"))
        body = mark.text().encode() + b"\n" + rnd.randbytes(self._length(rnd))
        identity = _uuid7(rnd)
        if rnd.choice(self.layouts) == "cqrs":
            return TableRow("cqrs", identity, name, topic, None, body)
        tombstone = rnd.random() < 0.03
        headers = {HEADER: mark.text()}
        if rnd.random() < 0.2:
            headers |= {"traceparent": "00-" + rnd.randbytes(16).hex(), "Ünïcode": "wört \u2603", "a": ""}
        return TableRow(
            "native",
            identity if rnd.random() < 0.5 else None,
            name,
            topic,
            key,
            None if tombstone else body,
            rnd.choice((None, None, "application/octet-stream")),
            json.dumps(headers, ensure_ascii=False) if tombstone or rnd.random() < 0.4 else None,
            rnd.choice(TIMES),
        )

    def _length(self, rnd: random.Random) -> int:
        if rnd.random() < 0.002:
            return rnd.randint(self.largest // 2, self.largest)
        return rnd.choice((0, 1, rnd.randint(2, 200), rnd.randint(200, 1200)))


def _uuid7(rnd: random.Random) -> bytes:
    head = int(time.time() * 1000).to_bytes(6, "big")
    tail = bytearray(rnd.randbytes(10))
    tail[0] = 0x70 | tail[0] & 0x0F
    tail[2] = 0x80 | tail[2] & 0x3F
    return head + bytes(tail)

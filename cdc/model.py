"""The nouns every room speaks, and the ports the pump is made of. No I/O, no other room.

The way of the data: a `Source` reads a `Slice` of `SourceTransaction`s made of `Row`s;
a `Router` makes `Record`s of them; a `Batch` of records and the position behind them is
what a `Sink` commits as one Kafka transaction.

Values in a row are Python's own, by column type:

    NULL                                   None
    integers, BIT, YEAR                    int
    FLOAT, DOUBLE                          float
    DECIMAL                                str with all digits of its scale
    CHAR, VARCHAR, TEXT, ENUM, SET         str (decoded from the column's character set)
    BINARY, VARBINARY, BLOB, VECTOR,
    spatial, MariaDB UUID and INET         bytes (BINARY padded to its length)
    DATE, TIME, DATETIME, TIMESTAMP        str, ISO 8601 with a blank between date and time and the
                                           column's digits of fraction; TIMESTAMP in UTC; zero dates as they are
    JSON (MySQL)                           str, JSON text

A row holds only the columns somebody asked for (`TableSpec.wanted`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal, NamedTuple, Protocol, TypeAlias

from cdc.errors import Refused, RowRefused
from cdc.position import Position

Value: TypeAlias = int | float | str | bytes | None
Header: TypeAlias = tuple[str, bytes | None]
Encoded: TypeAlias = tuple[Iterable[bytes | None], Iterable[list[Header]]]
"""The values and the headers of many rows, in their order."""


@dataclass(frozen=True, slots=True)
class TableSpec:
    """An outbox table the source shall read.

    `needed` columns must be there (`ColumnMissing` else); `wanted` ones are decoded where
    they are; None wants all. With `updates` rows that an UPDATE changed come, too.
    """

    schema: str
    name: str
    needed: frozenset[str] = frozenset()
    wanted: frozenset[str] | None = None
    updates: bool = False

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a row as the log describes it.

    `kind` is one of integer, float, decimal, text, binary, json, temporal. `length` is
    the declared length in bytes where the log says so. `type` is a number's or time's SQL
    type as the server spells it, `bigint unsigned`, `decimal(10,2)`, `datetime(6)`; empty for others.
    """

    name: str
    kind: str
    length: int | None = None
    type: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class TableSchema:
    """One form an outbox table had, with the columns its rows hold, in the table's order.

    The decoder makes one per distinct definition, so identity is a good cache key. The rows of an
    `updated` one are rows as they were before an UPDATE; they come only of a table that asks for them.
    """

    schema: str
    table: str
    columns: tuple[Column, ...]
    updated: bool = False
    index: Mapping[str, int] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "index", {column.name: i for i, column in enumerate(self.columns)})

    def __str__(self) -> str:
        return f"{self.schema}.{self.table}"


class Row(NamedTuple):
    """A committed INSERT: `values[i]` belongs to `table.columns[i]`."""

    table: TableSchema
    values: tuple[Value, ...]

    def get(self, column: str) -> Value:
        """The value of a column; KeyError where the row has no such column."""
        return self.values[self.table.index[column]]

    def as_dict(self) -> dict[str, Value]:
        """Column names to values."""
        return dict(zip(self.table.index, self.values, strict=True))


class DeletedRow(Row):
    """A row as it was when a committed DELETE took it away; only for a reader that asks for it."""

    __slots__ = ()


class SourceTransaction(NamedTuple):
    """One commit of the database that holds rows of ours.

    `file` and `position` are the byte after its last event, `commit_time` the seconds in
    that event's header, `length` its bytes in the log from its GTID event on (0: not known).

    One that is too large for memory comes in pieces, each with the `earlier` rows that came before. All but the last
    know only the begin: `position` is that of its first event then, and `length` 0.
    """

    gtid: str | None
    file: str
    position: int
    commit_time: int
    length: int
    rows: list[Row]
    earlier: int = 0

    @property
    def begin(self) -> int:
        """Where it begins in its file, as far as that is known: the same for all pieces of one."""
        return self.position - self.length


@dataclass(slots=True)
class Slice:
    """What one read gave: finished transactions in commit order, and where the log stands behind them.

    `position` is behind all of `transactions` and behind everything before it that held
    no rows of ours; it never lies inside a transaction. `size` is the bytes of the log read.
    `snapshot` is how far a snapshot is behind these rows, which then are the table's and not the log's.

    `piece` is for a source transaction that is larger than memory: `open` says that the only transaction is a piece
    of one that goes on in the next slice (the position is before it); `last` that the first one is its end;
    `undone` that the open one was rolled back, or comes again from its begin: nothing of it may be seen.
    """

    transactions: list[SourceTransaction]
    position: Position
    size: int
    snapshot: Mapping[str, Any] | None = None
    piece: Literal["open", "last", "undone"] | None = None


@dataclass(frozen=True, slots=True)
class Encoding:
    """How rows of one form of a table become records: what an envelope hands to the router.

    `encode` gives value and headers. `key` and `partition` are what the row itself asks for (None: it has no
    such thing, or asks for nothing), `timestamp` the record's time in milliseconds, None for the publish time.
    They raise ValueInvalid. `encode_all` is `encode` of many rows for less; None where each has to be looked at.
    """

    encode: Callable[[tuple[Value, ...]], tuple[bytes | None, list[Header]]]
    key: Callable[[tuple[Value, ...]], bytes | None] | None = None
    partition: Callable[[tuple[Value, ...]], int | None] | None = None
    timestamp: Callable[[tuple[Value, ...]], int | None] | None = None
    encode_all: Callable[[Sequence[tuple[Value, ...]]], Encoded | None] | None = None


class Record(NamedTuple):
    """What Kafka shall store. `timestamp` is milliseconds since 1970, None for the publish time."""

    topic: str
    partition: int | None
    key: bytes | None
    value: bytes | None
    headers: list[Header]
    timestamp: int | None


class Origin(NamedTuple):
    """Where a record comes from. `number` is the row's among its transaction's rows, from 1."""

    row: Row
    transaction: SourceTransaction
    number: int


@dataclass(frozen=True, slots=True)
class Original:
    """What a row says of itself, as far as it can be told. `payload` is the name of that column."""

    event_id: str
    event_name: str | None
    topic: str | None
    key: bytes | None
    headers: tuple[Header, ...]
    payload: str


class Part(NamedTuple):
    """What one slice gave a batch: the records from `first` on.

    `rows[i]` is the number of the row, counted through all transactions from 0, that the part's record
    `i` was made of, -1 for a dead letter. None: record `i` was made of row `i`.
    """

    first: int
    transactions: Sequence[SourceTransaction]
    rows: Sequence[int] | None


@dataclass(slots=True)
class Batch:
    """What one Kafka transaction shall hold: whole source transactions' records, and the position behind them.

    `skipped` and `parked` count rows that became no record, by reason; `letters` is how many of the
    records are dead letters.
    """

    position: Position
    records: list[Record] = field(default_factory=list)
    transactions: int = 0
    size: int = 0
    commit_time: int = 0
    snapshot: Mapping[str, Any] | None = None
    parts: list[Part] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    parked: Counter[str] = field(default_factory=Counter)
    letters: int = 0

    def origin(self, index: int) -> Origin | None:
        """The row that record `index` was made of; None for a dead letter."""
        part = self.parts[bisect_right(self.parts, index, key=_first) - 1]
        at = index - part.first if part.rows is None else part.rows[index - part.first]
        if at < 0:
            return None
        for transaction in part.transactions:
            if at < len(transaction.rows):
                return Origin(transaction.rows[at], transaction, transaction.earlier + at + 1)
            at -= len(transaction.rows)
        raise IndexError(index)

    def replace(self, changes: Mapping[int, Sequence[Record]]) -> None:
        """Put dead letters, or nothing, in the place of records."""
        records: list[Record] = []
        parts: list[Part] = []
        for number, part in enumerate(self.parts):
            first = len(records)
            end = self.parts[number + 1].first if number + 1 < len(self.parts) else len(self.records)
            rows: list[int] = []
            for index in range(part.first, end):
                if index in changes:
                    records += changes[index]
                    rows += [-1] * len(changes[index])
                else:
                    records.append(self.records[index])
                    rows.append(index - part.first if part.rows is None else part.rows[index - part.first])
            parts.append(Part(first, part.transactions, rows))
        self.letters += sum(map(len, changes.values()))
        self.records, self.parts = records, parts


_first = attrgetter("first")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A position that was committed together with all records before it.

    `extra` holds fields of the record that this version does not know; they are written again.
    """

    source: str
    position: Position
    cluster_id: str
    instance: str
    tables: tuple[str, ...] = ()
    released: bool = False
    committed_at: str = ""
    snapshot: Mapping[str, Any] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogEnd:
    """Where a server's log ended when it was asked; `server` as a Position says it, empty where that is no question."""

    file: str
    position: int
    gtid_set: str | None = None
    server: str = ""


class Observer(Protocol):
    """Is told every step by name, with its facts. Must not block and must not raise.

    Steps of one source, in order: `standing_by`, `fencing`, `fenced`, `first_start`,
    `founding`, `founded`, `table_added`, at a snapshot `snapshot_begun` or `snapshot_resumed`, `snapshotting`,
    `snapshot_done`, then `opening`, `opened`, `looking_up`, `paused`, `read`, `routed`, `refused`,
    `beginning`, `sending`, `sent`, `committed`, `advanced`, around a transaction in pieces
    `giant_begun`, `giant_piece`, `giant_undone`, in trouble `doubt` and `starting_over`, and at the end
    `stopping` or `caught_up`, `draining`, `released`.
    Crash tests die at each of them.
    """

    def __call__(self, step: str, /, **facts: object) -> None:
        """Something happened."""


class Source(Protocol):
    """A database's log."""

    async def first_position(self, start: str) -> Position:
        """Where a first start begins: `start` is earliest, latest or snapshot."""

    async def open(
        self, position: Position, *, careful: bool = False, snapshot: Mapping[str, Any] | None = None
    ) -> None:
        """Connect, make sure it is this position's history, and begin to read behind it. Raises SourceError.

        `snapshot` is how far a snapshot is (empty: not begun); what it lacks comes before the log.

        `careful`: a slice holds at most one transaction with rows, so that all before a
        row nobody takes can be committed.
        """

    async def read(self) -> Slice:
        """Wait for more of the log. May be cancelled without loss. Raises SourceError."""

    async def log_end(self) -> LogEnd:
        """Where the log ends now."""

    async def close(self) -> None:
        """Let go of the server; open() may follow."""


class Sink(Protocol):
    """Kafka, as a place that holds records and one checkpoint."""

    async def fence(self) -> Checkpoint | None:
        """Become the only writer of this source and read the last committed checkpoint.

        Waits as a standby while another instance lives. None: this is a first start, and
        `found` must come next. Raises Fenced, CheckpointLost, HangingTransaction, KafkaUnavailable.
        """

    async def found(self, position: Position, start: str) -> None:
        """First start: commit the genesis record and the first checkpoint together.

        With `start` snapshot the checkpoint says that one is begun (an empty mapping).
        """

    async def commit(self, batch: Batch) -> None:
        """All records of the batch and its position, or nothing.

        Raises Unfit, before anything was sent, for records that Kafka would refuse: without them the batch may
        come again. Raises Doubt: then only fence() may follow, or after Refused, examine().
        """

    async def begin(self, position: Position) -> None:
        """Open a Kafka transaction that stays open: `add` its pieces, and end it with `commit` or `abandon`.

        `position` is what was committed last. Raises what fence() raises, and Doubt.
        """

    async def add(self, batch: Batch) -> None:
        """The records of the batch, and not its position, into the transaction that is open.

        Raises Unfit and Doubt as commit() does, and TransactionTooLong.
        """

    async def abandon(self, position: Position) -> None:
        """End the open transaction with nothing of it to be seen."""

    async def examine(self, batch: Batch, refused: Refused) -> Mapping[int, RowRefused]:
        """After Refused: which of the batch's records does the broker not take? Then only fence() may follow.

        Finds at least the first one of a partition, and nothing where the refusal does not come again.
        """

    async def close(self, *, release: Position | None = None) -> None:
        """Let go. With `release`: commit a last checkpoint that says we left on purpose."""


class Topics(Protocol):
    """What is known of Kafka's topics without asking for one by name (which may create it)."""

    def partitions(self, topic: str) -> int | None:
        """How many partitions it had at the last refresh; None where it was not there."""

    async def refresh(self) -> None:
        """List all topics again."""


class Router(Protocol):
    """Rows to records."""

    def route_all(self, rows: Sequence[Row], made: list[Record | None], mark: str | None = None) -> None:
        """Add to `made` what `route` gives for each row. Raises RowRefused; then `made` has what came before."""

    def route(self, row: Row, mark: str | None = None) -> Record | None:
        """The row's record; None where a rule says it is passed over. Raises RowRefused.

        `mark` is a header that says how the row came, where it did not come from the log: snapshot, replay.
        """

    def on_error(self, row: Row) -> str:
        """The policy of the row's route: stop, skip or dead_letter."""

    def original(self, row: Row) -> Original:
        """What the row says of itself. Never raises."""


class Parking(Protocol):
    """The place of dead letters."""

    async def open(self) -> None:
        """Make sure that letters can be kept, where a policy asks for it. Raises SinkError."""

    async def park(self, origin: Origin, original: Original, error: RowRefused, record: Record | None) -> list[Record]:
        """The records that keep this row. Raises SinkError."""


Rows: TypeAlias = Sequence[Row]

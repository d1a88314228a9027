"""Writes the planned transactions into a real server, over several connections at a given rate.

It remembers what the server promised. A COMMIT whose answer was lost is remembered as a doubt
and settled by what SELECT finds later (ledger.py). After a lost connection the old one is
killed and gone before the writer goes on: or its commit could overtake the next one's.

Of XA transactions it is the coordinator, as one must be: what was decided (COMMIT is being sent)
is said again until the server knows nothing of it any more, the rest is rolled back. A server may
have forgotten, after a crash, that an XA transaction had ended (MariaDB; an XA ROLLBACK is not
written to its redo log at once), so that is asked for again at the end (`finish_prepared`).
"""

import random
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import pymysql

from tests.checker import plan
from tests.checker.rows import DDL, TableRow

KEPT, UNDONE, DOUBT = "kept", "undone", "doubt"
LOST_CONNECTION = (pymysql.err.OperationalError, pymysql.err.InterfaceError, OSError)
NO_SUCH_THREAD, UNKNOWN_XID = 1094, 1397
NOT_DONE = frozenset({1205, 1213})
"""Lock wait timeout and deadlock: part of any application's life; the transaction is given up."""
GONE = frozenset({0, 1040, 1053, 1317, 1927, 2003, 2006, 2013, 2014, 3169, 4031})
"""The connection is lost or not to be had; any other error is the writer's own fault."""
_INSERT = {
    "native": "(event_id, event_name, topic, event_key, payload, content_type, headers, created_at)",
    "cqrs": "(event_id, event_id_bin, event_status, flush_counter, event_name, topic, payload)",
}


@dataclass(frozen=True, slots=True)
class Server:
    """Where and as whom to connect."""

    host: str
    port: int
    user: str = "root"
    password: str = ""

    def connect(self, **more: object) -> pymysql.Connection:
        more = {"connect_timeout": 20, "read_timeout": 60, "write_timeout": 60, **more}
        return pymysql.connect(
            host=self.host, port=self.port, user=self.user, password=self.password, charset="utf8mb4", **more
        )


def make_tables(server: Server, schema: str, layouts: Iterable[str]) -> None:
    """A schema with an outbox of each layout, and the side table that knows no transactions."""
    with server.connect(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {schema} CHARACTER SET utf8mb4")
        for layout in layouts:
            cursor.execute(DDL[layout].format(table=table(schema, layout)))
        cursor.execute(f"CREATE TABLE {schema}.side (n INT) ENGINE=MyISAM")


def table(schema: str, layout: str) -> str:
    return f"{schema}.outbox" if layout == "native" else f"{schema}.outbox_{layout}"


@dataclass
class Writer:
    """Several threads, each with its own keys and its own connection."""

    server: Server
    schema: str
    topics: Sequence[str]
    seed: str = "0"
    layouts: Sequence[str] = ("native",)
    rate: float = 500.0
    threads: int = 6
    mix: dict[str, int] | None = None
    book: dict[tuple[int, int], tuple[str, int]] = field(default_factory=dict)
    """(writer, number) to what was promised, and the number of rows kept."""
    reached: dict[int, int] = field(default_factory=dict)
    """Writer to the number of its last transaction that has ended."""
    failures: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._pool: list[threading.Thread] = []
        self._decisions: dict[str, str] = {}
        self._started = self._stopped = 0.0

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> Self:
        with self.server.connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT VERSION()")
            mariadb = "mariadb" in cursor.fetchone()[0].lower()
        mix = dict(self.mix or plan.MIX)
        if not mariadb:
            mix = {kind: weight for kind, weight in mix.items() if kind not in plan.MARIADB_ONLY}
        planners = [plan.Planner(self.seed, number, self.topics, self.layouts, mix) for number in range(self.threads)]
        self._started = time.monotonic()
        self._pool = [threading.Thread(target=self._work, args=(planner,), daemon=True) for planner in planners]
        for thread in self._pool:
            thread.start()
        return self

    def stop(self) -> None:
        """Let every thread finish its transaction; raise what any of them met."""
        if self._stopped:
            return
        self._stop.set()
        for thread in self._pool:
            thread.join()
        self._stopped = time.monotonic()
        if self.failures:
            raise self.failures[0]
        if self._pool:
            self.finish_prepared()

    def finish_prepared(self) -> None:
        """End the XA transactions that a crash of the server has left open or opened again."""
        with self.server.connect(autocommit=True) as connection, connection.cursor() as cursor:
            cursor.execute("XA RECOVER")
            for _, length, _, data in cursor.fetchall():
                name = data.decode() if isinstance(data, bytes) else data
                xid = f"'{name[:length]}','{name[length:]}'"
                if xid in self._decisions:
                    _decide(cursor, xid, self._decisions[xid])

    def wait_until(self, written: int) -> None:
        """Wait until so many transactions have ended."""
        while self.written < written and not self.failures:
            time.sleep(0.01)

    @property
    def written(self) -> int:
        """Transactions ended so far, undone ones too."""
        return len(self.book)

    @property
    def achieved(self) -> float:
        """Transactions a second, so far or in all."""
        return self.written / max((self._stopped or time.monotonic()) - self._started, 0.001)

    def _work(self, planner: plan.Planner) -> None:
        try:
            self._write(planner)
        except BaseException as error:  # noqa: BLE001 - raised again by stop(), in the test's own thread
            self.failures.append(error)

    def _write(self, planner: plan.Planner) -> None:
        line = _Line(self.server, self.schema, self._decisions)
        pace, due = self.threads / self.rate, time.monotonic()
        try:
            for transaction in planner:
                due = max(due + pace, time.monotonic() - 1.0)  # after a stall, catch up on one second of it
                if self._stop.wait(max(0.0, due - time.monotonic())):
                    return
                self.book[transaction.writer, transaction.number] = line.run(transaction), len(transaction.kept)
                self.reached[transaction.writer] = transaction.number
        finally:
            line.close()


class _Line:
    """One connection, made again when it is lost."""

    def __init__(self, server: Server, schema: str, decisions: dict[str, str]) -> None:
        self._server, self._schema = server, schema
        self._connection: pymysql.Connection | None = None
        self._decisions = decisions  # of every XA transaction: COMMIT or ROLLBACK
        self._pending: str | None = None  # an XA transaction that may be left prepared

    def run(self, transaction: plan.Transaction) -> str:
        while self._connection is None:
            try:
                self._connection = self._server.connect(autocommit=False, database=self._schema)
            except LOST_CONNECTION:
                time.sleep(0.2)
        try:
            self._statements(transaction)
        except LOST_CONNECTION as error:
            if error.args and error.args[0] in NOT_DONE:
                transaction = replace(transaction, kind=plan.ROLLBACK)  # the server has undone it, and said so
            elif isinstance(error, pymysql.err.OperationalError) and error.args[0] not in GONE:
                raise
            self._lose()
            return UNDONE if transaction.kind in plan.UNDONE_KINDS else DOUBT
        return UNDONE if transaction.kind in plan.UNDONE_KINDS else KEPT

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _lose(self) -> None:
        """Make sure that nothing of the lost connection happens from now on."""
        old = self._connection.thread_id()
        self._connection._force_close()
        self._connection = None
        buried = False
        while not buried:
            try:
                with self._server.connect(autocommit=True) as connection, connection.cursor() as cursor:
                    self._bury(cursor, old)
                buried = True
            except LOST_CONNECTION:
                time.sleep(0.2)

    def _bury(self, cursor: pymysql.cursors.Cursor, old: int) -> None:
        # A restarted server counts its connections from the start again: only one that writes here may be killed.
        query = "SELECT 1 FROM information_schema.processlist WHERE id = %s AND db = %s"
        while cursor.execute(query, (old, self._schema)):
            try:
                cursor.execute("KILL %s", (old,))
            except pymysql.err.MySQLError as error:
                if error.args[0] != NO_SUCH_THREAD:
                    raise
            time.sleep(0.05)
        if self._pending:
            _decide(cursor, self._pending, self._decisions[self._pending])
            self._pending = None

    def _statements(self, transaction: plan.Transaction) -> None:
        cursor = self._connection.cursor()
        xid = None
        if transaction.kind in {plan.XA_COMMIT, plan.XA_ROLLBACK}:
            xid = self._pending = f"'{self._schema}','{transaction.writer}/{transaction.number}'"
            self._decisions[xid] = "ROLLBACK"
            cursor.execute(f"XA START {xid}")
        if transaction.kind == plan.TEMPORARY:
            cursor.execute(f"CREATE TEMPORARY TABLE {self._schema}.t{transaction.writer} (n INT) ENGINE=InnoDB")
        self._insert(cursor, transaction.before)
        if transaction.kind in {plan.SAVEPOINT, plan.SIDE_WRITE}:
            cursor.execute("SAVEPOINT here")
        self._insert(cursor, transaction.undone)
        if transaction.kind == plan.SIDE_WRITE:
            cursor.execute(f"INSERT INTO {self._schema}.side VALUES (1)")
        if transaction.kind in {plan.SAVEPOINT, plan.SIDE_WRITE}:
            cursor.execute("ROLLBACK TO SAVEPOINT here")
        if transaction.kind == plan.TEMPORARY:
            cursor.execute(f"DROP TEMPORARY TABLE {self._schema}.t{transaction.writer}")
        self._insert(cursor, transaction.after)
        self._end(cursor, transaction.kind, xid)

    def _end(self, cursor: pymysql.cursors.Cursor, kind: str, xid: str | None) -> None:
        if xid is not None:
            cursor.execute(f"XA END {xid}")
            cursor.execute(f"XA PREPARE {xid}")
            self._decisions[xid] = "COMMIT" if kind == plan.XA_COMMIT else "ROLLBACK"
            cursor.execute(f"XA {self._decisions[xid]} {xid}")
            self._pending = None
        elif kind in plan.UNDONE_KINDS:
            self._connection.rollback()
        else:
            self._connection.commit()

    def _insert(self, cursor: pymysql.cursors.Cursor, rows: Sequence[TableRow]) -> None:
        """One INSERT for each run of rows of one layout: the order of the rows stays."""
        at = 0
        while at < len(rows):
            layout, end = rows[at].layout, at
            while end < len(rows) and rows[end].layout == layout:
                end += 1
            values = [_values(row) for row in rows[at:end]]
            marks = ", ".join(f"({', '.join(mark for mark, _ in row)})" for row in values)
            arguments = [argument for row in values for mark, argument in row if mark == "%s"]
            cursor.execute(f"INSERT INTO {table(self._schema, layout)} {_INSERT[layout]} VALUES {marks}", arguments)
            at = end


def _decide(cursor: pymysql.cursors.Cursor, xid: str, decision: str) -> None:
    try:
        cursor.execute(f"XA {decision} {xid}")
    except pymysql.err.MySQLError as error:
        if error.args[0] != UNKNOWN_XID:
            raise


def _values(row: TableRow) -> list[tuple[str, object]]:
    """SQL and argument of each column; None in a column that has a default leaves it to the server."""
    if row.layout == "cqrs":
        columns = (row.event_id, row.event_id, "NEW", 0, row.event_name, row.topic, row.payload)
        return [("%s", value) for value in columns]
    given = (
        row.event_id,
        row.event_name,
        row.topic,
        row.key,
        row.payload,
        row.content_type,
        row.headers,
        row.created_at,
    )
    defaulted = (0, 5, 7)
    return [("DEFAULT", None) if value is None and at in defaulted else ("%s", value) for at, value in enumerate(given)]


def unique(prefix: str) -> str:
    """A name that no other run has, good for schemas, topics and sources."""
    return f"{prefix}{random.SystemRandom().randrange(36**6):x}"

"""One snapshot under load and kills: rows that are there, a writer that goes on, a tailer that is killed, a verdict.

The truth is kept by nobody's memory: every committed id ends in the table `ledger`, written in the same
transaction as its event and never deleted; rows that were there are copied to it before the tailer starts.
The writer deletes old rows from the outbox, those the tailer has read and those it has not, from the moment
on that the checkpoint is founded: what was committed before that moment must come, deleted or not.
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self
from uuid import UUID

from cdc.outbox.table import ddl
from tests.running import Process, Tailing
from tests.servers import Database, Kafka, unique, until

_LEDGER = "CREATE TABLE ledger (event_id BINARY(16) PRIMARY KEY)"
_FILL = 2_000


@dataclass
class Writer:
    """Transactions of a few events at a rate, some rolled back; and, once told to, deletes of old rows."""

    server: Database
    schema: str
    topic: str
    rate: float
    deletes: bool = False
    committed: int = 0
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    errors: list[BaseException] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._threads = [threading.Thread(target=self._guarded, args=(work,)) for work in (self._write, self._delete)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        if self.errors:
            raise self.errors[0]

    def _guarded(self, work) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised in the test's thread
            self.errors.append(error)

    def _write(self) -> None:
        rnd, db, due = random.Random(1), self.server.connect(database=self.schema), time.monotonic()
        with db.cursor() as cursor:
            while not self._stop.is_set():
                due += 1 / self.rate
                time.sleep(max(0.0, due - time.monotonic()))
                events = rnd.choice((1, 1, 2, 3))
                insert(cursor, self.topic, [f"later {self.committed}"] * events)
                if rnd.random() < 0.1:
                    db.rollback()
                else:
                    db.commit()
                    self.committed += events
        db.close()

    def _delete(self) -> None:
        rnd, db = random.Random(2), self.server.connect(database=self.schema, autocommit=True)
        with db.cursor() as cursor:
            while not self._stop.wait(0.05):
                if not self.deletes:
                    continue
                cursor.execute("SELECT event_id FROM outbox WHERE event_id > %s LIMIT 20", (rnd.randbytes(16),))
                ids = [row[0] for row in cursor.fetchall()]
                cursor.execute("SELECT event_id FROM outbox ORDER BY event_id DESC LIMIT 5")  # the newest, too
                ids += [row[0] for row in cursor.fetchall()]
                if ids:
                    cursor.executemany("DELETE FROM outbox WHERE event_id = %s", [(i,) for i in ids])
        db.close()


def insert(cursor, topic: str, payloads: list[str]) -> None:
    """Events and their ids in the ledger, in the transaction that is open."""
    ids = [random.randbytes(16) for _ in payloads]  # in no order, so that new rows come before and behind the reader
    cursor.executemany(
        "INSERT INTO outbox (event_id, event_name, topic, event_key, payload) VALUES (%s, 'x', %s, %s, %s)",
        [(i, topic, i[:1], p) for i, p in zip(ids, payloads, strict=True)],
    )
    cursor.executemany("INSERT INTO ledger VALUES (%s)", [(i,) for i in ids])


@dataclass
class Verdict:
    """What came of it. `lost`, `doubled` and `phantom` must be empty."""

    lost: set[bytes]
    doubled: set[bytes]
    phantom: set[bytes]
    from_table: int
    from_log: int
    gone: int
    seconds: float

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.phantom)

    def __str__(self) -> str:
        return (
            f"{self.from_table} from the table ({self.gone} rows gone from it by the end), {self.from_log} from the log, "
            f"{len(self.lost)} lost, {len(self.doubled)} doubled, {len(self.phantom)} phantoms, {self.seconds:.0f} s"
        )


def run(
    server: Database, kafka: Kafka, folder: Path, *, rows: int, kills: int, rate: float, seed: int, pause: float
) -> Verdict:
    """Do it all on a fresh schema and topic; `pause` is the longest time between two kills."""
    rnd, began = random.Random(seed), time.monotonic()
    with server.fresh_schema("snap") as schema:
        server.run(ddl(server.kind), _LEDGER, schema=schema)
        topic, prefix = kafka.create_topic(unique("snap"), partitions=3), unique("p").replace("_", "-")
        _fill(server, schema, topic, rows)
        tailing = Tailing(
            folder, server, kafka, "shop", {f"{schema}.outbox": {"layout": "native"}}, prefix, start="snapshot"
        )
        with Writer(server, schema, topic, rate) as writer:
            process = tailing.run()
            process.await_line("checkpoint founded")
            writer.deletes = True
            for _ in range(kills):
                time.sleep(rnd.uniform(0.2, pause))
                process.kill()
                process = tailing.run()
            _await_log(process)
            time.sleep(1)
        assert process.stop() == 0
        ended = tailing.catch_up()
        assert ended.code == 0, ended.err
        verdict = _judge(server, kafka, schema, topic, began)
        kafka.delete_topic(topic, tailing.checkpoint_topic)
        return verdict


def _fill(server: Database, schema: str, topic: str, rows: int) -> None:
    db = server.connect(database=schema)
    with db.cursor() as cursor:
        for first in range(0, rows, _FILL):
            insert(cursor, topic, [f"old {n} {'.' * 100}" for n in range(first, min(rows, first + _FILL))])
            db.commit()
    db.close()


def _await_log(process: Process) -> None:
    """Until the rows are done."""
    until("the log is read", lambda: any(line["event"] == "reading the log" for line in process.said()), seconds=1800)


def _judge(server: Database, kafka: Kafka, schema: str, topic: str, began: float) -> Verdict:
    committed = {row[0] for row in server.run("SELECT event_id FROM ledger", schema=schema)}
    left = {row[0] for row in server.run("SELECT event_id FROM outbox", schema=schema)}
    seen: Counter[bytes] = Counter()
    from_table = 0
    for record in kafka.read_committed(topic, seconds=600):
        header = record.header("event_id")
        assert header is not None
        seen[UUID(header.decode()).bytes] += 1
        from_table += record.header("snapshot") is not None
    return Verdict(
        lost=committed - seen.keys(),
        doubled={key for key, count in seen.items() if count > 1},
        phantom=seen.keys() - committed,
        from_table=from_table,
        from_log=seen.total() - from_table,
        gone=len(committed - left),
        seconds=time.monotonic() - began,
    )

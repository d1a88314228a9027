"""One large source transaction, a tailer that is killed inside of it, and a verdict.

Each row's payload begins with its number, so that what came can be counted without keeping it. `Form` says what
the transaction is and which of its rows are committed. The tailer runs before it is written, so the growth of its
memory is the transaction's: the kernel keeps the peak of each process (VmHWM).
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cdc.outbox.table import ddl
from tests.running import Process, Tailing
from tests.servers import Database, Kafka, Reader, unique, until

PLAIN = "CONCAT({n}, ':', SHA2({n}, 512), RPAD('', 100, 'some text of an event '))"
WIDE = "CONCAT({n}, ':', REPEAT(SHA2({n}, 256), 16384))"  # 1 MiB
_NOT_TRANSACTIONAL = "INSERT INTO counted VALUES (1)"
_TEMPORARY = "CREATE TEMPORARY TABLE passing (n INT)"
"""With a row in one of these MariaDB logs what is rolled back, with ROLLBACK behind it."""


@dataclass(frozen=True)
class Form:
    """What is written: statements of one transaction in which `{rows(first, behind)}` stands for an INSERT."""

    name: str
    rows: int
    payload: str = PLAIN
    session: tuple[str, ...] = ()
    rolled_back: bool = False
    savepoint: bool = False

    def statements(self, insert: Callable[[int, int], str]) -> tuple[list[str], set[range]]:
        """The transaction, and the numbers of the rows that it commits."""
        all_of_it = insert(0, self.rows)
        if self.rolled_back:
            return [_TEMPORARY, "INSERT INTO passing VALUES (1)", all_of_it, _NOT_TRANSACTIONAL, "ROLLBACK"], set()
        if self.savepoint:
            third = self.rows // 3
            parts = [insert(0, third), "SAVEPOINT s", insert(third, 2 * third), _NOT_TRANSACTIONAL]
            parts += ["ROLLBACK TO s", insert(2 * third, self.rows), "COMMIT"]
            return parts, {range(third), range(2 * third, self.rows)}
        return [all_of_it, "COMMIT"], {range(self.rows)}


@dataclass
class Verdict:
    """What came of it; `seen` are numbers of records by how often they came."""

    form: Form
    lost: int = 0
    doubled: int = 0
    phantom: int = 0
    out_of_order: int = 0
    early: int = 0
    growth: int = 0
    seconds: float = 0.0
    kills: int = 0
    stood_by: bool = True
    said: list[str] = field(default_factory=list)

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.doubled or self.phantom or self.out_of_order or self.early) and self.stood_by

    def __str__(self) -> str:
        return (
            f"{self.form.name}: {self.form.rows} rows, {self.kills} kills: {self.lost} lost, {self.doubled} doubled, "
            f"{self.phantom} phantoms, {self.out_of_order} out of order, {self.early} seen before its end, "
            f"RSS +{self.growth / 2**20:.1f} MiB, {self.seconds:.1f} s, standby {'waited' if self.stood_by else 'FENCED'}"
        )


def run(
    server: Database,
    kafka: Kafka,
    folder: Path,
    form: Form,
    *,
    budget: str = "64MiB",
    kills: int = 0,
    standby: bool = False,
    partitions: int = 4,
) -> Verdict:
    """Do it all on a fresh schema and topic."""
    began, verdict = time.monotonic(), Verdict(form, kills=kills)
    with server.fresh_schema("giant") as schema:
        server.run(ddl(server.kind), "CREATE TABLE counted (n INT) ENGINE=MyISAM", schema=schema)
        topic = kafka.create_topic(unique("giant"), partitions, {"max.message.bytes": "8388608"})
        tailing = Tailing(
            folder,
            server,
            kafka,
            "shop",
            {f"{schema}.outbox": {"layout": "native"}},
            unique("p").replace("_", "-"),
            start="latest",
            source_more={"memory_budget": budget},
        )
        process = tailing.run()
        process.await_line("reading the log")
        with kafka.reader(topic) as reader:
            _write(server, schema, [_insert(server.kind, topic, PLAIN)(-1, 0), "COMMIT"])
            reader.read_until(1)
            before = _memory(process, "VmRSS")
            other = tailing.run(name="other") if standby else None
            if other is not None:
                other.await_line("standing by: another instance works")
            statements, committed = form.statements(_insert(server.kind, topic, form.payload))
            at = sum(kafka.ends(topic))
            _write(server, schema, [*form.session, *statements])
            peak = 0
            for kill in range(kills):
                _await_growth(kafka, topic, at + (kill + 1) * form.rows // (kills + 2), process)
                peak = max(peak, _memory(process, "VmHWM"))
                process.kill()
                at = sum(kafka.ends(topic))
                process = tailing.run()
            reader.read(0.1)
            verdict.early = len(reader.records) - 1
            _write(server, schema, [_insert(server.kind, topic, PLAIN)(form.rows, form.rows + 1), "COMMIT"])
            _count(reader, verdict, {*committed, range(form.rows, form.rows + 1), range(-1, 0)})
        verdict.growth = max(peak, _memory(process, "VmHWM")) - before
        for one in filter(None, (process, other)):
            assert one.stop() == 0, one.log.read_text()[-3000:]
            verdict.said += [line["event"] for line in one.said()]
        verdict.stood_by = other is None or not any("only writer" in line["event"] for line in other.said())
        kafka.delete_topic(topic, tailing.checkpoint_topic)
    verdict.seconds = time.monotonic() - began
    return verdict


def _insert(kind: str, topic: str, payload: str) -> Callable[[int, int], str]:
    """INSERT of the rows with the numbers from `first` to before `behind`."""

    def insert(first: int, behind: int) -> str:
        columns = "INSERT INTO outbox (event_name, topic, event_key, payload)"
        chosen = f"SELECT 'counted', '{topic}', CONCAT('key-', n % 1000), {payload.format(n='n')} FROM"
        if kind == "mariadb":
            source = f"(SELECT CAST(seq AS SIGNED) + {first} AS n FROM seq_0_to_{behind - first - 1}) AS numbers"
            return f"{columns} {chosen} {source}"
        numbers = (
            f"WITH RECURSIVE numbers (n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM numbers WHERE n < {behind - 1})"
        )
        return f"{columns} {numbers} {chosen} numbers"

    return insert


def _write(server: Database, schema: str, statements: list[str]) -> None:
    db = server.connect(database=schema)
    try:
        with db.cursor() as cursor:
            if server.kind == "mysql":
                cursor.execute("SET SESSION cte_max_recursion_depth = 100000000")
            for statement in statements:
                cursor.execute(statement)
    finally:
        db.close()


def _await_growth(kafka: Kafka, topic: str, size: int, process: Process) -> None:
    """Until so many records are in the topic, committed or not."""
    until(
        f"{size} records in the topic: {process.log.read_text()[-1000:]}",
        lambda: sum(kafka.ends(topic)) >= size,
        seconds=600,
        every=0.02,
    )


def _count(reader: Reader, verdict: Verdict, committed: set[range]) -> None:
    """Read to the last row, which was written behind the large transaction, and all there is then."""
    last = verdict.form.rows
    seen, newest = bytearray(last + 2), [-2] * reader.partitions  # number -1 is the last byte

    def take() -> None:
        for record in reader.records:
            number = int((record.value or b"").partition(b":")[0])
            seen[number] = min(seen[number] + 1, 255)
            verdict.out_of_order += number < newest[record.partition]
            newest[record.partition] = number
        reader.records.clear()

    take()
    end = time.monotonic() + 1200
    while not seen[last]:
        reader.read(0.5)
        take()
        assert time.monotonic() < end, f"the last row did not come; {sum(seen)} have"
    reader.read_to_end(seconds=600)
    take()
    expected = bytearray(last + 2)
    for numbers in committed:
        for number in numbers:
            expected[number] = 1
    verdict.lost = sum(1 for is_there, times in zip(expected, seen, strict=True) if is_there and not times)
    verdict.phantom = sum(1 for is_there, times in zip(expected, seen, strict=True) if times and not is_there)
    verdict.doubled = sum(1 for times in seen if times > 1)


def _memory(process: Process, name: str) -> int:
    """VmRSS or VmHWM of a process, in bytes."""
    lines = Path(f"/proc/{process.popen.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))

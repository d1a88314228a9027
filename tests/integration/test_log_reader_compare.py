"""20,000 rows through our decoder and through mysql-replication's BinLogStreamReader: the same rows, in the same order.

Where its values are known to be wrong or of another form, that is undone here by name, nothing else:

* BINARY(n) has lost its zero bytes at the end; no bytes at all are a text.
* JSON (MySQL) is Python's objects with bytes for texts.
* Temporal values and decimals are Python's objects; ours are texts with the column's digits.
"""

import datetime as dt
import json
import random
from decimal import Decimal
from typing import Any

import pytest
from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.event import GtidEvent, MariadbGtidEvent, QueryEvent, XidEvent
from pymysqlreplication.row_event import WriteRowsEvent

from tests.integration.live_log import Case
from tests.servers import Database

ROWS = 20_000
ONE_ROW_TRANSACTIONS = 4_000
DDL = """CREATE TABLE outbox (
    id BIGINT PRIMARY KEY, event_id BINARY(16) NOT NULL, event_name VARCHAR(255) NOT NULL, topic VARCHAR(249) NOT NULL,
    event_key VARBINARY(1024) NULL, payload LONGBLOB NULL, headers JSON NULL, created_at DATETIME(6) NOT NULL,
    small SMALLINT NOT NULL, big BIGINT UNSIGNED NULL, price DECIMAL(20, 4) NULL, weight DOUBLE NULL, day DATE NULL,
    state ENUM('new', 'done') NOT NULL, note TEXT CHARACTER SET latin1 NULL)"""
BINARY = ("event_id", "event_key", "payload")
BINARY_WIDTH = {"event_id": 16}


def values(number: int, chance: random.Random) -> tuple[Any, ...]:
    def sometimes(value: Any) -> Any:
        return None if chance.random() < 0.2 else value

    return (
        number,
        chance.randbytes(14) + chance.choice([b"\0\0", b"\1\0", b"\0\1", b"ab"]),
        chance.choice(["order.created", "user.joined", "größe.geändert", "注文"]),
        f"topic-{chance.randrange(9)}",
        sometimes(b"k%d" % chance.randrange(1000)),
        sometimes(chance.randbytes(chance.choice([0, 1, 30, 300]))),
        sometimes(json.dumps({"n": chance.randrange(10), "t": "ü", "l": [1, None, True]}, ensure_ascii=False)),
        f"2026-11-{chance.randrange(1, 29):02} 10:11:12.{chance.randrange(1_000_000):06}",
        chance.randrange(-32768, 32768),
        sometimes(chance.randrange(1 << 64)),
        sometimes(Decimal(chance.randrange(-(10**15), 10**15)).scaleb(-4)),
        sometimes(chance.uniform(-1e9, 1e9)),
        sometimes(f"20{chance.randrange(10, 99)}-01-31"),
        chance.choice(["new", "done"]),
        sometimes("Grüße €"),
    )


def write(case: Case) -> None:
    chance, sql = random.Random(1), f"INSERT INTO outbox VALUES ({', '.join(['%s'] * 15)})"
    connection = case.server.connect(database=case.schema)
    try:
        with connection.cursor() as cursor:
            for number in range(ONE_ROW_TRANSACTIONS):
                cursor.execute(sql, values(number, chance))
                connection.commit()
            for first in range(ONE_ROW_TRANSACTIONS, ROWS, 100):
                cursor.executemany(sql, [values(number, chance) for number in range(first, first + 100)])
                connection.commit()
    finally:
        connection.close()


def by_the_library(case: Case) -> list[tuple[str | None, list[dict[str, Any]]]]:
    """GTID and rows of each transaction, as BinLogStreamReader gives them."""
    server, mariadb = case.server, case.server.kind != "mysql"
    reader = BinLogStreamReader(
        connection_settings={
            "host": server.host,
            "port": server.port,
            "user": server.user,
            "password": server.password,
        },
        server_id=random.randint(1 << 31, (1 << 32) - 2),
        log_file=case.start.file,
        log_pos=case.start.position,
        resume_stream=True,
        blocking=False,
        only_events=[WriteRowsEvent, XidEvent, QueryEvent, GtidEvent, MariadbGtidEvent],
        only_tables=["outbox"],
        only_schemas=[case.schema],
    )
    out: list[tuple[str | None, list[dict[str, Any]]]] = []
    gtid, rows = None, []
    try:
        for event in reader:
            if isinstance(event, GtidEvent | MariadbGtidEvent):
                gtid, rows = event.gtid, []
            elif isinstance(event, WriteRowsEvent):
                rows += [row["values"] for row in event.rows]
            elif isinstance(event, XidEvent) and rows:
                out.append((None if mariadb and gtid is None else gtid, rows))
                rows = []
    finally:
        reader.close()
    return out


def as_ours(name: str, value: Any) -> Any:
    """A value of the library in our form."""
    if name in BINARY and value == "":
        value = b""
    if name in BINARY_WIDTH:
        return value.ljust(BINARY_WIDTH[name], b"\0")
    if isinstance(value, dt.datetime):
        return value.isoformat(" ", "microseconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    if name == "headers" and value is not None:
        return as_json(value)
    return value


def as_json(value: Any) -> Any:
    """Parsed JSON, of texts or of objects with bytes in them."""
    if isinstance(value, bytes | str):
        text = value.decode() if isinstance(value, bytes) else value
        return json.loads(text) if text.startswith("{") else text
    if isinstance(value, dict):
        return {as_json(key): as_json(item) for key, item in value.items()}
    return [as_json(item) for item in value] if isinstance(value, list) else value


@pytest.mark.filterwarnings("ignore:'db' is deprecated:DeprecationWarning")  # the library's own call
def test_the_same_rows_as_the_library(server: Database, schema: str):
    case = Case.begin(server, schema, DDL)
    write(case)
    ours, theirs = case.read(), by_the_library(case)
    assert sum(len(transaction.rows) for transaction in ours) == ROWS
    assert [transaction.gtid for transaction in ours] == [gtid for gtid, _ in theirs]
    for transaction, (_, rows) in zip(ours, theirs, strict=True):
        got = [{**(values := row.as_dict()), "headers": as_json(values["headers"])} for row in transaction.rows]
        assert got == [{name: as_ours(name, value) for name, value in row.items()} for row in rows]

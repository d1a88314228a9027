"""Reading alone: our socket and Feed beside mysql-replication's BinLogStreamReader, on the same logs."""

import random
import sys
import time
from functools import partial

from pymysqlreplication import BinLogStreamReader
from pymysqlreplication.event import GtidEvent, MariadbGtidEvent, QueryEvent, XidEvent
from pymysqlreplication.row_event import WriteRowsEvent

from cdc.binlog import Feed
from cdc.model import TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.stream import LogRequest, open_stream
from cdc.outbox.table import ddl
from cdc.position import Position
from tests.bench.measure import Rounds, cost_of
from tests.integration.live_log import place_of
from tests.servers import Database

LOGS = {"one row a transaction": 1, "100 rows a transaction": 100}
_PIECE = 1 << 17


def fill(server: Database, schema: str, table: str, rows: int, a_transaction: int) -> None:
    """Write into a native outbox by a procedure: one INSERT a transaction, and no client's time between the commits."""
    number = "(n + s.seq)"
    payload = (
        f"""CONCAT('{{"order": ', {number}, ', "customer": "c-', {number} % 997, """
        """'", "lines": [1, 2, 3], "note": "some text of usual length"}')"""
    )
    insert = (
        f"INSERT INTO {table}(event_name, topic, event_key, payload) "
        f"SELECT 'order.created', 'bench', CONCAT('k', {number}), {payload} FROM seq_0_to_{a_transaction - 1} s"
    )
    server.run(
        "DROP PROCEDURE IF EXISTS fill",
        f"CREATE PROCEDURE fill() BEGIN DECLARE n INT DEFAULT 0; WHILE n < {rows} DO "
        f"{insert}; SET n = n + {a_transaction}; END WHILE; END",
        "CALL fill()",
        schema=schema,
    )


def ours(server: Database, start: Position, schema: str, table: str, rows: int) -> int:
    address = ServerAddress(server.host, server.port, server.user, server.password)
    stream = open_stream(address, LogRequest(start.file, start.position, own_id()))
    wanted = frozenset({"event_id", "event_name", "topic", "event_key", "payload"})
    feed, count = Feed(start.flavour, [TableSpec(schema, table, wanted=wanted)], start), 0
    while count < rows:
        for transaction in feed.feed(stream.receive(_PIECE)):
            count += len(transaction.rows)
    stream.close()
    return count


def theirs(server: Database, start: Position, schema: str, table: str, rows: int) -> int:
    """With the events one needs to know a position."""
    reader = BinLogStreamReader(
        connection_settings={
            "host": server.host, "port": server.port, "user": server.user, "password": server.password},
        server_id=own_id(), log_file=start.file, log_pos=start.position, resume_stream=True, blocking=True,
        only_events=[WriteRowsEvent, XidEvent, QueryEvent, GtidEvent, MariadbGtidEvent], only_tables=[table], only_schemas=[schema],
    )  # fmt: skip
    count = 0
    for event in reader:
        if isinstance(event, WriteRowsEvent):
            count += len(event.rows)
            if count >= rows:
                break
    reader.close()
    return count


def own_id() -> int:
    return random.randint(1 << 31, (1 << 32) - 2)


def compare(server: Database, schema: str, rows: int, rounds: int) -> Rounds:
    out: Rounds = {"cdc reader": {}, "BinLogStreamReader": {}}
    for log, a_transaction in LOGS.items():
        start, table, began = place_of(server), f"read_{a_transaction}", time.monotonic()
        server.run(ddl("mariadb", table, "native"), schema=schema)
        fill(server, schema, table, rows, a_transaction)
        say(f"{rows:,} rows written, {log}, in {time.monotonic() - began:.0f} s")
        for number in range(rounds):
            for name, read in (("cdc reader", ours), ("BinLogStreamReader", theirs)):
                cost = cost_of(partial(read, server, start, schema, table, rows))
                out[name].setdefault(log, []).append(cost)
                say(f"round {number + 1}: {name}: {cost['rows_per_second']:,.0f} rows/s")
    return out


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""A look into the log finds what the log's own writer says of it."""

import time
from collections.abc import Iterator

import pytest

from cdc.mysql.address import ServerAddress
from cdc.mysql.peek import Found, begin_of, look
from cdc.mysql.stream import LogRequest, open_stream
from cdc.position import LastTransaction, Position
from tests.servers import Database, own_server


def peek(server: Database, position: Position) -> Found:
    address = ServerAddress(server.host, server.port, server.user, server.password)
    request = LogRequest(position.file, begin_of(position), 4_000_000_003, until_end=True)
    stream = open_stream(address, request)
    try:
        return look(stream, position)
    finally:
        stream.close()


def events_of(server: Database, file: str, begin: int) -> list[tuple]:
    return list(server.run(f"SHOW BINLOG EVENTS IN '{file}' FROM {begin} LIMIT 20"))


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def own(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Nobody else writes into its log between our two questions."""
    server = own_server(request.param)
    yield server
    server.instance.remove()


@pytest.mark.parametrize("size", [10, 100_000, (1 << 24) + 1000])
def test_the_last_transaction_and_the_files_begin(own: Database, size: int):
    server, schema = own, "peek"
    status = "SHOW MASTER STATUS" if server.kind == "mariadb" else "SHOW BINARY LOG STATUS"
    server.run(
        "CREATE DATABASE IF NOT EXISTS peek", "CREATE TABLE IF NOT EXISTS peek.x (a LONGBLOB)", "FLUSH BINARY LOGS"
    )
    before = int(time.time())
    file, begin = server.run(status)[0][:2]
    server.run(f"INSERT INTO x VALUES (REPEAT('x', {size}))", schema=schema)
    events = events_of(server, file, begin)
    end = next(row[4] for row in events if row[2] == "Xid")
    # MariaDB may put a BINLOG_CHECKPOINT before it, some time after the file was begun
    begin, gtid = next((row[1], row[5]) for row in events if row[2] == "Gtid")
    last = LastTransaction("?", end, 0, end - begin)
    found = peek(server, Position(server.kind, "", file, end, last=last))
    assert found.last is not None
    assert found.last.gtid in gtid.replace("'", "")
    assert (found.last.position, found.last.length) == (end, end - begin)
    assert 0 <= found.last.commit_time - before <= 30
    assert 0 <= before - found.created <= 30
    assert peek(server, Position(server.kind, "", file, end)) == Found(found.created)

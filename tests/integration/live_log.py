"""A live server's log read to its end, from a place that was noted before; SELECT tells what must come out."""

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pymysql.converters import encoders

from cdc.binlog import Feed
from cdc.model import Row, SourceTransaction, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.stream import LogRequest, open_stream
from cdc.position import Flavour, Position
from tests.servers import Database

DDL = "CREATE TABLE outbox (id BIGINT PRIMARY KEY, topic VARCHAR(249) NOT NULL DEFAULT 't', payload LONGBLOB NULL)"


def flavour_of(server: Database) -> Flavour:
    return "mysql" if server.kind == "mysql" else "mariadb"


@dataclass
class Case:
    """A schema with an outbox in it, and the place in the log where the case began."""

    server: Database
    schema: str
    start: Position

    @classmethod
    def begin(cls, server: Database, schema: str, *ddl: str) -> "Case":
        server.run(*ddl, schema=schema)
        return cls(server, schema, place_of(server))

    def run(self, *statements: str) -> tuple[tuple[Any, ...], ...]:
        """One session, each statement committed at once unless it says otherwise."""
        return self.server.run(*statements, schema=self.schema)

    @contextmanager
    def session(self) -> Iterator[Any]:
        """A session's cursor, in autocommit."""
        connection = self.server.connect(database=self.schema, autocommit=True)
        try:
            with connection.cursor() as cursor:
                yield cursor
        finally:
            connection.close()

    def read(self, *tables: str, piece: int = 1 << 17) -> list[SourceTransaction]:
        """All there is from the case's begin to the log's end now."""
        return read(self.server, self.start, [TableSpec(self.schema, table) for table in tables or ("outbox",)], piece)

    def ids(self) -> list[list[int]]:
        """The ids, transaction by transaction."""
        return [[row.get("id") for row in transaction.rows] for transaction in self.read()]

    def rows(self, *tables: str) -> list[Row]:
        return [row for transaction in self.read(*tables) for row in transaction.rows]

    def selected(self, columns: str = "*", table: str = "outbox", order: str = "id") -> list[dict[str, Any]]:
        """The table as the server's own SELECT gives it: texts, or bytes where the column is binary."""
        connection = self.server.connect(database=self.schema, conv=encoders)  # no decoders: texts as they come
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET time_zone = '+00:00'")
                cursor.execute(f"SELECT {columns} FROM `{table}` ORDER BY {order}")
                names = [field[0] for field in cursor.description]
                return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
        finally:
            connection.close()


def place_of(server: Database) -> Position:
    """Where the log ends now."""
    file, position, *_ = server.run("SHOW BINARY LOG STATUS" if server.kind == "mysql" else "SHOW MASTER STATUS")[0]
    return Position(flavour_of(server), "", file, int(position))


def read(
    server: Database, start: Position, tables: Sequence[TableSpec], piece: int = 1 << 17
) -> list[SourceTransaction]:
    """What a stream from there to the log's end holds; its pieces are as large as asked."""
    address = ServerAddress(server.host, server.port, server.user, server.password, connect_timeout=5)
    request = LogRequest(start.file, start.position, server_id=random.randint(1 << 31, (1 << 32) - 2), until_end=True)
    stream, feed, out = open_stream(address, request, "live-case"), Feed(start.flavour, tables, start), []
    try:
        while not feed.eof and (data := stream.receive(piece)):
            out += feed.feed(data)
        out += feed.feed(b"")
    finally:
        stream.close()
    assert feed.eof
    return out


def differs(row: Row, selected: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Columns where the log's value is not SELECT's, both as they came."""
    return {name: (value, selected[name]) for name, value in row.as_dict().items() if not same(value, selected[name])}


def same(value: Any, text: Any) -> bool:
    if value is None or text is None:
        return value is text
    if isinstance(value, bytes):
        return value == (text if isinstance(text, bytes) else text.encode())
    if isinstance(value, int):
        return value == (int.from_bytes(text, "big") if isinstance(text, bytes) else int(text))
    if isinstance(value, float):
        return value == float(text)
    return value == (text.decode() if isinstance(text, bytes) else text)

"""What a real Debezium made of 148 outbox tables, and the same tables through our own decoder, router and envelope.

`outbox-router.json` was recorded with Debezium 3.4.0.Final, Kafka Connect 4.1.2, MySQL 9.7 and MariaDB 10.11: each case
has DDL, SQL, the connector's options, and the records a read_committed consumer got, or how the task failed. Recorded
partitions are of topics with 6 partitions. `differences.json` names the cases where ours is another record, and why.
"""

import base64
import json
import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pymysql
import yaml

from cdc.binlog import Feed
from cdc.errors import CdcError
from cdc.model import Record
from cdc.mysql.address import ServerAddress
from cdc.mysql.stream import LogRequest, open_stream
from cdc.position import Flavour, Position
from cdc.settings import Settings, load
from tests.servers import Database

HERE = Path(__file__).parent
PARTITIONS = 6
CONTEXT = "__debezium.context."
# Options of the connector that are no options of records; `start` says the same.
NOT_OURS = {"snapshot.mode"}


@dataclass(frozen=True)
class Case:
    """One recorded case. `config` is as a connector has it, without what all cases share."""

    name: str
    about: str
    flavours: tuple[str, ...]
    tables: tuple[str, ...]
    ddl: tuple[str, ...]
    config: dict[str, str]
    sql: tuple[str, ...]
    result: dict[str, Any] = field(repr=False)

    def expected(self, flavour: str) -> dict[str, Any]:
        return self.result[flavour] if self.result.get("differs") else self.result

    def router(self) -> dict[str, str]:
        """The options as they stand under `router:`."""
        options = {name.removeprefix("transforms.outbox."): text for name, text in self.config.items()}
        return {name: text for name, text in options.items() if name not in NOT_OURS}


def cases() -> list[Case]:
    made = []
    for one in json.loads((HERE / "outbox-router.json").read_text())["cases"]:
        flavours = ("mysql", "mariadb") if one["flavour"] == "both" else (one["flavour"],)
        made.append(
            Case(
                one["name"],
                one["about"],
                flavours,
                tuple(one["tables"]),
                tuple(one["ddl"]),
                one["config"],
                tuple(one["sql"]),
                one["result"],
            )
        )
    return made


def differences() -> dict[str, dict[str, str]]:
    return json.loads((HERE / "differences.json").read_text())


@dataclass
class Outcome:
    """What became of a case: records in the order they would be sent, or the error that stops before all of them."""

    records: list[Record] = field(default_factory=list)
    error: CdcError | None = None


class Everywhere:
    """Every topic is there, as on the broker that recorded."""

    def partitions(self, topic: str) -> int | None:
        return PARTITIONS


def configuration(case: Case, schema: str) -> dict[str, Any]:
    """Our configuration of a case, in which servers have no part."""
    tables = {
        f"{schema}.{table.rpartition('.')[2]}": {"layout": "debezium", "router": case.router()} for table in case.tables
    }
    return {
        "sources": {"vectors": {"host": "nowhere", "start": "earliest", "tables": tables}},
        "kafka": {"bootstrap_servers": ["nowhere:9092"]},
    }


def settings_of(case: Case, schema: str, folder: Path) -> Settings:
    """Raises ConfigError."""
    file = folder / f"{case.name}.yaml"
    file.write_text(yaml.safe_dump(configuration(case, schema)))
    return load(file, {})


@dataclass
class Log:
    """A server's log from before the first case to behind the last one, as it came over the wire."""

    start: Position
    pieces: list[bytes]
    schemas: dict[str, str]
    refused: set[str]

    def outcome(self, case: Case, folder: Path) -> Outcome:
        """Decode and route the case's rows as the tailer does: a transaction all or nothing, `on_error: stop`."""
        out = Outcome()
        try:
            settings = settings_of(case, self.schemas[case.name], folder)
            router = settings.router_for("vectors", Everywhere())
            feed = Feed(self.start.flavour, settings.table_specs("vectors", updates=True), self.start)
            for piece in self.pieces:
                for transaction in feed.feed(piece):
                    found = []
                    for row in transaction.rows:
                        if row.table.updated and router.on_error(row) == "skip":
                            continue
                        found.append(router.route(row))
                    out.records += [record for record in found if record is not None]
        except CdcError as error:
            out.error = error
        return out


@contextmanager
def played(server: Database, chosen: Sequence[Case]) -> Iterator[Log]:
    """Run the cases on a server and get its log."""
    flavour: Flavour = "mysql" if server.kind == "mysql" else "mariadb"
    schemas: list[tuple[str, set[str]]] = []
    of_case: dict[str, str] = {}
    refused: set[str] = set()
    try:
        for case in chosen:
            names = {table.rpartition(".")[2] for table in case.tables}
            found = next((name for name, used in schemas if not used & names), None)
            if found is None:
                found = f"router_{secrets.token_hex(5)}"
                server.run(f"CREATE DATABASE {found} CHARACTER SET utf8mb4")
                schemas.append((found, set()))
            next(used for name, used in schemas if name == found).update(names)
            of_case[case.name] = found
        start = _end(server, flavour)
        for case in chosen:
            if not _play(server, of_case[case.name], (*case.ddl, *case.sql)):
                refused.add(case.name)
        yield Log(start, list(_bytes(server, start)), of_case, refused)
    finally:
        for name, _ in schemas:
            server.run(f"DROP DATABASE {name}")


def _play(server: Database, schema: str, statements: Sequence[str]) -> bool:
    """Statement by statement on one connection; False where the server refuses one."""
    unique = secrets.token_hex(4)
    connection = server.connect(autocommit=True, database=schema)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET time_zone = '+00:00'")
            for statement in statements:
                # XA identifiers are the whole server's.
                cursor.execute(re.sub(r"^(XA \w+ '[^']+)'", rf"\1-{unique}'", statement))
    except pymysql.Error:
        return False
    finally:
        connection.close()
    return True


def _end(server: Database, flavour: Flavour) -> Position:
    file, position, *_ = server.run("SHOW BINARY LOG STATUS" if flavour == "mysql" else "SHOW MASTER STATUS")[0]
    return Position(flavour, "", file, int(position))


def _bytes(server: Database, start: Position) -> Iterator[bytes]:
    address = ServerAddress(server.host, server.port, server.user, server.password, connect_timeout=5)
    request = LogRequest(start.file, start.position, server_id=secrets.randbelow(1 << 31) + (1 << 30), until_end=True)
    stream = open_stream(address, request, "router-vectors")
    try:
        while data := stream.receive(1 << 17):
            yield bytes(data)
    finally:
        stream.close()


def decoded(text: str | None) -> bytes | None:
    return None if text is None else base64.b64decode(text)


def plain(recorded: dict[str, Any]) -> tuple[Any, ...]:
    """A recorded record, comparable; the connector's context headers aside."""
    headers = []
    for header in recorded["headers"]:
        name, value = (header["key"], header["value"]) if isinstance(header, dict) else header
        if not name.startswith(CONTEXT):
            headers.append((name, decoded(value)))
    time = recorded["timestamp"]
    return (
        recorded["topic"],
        recorded["partition"],
        decoded(recorded["key"]),
        decoded(recorded["value"]),
        headers,
        None if time == "processing time" else time,
    )


def in_kafka(records: Sequence[Record]) -> list[tuple[Any, ...]]:
    """Records as Kafka would hold them: by topic and partition, within one in the order they were sent."""
    return sorted(
        (tuple(record) for record in records), key=lambda record: (record[0], record[1] is None, record[1] or 0)
    )


def expected_records(case: Case, flavour: str) -> list[tuple[Any, ...]]:
    return [plain(one) for one in case.expected(flavour).get("records", [])]

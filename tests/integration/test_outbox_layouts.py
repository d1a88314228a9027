"""Every layout on real servers: the same event through cursor, connection and session; gone again where it shall not stay."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import aiomysql
import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from cdc.outbox import Event, Outbox
from cdc.outbox.layouts import Layout, layout_of
from cdc.outbox.table import ddl, sqlalchemy_table
from tests.servers import Database

OWN = {
    "id": "uid CHAR(36)",
    "name": "kind",
    "topic": "target",
    "key": "customer VARCHAR(64) NULL",
    "payload": "body JSON",
    "headers": "more LONGTEXT NULL",
    "trace": "span",
}
LAYOUTS: dict[str, tuple[str | None, dict[str, str] | None]] = {
    "native": ("native", None),
    "debezium": ("debezium", None),
    "debezium and more": ("debezium", {"headers": "headers", "payload": "payload LONGBLOB", "timestamp": "at"}),
    "cqrs": ("cqrs", None),
    "columns": (None, OWN),
}
ID = uuid.UUID("01890000-0000-7000-8000-000000000000")  # ends in zero bytes
AT = datetime(2026, 3, 1, 1, 2, 3, 4, UTC)


class Made:
    """A table of one layout in a schema of its own."""

    def __init__(self, server: Database, schema: str, name: str, *, remove: bool = False) -> None:
        self.server, self.schema, self.name = server, schema, name
        layout, columns = LAYOUTS[name]
        self.layout: Layout = layout_of(layout, columns)
        self.outbox = Outbox("box", layout, columns=columns, remove_after_insert=remove)
        server.run(ddl(server.kind, "box", self.layout), schema=schema)

    def event(self, name: str = "order.created") -> Event:
        key = "o-1" if self.layout.has("key") else None
        return Event(name, "orders", {"a": "ü 🎉"}, key=key, event_id=ID, event_timestamp=AT)

    def rows(self) -> list[tuple[Any, ...]]:
        columns = ", ".join(f"`{name}`" for name in self.layout.names)
        return list(self.server.run(f"SELECT {columns} FROM box", schema=self.schema))

    def url(self, driver: str) -> str:
        return f"mysql+{driver}://{self.server.user}:{self.server.password}@{self.server.host}:{self.server.port}/{self.schema}?charset=utf8mb4"

    def expect_one(self) -> None:
        (row,) = self.rows()
        found = dict(zip((column.role or column.name for column in self.layout.written), row, strict=True))
        assert found["id"] in {ID.bytes, str(ID)}
        assert (found["name"], found["topic"]) == ("order.created", "orders")
        assert found.get("key") in {None, "o-1", b"o-1"}
        payload = json.loads(found["payload"])
        assert (payload["payload"] if self.name == "cqrs" else payload) == {"a": "ü 🎉"}


@pytest.fixture(params=LAYOUTS)
def made(request: pytest.FixtureRequest, server: Database, schema: str) -> Made:
    return Made(server, schema, request.param)


@pytest.fixture
def engine(made: Made) -> Iterator[sa.Engine]:
    engine = sa.create_engine(made.url("pymysql"))
    yield engine
    engine.dispose()


def test_a_cursor_writes_every_layout(made: Made) -> None:
    connection = made.server.connect(database=made.schema)
    made.outbox.add(connection.cursor(), made.event("no"))
    connection.rollback()
    assert made.rows() == []
    made.outbox.add(connection.cursor(), made.event())
    connection.commit()
    connection.close()
    made.expect_one()


def test_a_session_and_a_connection_write_every_layout(made: Made, engine: sa.Engine) -> None:
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2].split()[0]))
    with orm.Session(engine) as session:
        made.outbox.add(session, made.event("no"))
        session.flush()
        session.rollback()
        assert made.rows() == []
        made.outbox.add(session, made.event())
        session.commit()
    made.expect_one()
    made.server.run("DELETE FROM box", schema=made.schema)
    with engine.begin() as connection:
        made.outbox.add(connection, made.event())
    made.expect_one()
    assert statements == ["INSERT"] * 3


def test_a_hundred_events_of_every_layout_are_one_insert(made: Made, engine: sa.Engine) -> None:
    events = [Event("n", "t", {}, key="k" if made.layout.has("key") else None) for _ in range(100)]
    with orm.Session(engine) as session:
        count = sa.text("SHOW SESSION STATUS LIKE 'Com_insert'")
        before = int(session.execute(count).one()[1])
        made.outbox.add_all(session, events)
        session.flush()
        assert int(session.execute(count).one()[1]) - before == 1
        session.commit()
    assert len(made.rows()) == 100


async def test_an_async_session_and_aiomysql_write_every_layout(made: Made) -> None:
    engine = create_async_engine(made.url("asyncmy"))
    async with AsyncSession(engine) as session:
        made.outbox.add(session, made.event())
        await session.commit()
    await engine.dispose()
    made.expect_one()
    made.server.run("DELETE FROM box", schema=made.schema)
    connection = await aiomysql.connect(
        host=made.server.host,
        port=made.server.port,
        user=made.server.user,
        password=made.server.password,
        db=made.schema,
        charset="utf8mb4",
    )
    await made.outbox.add_async(connection, made.event())
    await connection.commit()
    connection.close()
    await asyncio.sleep(0)
    made.expect_one()


def test_sqlalchemys_table_is_the_ddls_table(made: Made, engine: sa.Engine) -> None:
    metadata = sa.MetaData()
    sqlalchemy_table(metadata, "other", layout=made.layout)
    metadata.create_all(engine)
    mine, others = (made.server.run(f"SHOW CREATE TABLE {name}", schema=made.schema)[0][1] for name in ("box", "other"))
    assert others.replace("`other`", "`box`") == mine


@pytest.mark.parametrize("name", ["native", "debezium", "cqrs"])
def test_rows_that_shall_not_stay_are_gone_at_the_commit_and_in_the_log(
    server: Database, schema: str, name: str
) -> None:
    made = Made(server, schema, name, remove=True)
    engine = sa.create_engine(made.url("pymysql"))
    statements: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: statements.append(args[2].split()[0]))
    kept = Outbox("box", name)
    with orm.Session(engine) as session:
        made.outbox.add(session, made.event())
        session.flush()
        made.outbox.add_all(session, [Event("b", "t", {}, key=made.event().key) for _ in range(3)])
        kept.add(session, Event("kept", "t", {}, key=made.event().key))
        session.commit()
        made.outbox.add(session, made.event("no"))
        session.rollback()
    assert sorted(statements) == ["DELETE", "DELETE", "INSERT", "INSERT", "INSERT"]
    with engine.begin() as connection:
        made.outbox.add(connection, made.event())
    connection = server.connect(database=schema)
    made.outbox.add_all(connection, [made.event()])
    connection.commit()
    connection.close()
    names = [row[list(made.layout.names).index("type" if name == "debezium" else "event_name")] for row in made.rows()]
    assert names == ["kept"]
    engine.dispose()

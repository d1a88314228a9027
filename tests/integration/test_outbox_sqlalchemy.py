"""Through SQLAlchemy on real servers: part of the unit of work, one INSERT, gone with a rollback."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import orm
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)

from cdc.errors import NotInTransaction, UnsupportedConnection
from cdc.outbox import AsyncUnit, Event, Outbox
from tests.integration.outbox_rows import EMPTY, FULL, Table, create, expect
from tests.servers import Database


class Base(orm.DeclarativeBase):
    pass


class Thing(Base):
    __tablename__ = "thing"
    id: orm.Mapped[int] = orm.mapped_column(primary_key=True)
    n: orm.Mapped[int]


@pytest.fixture
def table(server: Database, schema: str) -> Table:
    return create(server, schema)


@pytest.fixture
def engine(table: Table) -> Iterator[sa.Engine]:
    engine = sa.create_engine(table.url("pymysql"))
    yield engine
    engine.dispose()


@pytest.fixture
async def async_engine(table: Table) -> AsyncIterator[AsyncEngine]:
    engine = create_async_engine(table.url("asyncmy"))
    yield engine
    await engine.dispose()


@pytest.fixture
def statements(engine: sa.Engine) -> list[str]:
    """Everything that goes to the driver from here on, by its first three words."""
    seen: list[str] = []
    sa.event.listen(engine, "before_cursor_execute", lambda *args: seen.append(" ".join(args[2].split()[:3])))
    return seen


def event(name: str) -> Event:
    return Event(name, "t", {"name": name})


outbox = Outbox()


def test_an_event_goes_with_the_session_byte_for_byte(table: Table, engine: sa.Engine) -> None:
    with orm.Session(engine) as session:
        outbox.add_all(session, [FULL, EMPTY])
        session.commit()
    written = table.rows()
    expect(written[0], FULL)
    expect(written[1], EMPTY)


def test_one_event_adds_one_insert_and_nothing_else(table: Table, engine: sa.Engine, statements: list[str]) -> None:
    with orm.Session(engine) as session:
        session.add(Thing(n=1))
        outbox.add(session, event("a"))
        assert statements == []
        session.commit()
    assert sorted(statements) == ["INSERT INTO outbox", "INSERT INTO thing"]  # of unrelated classes, in any order
    assert table.names() == ["a"]


def test_a_hundred_events_are_one_insert_in_the_order_added(
    table: Table, engine: sa.Engine, statements: list[str]
) -> None:
    with orm.Session(engine) as session:
        for n in reversed(range(100)):
            outbox.add(session, event(str(n)))
        session.commit()
        connection_id = session.execute(sa.text("SELECT CONNECTION_ID()")).scalar()
    assert statements[0] == "INSERT INTO outbox"
    assert statements.count("INSERT INTO outbox") == 1
    assert connection_id
    assert table.names() == [str(n) for n in reversed(range(100))]


def test_the_server_sees_one_insert_for_a_hundred_events(table: Table, engine: sa.Engine) -> None:
    with orm.Session(engine) as session:
        session.execute(sa.text("SELECT 1"))
        count = sa.text("SHOW SESSION STATUS LIKE 'Com_insert'")
        before = int(session.execute(count).one()[1])
        outbox.add_all(session, [event(str(n)) for n in range(100)])
        session.flush()
        assert int(session.execute(count).one()[1]) - before == 1
        session.commit()
    assert len(table.rows()) == 100


def test_rollback_leaves_nothing(table: Table, engine: sa.Engine) -> None:
    with orm.Session(engine) as session:
        outbox.add(session, event("pending"))
        session.rollback()
        assert not session.new
        outbox.add(session, event("flushed"))
        session.flush()
        session.rollback()
        session.commit()
    with orm.Session(engine) as session:
        outbox.add(session, event("closed"))
    assert table.rows() == []


@pytest.mark.parametrize("flush", [True, False])
def test_a_savepoint_rolled_back_takes_its_events_along(table: Table, engine: sa.Engine, flush: bool) -> None:
    with orm.Session(engine) as session:
        outbox.add(session, event("before"))
        inner = session.begin_nested()
        session.add(Thing(n=1))
        outbox.add(session, event("inside"))
        if flush:
            session.flush()
        inner.rollback()
        outbox.add(session, event("after"))
        with session.begin_nested():
            outbox.add(session, event("kept"))
        session.commit()
    assert table.names() == ["before", "after", "kept"]
    assert table.server.run("SELECT * FROM thing", schema=table.schema) == ()


def test_a_failing_flush_takes_the_events_along(table: Table, engine: sa.Engine) -> None:
    with orm.Session(engine) as session:
        session.add(Thing(id=1, n=1))
        session.commit()
        session.add(Thing(id=1, n=2))
        outbox.add(session, event("a"))
        with pytest.raises(sa.exc.IntegrityError):
            session.commit()
        session.rollback()
        session.commit()
    assert table.rows() == []


def test_the_sessions_routing_decides(table: Table, engine: sa.Engine) -> None:
    flushing = []

    class Routing(orm.Session):
        def get_bind(self, mapper: Any = None, **options: Any) -> Any:
            flushing.append(self._flushing)
            return engine

    with Routing() as session:
        outbox.add(session, event("routed"))
        session.commit()
    assert table.names() == ["routed"]
    assert any(flushing)


def test_a_session_that_binds_classes_only_is_told_so(table: Table, engine: sa.Engine) -> None:
    with orm.Session(binds={Base: engine}) as session:
        with pytest.raises(UnsupportedConnection) as refused:
            outbox.add(session, event("a"))
        assert "bind_arguments" in str(refused.value.hint)
        session.add(Thing(n=1))
        outbox.add(session.connection(bind_arguments={"mapper": Thing}), event("b"))
        session.commit()
    assert table.names() == ["b"]


def test_a_scoped_session(table: Table, engine: sa.Engine) -> None:
    scoped = orm.scoped_session(orm.sessionmaker(engine))
    outbox.add(scoped, event("scoped"))
    scoped.commit()
    scoped.remove()
    assert table.names() == ["scoped"]


def test_a_unit_on_a_session(table: Table, engine: sa.Engine) -> None:
    with orm.Session(engine) as session:
        unit = outbox.bind(session)
        unit.add(event("no"))
        unit.rollback()
        unit.add_all([event("a"), event("b")])
        unit.commit()
    assert table.names() == ["a", "b"]


def test_mappers_cleared_by_the_application_are_made_again(table: Table, engine: sa.Engine) -> None:
    from cdc.outbox import sqlalchemy as ours

    with orm.Session(engine) as session:
        outbox.add(session, event("a"))
        session.commit()
        sa.inspect(ours._mapped(outbox.destination)).registry.dispose()  # what clear_mappers() does to each registry
        outbox.add(session, event("b"))
        session.commit()
    assert table.names() == ["a", "b"]


def test_a_connection_writes_at_once_in_its_transaction(table: Table, engine: sa.Engine, statements: list[str]) -> None:
    with engine.connect() as connection:
        outbox.add(connection, event("no"))
        connection.rollback()
        outbox.add_all(connection, [FULL, EMPTY])
        connection.commit()
    assert statements == ["INSERT INTO outbox"] * 2
    expect(table.rows()[0], FULL)
    expect(table.rows()[1], EMPTY)


def test_another_schema_and_a_translated_one(table: Table, engine: sa.Engine) -> None:
    other = engine.url.set(database="mysql")
    elsewhere = sa.create_engine(other)
    with orm.Session(elsewhere) as session:
        Outbox(f"{table.schema}.outbox").add(session, event("a"))
        session.commit()
    with elsewhere.connect().execution_options(schema_translate_map={None: table.schema}) as connection:
        outbox.add(connection, event("b"))
        connection.commit()
    elsewhere.dispose()
    assert table.names() == ["a", "b"]


def test_autocommit_is_refused_before_the_insert(table: Table, engine: sa.Engine) -> None:
    by_url = sa.create_engine(engine.url, isolation_level="AUTOCOMMIT")
    by_option = engine.execution_options(isolation_level="AUTOCOMMIT")
    by_driver = sa.create_engine(engine.url, connect_args={"init_command": "SET autocommit=1", "autocommit": None})
    for bad in (by_url, by_option):
        with orm.Session(bad) as session, pytest.raises(NotInTransaction):
            outbox.add(session, event("a"))
        with bad.connect() as connection, pytest.raises(NotInTransaction):
            outbox.add(connection, event("a"))
    with orm.Session(engine) as session:
        session.connection(execution_options={"isolation_level": "AUTOCOMMIT"})
        outbox.add(session, event("a"))
        with pytest.raises(NotInTransaction):
            session.flush()
    with orm.Session(by_driver) as session:
        outbox.add(session, event("a"))
        with pytest.raises(NotInTransaction):
            session.commit()
    for used in (by_url, by_driver):
        used.dispose()
    assert table.rows() == []


def test_another_database_is_refused() -> None:
    engine = sa.create_engine("sqlite://")
    with orm.Session(engine) as session, pytest.raises(UnsupportedConnection, match="sqlite"):
        outbox.add(session, event("a"))
    with engine.connect() as connection, pytest.raises(UnsupportedConnection, match="sqlite"):
        outbox.add(connection, event("a"))
    engine.dispose()


async def test_an_async_session_needs_no_await(table: Table, async_engine: AsyncEngine) -> None:
    async with AsyncSession(async_engine) as session:
        session.add(Thing(n=1))
        outbox.add_all(session, [FULL, EMPTY])
        await outbox.add_async(session, event("c"))
        await session.commit()
        outbox.add(session, event("no"))
        await session.rollback()
        async with session.begin_nested() as inner:
            outbox.add(session, event("no"))
            await inner.rollback()
        await session.commit()
    rows = table.rows()
    expect(rows[0], FULL)
    expect(rows[1], EMPTY)
    assert table.names()[2:] == ["c"]


async def test_a_unit_on_an_async_session(table: Table, async_engine: AsyncEngine) -> None:
    async with AsyncSession(async_engine) as session:
        unit = outbox.bind(session)
        assert isinstance(unit, AsyncUnit)
        unit.add(event("no"))
        await unit.rollback()
        unit.add(event("a"))
        unit.add_all([event("b")])
        await unit.commit()
    scoped = async_scoped_session(async_sessionmaker(async_engine), scopefunc=lambda: 1)
    unit = outbox.bind(scoped)
    unit.add(event("c"))
    await unit.commit()
    await scoped.remove()
    assert table.names() == ["a", "b", "c"]


async def test_an_async_connection_is_awaited(table: Table, async_engine: AsyncEngine) -> None:
    async with async_engine.connect() as connection:
        with pytest.raises(UnsupportedConnection, match="awaited"):
            outbox.add(connection, event("no"))
        await outbox.add_async(connection, event("no"))
        await connection.rollback()
        await outbox.add_all_async(connection, [event("a"), event("b")])
        await connection.run_sync(outbox.add, event("c"))
        await connection.commit()
    assert table.names() == ["a", "b", "c"]
    async with async_engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        with pytest.raises(NotInTransaction):
            await outbox.add_async(connection, event("no"))

"""The INSERT as it goes to a driver: one statement, cut only where a server would refuse it."""

import types
from typing import Any

import pytest

from cdc.outbox import Event, Outbox
from cdc.outbox.table import COLUMNS, ddl


class Cursor:
    def __init__(self) -> None:
        self.sent: list[tuple[str, tuple[Any, ...]]] = []

    def execute(self, statement: str, values: tuple[Any, ...]) -> None:
        self.sent.append((statement, values))


class Connection:
    def __init__(self) -> None:
        self.cursors: list[Cursor] = []
        self.ended: list[str] = []

    def cursor(self) -> Any:
        cursor = Cursor()
        cursor.close = lambda: self.ended.append("closed")  # type: ignore[attr-defined]
        self.cursors.append(cursor)
        return cursor

    def commit(self) -> None:
        self.ended.append("commit")

    def rollback(self) -> None:
        self.ended.append("rollback")


def _events(count: int, payload: bytes = b"") -> list[Event]:
    return [Event("n", "t", payload) for _ in range(count)]


def test_many_events_are_one_statement() -> None:
    cursor, events = Cursor(), _events(100)
    Outbox().add_all(cursor, iter(events))
    ((statement, values),) = cursor.sent
    assert statement.startswith("INSERT INTO `outbox` (`event_id`, `event_name`, ")
    assert statement.count("%s") == len(values) == 100 * len(COLUMNS)
    assert list(values[:: len(COLUMNS)]) == [event.event_id.bytes for event in events]
    assert all(value is None or isinstance(value, (str, bytes)) for value in values)


def test_nothing_to_write_sends_nothing() -> None:
    cursor = Cursor()
    Outbox().add_all(cursor, [])
    assert cursor.sent == []


@pytest.mark.parametrize(
    ("events", "statements"),
    [(_events(1000), 1), (_events(1001), 2), (_events(8, b"x" * 2**20), 2), (_events(1, b"x" * 2**24), 1)],
)
def test_a_statement_stays_within_what_servers_take(events: list[Event], statements: int) -> None:
    cursor = Cursor()
    Outbox(max_bytes=2**25).add_all(cursor, events)
    assert len(cursor.sent) == statements
    ids = [value for _, values in cursor.sent for value in values[:: len(COLUMNS)]]
    assert ids == [event.event_id.bytes for event in events]


@pytest.mark.parametrize(
    ("table", "quoted"),
    [("shop.outbox", "`shop`.`outbox`"), ("a`b", "`a``b`"), ("50%", "`50%%`"), ("événements", "`événements`")],
)
def test_the_table_is_quoted(table: str, quoted: str) -> None:
    cursor = Cursor()
    Outbox(table).add(cursor, Event("n", "t", None))
    assert cursor.sent[0][0].startswith(f"INSERT INTO {quoted} (")
    assert f"CREATE TABLE {quoted.replace('%%', '%')} (" in ddl("mysql", table)


def test_a_connection_gets_a_cursor_of_our_own_and_no_commit() -> None:
    connection = Connection()
    Outbox().add(connection, Event("n", "t", None))
    assert connection.ended == ["closed"]
    assert len(connection.cursors[0].sent) == 1


def test_a_unit_commits_and_rolls_back_when_told() -> None:
    connection = Connection()
    unit = Outbox().bind(connection)
    unit.add(Event("n", "t", None))
    unit.add_all(_events(2))
    assert "commit" not in connection.ended
    unit.commit()
    unit.rollback()
    assert connection.ended == ["closed", "closed", "commit", "rollback"]


async def test_awaited_cursors() -> None:
    sent = []

    class Awaited:
        async def execute(self, statement: str, values: tuple[Any, ...]) -> None:
            sent.append((statement, values))

    await Outbox().add_async(Awaited(), Event("n", "t", b"\xff"))
    await Outbox().add_all_async(Awaited(), _events(3))
    await Outbox().add_all_async(Awaited(), [])
    assert [len(values) for _, values in sent] == [8, 24]


async def test_aiomysql_gets_hexadecimal_text() -> None:
    cursor = Cursor()
    named = types.new_class("Cursor", (Cursor,), exec_body=lambda body: body.update(__module__="aiomysql.cursors"))
    cursor.__class__ = named
    await Outbox().add_async(cursor, Event("n", "t", b"\xff", key=None))
    ((statement, values),) = cursor.sent
    assert statement.count("UNHEX(%s)") == 3
    assert "ff" in values
    assert not any(isinstance(value, bytes) for value in values)

"""What Kafka or the table would refuse later is refused at `add`, by name, with a hint, before any SQL."""

import dataclasses
import uuid
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any

import pytest

from cdc.errors import (
    CdcError,
    ConfigError,
    EventTooLarge,
    InvalidEvent,
    NotInTransaction,
    OutboxError,
    PayloadNotSerializable,
    UnsupportedConnection,
)
from cdc.outbox import Event, Outbox
from cdc.outbox.row import DEFAULT_MAX_BYTES, RESERVED_HEADERS


class Cursor:
    """A DB-API cursor that only remembers."""

    def __init__(self, connection: Any = None) -> None:
        if hasattr(connection, "in_atomic_block"):
            self.db = connection  # as Django's wrapper has it
        self.connection = connection
        self.sent: list[tuple[str, tuple[object, ...]]] = []

    def execute(self, statement: str, values: tuple[object, ...]) -> int:
        self.sent.append((statement, values))
        return 1


CIRCLE: list[Any] = []
CIRCLE.append({"again": CIRCLE})
DEEP: list[Any] = []
for _ in range(100_000):
    DEEP = [DEEP]


@dataclasses.dataclass
class Order:
    price: object


def event(**changed: Any) -> Event:
    return Event(**{"event_name": "order.created", "topic": "orders", "payload": {}, **changed})


BAD = [
    # name
    (event(event_name=""), InvalidEvent, "event_name"),
    (event(event_name=None), InvalidEvent, "event_name"),
    (event(event_name=b"order.created"), InvalidEvent, "event_name"),
    (event(event_name=7), InvalidEvent, "event_name"),
    (event(event_name="n" * 256), InvalidEvent, "256 characters"),
    (event(event_name="\ud800"), InvalidEvent, "not Unicode"),
    # topic
    (event(topic=""), InvalidEvent, "topic"),
    (event(topic=None), InvalidEvent, "topic"),
    (event(topic=b"orders"), InvalidEvent, "topic"),
    (event(topic="."), InvalidEvent, "'.'"),
    (event(topic=".."), InvalidEvent, "'..'"),
    (event(topic="a b"), InvalidEvent, "'a b'"),
    (event(topic="a/b"), InvalidEvent, "'a/b'"),
    (event(topic="a:b"), InvalidEvent, "'a:b'"),
    (event(topic="orders\n"), InvalidEvent, "orders"),
    (event(topic="bestellungé"), InvalidEvent, "bestellung"),
    (event(topic="t" * 250), InvalidEvent, "250 characters"),
    # key
    (event(key=7), InvalidEvent, "key is a int"),
    (event(key=uuid.uuid4()), InvalidEvent, "key is a UUID"),
    (event(key=("a",)), InvalidEvent, "key is a tuple"),
    (event(key="\udfff"), InvalidEvent, "not Unicode"),
    (event(key="k" * 1025), EventTooLarge, "1025 bytes"),
    (event(key="é" * 513), EventTooLarge, "1026 bytes"),
    (event(key=b"k" * 1025), EventTooLarge, "1025 bytes"),
    # headers
    (event(headers=[("a", "b")]), InvalidEvent, "headers is a list"),
    (event(headers="a=b"), InvalidEvent, "headers is a str"),
    (event(headers={1: "b"}), InvalidEvent, "header name 1"),
    (event(headers={"": "b"}), InvalidEvent, "header name ''"),
    (event(headers={b"a": "b"}), InvalidEvent, "header name b'a'"),
    (event(headers={"\ud800": "b"}), InvalidEvent, "header name"),
    (event(headers={"a": 1}), InvalidEvent, "header 'a' is 1"),
    (event(headers={"a": None}), InvalidEvent, "header 'a' is None"),
    (event(headers={"a": b"b"}), InvalidEvent, "header 'a' is b'b'"),
    (event(headers={"a": True}), InvalidEvent, "header 'a' is True"),
    (event(headers={"a": "\ud800"}), InvalidEvent, "header 'a'"),
    *[(event(headers={name: "x"}), InvalidEvent, f"header {name!r}") for name in sorted(RESERVED_HEADERS)],
    (event(headers={"a": "x" * DEFAULT_MAX_BYTES}), EventTooLarge, "more than 1,048,576"),
    # id, time, content type
    (event(event_id=str(uuid.uuid4())), InvalidEvent, "event_id is a str"),
    (event(event_id=uuid.uuid4().bytes), InvalidEvent, "event_id is a bytes"),
    (event(event_id=None), InvalidEvent, "event_id is a NoneType"),
    (event(event_timestamp=datetime(2026, 1, 1)), InvalidEvent, "no time zone"),  # noqa: DTZ001
    (event(event_timestamp="2026-01-01T00:00:00Z"), InvalidEvent, "event_timestamp is a str"),
    (event(event_timestamp=1.0), InvalidEvent, "event_timestamp is a float"),
    (event(event_timestamp=None), InvalidEvent, "event_timestamp is a NoneType"),
    (event(event_timestamp=datetime(999, 1, 1, tzinfo=UTC)), InvalidEvent, "out of range"),
    (event(event_timestamp=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2)))), InvalidEvent, "out of range"),
    (event(content_type=""), InvalidEvent, "content_type"),
    (event(content_type=None), InvalidEvent, "content_type"),
    (event(content_type="c" * 128), InvalidEvent, "128 characters"),
    (event(content_type="text/plain; charset=é"), InvalidEvent, "printable ASCII"),
    (event(content_type="a\r\nb"), InvalidEvent, "printable ASCII"),
    # payload
    (event(payload=7), PayloadNotSerializable, "a int"),
    (event(payload=object()), PayloadNotSerializable, "a object"),
    (event(payload=Order), PayloadNotSerializable, "the class Order"),
    (event(payload={1, 2}), PayloadNotSerializable, "a set"),
    (event(payload="\ud800"), PayloadNotSerializable, "at $"),
    (event(payload={"items": [{}, {}, {}, {"price": object()}]}), PayloadNotSerializable, "$.items[3].price"),
    (event(payload={"a b": {"c": {1}}}), PayloadNotSerializable, "$['a b'].c"),
    (event(payload={"a": float("nan")}), PayloadNotSerializable, "$.a: nan"),
    (event(payload=[1.0, float("-inf")]), PayloadNotSerializable, "$[1]: -inf"),
    (event(payload={"a": b"bytes"}), PayloadNotSerializable, "$.a: a bytes"),
    (event(payload={"a": {("b", "c"): 1}}), PayloadNotSerializable, "$.a: the name ('b', 'c')"),
    (event(payload={"a": "\ud800"}), PayloadNotSerializable, "$.a: text"),
    (event(payload=Order(price=[1, {2}])), PayloadNotSerializable, "$.price[1]: a set"),
    (event(payload=CIRCLE), PayloadNotSerializable, "$[0].again: the value contains itself"),
    (event(payload=DEEP), PayloadNotSerializable, "nested more than 500 deep"),
    (event(payload=b"x" * (DEFAULT_MAX_BYTES + 1)), EventTooLarge, "payload 1,048,577"),
    (event(payload=b"x" * DEFAULT_MAX_BYTES), EventTooLarge, "a broker counts the rest of the record, too"),
    # what is no event
    ({"event_name": "order.created"}, InvalidEvent, "a dict is no event"),
    (None, InvalidEvent, "a NoneType is no event"),
    (SimpleNamespace(event_name="n", topic="t", payload=b"", event_id=uuid.uuid4()), InvalidEvent, "event_timestamp"),
    (
        SimpleNamespace(event_name="n", topic="t", event_id=uuid.uuid4(), event_timestamp=datetime.now(UTC)),
        InvalidEvent,
        "payload",
    ),
]


@pytest.mark.parametrize(("bad", "error", "says"), BAD, ids=[str(n) for n in range(len(BAD))])
def test_a_bad_event_is_refused_before_any_sql(bad: Any, error: type[CdcError], says: str) -> None:
    cursor = Cursor()
    with pytest.raises(error) as refused:
        Outbox().add_all(cursor, [event(), bad])
    assert cursor.sent == []
    assert isinstance(refused.value, OutboxError)
    assert refused.value.hint
    if not says.startswith("a broker counts"):
        assert says in str(refused.value)


async def test_the_awaited_way_refuses_the_same() -> None:
    cursor = Cursor()
    with pytest.raises(InvalidEvent):
        await Outbox().add_all_async(cursor, [event(), event(topic="a b")])
    assert cursor.sent == []


@pytest.mark.parametrize(
    "good",
    [
        event(event_name="ü" * 255),
        event(topic="A-z_0.9" + "t" * 242),
        event(key="k" * 1024),
        event(key=b""),
        event(headers={}),
        event(headers={"traceparent": "00-x", "ce_dataref": "é"}),
        event(payload=None),
        event(payload=bytearray(b"x")),
        event(payload=b"x" * (DEFAULT_MAX_BYTES - 1024)),
        event(event_timestamp=datetime(1000, 1, 1, tzinfo=UTC)),
    ],
)
def test_what_is_at_the_limit_is_taken(good: Event) -> None:
    cursor = Cursor()
    Outbox().add(cursor, good)
    assert len(cursor.sent) == 1


def test_the_limit_is_the_users() -> None:
    with pytest.raises(EventTooLarge, match="more than 2,000"):
        Outbox(max_bytes=2000).add(Cursor(), event(payload=b"x" * 2000))
    Outbox(max_bytes=3 * DEFAULT_MAX_BYTES).add(Cursor(), event(payload=b"x" * 2 * DEFAULT_MAX_BYTES))


class Driver:
    """A driver's connection by what it offers."""

    def __init__(self, **offers: Any) -> None:
        self.__dict__.update(offers)

    def commit(self) -> None: ...

    def cursor(self) -> Any:
        return Cursor(self)


class Property(Driver):
    autocommit = property(lambda self: self.asked)


REFUSED = [
    Driver(get_autocommit=lambda: True),  # mysqlclient
    Driver(get_autocommit=lambda: 1, server_status=2),  # PyMySQL
    Driver(_server_status=2, in_transaction=False),  # MySQL Connector in C
    Property(asked=True, in_transaction=False),  # MySQL Connector in Python
    Driver(in_atomic_block=False, autocommit=True, vendor="mysql"),  # Django
]
TAKEN = [
    Driver(get_autocommit=lambda: False),
    Driver(get_autocommit=lambda: True, server_status=3),  # START TRANSACTION was sent
    Driver(_server_status=0, in_transaction=False),
    Driver(_server_status=3, in_transaction=True),
    Property(asked=False, in_transaction=False),
    Driver(in_atomic_block=True, autocommit=True, vendor="mysql"),
    Driver(in_atomic_block=False, autocommit=False, vendor="mysql"),
    Driver(),  # cannot tell
]


@pytest.mark.parametrize("connection", REFUSED)
def test_autocommit_is_refused(connection: Driver) -> None:
    cursor = connection.cursor()
    with pytest.raises(NotInTransaction) as refused:
        Outbox().add(cursor, event())
    assert refused.value.hint
    assert cursor.sent == []


@pytest.mark.parametrize("connection", TAKEN)
def test_a_transaction_is_taken(connection: Driver) -> None:
    cursor = connection.cursor()
    Outbox().add(cursor, event())
    assert len(cursor.sent) == 1


class Awaited:
    async def execute(self, *_: object) -> None:
        raise AssertionError("sent")


class AwaitedQuietly:
    """Its execute does not look like a coroutine function: older Cython's."""

    def __init__(self) -> None:
        self._real = Awaited()

    def execute(self, *_: object) -> Any:
        return self._real.execute()


@pytest.mark.parametrize("target", [None, "mysql://root@h/s", object(), Awaited(), AwaitedQuietly()])
def test_what_is_no_connection_is_refused(target: Any) -> None:
    with pytest.raises(UnsupportedConnection) as refused:
        Outbox().add(target, event())
    assert refused.value.hint


def test_another_database_is_refused() -> None:
    import sqlite3

    connection = sqlite3.connect(":memory:")
    for target in (connection, connection.cursor(), Driver(in_atomic_block=True, vendor="postgresql")):
        with pytest.raises(UnsupportedConnection):
            Outbox().add(target, event())
    connection.close()
    with pytest.raises(UnsupportedConnection):
        Outbox().bind(Cursor())


@pytest.mark.parametrize("table", ["", ".", "a.", ".a", "a.b.c", "a" * 65, " a", "a ", "a\x00b", "a\nb", "\U0001f600"])
def test_a_bad_table_name_is_refused(table: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Outbox(table)
    assert refused.value.hint


def test_an_unknown_layout_says_which_there_are() -> None:
    with pytest.raises(ConfigError) as refused:
        Outbox(layout="debezum")
    assert "Available: native, debezium, cqrs" in str(refused.value.hint)

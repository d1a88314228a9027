"""Every option of a route, from the configuration to the record, row by row."""

import json
import time
import zlib
from pathlib import Path
from uuid import UUID

import pytest
import yaml

from cdc.errors import ConfigError, RowRefused
from cdc.model import Column, Row, TableSchema
from cdc.routing.partitioner import murmur2
from cdc.settings import load

ID = UUID("0192f3a4-0000-7000-8000-000000000001")
BASE = {
    "event_id": ID.bytes, "event_name": "order.created", "topic": "orders", "event_key": None,
    "payload": b'{"id": 7}', "content_type": "application/json", "headers": None,
    "created_at": "2026-01-02 03:04:05.678901",
}  # fmt: skip
NAMES = ["event_id", "event_name", "content_type", "created_at"]


class Topics:
    def partitions(self, topic):
        return None if topic.startswith("missing") else 6

    async def refresh(self):
        pass


@pytest.fixture
def router(tmp_path):
    """A router of one table and these routes; `more` is for the top of the file, `table` for the table."""

    def made(*routes, table=None, **more):
        file = tmp_path / "cdc.yaml"
        tables = {"shop.outbox": {"layout": "native", **(table or {})}, "shop.other": {"layout": "native"}}
        whole = {
            "sources": {"shop": {"host": "h", "tables": tables}},
            "kafka": {"bootstrap_servers": ["k:9092"]},
            "routes": list(routes),
            **more,
        }
        file.write_text(json.dumps(whole))
        return load(file, {}).router_for("shop", Topics())

    return made


def row(**changes):
    values = {**BASE, **changes}
    return Row(TableSchema("shop", "outbox", tuple(Column(name, "text") for name in values)), tuple(values.values()))


def refused(router, given):
    with pytest.raises(RowRefused) as caught:
        router.route(given)
    assert caught.value.hint
    assert str(ID) in str(caught.value)
    return caught.value.reason


def partition_of(key):
    return (murmur2(key) & 0x7FFFFFFF) % 6


# -- match ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "topic", "to"),
    [
        ("order.created", "orders", "exact"),
        ("order.paid", "orders", "glob"),
        ("order.created", "others", "glob"),
        ("order.a.b", "x", "glob"),
        ("user.joined", "users", "one"),
        ("user.joined", "userss", "users-rest"),
        ("Order.created", "orders", "orders"),
        ("", "orders", "orders"),
    ],
)
def test_the_first_that_matches_wins_so_the_exact_one_comes_first(router, name, topic, to):
    routes = router(
        {"match": {"event_name": "order.created", "topic": "orders"}, "topic": "exact"},
        {"match": {"event_name": "order.*"}, "topic": "glob"},
        {"match": {"topic": "user?"}, "topic": "one"},
        {"match": {"topic": "user*"}, "topic": "users-rest"},
    )
    assert routes.route(row(event_name=name, topic=topic)).topic == to


@pytest.mark.parametrize(
    ("first", "second"),
    [({}, {"event_name": "a"}), ({"event_name": "a*"}, {"event_name": "a?c"}), ({"topic": "*"}, {"topic": "t"})],
)
def test_a_rule_that_no_row_can_reach_is_a_mistake(router, first, second):
    with pytest.raises(ConfigError, match=r"routes\[1\]: can never match: routes\[0\] takes all of its rows"):
        router({"match": first}, {"match": second})
    assert router({"match": second}, {"match": first})


@pytest.mark.parametrize(
    ("word", "outcome"), [("pass", "orders"), ("skip", None), ("stop", "unrouted"), ("dead_letter", "unrouted")]
)
def test_rows_that_no_route_matches(router, word, outcome):
    routes = router({"match": {"event_name": "x"}}, unrouted=word, on_error="skip")
    if outcome == "unrouted":
        assert refused(routes, row()) == "unrouted"
        assert routes.on_error(row()) == word
    else:
        made = routes.route(row())
        assert (made and made.topic) == outcome


def test_each_routes_own_policy(router):
    routes = router(
        {"match": {"event_name": "a"}, "topic": "missing", "on_error": "dead_letter"},
        {"match": {"event_name": "b"}, "topic": "missing", "on_error": "skip"},
        {"match": {"event_name": "c"}, "topic": "missing"},
        on_error="skip",
    )
    given = [row(event_name=name) for name in "abcd"]
    assert [routes.on_error(one) for one in given] == ["dead_letter", "skip", "stop", "skip"]
    assert {refused(routes, one) for one in given[:3]} == {"topic_missing"}


# -- topic ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tenant", "topic"),
    [
        ("blue", "t.blue.orders"),
        (42, "t.42.orders"),
        (b"red", "t.red.orders"),
        ("a b", None),
        ("ä", None),
        ("a/b", None),
        ("a\x00", None),
        ("x" * 240, f"t.{'x' * 240}.orders"),
        ("x" * 241, None),
        ("", "t..orders"),
        (None, None),
        (b"\xff", None),
        (1.5, None),
    ],
)
def test_a_template_from_a_column(router, tenant, topic):
    routes = router({"topic": "t.{tenant}.{topic}"})
    given = row(tenant=tenant)
    if topic is None:
        assert refused(routes, given) == "topic_invalid"
    else:
        assert routes.route(given).topic == topic


@pytest.mark.parametrize("topic", ["cdc.checkpoint.shop", "CDC.x", "__consumer_offsets", "cdc_Dead-letters", ".", ""])
def test_a_template_that_a_row_leads_astray(router, topic):
    assert refused(router({"topic": "{target}"}), row(target=topic)) in {"topic_not_allowed", "topic_invalid"}


def test_a_template_of_a_column_that_the_table_has_not(router):
    assert refused(router({"topic": "{tenant}"}), row()) == "topic_invalid"


@pytest.mark.parametrize(("topic", "fine"), [("orders", True), ("orders.v1", True), ("user_a", True), ("bills", False)])
def test_allowed_topics(router, topic, fine):
    routes = router(topics={"allow": ["orders*", "user_?"]})
    if fine:
        assert routes.route(row(topic=topic)).topic == topic
    else:
        assert refused(routes, row(topic=topic)) == "topic_not_allowed"


# -- key and partition ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "payload", "key"),
    [
        ("$.id", '{"id": 7}', b"7"),
        ("$.id", '{"id": -12345678901234567890}', None),
        ("$.id", '{"id": "ä"}', "ä".encode()),
        ("$.id", '{"id": ""}', b""),
        ("$.a.b[1]", '{"a": {"b": [0, "x"]}}', b"x"),
        ("$.a.b[2]", '{"a": {"b": [0, "x"]}}', None),
        ("$[0]", '["x"]', b"x"),
        ('$["a name"]', '{"a name": 1}', b"1"),
        ("$.id", '{"id": 1.0}', None),
        ("$.id", '{"id": true}', None),
        ("$.id", '{"id": null}', None),
        ("$.id", '{"id": {}}', None),
        ("$.id", '{"id": [1]}', None),
        ("$.id", "[]", None),
        ("$.id", "no JSON", None),
        ("$.id", "", None),
        ("$.id", None, None),
        ("tenant", "{}", b"blue"),
        ("nothing", "{}", None),
    ],
)
def test_a_key_where_the_row_has_none(router, path, payload, key):
    given = row(payload=payload, tenant="blue", nothing=None)
    if key is None:
        assert refused(router({"key": path}), given) == "key_missing"
        lenient = router({"key": path, "key_missing": None}).route(given)
        assert (lenient.key, lenient.partition) == (None, None)
    else:
        made = router({"key": path}).route(given)
        assert (made.key, made.partition) == (key, partition_of(key))
    assert router({"key": path}).route(row(payload=payload, event_key=b"own", tenant="t", nothing=None)).key == b"own"


@pytest.mark.parametrize(
    ("shard", "partition"),
    [(0, 0), (5, 5), (None, partition_of(b"k")), (6, None), (-1, None), ("3", None), (1.0, None), (1 << 40, None)],
)
def test_a_column_with_the_partition(router, shard, partition):
    routes, given = router({"partition": "shard"}), row(shard=shard, event_key=b"k")
    if partition is None:
        assert refused(routes, given) == "partition_invalid"
    else:
        made = routes.route(given)
        assert (made.partition, made.key) == (partition, b"k")


def test_a_partition_without_a_key_or_without_its_column(router):
    routes = router({"partition": "shard"})
    assert routes.route(row(shard=2)).partition == 2
    assert routes.route(row(shard=None)).partition is None
    assert refused(routes, row()) == "partition_invalid"


# -- headers, time, value ------------------------------------------------------------------------


def test_headers_dropped_renamed_and_added_in_this_order(router):
    rules = {
        "drop": ["x-*", "content_type"],
        "rename": {"event_name": "type", "trace": "traceparent"},
        "add": {"tenant": "{tenant}/{topic}", "source": "shop {{1}}", "old": "new", "gone": "{nothing}"},
    }
    given = row(headers='{"x-a": "1", "trace": "00", "old": "1", "b": "2", "type?": ""}', tenant=5, nothing=None)
    assert router({"headers": rules}).route(given).headers == [
        ("event_id", str(ID).encode()),
        ("type", b"order.created"),
        ("created_at", b"2026-01-02T03:04:05.678901Z"),
        ("b", b"2"),
        ("traceparent", b"00"),
        ("type?", b""),
        ("tenant", b"5/orders"),
        ("source", b"shop {1}"),
        ("old", b"new"),
    ]


@pytest.mark.parametrize(
    ("table", "route", "names"),
    [
        ({}, {}, NAMES),
        ({"headers": "none"}, {}, []),
        ({"headers": "none"}, {"headers": "all"}, NAMES),
        ({"headers": {"drop": ["created_at"]}}, {}, NAMES[:3]),
        ({"headers": {"drop": ["created_at"]}}, {"headers": {"drop": ["event_id"]}}, NAMES[1:]),
        ({"headers": {"add": {"a": "b"}}}, {"headers": "none"}, []),
        ({"envelope": "cqrs"}, {"headers": {"rename": {"message_id": "id"}}}, ["id", "event_name"]),
        ({"envelope": "cloudevents"}, {"headers": {"drop": ["ce_*"]}}, ["content-type"]),
    ],
)
def test_a_routes_word_on_headers_wins_over_its_tables(router, table, route, names):
    for routes in ((route,), ()):
        if routes or not route:
            made = router(*routes, table=table).route(row())
            assert [name for name, _ in made.headers] == names


@pytest.mark.parametrize("mark", ["snapshot", "replay"])
def test_marks_are_no_routes_business(router, mark):
    names = [name for name, _ in router({"headers": {"drop": ["*"], "add": {"a": "b"}}}).route(row(), mark).headers]
    assert names == ["a"], "who drops all, drops the mark"
    assert [name for name, _ in router({"headers": {"drop": ["e*"]}}).route(row(), mark).headers][-1] == mark


@pytest.mark.parametrize(
    ("created_at", "milliseconds"),
    [
        ("2026-01-02 03:04:05.678901", 1767323045678),
        ("1970-01-01 00:00:00", 0),
        (None, None),
        ("2999-01-01 00:00:00", "now"),
        ("1969-12-31 23:59:59.999999", "refused"),
        ("0000-00-00 00:00:00", "refused"),
    ],
)
def test_the_rows_time_as_the_records(router, created_at, milliseconds):
    given = row(created_at=created_at)
    routes = router({"timestamp": "created_at"})
    if milliseconds == "refused":
        assert refused(routes, given) == "value_invalid"
        return
    before = int(time.time() * 1000)
    made = routes.route(given).timestamp
    assert before <= made <= time.time() * 1000 if milliseconds == "now" else made == milliseconds
    assert router({"timestamp": "publish"}, table={"timestamp": "created_at"}).route(given).timestamp is None
    assert router(table={"timestamp": "created_at"}).route(given).timestamp is not None or created_at is None


BOMB = zlib.compress(b"\0" * (65 << 20), 9)


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (zlib.compress(b"abc"), b"abc"),
        (zlib.compress(b"abc", 0), b"abc"),
        (zlib.compress(b""), b""),
        (zlib.compress(b"abc")[:-1], zlib.compress(b"abc")[:-1]),
        (zlib.compress(b"abc") + b"!", zlib.compress(b"abc") + b"!"),
        (b"x\x9c", b"x\x9c"),
        (b"x\x9cxxxxxxx", b"x\x9cxxxxxxx"),
        (b"{}", b"{}"),
        (b"", b""),
        (None, None),
        (BOMB, "refused"),
    ],
)
def test_inflate(router, payload, value):
    given = row(payload=payload)
    routes = router({"inflate": "zlib"})
    if value == "refused":
        assert len(payload) < 100_000
        assert refused(routes, given) == "value_invalid"
    else:
        assert routes.route(given).value == value
    assert router().route(given).value == payload, "nobody asked"


def test_a_key_is_looked_for_in_the_payload_as_it_stands(router):
    """Not in the inflated one: the message says why it is no JSON."""
    with pytest.raises(RowRefused, match="it looks zlib-compressed"):
        router({"inflate": "zlib", "key": "$.id"}).route(row(payload=zlib.compress(b'{"id": 1}')))


@pytest.mark.parametrize(
    ("table", "route", "source"),
    [
        ({}, {"envelope": "cloudevents"}, b"/cdc/shop/shop.outbox"),
        ({"envelope": "cloudevents", "ce_source": "urn:t"}, {}, b"urn:t"),
        ({"envelope": "cloudevents", "ce_source": "urn:t"}, {"ce_source": "urn:r"}, b"urn:r"),
    ],
)
def test_ce_source(router, table, route, source):
    assert dict(router(route, table=table).route(row()).headers)["ce_source"] == source


def test_the_example_of_the_readme(router):
    text = (Path(__file__).parents[2] / "README.md").read_text().partition("## Routes")[2]
    whole = yaml.safe_load(text.partition("```yaml\n")[2].partition("```")[0])
    made = router(*whole["routes"], unrouted=whole["unrouted"]).route(
        row(payload=b'{"customer_id": "c"}', tenant="t", shard=None, headers='{"x-a": "1", "trace": "00"}')
    )
    assert (made.topic, made.key, made.partition) == ("orders.v1", b"c", partition_of(b"c"))
    assert made.headers[4:] == [("traceparent", b"00"), ("tenant", b"t")]

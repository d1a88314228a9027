"""The router as the pump uses it: records, refusals that name their row, policies."""

from __future__ import annotations

from uuid import UUID

import pytest

from cdc.envelopes.cqrs import Cqrs
from cdc.envelopes.plain import Plain
from cdc.errors import (
    ColumnMissing,
    KeyMissing,
    RowRefused,
    TopicInvalid,
    TopicMissing,
    TopicNotAllowed,
    Unrouted,
    ValueInvalid,
)
from cdc.model import Column, Record, Row, TableSchema
from cdc.routing import keys, templates
from cdc.routing.layouts import CQRS, NATIVE, Layout
from cdc.routing.names import TopicNames
from cdc.routing.partitioner import murmur2
from cdc.routing.router import RuleRouter
from cdc.routing.rules import OutboxTable, Rule

EVENT_ID = UUID("0192f3a4-0000-7000-8000-000000000001")
ROW = {
    "event_id": EVENT_ID.bytes,
    "event_name": "order.created",
    "topic": "orders",
    "event_key": b"o-1",
    "payload": b'{"customer_id": 7}',
    "content_type": "application/json",
    "headers": None,
    "created_at": "2026-11-23 10:11:12.345678",
}
CQRS_ROW = {
    "id": 2,
    "event_id_bin": EVENT_ID.bytes,
    "event_name": "user_joined",
    "topic": "user_events",
    "payload": b'{"payload":{"user_id":"123"}}',
}


class Topics:
    def __init__(self, counts=None):
        self.counts = counts

    def partitions(self, topic):
        return 6 if self.counts is None else self.counts.get(topic)


def row(table="outbox", base=ROW, **changes):
    values = {**base, **changes}
    schema = TableSchema("shop", table, tuple(Column(name, "text") for name in values))
    return Row(schema, tuple(values.values()))


def router(*rules, layout=NATIVE, envelope=None, topics=None, allow=(), **options):
    tables = {("shop", "outbox"): OutboxTable(layout, envelope or (Cqrs() if layout is CQRS else Plain()), rules)}
    return RuleRouter(tables, topics or Topics(), TopicNames("cdc", allow), **options)


def test_without_rules_a_row_goes_where_it_says():
    assert router().route(row()) == Record(
        topic="orders",
        partition=(murmur2(b"o-1") & 0x7FFFFFFF) % 6,
        key=b"o-1",
        value=b'{"customer_id": 7}',
        headers=[
            ("event_id", b"0192f3a4-0000-7000-8000-000000000001"),
            ("event_name", b"order.created"),
            ("content_type", b"application/json"),
            ("created_at", b"2026-11-23T10:11:12.345678Z"),
        ],
        timestamp=None,
    )


def test_cqrs_rows_have_no_key_and_the_sink_spreads_them():
    assert router(layout=CQRS).route(row(base=CQRS_ROW)) == Record(
        topic="user_events",
        partition=None,
        key=None,
        value=CQRS_ROW["payload"],
        headers=[("message_id", str(EVENT_ID).encode()), ("event_name", b"user_joined")],
        timestamp=None,
    )


def test_the_first_matching_rule_decides():
    made = router(
        Rule(event_name="order.cancelled", to=templates.parse("a")),
        Rule(event_name="order.*", topic="orders", to=templates.parse("{topic}.v1")),
        Rule(event_name="order.*", to=templates.parse("c")),
    )
    assert made.route(row()).topic == "orders.v1"
    assert made.route(row(event_name="order.cancelled")).topic == "a"
    assert made.route(row(topic="other")).topic == "c"
    assert made.route(row(event_name="Order.created")).topic == "orders"


def test_the_same_table_in_a_new_form_is_looked_up_anew():
    made = router()
    first = made.route(row())
    turned = dict(reversed(ROW.items()))
    assert made.route(row(base=turned, added=1)) == first


def test_tables_whose_names_the_server_writes_in_small_letters():
    tables = {("Shop", "Outbox"): OutboxTable(NATIVE, Plain())}
    assert RuleRouter(tables, Topics(), TopicNames("cdc")).route(row()).topic == "orders"
    with pytest.raises(Unrouted, match=r"shop.other"):
        router().route(row(table="other"))


class TestKeys:
    def test_the_rows_own_key_wins(self):
        assert router(Rule(key=keys.parse("$.customer_id"))).route(row()).key == b"o-1"

    @pytest.mark.parametrize("rule", ["$.customer_id", "customer"])
    def test_a_rule_gives_one_where_the_row_has_none(self, rule):
        record = router(Rule(key=keys.parse(rule))).route(row(event_key=None, customer=7))
        assert record.key == b"7"
        assert record.partition == (murmur2(b"7") & 0x7FFFFFFF) % 6

    def test_cqrs_takes_the_rules_key(self):
        made = router(Rule(key=keys.parse("$.payload.user_id")), layout=CQRS)
        assert made.route(row(base=CQRS_ROW)).key == b"123"

    def test_the_cqrs_envelope_takes_no_key_of_the_row(self):
        assert router(envelope=Cqrs()).route(row()).key is None

    def test_none_is_allowed_when_said(self):
        strict = router(Rule(key=keys.parse("$.nobody")))
        lax = router(Rule(key=keys.parse("$.nobody"), key_required=False))
        with pytest.raises(
            KeyMissing, match=rf"shop.outbox, event {EVENT_ID} .'order.created'.: the key rule '.*nobody'"
        ):
            strict.route(row(event_key=None))
        record = lax.route(row(event_key=None))
        assert (record.key, record.partition) == (None, None)

    def test_a_column_the_table_lacks_is_no_missing_key(self):
        with pytest.raises(KeyMissing, match="no such column"):
            router(Rule(key=keys.parse("nobody"), key_required=False)).route(row(event_key=None))

    def test_an_empty_key_is_a_key(self):
        record = router().route(row(event_key=b""))
        assert (record.key, record.partition) == (b"", (murmur2(b"") & 0x7FFFFFFF) % 6)

    def test_the_payload_is_parsed_only_where_it_must_be(self):
        assert router(Rule(key=keys.parse("$.a"))).route(row(payload=b"\xff not JSON")).value == b"\xff not JSON"


class TestTopics:
    @pytest.mark.parametrize("topic", ["cdc.checkpoint.shop", "CDC.x", "__consumer_offsets", "cdc_checkpoint_shop"])
    def test_ours_are_out_of_reach(self, topic):
        for made in (router(), router(Rule(to=templates.parse("{topic}"))), router(Rule(to=templates.parse("{t}")))):
            with pytest.raises(TopicNotAllowed):
                made.route(row(topic=topic, t=topic))

    def test_nor_by_a_template_that_puts_them_together(self):
        made = router(Rule(to=templates.parse("{a}{b}")))
        for a, b in (("cdc", ".checkpoint.shop"), ("_", "_x"), ("c", "dc.")):
            with pytest.raises(TopicNotAllowed):
                made.route(row(a=a, b=b))

    def test_a_missing_one_is_asked_for_again(self):
        topics = Topics({})
        made = router(topics=topics)
        with pytest.raises(TopicMissing, match="topic 'orders' does not exist"):
            made.route(row())
        topics.counts["orders"] = 1
        assert made.route(row()).partition == 0

    def test_a_topic_that_grows_gets_new_partitions_for_its_keys(self):
        topics = Topics({"orders": 1})
        made = router(topics=topics)
        assert made.route(row()).partition == 0
        topics.counts["orders"] = 1000
        assert made.route(row()).partition == (murmur2(b"o-1") & 0x7FFFFFFF) % 1000

    @pytest.mark.parametrize("topic", [None, "", "a b", "x" * 250])
    def test_invalid(self, topic):
        with pytest.raises(TopicInvalid):
            router().route(row(topic=topic))

    def test_allow(self):
        made = router(allow=["orders"])
        assert made.route(row())
        with pytest.raises(TopicNotAllowed):
            made.route(row(topic="other"))

    def test_a_table_without_a_topic_column(self):
        layout = Layout("columns", {"id": "event_id", "name": "event_name", "payload": "payload"})
        assert router(Rule(to=templates.parse("all")), layout=layout).route(row()).topic == "all"
        with pytest.raises(TopicInvalid, match="the table has no topic column"):
            router(layout=layout).route(row())
        with pytest.raises(TopicInvalid):
            router(Rule(topic="*", to=templates.parse("all")), layout=layout).route(row())


class TestPolicies:
    def test_unrouted(self):
        rules = (Rule(event_name="x"),)
        assert router(*rules).route(row())
        assert router(*rules, unrouted="skip").route(row()) is None
        with pytest.raises(Unrouted, match=r"no route matches event name 'order.created' and topic 'orders'"):
            router(*rules, unrouted="stop").route(row())

    def test_on_error_is_the_routes_or_else_the_general_one(self):
        made = router(Rule(event_name="a", on_error="skip"), Rule(event_name="b"), on_error="skip")
        assert [made.on_error(row(event_name=name)) for name in ("a", "b", "c")] == ["skip", "stop", "skip"]
        assert router(Rule(event_name="a", on_error="skip")).on_error(row()) == "stop"
        assert made.on_error(row(event_name=b"\xff")) == "skip"

    def test_unrouted_stop_stops_whatever_on_error_says(self):
        made = router(Rule(event_name="a", on_error="skip"), unrouted="stop", on_error="skip")
        assert made.on_error(row()) == "stop"
        assert made.on_error(row(event_name="a")) == "skip"


class TestRows:
    def test_names_in_binary_columns_are_utf_8(self):
        assert router().route(row(event_name=b"order.x", topic=b"orders")).topic == "orders"
        with pytest.raises(ValueInvalid, match="event name is not UTF-8"):
            router().route(row(event_name=b"\xff"))

    def test_a_text_that_is_no_unicode(self):
        with pytest.raises(ValueInvalid, match="UTF-8"):
            router().route(row(payload="\ud800"))

    def test_a_missing_needed_column_is_a_named_error(self):
        base = {name: value for name, value in ROW.items() if name != "payload"}
        with pytest.raises(ColumnMissing, match=r"shop.outbox has no column 'payload'"):
            router().route(row(base=base))

    def test_every_refusal_names_the_row_and_has_a_hint(self):
        made = router(Rule(event_name="k", key=keys.parse("$.x")))
        bad = [
            {"topic": "cdc.x"}, {"topic": "a b"}, {"topic": None}, {"event_id": None}, {"event_name": None},
            {"headers": "[]"}, {"headers": "{"}, {"created_at": "0000-00-00 00:00:00"}, {"payload": 1.5},
            {"event_key": 1.5}, {"event_name": "k", "event_key": None}, {"content_type": 1.5},
        ]  # fmt: skip
        for changes in bad:
            with pytest.raises(RowRefused) as caught:
                made.route(row(**changes))
            assert str(caught.value).startswith("shop.outbox, event "), changes
            assert caught.value.hint, changes
            assert caught.value.exit_code == 6

    def test_many_topics_names_and_forms_do_not_fill_the_memory(self):
        made = router(Rule(event_name="t", to=templates.parse("{t}")))
        one = row(t="")
        for i in range(10_000):
            values = [*one.values]
            values[1:3], values[-1] = ["t" if i % 2 else "u", f"topic{i}"], f"x{i}"
            made.route(Row(one.table, tuple(values)))
        for _ in range(600):
            made.route(row())
        assert len(made._plans) <= 256
        assert all(len(plan.ways) <= 8192 for plan in made._plans.values())
        assert len(made._judged) <= 8192

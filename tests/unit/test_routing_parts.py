"""The parts of routing one by one: partitioner, globs, templates, key rules, topic names, layouts."""

from __future__ import annotations

import json
from pathlib import Path
from types import MappingProxyType

import pytest

from cdc.errors import KeyMissing, TopicInvalid, TopicNotAllowed
from cdc.outbox.table import COLUMNS
from cdc.routing import globs, keys, templates
from cdc.routing.layouts import CQRS, LAYOUTS, NATIVE, REQUIRED_ROLES, ROLES, Layout
from cdc.routing.names import TopicNames
from cdc.routing.partitioner import Partitioner, murmur2

VECTORS = Path(__file__).parents[1] / "vectors" / "murmur2.json"


class TestPartitioner:
    def test_hash_is_kafkas_own_for_every_captured_key(self):
        captured = json.loads(VECTORS.read_text())
        assert len(captured) > 1000
        for text, expected in captured.items():
            assert murmur2(bytes.fromhex(text)) == expected & 0xFFFFFFFF, text

    def test_partition_is_of_the_positive_hash(self):
        partitioner = Partitioner()
        captured = json.loads(VECTORS.read_text())
        for _ in range(2):  # the second time from memory
            for text, expected in captured.items():
                for count in (1, 6, 50):
                    assert partitioner.partition(bytes.fromhex(text), count) == (expected & 0x7FFFFFFF) % count

    def test_memory_is_bounded(self):
        partitioner = Partitioner()
        for i in range(20_000):
            partitioner.partition(b"%d" % i, 6)
        partitioner.partition(b"x" * 1_000_000, 6)
        assert len(partitioner._hashes) <= 8192
        for start in range(0, 50_000, 5_000):
            partitioner.expect([b"%06d" % i for i in range(start, start + 5_000)] + [b"x" * 200] * 20)
            assert len(partitioner._hashes) <= 8192
        partitioner.expect([b"%06d" % i for i in range(20_000)])
        assert len(partitioner._hashes) <= 8192
        assert max(map(len, partitioner._hashes)) <= 128


class TestGlobs:
    @pytest.mark.parametrize(
        ("glob", "text", "yes"),
        [
            ("order.*", "order.created", True),
            ("order.*", "order.", True),
            ("order.*", "Order.created", False),
            ("order.*", "orderXcreated", False),
            ("*", "", True),
            ("*.v?", "a.b.v2", True),
            ("*.v?", "a.b.v22", False),
            ("a[b]", "ab", False),
            ("a[b]", "a[b]", True),
            ("a+", "aa", False),
            ("*", "a\nb", True),
            ("a", "a\n", False),
            ("ordér*", "ordér.x", True),
            (None, None, True),
            (None, "x", True),
            ("*", None, False),
        ],
    )
    def test_match(self, glob, text, yes):
        assert globs.matches(glob, text) is yes

    @pytest.mark.parametrize(
        ("first", "second", "yes"),
        [
            (None, "a", True),
            (None, None, True),
            ("*", None, False),  # rows whose text is NULL get past it
            ("a*", "a", True),
            ("a*", "ab?c*", True),
            ("a*", "*", False),
            ("a?", "a*", False),
            ("a?", "ab", True),
            ("a?", "a?", True),
            ("a", "?", False),
            ("*b*", "abc", True),
            ("*b", "abc", False),
            ("*.created", "order.*", False),
            ("**", "*", True),
        ],
    )
    def test_cover(self, first, second, yes):
        assert globs.covers(first, second) is yes


class TestTemplates:
    INDEX = MappingProxyType({name: at for at, name in enumerate(("event_name", "topic", "tenant", "n", "raw"))})

    def fill(self, text, *values):
        return templates.parse(text).bind(self.INDEX, lambda name: name)(values)

    def test_fill(self):
        row = ("order.created", "orders", "acme", 7, b"bytes")
        assert self.fill("{topic}.v1", *row) == "orders.v1"
        assert self.fill("{tenant}.{event_name}-{n}_{raw}", *row) == "acme.order.created-7_bytes"
        assert self.fill("{{{topic}}}", *row) == "{orders}"
        assert self.fill("plain", *row) == "plain"

    @pytest.mark.parametrize("value", [None, 1.5, b"\xff"])
    def test_values_that_are_no_text(self, value):
        with pytest.raises(TopicInvalid, match="'tenant'"):
            self.fill("{tenant}", "", "", value, 0, b"")

    def test_a_column_the_table_lacks(self):
        with pytest.raises(TopicInvalid, match="names 'nope'") as caught:
            self.fill("{nope}")
        assert "tenant" in caught.value.hint

    @pytest.mark.parametrize(
        "text", ["{", "}", "a{b", "{}", "{a.b}", "{a[0]}", "{a!r}", "{a:x}", "{0}", "{ a }", "{{}"]
    )
    def test_bad_ones(self, text):
        with pytest.raises(ValueError, match="write"):
            templates.parse(text)

    def test_parts(self):
        made = templates.parse("a.{b}.{c}")
        assert (made.head, made.names, made.fixed) == ("a.", ("b", "c"), False)
        assert templates.parse("a{{b}}").fixed


class TestKeys:
    INDEX = MappingProxyType({"customer": 0, "payload": 1})

    def key(self, rule, payload=None, customer=None):
        return keys.parse(rule).bind(self.INDEX, lambda name: name, 1)((customer, payload))

    @pytest.mark.parametrize(
        ("rule", "document", "key"),
        [
            ("$.a", {"a": "x"}, b"x"),
            ("$.a", {"a": ""}, b""),
            ("$.a.b[0]", {"a": {"b": ["ö", 2]}}, "ö".encode()),
            ("$.a.b[1]", {"a": {"b": ["x", -2]}}, b"-2"),
            ("$[0].id", [{"id": 18446744073709551615}], b"18446744073709551615"),
            ('$["a.b"].c-d', {"a.b": {"c-d": 0}}, b"0"),
            ("$['a b']", {"a b": "1"}, b"1"),
            ('$["q\\"q"]', {'q"q': "1"}, b"1"),
            ("$.0", {"0": "text"}, b"text"),
        ],
    )
    def test_json_paths(self, rule, document, key):
        text = json.dumps(document)
        assert self.key(rule, text) == key
        assert self.key(rule, text.encode()) == key

    @pytest.mark.parametrize("found", [None, True, False, 1.5, 1.0, [], {}, ["a"], 2**70])
    def test_values_that_are_no_key(self, found):
        with pytest.raises(KeyMissing, match="needs text or an integer"):
            self.key("$.a", json.dumps({"a": found}))

    @pytest.mark.parametrize(
        ("rule", "payload"),
        [("$.a", "{}"), ("$.a", "[]"), ("$[0]", "[]"), ("$[0]", '{"0": "x"}'), ("$.a.b", '{"a": "b"}'), ("$.a", '"a"'), ("$[1]", '["a"]')],
    )  # fmt: skip
    def test_nothing_there(self, rule, payload):
        with pytest.raises(KeyMissing, match="finds nothing") as caught:
            self.key(rule, payload)
        assert "key_missing: null" in caught.value.hint

    @pytest.mark.parametrize(
        ("payload", "why"),
        [(b"x\x9c\x8b", "zlib"), (b"\x08\x96\x01", "not JSON"), (b"", "not JSON"), (None, "NULL"), ("{", "not JSON")],
    )
    def test_payloads_that_are_not_json(self, payload, why):
        with pytest.raises(KeyMissing, match=why):
            self.key("$.a", payload)

    def test_columns(self):
        assert self.key("customer", customer="ö") == "ö".encode()
        assert self.key("customer", customer=b"\x00\xff") == b"\x00\xff"
        assert self.key("customer", customer=-7) == b"-7"
        for value in (None, 1.5):
            with pytest.raises(KeyMissing, match="column 'customer'"):
                self.key("customer", customer=value)
        with pytest.raises(KeyMissing, match="no such column"):
            self.key("nobody")

    @pytest.mark.parametrize(
        "rule", ["", "$", "$.", "$.a..b", "$.a[", "$.a[x]", "$.a[-1]", "$a", "{a}", " a", "$.a b", "$..a", '$["a]']
    )
    def test_bad_ones(self, rule):
        with pytest.raises(ValueError, match=r"write|name a part"):
            keys.parse(rule)


class TestNames:
    NAMES = TopicNames("cdc")

    @pytest.mark.parametrize(
        "topic",
        ["cdc.checkpoint.shop", "cdc.dead-letters", "cdc.", "cdc.x", "CDC.checkpoint.shop", "Cdc.X", "cdc_checkpoint_shop",
         "cdc.checkpoint_shop", "cdc_dead-letters", "__consumer_offsets", "__transaction_state", "__", "__x"],
    )  # fmt: skip
    def test_ours_and_internal_ones(self, topic):
        with pytest.raises(TopicNotAllowed, match="rows may not address") as caught:
            self.NAMES.check(topic)
        assert caught.value.hint

    @pytest.mark.parametrize("topic", ["", ".", "..", "a b", "a/b", "ö", "a\n", "a" * 250, " cdc.x", "a\0"])
    def test_invalid(self, topic):
        with pytest.raises(TopicInvalid) as caught:
            self.NAMES.check(topic)
        assert len(str(caught.value)) < 300

    @pytest.mark.parametrize(
        "topic", ["orders", "cdc", "cdcx", "cdc-orders", "_x", "x__y", "x.cdc.y", "a" * 249, "...", "-"]
    )
    def test_good(self, topic):
        self.NAMES.check(topic)

    def test_allow(self):
        names = TopicNames("cdc", ["orders.*", "u?"])
        for topic in ("orders.x", "u1"):
            names.check(topic)
        for topic in ("orders", "u12", "x"):
            with pytest.raises(TopicNotAllowed, match=r"topics\.allow"):
                names.check(topic)
        with pytest.raises(TopicNotAllowed, match="reserved"):
            TopicNames("cdc", ["*"]).check("cdc.x")

    @pytest.mark.parametrize("topic", ["staging.checkpoint.shop", "a-b_c.checkpoint.x", "staging.dead-letters"])
    def test_another_prefixs_own_topics_must_be_named_letter_by_letter(self, topic):
        for allow in ([], ["*"], ["*.checkpoint.*", "*.dead-letters"]):
            with pytest.raises(TopicNotAllowed, match="another cdc") as caught:
                TopicNames("cdc", allow).check(topic)
            assert "topics.allow" in caught.value.hint
        TopicNames("cdc", ["*", topic]).check(topic)

    @pytest.mark.parametrize(
        "topic", ["a.checkpoint", "a.checkpoint.b.c", "a.b.checkpoint.c", "dead-letters", "A.checkpoint.b"]
    )
    def test_what_only_resembles_them_is_good(self, topic):
        self.NAMES.check(topic)


class TestLayouts:
    def test_every_layout_has_what_is_needed(self):
        for layout in LAYOUTS.values():
            assert set(REQUIRED_ROLES) <= set(layout.columns) <= set(ROLES)

    def test_words_mean_roles_and_other_names_columns(self):
        assert CQRS.column("event_id") == "event_id_bin"
        assert CQRS.column("id") == "id"
        assert CQRS.column("created_at") is None
        assert NATIVE.column("created_at") == "created_at"
        assert Layout("columns", {"name": "kind"}).column("event_name") == "kind"

    def test_native_is_the_write_librarys_table(self):
        assert set(NATIVE.columns.values()) == set(COLUMNS)

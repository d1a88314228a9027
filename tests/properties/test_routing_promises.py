"""What holds for every row and rule: no topic of ours is reached, partitions are Java's, covered rules never match."""

from __future__ import annotations

from types import SimpleNamespace
from uuid import uuid4

import pytest
from aiokafka.partitioner import murmur2 as aiokafkas
from hypothesis import given
from hypothesis import strategies as st

from cdc.envelopes.plain import Plain
from cdc.errors import RowRefused, TopicNotAllowed
from cdc.model import Column, Row, TableSchema
from cdc.routing import globs, keys, templates
from cdc.routing.layouts import NATIVE
from cdc.routing.names import TopicNames
from cdc.routing.partitioner import Partitioner, murmur2, murmur2_of_all
from cdc.routing.router import RuleRouter
from cdc.routing.rules import OutboxTable, Rule

COLUMNS = ("event_id", "event_name", "topic", "event_key", "payload", "content_type", "headers", "created_at", "extra")
TABLE = TableSchema("shop", "outbox", tuple(Column(name, "text") for name in COLUMNS))
EVERY_TOPIC = SimpleNamespace(partitions=lambda _topic: 3)

prefixes = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
globs_ = st.text("ab*?.", max_size=6)
names = st.text("ab.", max_size=6)


def row(name="e", topic="t", key=None, payload=b"", extra=None):
    return Row(TABLE, (uuid4().bytes, name, topic, key, payload, "a/b", None, "2026-11-23 10:11:12.345678", extra))


def router(prefix, *rules, allow=()):
    tables = {("shop", "outbox"): OutboxTable(NATIVE, Plain(), rules)}
    return RuleRouter(tables, EVERY_TOPIC, TopicNames(prefix, allow))


def pieces(prefix):
    """Texts that are likely to make a forbidden name when they meet."""
    texts = [prefix, prefix.upper(), prefix + ".", "_", "__", ".", "checkpoint", ".checkpoint.shop", "_checkpoint_shop",
             ".dead-letters", "__consumer_offsets", "", " ", "\n", "\0", "x", prefix[:1], prefix[1:]]  # fmt: skip
    return st.lists(st.sampled_from(texts), max_size=4).map("".join) | st.text(max_size=10)


@st.composite
def addressings(draw):
    prefix = draw(prefixes)
    text = pieces(prefix)
    literal = text.map(lambda t: t.replace("{", "{{").replace("}", "}}"))
    words = st.sampled_from(["{topic}", "{event_name}", "{extra}"])
    template = draw(st.none() | st.lists(literal | words, min_size=1, max_size=5).map("".join).filter(bool))
    allow = draw(st.sampled_from([(), ("*",), ("c*", "_*")]))
    values = st.one_of(text, text.map(lambda t: t.encode(errors="replace")), st.none(), st.integers())
    return prefix, template, allow, draw(values), draw(values), draw(values)


@given(addressings())
def test_no_row_and_no_template_reaches_a_topic_of_ours(case):
    prefix, template, allow, name, topic, extra = case
    rule = Rule(to=None if template is None else templates.parse(template))
    made = router(prefix, rule, allow=allow)
    for _ in range(2):  # the second time from memory
        try:
            reached = made.route(row(name, topic, extra=extra)).topic
        except RowRefused:
            continue
        assert not reached.startswith("__")
        assert not reached.lower().startswith(prefix + ".")
        # Kafka takes names that differ in `.` and `_` only for a collision.
        flat = reached.lower().replace("_", ".")
        assert not flat.startswith(
            (f"{prefix}.checkpoint.".replace("_", "."), f"{prefix}.dead-letters".replace("_", "."))
        )


@given(prefixes, st.from_regex(r"[a-z][a-z0-9_-]{0,40}", fullmatch=True))
def test_every_checkpoint_topic_is_refused(prefix, source):
    for topic in (f"{prefix}.checkpoint.{source}", f"{prefix}.dead-letters", f"{prefix}.{source}"):
        with pytest.raises(TopicNotAllowed):
            router(prefix).route(row(topic=topic))


@given(st.binary(max_size=2000))
def test_murmur2_is_aiokafkas(key):
    assert murmur2(key) == aiokafkas(key) & 0xFFFFFFFF


@given(st.binary(max_size=300), st.integers(1, 10_000))
def test_partitions_are_in_range_and_stay(key, count):
    partitioner = Partitioner()
    first = partitioner.partition(key, count)
    assert first == (aiokafkas(key) & 0x7FFFFFFF) % count == partitioner.partition(key, count)


@given(st.lists(st.one_of(st.binary(max_size=9), st.binary(max_size=140)), min_size=1, max_size=40))
def test_the_hashes_of_many_are_those_of_each(some):
    longest_first = sorted(some, key=len, reverse=True)
    assert murmur2_of_all(longest_first) == [murmur2(key) for key in longest_first]


@given(st.lists(st.lists(st.binary(max_size=5), max_size=60), max_size=4), st.integers(1, 10_000))
def test_what_is_expected_changes_no_partition(slices, count):
    partitioner = Partitioner()
    for keys_of_slice in slices:
        partitioner.expect(keys_of_slice)
        for key in keys_of_slice:
            assert partitioner.partition(key, count) == (aiokafkas(key) & 0x7FFFFFFF) % count


@given(st.binary(max_size=50), st.text(max_size=20), st.integers())
def test_a_rows_key_is_its_records_whatever_the_rule(key, text, number):
    made = router("cdc", Rule(key=keys.parse("$.a"), key_required=False))
    assert made.route(row(key=key)).key == key
    plain = router("cdc", Rule(key=keys.parse("extra")))
    assert plain.route(row(extra=text)).key == text.encode()
    assert plain.route(row(extra=number)).key == str(number).encode()


@given(globs_, names)
def test_globs_match_as_defined(glob, text):
    def slow(glob, text):
        if not glob:
            return not text
        if glob[0] == "*":
            return any(slow(glob[1:], text[at:]) for at in range(len(text) + 1))
        return bool(text) and glob[0] in {"?", text[0]} and slow(glob[1:], text[1:])

    assert globs.matches(glob, text) is slow(glob, text)


@given(globs_, globs_, st.data())
def test_a_covered_glob_matches_nothing_more(first, second, data):
    filled = "".join(
        data.draw(st.text("ab.", max_size=3))
        if char == "*"
        else data.draw(st.sampled_from("ab."))
        if char == "?"
        else char
        for char in second
    )
    assert globs.matches(second, filled)
    if globs.covers(first, second):
        assert globs.matches(first, filled)


@given(st.text(max_size=30))
def test_templates_and_keys_are_read_or_refused_with_a_sentence(text):
    for parse in (templates.parse, keys.parse):
        said = ""
        try:
            parse(text)
        except ValueError as error:
            said = f"{type(error).__name__}: {error}"
        assert not said or said.startswith("ValueError: ")
        assert said != "ValueError: "

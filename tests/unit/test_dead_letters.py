"""Dead letters: everything of a row comes back, in parts of any size, and nothing of it is larger than the topic takes."""

from dataclasses import replace

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from cdc.kafka.dead_letters import (
    SMALLEST_LIMIT,
    Collector,
    DeadLetter,
    Mark,
    UnreadableLetter,
    mark_record,
    payload_bytes,
    to_records,
    topic_of,
)
from cdc.model import Column, Row, TableSchema

COLUMNS = (
    Column("event_id", "binary", 16),
    Column("event_name", "text", 1020),
    Column("event_key", "binary", 1024),
    Column("payload", "binary", None),
    Column("amount", "decimal", None),
    Column("ratio", "float", None),
    Column("number", "integer", None),
)
TABLE = TableSchema("shop", "outbox", COLUMNS)


def letter_of(payload, **changes) -> DeadLetter:
    row = Row(TABLE, (b"\0\xff" * 8, "order.created", None, payload, "10.50", 0.1, 2**64 - 1))
    letter = DeadLetter(
        source="shop",
        event_id="00ff00ff-00ff-00ff-00ff-00ff00ff00ff",
        place="0-1-5",
        number=3,
        reason="record_too_large",
        error="larger than the topic takes",
        table="shop.outbox",
        position="binlog.000003:1234",
        event_name="order.created",
        original_topic="orders",
        original_key=b"\0\xffkey",
        original_headers=(("a", b"1"), ("a", b"\xff"), ("b", None), ("", b"")),
        value=payload_bytes(payload),
        row=row,
    )
    return replace(letter, **changes)


def read(records):
    collector = Collector()
    found = [collector.add(r.key, r.value, tuple(r.headers)) for r in records]
    assert not collector.torn
    assert not collector.unfinished
    return [letter for letter in found if letter is not None]


def same(a: DeadLetter, b: DeadLetter) -> bool:
    """Rows compare by their table's identity."""
    rows = (a.row, b.row)
    if None in rows:
        return replace(a, row=None) == replace(b, row=None) and rows == (None, None)
    left, right = rows
    return (
        replace(a, row=None) == replace(b, row=None)
        and left.values == right.values
        and (left.table.schema, left.table.table, left.table.columns)
        == (right.table.schema, right.table.table, right.table.columns)
    )


def batch_size(record) -> int:
    builder = BatchBuilder(1 << 30, 0, is_transactional=1)
    builder.append(timestamp=2**40, key=record.key, value=record.value, headers=record.headers)
    return len(builder._build())


texts = st.text(max_size=50) | st.text(min_size=2000, max_size=4000)
contents = st.binary(max_size=50) | st.binary(min_size=1, max_size=30).map(lambda piece: piece * 2000)


@given(
    payload=st.none() | contents | texts,
    key=st.none() | contents,
    topic=st.none() | texts,
    name=st.none() | texts,
    error=texts,
    headers=st.lists(st.tuples(st.text(max_size=20), st.none() | contents), max_size=4),
    limit=st.sampled_from([SMALLEST_LIMIT, 10_001, 1 << 20]),
)
def test_all_of_a_letter_comes_back_and_every_part_fits(*, payload, key, topic, name, error, headers, limit):
    letter = letter_of(
        payload,
        original_key=key,
        original_topic=topic,
        event_name=name,
        error=error,
        original_headers=tuple(headers),
    )
    records = to_records(letter, topic_of("cdc"), limit, payload="payload")
    assert {(r.topic, r.partition, r.key) for r in records} == {("cdc.dead-letters", 0, letter.key)}
    assert max(map(batch_size, records)) <= limit
    [found] = read(records)
    assert same(found, letter)


def test_the_form_of_a_small_letter():
    [record] = to_records(letter_of(b"{}"), "cdc.dead-letters", 1 << 20, payload="payload")
    assert record.key == b"shop/00ff00ff-00ff-00ff-00ff-00ff00ff00ff/0-1-5/3"
    assert record.value == b"{}"
    headers = dict(record.headers)
    assert headers["reason"] == b"record_too_large"
    assert headers["source"] == b"shop"
    assert headers["table"] == b"shop.outbox"
    assert headers["position"] == b"binlog.000003:1234"
    assert headers["original_topic"] == b"orders"
    assert headers["original_key"] == b"\0\xffkey"
    assert headers["original_headers"] == b'[["a", "1"], ["a", {"b64": "/w=="}], ["b", null], ["", ""]]'
    assert (headers["part"], headers["parts"]) == (b"1", b"1")


@pytest.mark.parametrize("payload", [None, b"", "", b"x" * 20_000, "é" * 20_000, 5, 1.5])
def test_nothing_is_taken_for_something_else(payload):
    records = to_records(letter_of(payload), "t", SMALLEST_LIMIT, payload="payload")
    assert {r.value is None for r in records} == {payload is None}
    [found] = read(records)
    value = found.row.values[3]
    assert value == payload
    assert type(value) is type(payload)


def test_ids_may_hold_anything_and_are_cut_in_the_key():
    letter = letter_of(b"1", event_id="a/b//" * 1000)
    [found] = read(to_records(letter, "t", SMALLEST_LIMIT, payload="payload"))
    assert found.event_id == ("a/b//" * 1000)[:200]
    assert found.key == letter.key
    assert (found.place, found.number) == ("0-1-5", 3)


def test_a_letter_without_its_first_parts_is_torn_until_it_comes_again():
    records = to_records(letter_of(b"x" * 30_000), "t", SMALLEST_LIMIT, payload="payload")
    assert len(records) > 2
    collector = Collector()
    for record in records[1:]:
        assert collector.add(record.key, record.value, record.headers) is None
    assert collector.torn == {records[0].key}
    assert not collector.unfinished
    found = [collector.add(record.key, record.value, record.headers) for record in records]
    assert found[:-1] == [None] * (len(records) - 1)
    assert isinstance(found[-1], DeadLetter)
    assert not collector.torn


def test_letters_in_parts_may_come_interleaved():
    one = to_records(letter_of(b"1" * 20_000), "t", SMALLEST_LIMIT, payload="payload")
    two = to_records(letter_of(b"2" * 20_000, number=4), "t", SMALLEST_LIMIT, payload="payload")
    found = read([record for pair in zip(one, two, strict=True) for record in pair])
    assert [letter.value[:1] for letter in found] == [b"1", b"2"]


@pytest.mark.parametrize("what", ["replayed", "dismissed"])
def test_marks_come_back(what):
    mark = Mark(b"shop/1/0-1-5/3", what, {"by": "ops", "at": "2026-01-01T00:00:00Z"})
    record = mark_record(mark, "t")
    assert record.partition == 0
    assert Collector().add(record.key, record.value, record.headers) == mark


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [
        (None, b"x", [("version", b"1")]),
        (b"k", b"x", []),
        (b"k", b"x", [("version", b"2"), ("part", b"1"), ("parts", b"1")]),
        (b"k", b"x", [("version", b"1"), ("part", b"1"), ("parts", b"1")]),
        (b"k", b"{", [("version", b"1"), ("mark", b"replayed")]),
        (b"k", b"{}", [("version", b"1"), ("mark", b"eaten")]),
    ],
)
def test_what_is_not_ours_is_said(key, value, headers):
    with pytest.raises(UnreadableLetter):
        Collector().add(key, value, headers)


def test_a_limit_that_holds_no_letter_is_refused():
    with pytest.raises(ValueError, match="too few"):
        to_records(letter_of(b""), "t", SMALLEST_LIMIT - 1)

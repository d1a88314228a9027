"""`make demo` says "0 lost, 0 twice": its judge has to see every way in which that could be untrue."""

import json
from uuid import UUID

import pytest

from infra.demo.records import Received, judge


def _id(n):
    return UUID(int=n)


def _record(n, *, number=None, key=b"ann", partition=0, offset=None, header="event_id", nested=False):
    payload = {"number": n if number is None else number}
    value = json.dumps({"payload": payload} if nested else payload).encode()
    headers = () if header is None else ((header, str(_id(n)).encode()),)
    return Received("orders", partition, n if offset is None else offset, key, value, headers)


@pytest.fixture
def records():
    return [_record(1), _record(2), _record(3, header="message_id", nested=True), _record(4, key=b"bob", partition=1)]


@pytest.fixture
def rows(records):
    return {record.event_id: record.value for record in records}


def _found(rows, records):
    verdict = judge(rows, records)
    return {name for name in verdict.__slots__ if getattr(verdict, name)}


def test_nothing_is_wrong_with_a_record_a_row(rows, records):
    assert judge(rows, records).complaints() == []


def test_a_lost_row(rows, records):
    del records[1]
    assert _found(rows, records) == {"lost"}
    assert "1 x lost" in judge(rows, records).complaints()[0]


def test_a_row_published_twice(rows, records):
    records.append(_record(2, number=9, offset=9))
    rows_of_the_copy = rows | {_id(2): records[1].value}
    assert "twice" in _found(rows_of_the_copy, records)


def test_a_copy_at_the_end_is_out_of_order_too(rows, records):
    records.append(_record(1, offset=9))
    assert _found(rows, records) == {"twice", "out_of_order"}


def test_a_record_of_rolled_back_work(rows, records):
    records.append(_record(7))
    assert _found(rows, records) == {"never_committed"}


def test_a_record_without_an_id(rows, records):
    records.append(_record(7, header=None))
    assert _found(rows, records) == {"never_committed"}


def test_an_altered_value(rows, records):
    rows[_id(1)] += b" "
    assert _found(rows, records) == {"altered"}


def test_two_records_of_a_key_in_the_wrong_order(rows, records):
    records[0], records[1] = _record(1, offset=2), _record(2, offset=1)
    assert _found(rows, records) == {"out_of_order"}


def test_a_key_in_two_partitions(rows, records):
    records[2] = _record(3, header="message_id", nested=True, partition=3)
    assert _found(rows, records) == {"out_of_order"}


def test_a_record_without_a_key_has_no_order(rows, records):
    records[3] = _record(4, key=None)
    assert _found(rows, records) == {"out_of_order"}

"""What a row says of itself is told whatever is wrong with the row."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.model import Column, Row, TableSchema
from cdc.routing.layouts import CQRS, NATIVE
from cdc.routing.originals import identity, original

TABLE = TableSchema("shop", "outbox", tuple(Column(name, "text") for name in NATIVE.columns.values()))
anything = st.none() | st.integers() | st.floats() | st.text() | st.binary()


@given(st.tuples(*[anything] * len(TABLE.columns)))
def test_nothing_in_a_row_makes_it_fail(values):
    for layout in (NATIVE, CQRS):
        found = original(Row(TABLE, values), layout)
        assert isinstance(found.event_id, str)


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        (None, ()),
        ("null", ()),
        ('{"b": "2", "a": "é"}', (("a", "é".encode()), ("b", b"2"))),
        ('{"b": 2}', (("headers", b'{"b": 2}'),)),
        ("{", (("headers", b"{"),)),
        (b"\xff", (("headers", b"\xff"),)),
    ],
)
def test_headers(headers, told):
    row = dict.fromkeys(NATIVE.columns.values()) | {"event_id": b"1", "event_name": b"\xff", "headers": headers}
    found = original(Row(TABLE, tuple(row.values())), NATIVE)
    assert found.headers == told
    assert found.event_name == "\ufffd"
    assert found.payload == "payload"


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (bytes(range(16)), "00010203-0405-0607-0809-0a0b0c0d0e0f"),
        (b"\1", "01000000-0000-0000-0000-000000000000"),
        (b"\1" * 17, "01" * 17),
        (5, "5"),
        ("x", "x"),
        (None, "None"),
    ],
)
def test_ids(value, told):
    assert identity(value) == told

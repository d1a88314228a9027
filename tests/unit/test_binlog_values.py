from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.binlog import temporal
from cdc.binlog.charsets import BINARY, charset_of, decoder
from cdc.binlog.definition import Definition
from cdc.binlog.json_binary import text_of
from cdc.binlog.numbers import decimal
from cdc.binlog.table_map import LONG, STRING, TIMESTAMP2, VARCHAR, LogColumn, TableMap
from cdc.binlog.values import generate
from cdc.model import Column, TableSchema, TableSpec


def varchar(name: str, text: bytes) -> tuple[LogColumn, bytes, str]:
    return LogColumn(VARCHAR, 400, name=name, collation=255), struct.pack("<H", len(text)) + text, text.decode()


@given(
    st.lists(
        st.tuples(st.booleans(), st.booleans(), st.booleans(), st.integers(-(2**31), 2**31 - 1)),
        min_size=1,
        max_size=20,
    )
)
def test_the_decoder_for_all_patterns_agrees_with_the_one_for_this_pattern(shape):
    columns, image, wanted, values, nulls = [], b"", [], [], 0
    for i, (null, want, text, number) in enumerate(shape):
        column, raw, value = LogColumn(LONG, name=f"c{i}"), struct.pack("<i", number), number
        if text:
            column, raw, value = varchar(f"c{i}", str(number).encode())
        columns.append(column)
        wanted.append(want)
        image += b"" if null else raw
        nulls |= null << i
        if want:
            values.append(None if null else value)
    schema = TableSchema("s", "t", tuple(Column(f"c{i}", "") for i, w in enumerate(wanted) if w))
    bits = nulls.to_bytes((len(shape) + 7) // 8, "little")
    buf = b"##" + image
    fixed, end = generate(columns, wanted, schema, bits)(buf, 2)
    general, same_end = generate(columns, wanted, schema, None)(buf, 2, nulls)
    assert fixed == general
    assert (list(fixed.values), end, same_end) == (values, len(buf), len(buf))


def table(*columns: LogColumn) -> TableMap:
    return TableMap("shop", "outbox", list(columns))


def test_a_table_with_many_patterns_of_null_does_not_compile_them_all():
    definition = Definition(table(*(LogColumn(LONG, name=f"c{i}") for i in range(200))), TableSpec("shop", "outbox"))
    image = definition.image(b"\xff" * 25)
    for pattern in range(500):
        nulls = pattern.to_bytes(25, "little")
        row, end = image.decoder(nulls)(bytes(800), 0)
        assert end == 4 * (200 - pattern.bit_count())
        assert row.values.count(None) == pattern.bit_count()
    assert len(image.compiled) <= 10


def test_history_rows_of_a_versioned_table_are_told_by_row_end():
    stamp = [LogColumn(TIMESTAMP2, 6, name=name) for name in ("row_start", "row_end")]
    image = Definition(table(LogColumn(LONG, name="id"), *stamp), TableSpec("shop", "outbox")).image(b"\x07")
    for row_end, alive in (
        (bytes.fromhex("7fffffff0f423f"), True),
        (bytes.fromhex("ffffffff0f423f"), True),
        (bytes.fromhex("6a0000000f423f"), False),
    ):
        row, end = image.decoder(b"\0")(struct.pack("<i", 5) + bytes(7) + row_end, 0)
        assert (row is not None, end) == (alive, 18)


def test_binary_columns_get_their_zeros_back():
    schema = TableSchema("s", "t", (Column("b", "binary"),))
    decode = generate([LogColumn(STRING, 16, name="b", collation=BINARY)], [True], schema, b"\0")
    assert decode(b"\x02ab", 0)[0].values == (b"ab".ljust(16, b"\0"),)


def test_a_character_set_without_decoder_is_named_with_its_column():
    with pytest.raises(ValueError, match="column c: no decoder for character set keybcs2"):
        generate([LogColumn(VARCHAR, 5, name="c", collation=37)], [True], TableSchema("s", "t", ()), b"\0")
    generate([LogColumn(VARCHAR, 5, name="c", collation=37)], [False], TableSchema("s", "t", ()), b"\0")


@pytest.mark.parametrize(
    ("collation", "charset"),
    [(255, "utf8mb4"), (45, "utf8mb4"), (33, "utf8mb3"), (8, "latin1"), (63, "binary"), (2304, "utf8mb4"), (2247, "utf8mb3"),
     (1069, "utf8mb4"), (1174, "ucs2"), (3271, "utf32"), (608, "utf8mb4"), (56, "utf16le"), (9999, None), (0, None)],
)  # fmt: skip
def test_collation_numbers(collation, charset):
    assert charset_of(collation) == charset


def test_latin1_is_the_servers_own():
    assert decoder(8)(b"\x80\xe9\x81") == "€é\x81"
    with pytest.raises(LookupError, match="9999"):
        decoder(9999)


@pytest.mark.parametrize(
    ("raw", "precision", "scale", "text"),
    [
        ("8000", 3, 0, "0"),
        ("80000a", 5, 2, "0.10"),
        ("7ffff5", 5, 2, "-0.10"),
        ("810dfb38d204d2", 14, 4, "1234567890.1234"),
    ],
)
def test_decimals(raw, precision, scale, text):
    assert decimal(bytes.fromhex(raw), precision, scale) == text


@pytest.mark.parametrize(("raw", "precision", "scale"), [("8000", 5, 2), ("80ffff", 5, 2), ("80", 0, 0), ("80", 3, 5)])
def test_bytes_that_are_no_decimal(raw, precision, scale):
    with pytest.raises(ValueError, match="DECIMAL"):
        decimal(bytes.fromhex(raw), precision, scale)


def test_times_that_are_none_are_refused():
    with pytest.raises(ValueError, match="none"):
        temporal.datetime2((0x8000000000 | 25 << 12).to_bytes(5, "big"), 0)
    with pytest.raises(KeyError):
        temporal.datetime2((0x8000000000 | 61).to_bytes(5, "big"), 0)
    with pytest.raises(ValueError, match="old format"):
        temporal.old_datetime((20261323101112).to_bytes(8, "little"))
    assert temporal.old_datetime((20261123101112).to_bytes(8, "little")) == "2026-11-23 10:11:12"
    assert temporal.old_time((-123456).to_bytes(3, "little", signed=True)) == "-12:34:56"
    assert temporal.old_timestamp(bytes(4)) == "0000-00-00 00:00:00"


def test_json_that_points_into_itself_costs_no_more_than_its_length():
    nest = b"\x02\x02\x00\x0a\x00" + b"\x02\x00\x00" * 2 + bytes(4)
    with pytest.raises(ValueError, match=r"points into itself|deeper"):
        text_of(nest)
    twice = b"\x02\x10\x00\xff\x00" + b"\x0c\x48\x00" * 16 + bytes(20) + b"\x7f" + b"x" * 127
    with pytest.raises(ValueError, match="points into itself"):
        text_of(twice)


def test_json_of_no_bytes_is_null():
    assert text_of(b"") == "null"


@given(st.binary(max_size=80))
def test_json_of_any_bytes_ends_well(data):
    try:
        assert isinstance(text_of(data), str)
    except (ValueError, IndexError, struct.error):
        pass

"""Damaged bytes end in an error that says where, or in waiting for more: never in a wrong row, a hang or a crash.

With checksums nothing wrong may come out at all: what comes out is the begin of what was
written. Without them a changed value is a value; still nothing but our own errors may be raised.
"""

from __future__ import annotations

import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "vectors"))
from binlog_cases import TABLE, Case, cases, pour, split, wire

from cdc.binlog import Feed
from cdc.binlog.events import UPDATES
from cdc.errors import CdcError

SMALL = [
    case for case in cases() if sum(file["size"] for file in case.facts["files"]) < 20_000 and len(case.files) == 1
]
CHECKED = [case for case in SMALL if "checksum" not in case.path.stem]
EVERY_BYTE = ("mixed_transaction", "xa_odd", "payload_xa", "log_bin_compress_savepoint")
SLOWEST = 1.0


def decoded(case: Case, data: bytes, *, framed: bool, table=TABLE):
    feed, out = Feed(case.flavour, [table], case.start(), framed=framed), []
    begun = time.monotonic()
    error = pour(feed, data, None, out)
    assert time.monotonic() - begun < SLOWEST
    assert error is None or isinstance(error, CdcError), repr(error)
    if isinstance(error, CdcError):
        assert error.hint
    return (
        [(t.gtid, t.file, t.position, t.commit_time, [r.as_dict() for r in t.rows]) for t in out],
        error,
        feed.waiting > 0,
    )


@pytest.mark.parametrize("case", [c for c in CHECKED if c.path.stem in EVERY_BYTE], ids=str)
def test_no_flipped_bit_makes_a_wrong_row(case):
    raw = case.files[0][1]
    right, _, _ = decoded(case, raw, framed=False)
    for at in range(len(raw)):
        damaged = bytearray(raw)
        damaged[at] ^= 1 << at % 8
        got, error, waits = decoded(case, bytes(damaged), framed=False)
        assert got == right[: len(got)]
        assert got == right or error is not None or waits


@st.composite
def damage(draw, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data) - 1))
    new = draw(st.binary(min_size=0, max_size=8))
    gone = draw(st.integers(0, 8))
    return data[:at] + new + data[at + gone :]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_packets_give_a_beginning_of_the_truth(data):
    case = data.draw(st.sampled_from(CHECKED))
    whole = wire(case)
    right, _, _ = decoded(case, whole, framed=True)
    got, _, _ = decoded(case, data.draw(damage(whole)), framed=True)
    assert got == right[: len(got)]


def without_checksums(raw: bytes) -> list[bytes]:
    """The same events as a server writes them with binlog_checksum=NONE."""
    out, at, plain = [], 4, next(split(raw))[-5] == 0
    for event in split(raw):
        body = event if plain else event[:-4]
        if at == 4:
            body = event[:-5] + b"\0" + event[-4:]
        at += len(body)
        ends = at if struct.unpack_from("<I", event, 13)[0] else 0
        out.append(body[:9] + struct.pack("<II", len(body), ends) + body[17:])
    return out


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_damage_that_no_checksum_shows_raises_only_our_errors(data):
    case = data.draw(st.sampled_from(SMALL))
    events = without_checksums(case.files[0][1])
    i = data.draw(st.integers(0, len(events) - 1))
    begin = data.draw(st.integers(0, len(events[i]) - 1))
    new = data.draw(st.binary(min_size=1, max_size=6))
    events[i] = events[i][:begin] + new[: len(events[i]) - begin] + events[i][begin + len(new) :]
    decoded(case, b"".join(events), framed=False)


UPDATING = [
    (case, at)
    for case in SMALL
    for at, event in enumerate(without_checksums(case.files[0][1]))
    if event[4] in UPDATES and b"outbox" in case.files[0][1]
]


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_updates_raise_only_our_errors(data):
    """Read by a table that asks for them; the damage is in the UPDATE_ROWS event."""
    case, i = data.draw(st.sampled_from(UPDATING))
    events = without_checksums(case.files[0][1])
    begin = data.draw(st.integers(19, len(events[i]) - 1))
    new = data.draw(st.binary(min_size=1, max_size=6))
    events[i] = events[i][:begin] + new[: len(events[i]) - begin] + events[i][begin + len(new) :]
    decoded(case, b"".join(events), framed=False, table=replace(TABLE, updates=True))


def test_updates_in_recorded_logs_change_nothing_of_the_inserts():
    for case in {case for case, _ in UPDATING}:
        raw, changed = case.files[0][1], []
        plain, *_ = decoded(case, raw, framed=False)
        feed = Feed(case.flavour, [replace(TABLE, updates=True)], case.start(), framed=False)
        pour(feed, raw, None, changed)
        rows = [(t.position, row) for t in changed for row in t.rows]
        assert [row.as_dict() for _, row in rows if not row.table.updated] == [row for *_, rs in plain for row in rs]
    assert len(UPDATING) > 5


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_noise_is_refused(noise, framed):
    case = SMALL[0]
    got, _, _ = decoded(case, noise, framed=framed)
    assert got == []


def test_a_length_out_of_this_world_is_refused_at_once():
    case = SMALL[0]
    raw = case.files[0][1]
    huge = raw[:9] + struct.pack("<I", 0xFFFFFFF0) + raw[13:]
    _, error, _ = decoded(case, huge, framed=False)
    assert "bytes" in str(error)

"""Every recorded log decodes to what was inserted and committed, however its bytes are cut.

Whole, 4,096, 7 and 1 bytes at a time, as a file and as packets of a socket. The two smallest
steps are taken for files up to a size only (the 17 to 50 MB ones would cost minutes and
tell nothing more: cuts inside large packets are made by the 4,096).
"""

from __future__ import annotations

import functools

import pytest
from binlog_cases import TABLE, Case, cases, differences, pour, read_files, read_wire, wire

from cdc.binlog import Feed, UnknownXaRows
from cdc.errors import CdcError, DecodeError, RowImageIncomplete, RowMetadataNotFull, StatementInLog
from cdc.model import SourceTransaction, TableSpec
from cdc.position import GtidList, GtidSet

ALL = cases()
SMALL, TINY = 1_000_000, 200_000
REFUSED: dict[str, type[CdcError]] = {
    "metadata_default": RowMetadataNotFull,
    "metadata_switch": RowMetadataNotFull,
    "statement_format": StatementInLog,
    "type_times_old_format": DecodeError,
}
"""Cases whose README allows an error, and which we refuse; all others give rows."""


@functools.cache
def known_size(case: Case) -> int:
    return sum(file["size"] for file in case.facts["files"])


def by_size(limit: int) -> list[Case]:
    return [case for case in ALL if known_size(case) <= limit]


def check(case: Case, reader, step: int | None) -> None:
    feed, out, error = reader(case, step)
    refused = REFUSED.get(case.path.stem)
    assert differences(case, out, upto=refused is not None) == []
    if refused is not None:
        assert case.facts["outcome"] != "rows"
        assert isinstance(error, refused)
        assert error.hint
        assert case.files[0][0] in str(error)
        return
    if error is not None:
        raise error
    end = feed.position
    assert (end.file, end.position) == (case.files[-1][0], case.facts["end_position"])
    empty = GtidSet() if case.flavour == "mysql" else GtidList()
    assert (end.gtid_set or empty) == case.end_gtids()
    assert not feed.in_transaction
    assert feed.held_bytes == 0
    assert feed.repeated == 0


@pytest.mark.parametrize("case", ALL, ids=str)
def test_a_file_gives_the_committed_rows(case):
    check(case, read_files, None)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_packets_give_the_committed_rows(case):
    check(case, read_wire, None)


@pytest.mark.parametrize("case", ALL, ids=str)
def test_packets_cut_at_4096_bytes(case):
    check(case, read_wire, 4096)


@pytest.mark.parametrize("case", by_size(SMALL), ids=str)
def test_packets_cut_at_7_bytes(case):
    check(case, read_wire, 7)


@pytest.mark.parametrize("case", by_size(TINY), ids=str)
def test_packets_cut_at_every_byte(case):
    check(case, read_wire, 1)


@pytest.mark.parametrize("case", by_size(TINY), ids=str)
def test_a_file_cut_at_every_byte(case):
    check(case, read_files, 1)


@pytest.mark.parametrize("case", [c for c in by_size(SMALL) if len(c.facts["files"]) == 1], ids=str)
def test_reading_on_from_any_position_gives_each_transaction_once(case):
    """Stop after some bytes, go on as a server sends from that position: nothing is lost, doubled or different."""
    if case.path.stem in REFUSED:
        return
    start = case.start(case.gtids_before() if case.flavour == "mysql" else GtidList())
    whole, wanted = Feed(case.flavour, [TABLE], start), []
    assert pour(whole, wire(case), None, wanted) is None
    raw = case.files[0][1]
    for cut in range(100, len(raw), max(97, len(raw) // 12)):
        first, got = Feed(case.flavour, [TABLE], start), []
        assert pour(first, wire(case, upto=cut), None, got) is None
        place = first.position
        assert place.position <= 4 + cut
        second = Feed(case.flavour, [TABLE], place)
        data = wire(case, start=place.position)
        while (error := pour(second, data, None, got)) is not None:
            assert isinstance(error, UnknownXaRows)
            second.supply(error.xid, first.prepared_rows(error.xid))
            data = b""
        assert [plain(t) for t in got] == [plain(t) for t in wanted]
        assert second.position == whole.position


def plain(transaction: SourceTransaction) -> tuple[object, ...]:
    rows = [row.as_dict() for row in transaction.rows]
    return transaction.gtid, transaction.file, transaction.position, transaction.length, rows


def test_needed_columns_missing_from_an_image_are_an_error():
    for case in ALL:
        if case.path.stem == "row_image_minimal":
            for spec in (
                TableSpec("shop", "outbox", needed=frozenset({"payload"})),
                TableSpec("shop", "outbox", wanted=frozenset({"id", "payload"})),
            ):
                feed = Feed(case.flavour, [spec], case.start(), framed=False)
                with pytest.raises(RowImageIncomplete, match="lacks payload"):
                    feed.feed(case.files[0][1])


def test_every_group_of_cases_is_here():
    assert len(ALL) == 255
    assert sum(len(case.facts["expected"]) for case in ALL) == 657
    assert sum(len(t["rows"]) for case in ALL for t in case.facts["expected"]) == 2039


def test_packets_over_16_mib_are_really_made():
    case = next(case for case in ALL if case.path.stem == "row_at_16m_edge")
    assert b"\x00\x00\x00\x03" in wire(case)[16_000_000:34_000_000]  # the empty packet behind a full one

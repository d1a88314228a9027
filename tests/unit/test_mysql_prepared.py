"""Rows of an XA COMMIT found again in the log's earlier files, and a commit that only repeats one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from binlog_log import TABLE, Log, xid_text

from cdc.binlog import Feed
from cdc.model import Row
from cdc.mysql.prepared import find_rows
from cdc.position import GtidList, GtidSet, Position

FIRST, SECOND = "bin.000001", "bin.000002"


class Bytes:
    """A stream of a log that is here already."""

    address = "here"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def receive(self, _size: int) -> bytes:
        data, self._data = self._data, b""
        return data


def place(flavour: str, file: str, at: int = 4) -> Position:
    return Position(flavour, "server", file, at, GtidSet.parse("") if flavour == "mysql" else GtidList.parse(""))


def found(first: Log) -> list[Row] | None:
    """Look through the first file for the rows of a commit of `x` that begins in the second."""
    first.rotate(SECOND)
    packets = Log(first.flavour).rotate(FIRST, made_up=True).packets() + first.packets()
    packets += Log(first.flavour).rotate(SECOND, made_up=True).format().packets()
    feed = Feed(first.flavour, [TABLE], place(first.flavour, FIRST))
    return find_rows(Bytes(packets), feed, xid_text("x"), place(first.flavour, SECOND, 400))


@pytest.fixture(params=["mysql", "mariadb"])
def first(request: pytest.FixtureRequest) -> Log:
    return Log(request.param).format()


def prepare(log: Log, name: str, *ids: int) -> None:
    log.gtid()
    if log.flavour == "mysql":
        log.query(f"XA START {xid_text(name)}")
    log.table().rows(*ids).query(f"XA END {xid_text(name)}").prepare(name)


def end(log: Log, verb: str, name: str) -> None:
    log.gtid(flags=1).query(f"XA {verb} {xid_text(name)}")


def ids(rows: list[Row] | None) -> list[object] | None:
    return None if rows is None else [row.get("id") for row in rows]


def test_rows_that_wait_at_the_end_of_the_file(first: Log) -> None:
    prepare(first, "y", 1)
    prepare(first, "x", 2, 3)
    end(first, "COMMIT", "y")
    assert ids(found(first)) == [2, 3]


def test_a_commit_that_repeats_one_has_no_rows(first: Log) -> None:
    prepare(first, "x", 2, 3)
    end(first, "COMMIT", "x")
    assert found(first) == []


def test_also_where_the_rows_of_the_first_are_unknown_as_well(first: Log) -> None:
    end(first, "COMMIT", "x")
    prepare(first, "y", 1)
    assert found(first) == []


def test_an_xid_that_is_used_again_has_the_rows_of_its_last_prepare(first: Log) -> None:
    prepare(first, "x", 1)
    end(first, "COMMIT", "x")
    prepare(first, "x", 2)
    assert ids(found(first)) == [2]


def test_one_that_was_rolled_back_or_never_met_is_not_known(first: Log) -> None:
    prepare(first, "x", 1)
    end(first, "ROLLBACK", "x")
    end(first, "COMMIT", "y")
    assert found(first) is None

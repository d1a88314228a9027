"""The shorter way through usual groups changes nothing: the same comes out of a reader that has none.

Logs are drawn as steps of groups, most of them usual; then damaged or not, cut anywhere, on both
flavours; transactions, position, counts and the error with its place must be equal.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent / "unit"))
sys.path.insert(0, str(Path(__file__).parent.parent / "vectors"))
from binlog_cases import TABLE as RECORDED
from binlog_cases import Case, cases, wire
from binlog_log import TABLE, Log, row_ids

from cdc.binlog import Feed
from cdc.position import GtidList, GtidSet, Position


class LongWay(Feed):
    """Without the shortcut."""

    def _usual_groups(self, buf: bytes, p: int, pos: int) -> tuple[int, int]:
        return p, pos


class Counted(Feed):
    """Says how many bytes the shortcut has taken."""

    taken = 0

    def _usual_groups(self, buf: bytes, p: int, pos: int) -> tuple[int, int]:
        behind, pos = super()._usual_groups(buf, p, pos)
        self.taken += behind - p
        return behind, pos


def seen(feed: Feed, data: bytes, cuts: list[int]) -> tuple[object, ...]:
    """All that can be told apart from outside."""
    out, error = [], None
    places = [0, *sorted(cuts), len(data)]
    try:
        for begin, end in pairwise(places):
            out += feed.feed(data[begin:end])
        while more := feed.feed(b""):
            out += more
    except Exception as raised:  # noqa: BLE001 - whatever it is, both must raise it
        error = f"{type(raised).__name__}: {raised}"
    rows = [(*t[:5], t.earlier, [(str(row.table), row.values) for row in t.rows]) for t in out]
    return rows, error, feed.position, feed.repeated, feed.history_rows, feed.waiting, feed.in_transaction


def usual(log: Log, n: int) -> Log:
    return log.insert(n)


STEPS = {
    "usual": usual,
    "usual again": usual,
    "two rows": lambda log, n: log.insert(n, n + 1),
    "two events": lambda log, n: log.gtid().begin().table().rows(n).rows(n + 1).xid(),
    "no rows": lambda log, _: log.gtid().begin().table().xid(),
    "another id of the table": lambda log, n: log.gtid().begin().table(number=71).rows(n, number=71).xid(),
    "rows of another id": lambda log, n: log.gtid().begin().table().rows(n, number=72).xid(),
    "somebody else's table": lambda log, n: log.gtid().begin().table(name="other").rows(n).xid(),
    "two tables": lambda log, n: log.gtid().begin().table().table(name="other", number=9).rows(n).rows(n, number=9).xid(),
    "a deletion": lambda log, n: log.gtid().begin().table().rows(n, kind=25).xid(),
    "rolled back": lambda log, n: log.gtid().begin().table().rows(n).query("ROLLBACK"),
    "committed in words": lambda log, n: log.gtid().begin().table().rows(n).query("COMMIT"),
    "savepoint": lambda log, n: log.gtid().begin().query("SAVEPOINT `s`").table().rows(n).query("ROLLBACK TO `s`").xid(),
    "prepared": lambda log, n: log.gtid().begin().table().rows(n).prepare(f"x{n}"),
    "a DDL": lambda log, _: log.gtid(flags=1).query("CREATE TABLE shop.t (i INT)"),
    "the number of before": lambda log, n: log.gtid(max(1, log.sequence)).begin().table().rows(n).xid(),
    "a hole": lambda log, n: log.gtid(log.sequence + 5).begin().table().rows(n).xid(),
    "anonymous": lambda log, n: (log.anonymous() if log.flavour == "mysql" else log.gtid(domain=3)).begin().table().rows(n).xid(),
    "later": lambda log, n: log.insert(n, time=2000 + n),
    "another file": lambda log, _: log.rotate("binlog.000002").format(),
    "left out on the wire": lambda log, n: left_out(log).insert(n),
}  # fmt: skip


def left_out(log: Log) -> Log:
    log.at += 100
    return log


@st.composite
def logs(draw) -> tuple[str, bytes]:
    flavour = draw(st.sampled_from(("mysql", "mariadb")))
    log = Log(flavour, checksums=draw(st.sampled_from((True, True, True, False)))).format()
    for n in range(draw(st.integers(1, 12))):
        STEPS[draw(st.sampled_from([*STEPS, *["usual"] * 20]))](log, 10 * n)
    return flavour, log.packets()


def start(flavour: str) -> Position:
    return Position(flavour, "server", "binlog.000001", 4, GtidSet() if flavour == "mysql" else GtidList())


@settings(max_examples=250, deadline=None)
@given(logs(), st.data())
def test_the_same_comes_out_with_and_without_it(drawn, data):
    flavour, raw = drawn
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw = raw[:at] + bytes([data.draw(st.integers(0, 255))]) + raw[at + 1 :]
    cuts = data.draw(st.lists(st.integers(0, len(raw)), max_size=4))
    found = [seen(kind(flavour, [TABLE], start(flavour)), raw, cuts) for kind in (Feed, LongWay)]
    assert found[0] == found[1]


@pytest.mark.parametrize("case", [c for c in cases() if sum(f["size"] for f in c.facts["files"]) < 1_000_000], ids=str)
def test_recorded_logs_give_the_same_with_and_without_it(case: Case):
    raw = wire(case)
    for cuts in ([], list(range(0, len(raw), 4096))):
        found = [seen(kind(case.flavour, [RECORDED], case.start()), raw, cuts) for kind in (Feed, LongWay)]
        assert found[0] == found[1]


@pytest.mark.parametrize("flavour", ["mysql", "mariadb"])
def test_it_takes_what_is_usual(flavour):
    log = Log(flavour).format()
    for n in range(50):
        log.insert(n)
    feed = Counted(flavour, [TABLE], start(flavour))
    assert row_ids(feed.feed(log.packets())) == [[n] for n in range(50)]
    assert feed.taken > 0.95 * len(log.packets())

"""Debezium's offsets: recorded ones read, ours written, and the row at which a transaction is gone on with.

The numbers are those of Debezium 3.4.0 on MySQL 9.7 and MariaDB 10.11. The transaction that was recorded: an INSERT of
row 2, another table, an INSERT of rows 3, 4, 5. What came when Debezium itself went on from each offset is the truth
that our count is held to.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.binlog import events
from cdc.binlog.counted import FirstGroup
from cdc.connect.answers import Offset
from cdc.errors import HandoverRefused
from cdc.operations.handover_offset import Stand, find, read, write
from cdc.position import GtidList, GtidSet, Position, PreparedTransaction
from tests.unit.binlog_log import TABLE, Log

UUID = "00010203-0405-0607-0809-0a0b0c0d0e0f"
RECORDED = {
    "row": (
        {"ts_sec": 1, "file": "b.1", "pos": 4751, "gtids": f"{UUID}:1-16", "row": 1, "server_id": 1, "event": 2},
        Stand("b.1", 4751, f"{UUID}:1-16", 2, 1),
    ),
    "without gtids": (
        {"ts_sec": 1, "file": "b.1", "pos": 4751, "row": 3, "server_id": 1, "event": 2},
        Stand("b.1", 4751, None, 2, 3),
    ),
    "snapshot": ({"ts_sec": 1, "file": "b.1", "pos": 4751}, Stand("b.1", 4751)),
    "heartbeat": (
        {"ts_sec": 1, "file": "m.1", "pos": 1191, "gtids": "0-35310-11", "server_id": 1},
        Stand("m.1", 1191, "0-35310-11"),
    ),
    "end marker": (
        {
            "transaction_id": f"{UUID}:1316",
            "ts_sec": 1,
            "file": "b.1",
            "pos": 7,
            "transaction_data_collection_order_off.o": 3,
            "gtids": f"{UUID}:1-1315",
            "event": 5,
        },
        Stand("b.1", 7, f"{UUID}:1-1315", 5),
    ),
    "several domains": (
        {"file": "m.1", "pos": "9", "gtids": "0-35310-13851,5-35310-2"},
        Stand("m.1", 9, "0-35310-13851,5-35310-2"),
    ),
    "snapshot that has ended": (
        {"file": "b.1", "pos": 9, "snapshot": "INITIAL", "snapshot_completed": True},
        Stand("b.1", 9),
    ),
}


@pytest.mark.parametrize("case", RECORDED)
def test_recorded_offsets(case):
    offset, stand = RECORDED[case]
    assert read(offset) == stand


@pytest.mark.parametrize(
    ("offset", "why"),
    [
        ({"file": "b.1", "pos": 4, "snapshot": "INITIAL", "snapshot_completed": False}, "snapshot"),
        ({"file": "b.1", "pos": 4, "snapshot": True}, "snapshot"),
        ({"file": "b.1", "pos": 4, "incremental_snapshot_collections": "[]"}, "incremental snapshot"),
        ({"pos": 4}, "names no file"),
        ({"file": "b.1"}, "pos of"),
        ({"file": "b.1", "pos": "here"}, "pos of"),
        ({"file": "b.1", "pos": 4, "row": -1}, "row of"),
        ({"file": "b.1", "pos": 4, "event": True}, "event of"),
        ({"file": "b.1", "pos": 4, "gtids": 5}, "gtids"),
    ],
)
def test_offsets_that_nobody_can_go_on_from(offset, why):
    with pytest.raises(HandoverRefused, match=why) as caught:
        read(offset)
    assert caught.value.hint


def test_only_the_offset_of_its_own_server_counts():
    right, wrong = (
        Offset(partition={"server": "a"}, offset={"file": "b.1"}),
        Offset(partition={"server": "b"}, offset={}),
    )
    assert find([wrong, right], "a") == {"file": "b.1"}
    with pytest.raises(HandoverRefused, match="there are others"):
        find([wrong], "a")
    with pytest.raises(HandoverRefused, match="nobody knows"):
        find([], "a")


# -- going on inside a transaction ---------------------------------------------------------

WENT_ON = {
    (2, 0): [2, 3, 4, 5],
    (2, 1): [3, 4, 5],
    (2, 2): [3, 4, 5],
    (6, 0): [3, 4, 5],
    (6, 1): [4, 5],
    (6, 3): [],
    (6, 9): [],
    (7, 0): [],
}
"""Event and row to the rows that Debezium itself sent, going on there; 7 is the XID (an END marker's offset)."""


def counted(log: Log) -> FirstGroup:
    group = FirstGroup(log.flavour, [TABLE], Position(log.flavour, "s", "b.1", 4))
    data, at = log.packets(), 0
    while at < len(data):
        size = 4 + int.from_bytes(data[at : at + 3], "little")
        done = group.take(data[at : at + size])
        at += size
        if done:
            break
    assert group.finished
    assert at <= len(data)
    return group


def ids(rows) -> list[int]:
    return [row.get("id") for row in rows]


def between(log: Log) -> Log:
    return log.table("shop", "other", 71).rows(1, number=71)


@pytest.mark.parametrize("flavour", ["mysql", "mariadb"])
@pytest.mark.parametrize(("stand", "rest"), WENT_ON.items())
def test_what_is_left_of_the_recorded_transaction(flavour, stand, rest):
    log = between(Log(flavour).format().gtid().begin().table().rows(2)).table().rows(3, 4, 5).xid()
    log.insert(7)
    group = counted(log)
    assert ids(group.rest(*stand)) == rest
    assert group.number == 7
    assert group.position.position < log.at


@pytest.mark.parametrize("flavour", ["mysql", "mariadb"])
def test_a_savepoint_counts_and_what_it_takes_back_does_not(flavour):
    log = Log(flavour).format().gtid().begin().table().rows(1).query("SAVEPOINT `s`").table().rows(2)
    log.query("ROLLBACK TO `s`").table().rows(3).xid()
    group = counted(log)
    assert ids(group.rest(2, 1)) == [3]
    assert ids(group.rest(8, 0)) == [3]
    assert ids(group.rest(8, 1)) == []


def test_rows_query_counts_and_annotate_rows_does_not():
    mysql = Log("mysql").format().gtid().begin()
    mariadb = Log("mariadb").format().gtid()
    for number in (1, 2):
        mysql.event(29, b"\0insert").table().rows(number)
        mariadb.event(160, b"insert").table().rows(number)
    assert counted(mysql.xid()).came_in == [3, 6]
    assert counted(mariadb.xid()).came_in == [2, 4]


@st.composite
def transactions(draw):
    """A flavour and events in order: rows of ours in an INSERT (a number), or None for another table's."""
    flavour = draw(st.sampled_from(["mysql", "mariadb"]))
    return flavour, draw(st.lists(st.one_of(st.none(), st.integers(1, 4)), min_size=1, max_size=8))


@given(transactions(), st.data())
def test_sent_and_left_are_the_whole(made, data):
    """Debezium sends row by row; wherever it stops, the rest is what it has not sent."""
    flavour, parts = made
    log, number, rows, sent = Log(flavour).format().gtid().begin(), 0, 0, []
    stands = [(0, 0, 0)]
    for part in parts:
        number += 2
        if part is None:
            between(log)
            stands.append((number, 0, rows))
            continue
        log.table().rows(*range(rows + 1, rows + part + 1))
        stands += [(number, row, rows + row) for row in range(1, part + 1)]
        rows += part
        sent += [number] * part
    group = counted(log.xid())
    assert group.came_in == sent
    event, row, done = data.draw(st.sampled_from(stands))
    assert ids(group.rest(event, row)) == list(range(done + 1, rows + 1))


def test_the_kinds_of_events_are_those_the_server_sends():
    assert events.KINDS[160] == events.KINDS[29] == events.PASS


# -- written for Debezium ------------------------------------------------------------------


def test_written_offsets():
    gtids = GtidSet.parse(f"{UUID}:1-5:7")
    position = Position("mysql", "s", "b.1", 99, gtids)
    assert write(position) == {"file": "b.1", "pos": 99, "gtids": f"{UUID}:1-5:7"}
    assert write(Position("mysql", "s", "b.1", 99)) == {"file": "b.1", "pos": 99}
    assert write(Position("mariadb", "s", "b.1", 99, GtidList.parse("0-1-2,1-1-3")))["gtids"] == "0-1-2,1-1-3"


@pytest.mark.parametrize(
    ("position", "why"),
    [
        (Position("mariadb", "s", "b.1", 99), "no GTIDs"),
        (Position("mysql", "s", "b.1", 99, GtidSet.parse(f"{UUID}:tag:1-3")), "tags"),
        (Position("mysql", "s", "b.1", 9, prepared=(PreparedTransaction("X'61',X'',1", "b.1", 4),)), "XA"),
    ],
)
def test_positions_that_debezium_could_not_go_on_from(position, why):
    with pytest.raises(HandoverRefused, match=why) as caught:
        write(position)
    assert caught.value.hint


@given(st.integers(4, 2**40), st.sets(st.integers(1, 50), min_size=1))
def test_what_is_written_reads_back(pos, numbers):
    gtids = GtidSet({(UUID, ""): [(n, n) for n in numbers]})
    stand = read(write(Position("mysql", "s", "b.7", pos, gtids)))
    assert stand == Stand("b.7", pos, str(gtids))
    assert GtidSet.parse(stand.place) == gtids

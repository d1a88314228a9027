from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import pytest
import zstandard

sys.path.insert(0, str(Path(__file__).parent))
from binlog_log import (
    SOURCE,
    SOURCE_TEXT,
    TABLE,
    Log,
    lenenc,
    query_body,
    row_ids,
    rows_body,
    seal,
    table_body,
    xid_text,
)

from cdc.binlog import Feed, ServerSaid, UnknownXaRows, events
from cdc.errors import ColumnMissing, DecodeError, RowMetadataNotFull, StatementInLog
from cdc.model import TableSpec
from cdc.position import GtidList, GtidSet, LastTransaction, Position, PreparedTransaction

FLAVOURS = ("mysql", "mariadb")


def position(log: Log, gtids="", **more) -> Position:
    parsed = GtidSet.parse(gtids) if log.flavour == "mysql" else GtidList.parse(gtids)
    return Position(log.flavour, "server", "bin.000001", 4, parsed, **more)


def feed_of(log: Log, *tables: TableSpec, start: Position | None = None, **more) -> Feed:
    return Feed(log.flavour, tables or (TABLE,), start or position(log), framed=False, **more)


def read(log: Log, *tables: TableSpec, **more):
    feed = feed_of(log, *tables, **more)
    return feed, feed.feed(log.raw)


@pytest.fixture(params=FLAVOURS)
def log(request) -> Log:
    return Log(request.param).format()


def maria(log: Log) -> bool:
    return log.flavour == "mariadb"


# -- places ------------------------------------------------------------------------------------------


def test_the_position_moves_with_transactions_that_hold_nothing_of_ours(log):
    log.gtid().begin().table(name="orders").rows(1).xid()
    feed, out = read(log)
    assert out == []
    assert feed.position.position == log.at
    assert feed.position.last.length == log.at - len(log.events[0]) - 4
    assert str(feed.position.gtid_set) == ("0-7-1" if maria(log) else f"{SOURCE_TEXT}:1")


def test_inside_a_transaction_the_position_is_its_begin(log):
    log.insert(1)
    done = log.at
    log.gtid().begin().table().rows(2, 3)
    feed, out = read(log)
    assert row_ids(out) == [[1]]
    assert feed.in_transaction
    assert feed.position.position == done
    assert feed.held_bytes > 0
    log2 = Log(log.flavour, begin=log.at)
    log2.xid()
    assert row_ids(feed.feed(log2.raw)) == [[2, 3]]
    assert feed.held_bytes == 0


def test_last_says_what_tells_histories_apart(log):
    log.insert(1)
    begin = log.at
    log.insert(2, time=1234)
    feed, out = read(log)
    gtid = "0-7-2" if maria(log) else f"{SOURCE_TEXT}:2"
    assert feed.position.last == LastTransaction(gtid, log.at, 1234, log.at - begin)
    assert feed.position.file_created == 900
    assert (out[-1].gtid, out[-1].position, out[-1].commit_time, out[-1].length) == (gtid, log.at, 1234, log.at - begin)


def test_another_file_forgets_the_last_transaction_of_the_one_before(log):
    log.insert(1).rotate("bin.000002")
    feed, _ = read(log)
    place = feed.position
    assert (place.file, place.position, place.last, place.file_created) == ("bin.000002", 4, None, 0)
    assert place.log_time == 1000


def test_positions_go_on_past_4_gib(log):
    big = (1 << 32) + 12_345
    begun = Log(log.flavour, begin=big).insert(1)
    feed = Feed(log.flavour, [TABLE], position(log), framed=True)
    head = Log(log.flavour).rotate("bin.000001", made_up=True, position=big).format(made_up=True)
    out = feed.feed(head.packets() + begun.packets())
    assert out[0].position == begun.at > 1 << 32
    assert feed.position.position == begun.at


def test_what_the_server_leaves_out_on_the_wire_is_made_good_by_end_positions(log):
    log.insert(1)
    log.gtid().begin()
    log.event(160, b"INSERT ...")
    left_out = log.events.pop()
    log.table().rows(2).xid()
    feed = Feed(log.flavour, [TABLE], position(log), framed=True)
    out = feed.feed(Log(log.flavour).rotate("bin.000001", made_up=True).packets() + log.packets())
    assert left_out
    assert out[-1].position == log.at
    with pytest.raises(DecodeError, match="says at"):
        read(log)[0].feed(b"")


def test_a_heartbeat_moves_the_position_outside_of_transactions_only(log):
    log.insert(1)
    feed = Feed(log.flavour, [TABLE], position(log), framed=True)
    feed.feed(Log(log.flavour).rotate("bin.000001", made_up=True).packets() + log.packets())
    at = feed.position.position
    beat = Log(log.flavour).event(events.HEARTBEAT, b"bin.000001", made_up=True, end=at + 500)
    feed.feed(beat.packets())
    assert feed.position.position == at + 500
    v2 = b"\1" + lenenc(b"bin.000001") + b"\2" + lenenc(b"\xfe" + struct.pack("<Q", at + 9_000_000)) + b"\0"
    feed.feed(Log(log.flavour).event(events.HEARTBEAT_V2, v2, made_up=True).packets())
    assert feed.position.position == at + 9_000_000
    feed.feed(Log(log.flavour).event(events.HEARTBEAT, b"bin.000009", made_up=True, end=5).packets())
    assert feed.position.position == at + 9_000_000


def test_made_up_events_are_understood_with_and_without_a_checksum(log):
    log.insert(1)
    for checksums in (True, False):
        feed = Feed(log.flavour, [TABLE], position(log), framed=True)
        rotate = Log(log.flavour, checksums=checksums).rotate("bin.000077", made_up=True)
        assert row_ids(feed.feed(rotate.packets() + log.packets())) == [[1]]
        assert feed.position.file == "bin.000077"


def test_a_group_that_the_server_did_not_finish_before_it_died_is_nothing(log):
    log.insert(1).gtid().begin().table().rows(2)
    feed, out = read(log)
    feed.next_file("bin.000002")
    again = Log(log.flavour).format()
    again.sequence = 1
    again.insert(3)
    assert row_ids(out + feed.feed(again.raw)) == [[1], [3]]
    assert feed.position.file == "bin.000002"
    assert "2" in str(feed.position.gtid_set)


# -- GTIDs -------------------------------------------------------------------------------------------


def test_a_gtid_that_is_in_the_set_is_dropped_and_counted():
    log = Log("mysql").format().insert(1).insert(2).insert(3)
    feed, out = read(log, start=position(log, f"{SOURCE_TEXT}:1:3-4"))
    assert row_ids(out) == [[2]]
    assert feed.repeated == 2
    assert str(feed.position.gtid_set) == f"{SOURCE_TEXT}:1-4"


def test_numbers_in_any_order_make_the_same_set():
    log = Log("mysql").format()
    for number in (5, 6, 9, 7, 2, 3, 8):
        log.gtid(number).begin().table().rows(number).xid()
    log.gtid(1, source=bytes(16)).begin().xid()
    feed, out = read(log)
    assert len(out) == 7
    assert str(feed.position.gtid_set) == f"00000000-0000-0000-0000-000000000000:1,{SOURCE_TEXT}:2-3:5-9"


def test_anonymous_transactions_grow_no_set():
    log = Log("mysql").format().anonymous().begin().table().rows(1).xid()
    feed, out = read(log)
    assert out[0].gtid is None
    assert feed.position.gtid_set == GtidSet()


def test_a_mysql_socket_without_a_set_stays_without_one():
    log = Log("mysql").format().insert(1)
    feed = Feed("mysql", [TABLE], Position("mysql", "s", "bin.000001", 4), framed=True)
    feed.feed(log.packets())
    assert feed.position.gtid_set is None


def test_mariadb_numbers_that_go_back_are_told_by_domain_and_never_dropped():
    log = Log("mariadb").format()
    for number, domain, server in ((500, 0, 1), (400, 0, 2), (600, 0, 3), (7, 3, 1), (8, 3, 1), (450, 0, 1)):
        log.gtid(number, domain=domain, server=server).table().rows(number).xid()
    feed, out = read(log)
    assert row_ids(out) == [[500], [400], [600], [7], [8], [450]]
    assert str(feed.position.gtid_set) == "0-1-450,3-1-8"
    assert feed.position.out_of_order == (0,)
    assert [t.gtid for t in out][:2] == ["0-1-500", "0-2-400"]


# -- XA ----------------------------------------------------------------------------------------------


def prepared(log: Log, name: str, *ids: int) -> Log:
    log.gtid()
    if not maria(log):
        log.query(f"XA START {xid_text(name)}")
    return log.table().rows(*ids).query(f"XA END {xid_text(name)}").prepare(name)


def resolve(log: Log, verb: str, name: str) -> Log:
    return log.gtid(flags=1).query(f"XA {verb} {xid_text(name)}")


def test_prepared_rows_come_with_the_commit_and_its_gtid(log):
    begin = log.at
    prepared(log, "a", 1, 2)
    prepared(log, "b", 3)
    middle = log.raw
    feed = feed_of(log)
    assert feed.feed(middle) == []
    assert feed.held_bytes > 0
    first = "0-7-1" if maria(log) else f"{SOURCE_TEXT}:1"
    assert feed.position.prepared[0] == PreparedTransaction(xid_text("a"), "bin.000001", begin, first)
    assert str(feed.position.gtid_set) == ("0-7-2" if maria(log) else "")
    resolve(log, "ROLLBACK", "b")
    resolve(log, "COMMIT", "a")
    out = feed.feed(log.raw[len(middle) :])
    assert row_ids(out) == [[1, 2]]
    assert out[0].gtid == ("0-7-4" if maria(log) else f"{SOURCE_TEXT}:4")
    assert feed.position.prepared == ()
    assert str(feed.position.gtid_set) == ("0-7-4" if maria(log) else f"{SOURCE_TEXT}:1-4")


def test_on_mysql_an_open_prepare_that_comes_again_is_filled_and_keeps_its_place():
    log = Log("mysql").format()
    prepared(log, "a", 1)
    feed, _ = read(log)
    place = feed.position
    again = Log("mysql", begin=4).rotate("bin.000001", made_up=True).format()
    prepared(again, "a", 1)
    resolve(again, "COMMIT", "a")
    second = Feed("mysql", [TABLE], place, framed=True)
    assert row_ids(second.feed(again.packets())) == [[1]]
    assert str(second.position.gtid_set) == f"{SOURCE_TEXT}:1-2"


def test_a_commit_whose_rows_are_unknown_waits_for_them(log):
    log.insert(1)
    resolve(log, "COMMIT", "x").insert(2)
    start = position(log, prepared=(PreparedTransaction(xid_text("x"), "bin.000000", 77),))
    feed = feed_of(log, start=start)
    assert row_ids(feed.feed(log.raw)) == [[1]]
    for _ in range(2):
        with pytest.raises(UnknownXaRows, match=r"bin\.000000:77") as caught:
            feed.feed(b"")
    assert caught.value.where.position == 77
    other = read(prepared(Log(log.flavour).format(), "x", 8, 9))[0]
    feed.supply(caught.value.xid, other.prepared_rows(caught.value.xid))
    assert row_ids(feed.feed(b"")) == [[8, 9], [2]]
    assert feed.position.position == log.at


def test_rows_given_up_for_memory_are_asked_for_at_the_commit(log):
    prepared(log, "x", 1)
    feed, _ = read(log)
    feed.forget_prepared_rows()
    assert feed.held_bytes == 0
    assert feed.prepared_rows(xid_text("x")) is None
    rest = Log(log.flavour, begin=log.at)
    rest.sequence = log.sequence
    resolve(rest, "COMMIT", "x")
    with pytest.raises(UnknownXaRows, match=r"prepared at bin\.000001"):
        feed.feed(rest.raw)


def test_a_rollback_of_an_unknown_xid_is_nothing(log):
    resolve(log, "ROLLBACK", "never")
    feed, out = read(log)
    assert out == []
    assert feed.position.position == log.at


def test_one_phase_commits_at_once():
    log = Log("mysql").format().gtid().query(f"XA START {xid_text('x')}").table().rows(1).prepare("x", one_phase=True)
    feed, out = read(log)
    assert row_ids(out) == [[1]]
    assert feed.position.prepared == ()


# -- savepoints and rollbacks ------------------------------------------------------------------------


def test_savepoints_cut_rows(log):
    log.gtid().begin().table().rows(1).query("SAVEPOINT `s``1`").table().rows(2)
    log.query("SAVEPOINT t").table().rows(3).query("ROLLBACK TO `S``1`").table().rows(4).xid()
    assert row_ids(read(log)[1]) == [[1, 4]]


def test_rollback_to_a_savepoint_nobody_set_stops(log):
    log.gtid().begin().table().rows(1).query("ROLLBACK TO `s`").xid()
    with pytest.raises(DecodeError, match="that was not set"):
        read(log)


def test_a_logged_rollback_leaves_nothing(log):
    log.gtid().begin().table().rows(1).query("ROLLBACK").insert(2)
    assert row_ids(read(log)[1]) == [[2]]


def test_a_transaction_inside_another_stops(log):
    log.gtid().begin().table().rows(1).gtid()
    with pytest.raises(DecodeError, match="inside another"):
        read(log)


def test_rows_before_any_begin_stop(log):
    log.table().rows(1)
    with pytest.raises(DecodeError, match="outside of a transaction"):
        read(log)


def test_rows_without_a_table_map_stop(log):
    log.gtid().begin().rows(1)
    with pytest.raises(DecodeError, match="without a TABLE_MAP"):
        read(log)


# -- tables ------------------------------------------------------------------------------------------


def test_two_tables_in_one_transaction(log):
    other = TableSpec("shop", "second")
    log.gtid().begin().table(number=70).table(name="second", number=71).table(name="third", number=72)
    log.rows(1, number=71).rows(2, number=70).rows(3, number=72).rows(4, number=71).xid()
    _, out = read(log, TABLE, other)
    assert [(str(r.table), r.get("id")) for r in out[0].rows] == [
        ("shop.second", 1),
        ("shop.outbox", 2),
        ("shop.second", 4),
    ]


def test_table_ids_mean_nothing_in_the_next_transaction(log):
    log.gtid().begin().table(number=70).rows(1, number=70).xid()
    log.gtid().begin().table(name="other", number=70).rows(2, number=70).xid()
    log.gtid().begin().table(number=71).rows(3, number=71).xid()
    assert row_ids(read(log)[1]) == [[1], [3]]


def test_only_wanted_columns_are_decoded(log):
    log.insert(1)
    _, out = read(log, TableSpec("shop", "outbox", needed=frozenset({"id"}), wanted=frozenset({"data", "id", "none"})))
    assert out[0].rows[0].as_dict() == {"id": 1, "data": b"\0\xff"}
    assert [c.kind for c in out[0].rows[0].table.columns] == ["integer", "binary"]


def test_rows_of_one_definition_share_their_schema(log):
    log.insert(1).insert(2, 3)
    _, out = read(log)
    assert len({id(row.table) for t in out for row in t.rows}) == 1


def test_a_missing_needed_column_is_named_with_its_table_and_place(log):
    log.insert(1)
    with pytest.raises(ColumnMissing, match=r"shop.outbox has no column payload.*bin.000001:"):
        read(log, TableSpec("shop", "outbox", needed=frozenset({"id", "payload"})))


def test_rows_without_names_are_refused(log):
    log.gtid().begin().table(names=False).rows(1).xid()
    with pytest.raises(RowMetadataNotFull, match=r"bin.000001:\d+"):
        read(log)


# -- statements, incidents, unknown events -----------------------------------------------------------


@pytest.mark.parametrize("text", ["INSERT INTO orders VALUES (1)", "SELECT f()", "CALL p()", "CREATE TABLE a SELECT 1"])
def test_text_that_changes_data_stops(log, text):
    log.insert(1).gtid().begin().query(text, b"shop").xid()
    feed = feed_of(log)
    assert row_ids(feed.feed(log.raw)) == [[1]]
    assert isinstance(feed.failure, StatementInLog)
    with pytest.raises(StatementInLog, match="in shop"):
        feed.feed(b"")


def test_text_in_a_harmless_schema_passes_unless_it_names_our_table(log):
    log.gtid().begin().query("INSERT INTO t VALUES (1)", b"scratch").xid().insert(1)
    assert row_ids(read(log, statements_allowed_in=["scratch"])[1]) == [[1]]
    log.gtid().begin().query("INSERT INTO shop.OUTBOX VALUES (1)", b"scratch").xid()
    with pytest.raises(StatementInLog):
        read(log, statements_allowed_in=["scratch"])[0].feed(b"")


def test_on_mysql_the_schemas_that_a_text_touches_count():
    status = b"\x0c\x02scratch\0shop\0"
    log = Log("mysql").format().gtid().begin().query("INSERT INTO t VALUES (1)", b"scratch", status).xid()
    with pytest.raises(StatementInLog, match="scratch, shop"):
        read(log, statements_allowed_in=["scratch"])


def test_load_data_as_a_statement_stops(log):
    log.gtid().begin().event(events.EXECUTE_LOAD_QUERY, bytes(40))
    with pytest.raises(StatementInLog):
        read(log)


def test_a_ddl_is_a_transaction_of_its_own(log):
    log.gtid(flags=1).query("CREATE TABLE t (a INT)").gtid(flags=1).query("ALTER TABLE t ADD b INT").insert(1)
    feed, out = read(log)
    assert row_ids(out) == [[1]]
    assert str(feed.position.gtid_set).endswith(":1-3" if not maria(log) else "-3")


def test_an_incident_stops(log):
    log.insert(1).event(events.INCIDENT, b"\1\0\4LOST")
    feed = feed_of(log)
    assert row_ids(feed.feed(log.raw)) == [[1]]
    with pytest.raises(DecodeError, match=r"INCIDENT \(26\) at bin.000001:\d+"):
        feed.feed(b"")


def test_an_unknown_event_stops_unless_the_server_says_it_may_be_ignored(log):
    log.event(99, b"something", flags=events.IGNORABLE).insert(1)
    assert row_ids(read(log)[1]) == [[1]]
    log.event(99, b"something")
    feed, _ = read(log)
    with pytest.raises(DecodeError, match=r"unknown \(99\) at bin.000001:\d+ cannot be read.*might hold rows"):
        feed.feed(b"")


def test_an_encrypted_file_is_refused_and_a_socket_is_not():
    log = Log("mariadb").format().event(events.START_ENCRYPTION, bytes(17)).insert(1)
    feed = Feed("mariadb", [TABLE], position(log), framed=True)
    assert row_ids(feed.feed(Log("mariadb").rotate("bin.000001", made_up=True).packets() + log.packets())) == [[1]]
    with pytest.raises(DecodeError, match="encrypted"):
        read(log)


def test_a_wrong_checksum_stops_also_in_events_of_others(log):
    log.gtid().begin().table(name="orders").rows(1)
    log.events[-1] = log.events[-1][:-6] + b"\x55" + log.events[-1][-5:]
    with pytest.raises(DecodeError, match="checksum"):
        read(log)


def test_a_file_without_checksums():
    log = Log("mysql", checksums=False).format().insert(1, 2)
    assert row_ids(read(log)[1]) == [[1, 2]]


# -- packets -----------------------------------------------------------------------------------------


def packet(payload: bytes) -> bytes:
    return len(payload).to_bytes(3, "little") + b"\x05" + payload


@pytest.mark.parametrize("cut", [False, True])
def test_the_server_ends_the_stream(log, cut):
    log.insert(1)
    feed = Feed(log.flavour, [TABLE], position(log), framed=True)
    data = log.packets() + packet(b"\xfe\0\0\2\0")
    out = [t for i in range(len(data)) for t in feed.feed(data[i : i + 1])] if cut else feed.feed(data)
    assert row_ids(out) == [[1]]
    assert feed.eof


def test_the_server_says_an_error(log):
    log.insert(1)
    feed = Feed(log.flavour, [TABLE], position(log), framed=True)
    said = packet(b"\xff" + struct.pack("<H", 1236) + b"#HY000Could not find first log file name")
    assert row_ids(feed.feed(log.packets() + said)) == [[1]]
    with pytest.raises(ServerSaid) as caught:
        feed.feed(b"")
    assert (caught.value.code, caught.value.text) == (1236, "Could not find first log file name")


def test_a_packet_that_is_no_event_stops(log):
    feed = Feed(log.flavour, [TABLE], position(log), framed=True)
    with pytest.raises(DecodeError, match="packet of 3 bytes"):
        feed.feed(packet(b"\0ab") + bytes(20))


def test_packets_that_never_make_an_event_stop_early():
    feed = Feed("mysql", [TABLE], Position("mysql", "s", "bin.000001", 4), framed=True)
    full = (
        (0xFFFFFF).to_bytes(3, "little")
        + b"\0"
        + b"\0"
        + struct.pack("<IBIIIH", 1, 2, 3, 0xFFFFFF + 5, 0, 0)
        + bytes(0xFFFFFF - 20)
    )
    with pytest.raises(DecodeError, match="make no event"):
        feed.feed(full + full)


# -- payloads and compressed events ------------------------------------------------------------------


def payload(
    log: Log, *inner: tuple[int, bytes], compress=zstandard.compress, method: int = 0, whole: int | None = None
) -> Log:
    plain = b"".join(seal(kind, body, 5, 0, 0, checksums=False) for kind, body in inner)
    half = len(plain) // 2
    data = compress(plain[:half]) + compress(plain[half:])
    size = len(plain) if whole is None else whole
    number = bytes([method]) if method < 251 else b"\xfc" + struct.pack("<H", method)
    head = (
        b"\2"
        + lenenc(number)
        + b"\3\3\xfc"
        + struct.pack("<H", size)
        + b"\1\3\xfc"
        + struct.pack("<H", len(data))
        + b"\0"
    )
    return log.gtid().event(events.TRANSACTION_PAYLOAD, head + data, time=4321)


INNER = (
    (events.QUERY, query_body("BEGIN")),
    (events.TABLE_MAP, table_body("shop", "outbox", 70)),
    rows_body([1, 2], 70, 30),
    (events.XID, bytes(8)),
)


def test_a_payload_of_several_zstd_frames():
    log = payload(Log("mysql").format(), *INNER)
    feed, out = read(log)
    assert row_ids(out) == [[1, 2]]
    assert (out[0].position, out[0].commit_time) == (log.at, 4321)
    assert feed.position.position == log.at


def test_a_payload_that_is_not_compressed():
    assert row_ids(read(payload(Log("mysql").format(), *INNER, compress=bytes, method=255))[1]) == [[1, 2]]


@pytest.mark.parametrize(
    ("inner", "more", "what"),
    [
        (INNER[:-1], {}, "does not end where"),
        ((*INNER, INNER[-1]), {}, "two ends"),
        ((*INNER, *INNER[1:3]), {}, "does not end where"),
        (INNER, {"whole": 20}, "says it holds"),
        (INNER, {"whole": 60_000}, "says it holds"),
        (INNER, {"method": 3}, "method 3"),
        (INNER, {"compress": bytes}, "not zstd"),
    ],
)
def test_a_payload_that_is_damaged_stops(inner, more, what):
    with pytest.raises(DecodeError, match=what):
        read(payload(Log("mysql").format(), *inner, **more))


def squeezed(data: bytes, declared: int | None = None) -> bytes:
    size = len(data) if declared is None else declared
    return b"\x82" + struct.pack(">H", size) + zlib.compress(data)


def test_mariadb_compressed_rows_and_statements():
    log = Log("mariadb").format().gtid().table()
    _, body = rows_body([1], 70, 23)
    log.event(events.WRITE_ROWS_COMPRESSED_V1, body[:10] + squeezed(body[10:]))
    for text in ("SAVEPOINT `s`", "ROLLBACK TO `s`"):
        head = query_body(text)
        log.event(events.QUERY_COMPRESSED, head[:14] + squeezed(head[14:]))
        log.rows(2)
    assert row_ids(read(log.xid())[1]) == [[1, 2]]


def test_compressed_bytes_may_not_grow_past_what_they_say():
    log = Log("mariadb").format().gtid().table()
    _, body = rows_body(range(50), 70, 23)
    log.event(events.WRITE_ROWS_COMPRESSED_V1, body[:10] + squeezed(body[10:], declared=20))
    with pytest.raises(DecodeError, match="say they hold 20 bytes"):
        read(log)


def test_every_later_call_raises_the_same_error(log):
    log.event(99, b"?")
    feed = feed_of(log)
    for _ in range(3):
        with pytest.raises(DecodeError, match="99"):
            feed.feed(log.raw)


def test_the_source_of_these_tests_is_what_they_say():
    assert events.Gtid(SOURCE_TEXT, "", 1)
    assert SOURCE.hex() == SOURCE_TEXT.replace("-", "")

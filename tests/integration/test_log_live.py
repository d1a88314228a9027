"""The log of real servers, case by case: what was committed comes out, once, in order, with the values of a SELECT.

Runs against the stack's MariaDB and MySQL, or against the kinds CDC_LIVE_SERVERS names (`make mariadb-11-8`), which are
then started for this module alone. Cases that need settings others must not see have a server of their own.
"""

import contextlib
import hashlib
import json
import os
import struct
from collections.abc import Iterator

import pytest

from cdc.errors import StatementInLog
from cdc.model import TableSpec
from tests.integration.live_log import DDL, Case, differs, flavour_of, place_of, read
from tests.servers import Database, own_server, shared_database

KINDS = os.environ.get("CDC_LIVE_SERVERS", "mariadb mysql").split()
SHARED = ("mariadb", "mysql")
OWN_OPTIONS = {"mysql": ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]}


@pytest.fixture(scope="module", params=KINDS)
def server(request: pytest.FixtureRequest) -> Iterator[Database]:
    if request.param in SHARED:
        yield shared_database(request.param)
        return
    made = own_server(request.param)
    yield made
    made.instance.remove()


@pytest.fixture(scope="module")
def own(server: Database) -> Iterator[Database]:
    """A server whose settings may be changed and which may be restarted; on MySQL without GTIDs."""
    made = own_server(server.kind, options=OWN_OPTIONS.get(server.kind, []))
    yield made
    made.instance.remove()


@pytest.fixture
def case(server: Database) -> Iterator[Case]:
    with server.fresh_schema("live") as schema:
        yield Case.begin(server, schema, DDL)


@pytest.fixture
def own_case(own: Database) -> Iterator[Case]:
    with own.fresh_schema("live") as schema:
        yield Case.begin(own, schema, DDL)


def ins(*ids: int) -> str:
    return "INSERT INTO outbox(id, payload) VALUES " + ", ".join(f"({i}, 'p{i}')" for i in ids)


BEGIN, COMMIT, ROLLBACK = "START TRANSACTION", "COMMIT", "ROLLBACK"
OTHER = "CREATE TABLE other (id BIGINT PRIMARY KEY, x VARCHAR(100))"

PLAIN: dict[str, tuple[list[str], list[list[int]]]] = {
    "one_row_autocommit": ([ins(1), ins(2)], [[1], [2]]),
    "one_transaction": ([BEGIN, ins(1, 2, 3), ins(4), "DO 1", ins(5), COMMIT], [[1, 2, 3, 4, 5]]),
    "rolled_back": ([BEGIN, ins(1, 2), ROLLBACK, ins(3)], [[3]]),
    "savepoint": ([BEGIN, ins(1), "SAVEPOINT a", ins(2), "ROLLBACK TO a", ins(3), COMMIT], [[1, 3]]),
    "savepoint_moved": (
        [BEGIN, ins(1), "SAVEPOINT a", ins(2), "SAVEPOINT a", ins(3), "ROLLBACK TO SAVEPOINT a", ins(4), COMMIT],
        [[1, 2, 4]],
    ),
    "savepoints_nested": (
        [BEGIN, "SAVEPOINT `a b`", ins(1), "SAVEPOINT c", ins(2), "RELEASE SAVEPOINT c", ins(3),
         "ROLLBACK TO `a b`", ins(4), COMMIT],
        [[4]],
    ),
    "xa_commit": (
        ["XA START 'a'", ins(1, 2), "XA END 'a'", "XA PREPARE 'a'", "XA COMMIT 'a'", ins(3)],
        [[1, 2], [3]],
    ),
    "xa_rollback": (
        ["XA START 'a','b',7", ins(1), "XA END 'a','b',7", "XA PREPARE 'a','b',7", "XA ROLLBACK 'a','b',7", ins(2)],
        [[2]],
    ),
    "xa_one_phase": (["XA START 'a'", ins(1), "XA END 'a'", "XA COMMIT 'a' ONE PHASE"], [[1]]),
    "xa_given_up": (["XA START 'a'", ins(1), "XA END 'a'", "XA ROLLBACK 'a'", ins(2)], [[2]]),
    "xa_strange_ids": (
        ["XA START X'00ff27','it''s',2147483647", ins(1), "XA END X'00ff27','it''s',2147483647",
         "XA PREPARE X'00ff27','it''s',2147483647", "XA COMMIT X'00ff27','it''s',2147483647"],
        [[1]],
    ),
    "alter_between_rows": (
        [ins(1), "ALTER TABLE outbox ADD COLUMN extra INT NULL AFTER id", ins(2),
         "ALTER TABLE outbox MODIFY topic VARCHAR(20) NOT NULL DEFAULT 'u', DROP COLUMN extra", ins(3),
         "ALTER TABLE outbox ADD COLUMN z TEXT NULL FIRST", ins(4)],
        [[1], [2], [3], [4]],
    ),
    "alter_commits_what_is_open": (
        [BEGIN, ins(1), "ALTER TABLE outbox ADD COLUMN extra INT NULL", ins(2), ROLLBACK],
        [[1], [2]],
    ),
    "renamed_and_swapped": (
        [ins(1), "CREATE TABLE fresh LIKE outbox", "RENAME TABLE outbox TO old, fresh TO outbox", ins(2),
         "INSERT INTO old(id) VALUES (3)", "RENAME TABLE outbox TO x, old TO outbox, x TO old", ins(4),
         "INSERT INTO old(id) VALUES (5)"],
        [[1], [2], [4]],
    ),
    "dropped_and_made_again": ([ins(1), "DROP TABLE outbox", DDL, ins(1)], [[1], [1]]),
    "truncate_delete_update": (
        [ins(1, 2), "UPDATE outbox SET payload = 'new'", "DELETE FROM outbox WHERE id = 1", "TRUNCATE TABLE outbox", ins(1)],
        [[1, 2], [1]],
    ),
    "insert_and_delete_in_one": ([BEGIN, ins(1, 2), "DELETE FROM outbox WHERE id = 1", COMMIT], [[1, 2]]),
    "insert_select": (
        [OTHER, "INSERT INTO other VALUES (5, 'a'), (6, 'b')", "INSERT INTO outbox(id, payload) SELECT id, x FROM other ORDER BY id"],
        [[5, 6]],
    ),
    "insert_ignore": ([ins(1), "INSERT IGNORE INTO outbox(id) VALUES (1), (2)", "INSERT IGNORE INTO outbox(id) VALUES (2)"], [[1], [2]]),
    "on_duplicate_key": (
        [ins(1), "INSERT INTO outbox(id) VALUES (1), (2) ON DUPLICATE KEY UPDATE payload = 'again'"],
        [[1], [2]],
    ),
    "replace_of_a_new_row": (["REPLACE INTO outbox(id) VALUES (1)", "REPLACE INTO outbox(id) VALUES (2), (3)"], [[1], [2, 3]]),
    "trigger_into_the_outbox": (
        [OTHER, "CREATE TRIGGER t AFTER INSERT ON other FOR EACH ROW INSERT INTO outbox(id) VALUES (NEW.id + 100)",
         "INSERT INTO other VALUES (1, 'x'), (2, 'y')", BEGIN, "INSERT INTO other VALUES (3, 'x')", ROLLBACK],
        [[101, 102]],
    ),
    "trigger_on_the_outbox": (
        [OTHER, "CREATE TRIGGER t BEFORE INSERT ON outbox FOR EACH ROW INSERT INTO other VALUES (NEW.id, 'seen')", ins(1, 2)],
        [[1, 2]],
    ),
    "procedure": (
        ["CREATE PROCEDURE p() BEGIN START TRANSACTION; INSERT INTO outbox(id) VALUES (1); INSERT INTO outbox(id) VALUES (2); COMMIT; INSERT INTO outbox(id) VALUES (3); END", "CALL p()"],
        [[1, 2], [3]],
    ),
    "lookalikes": (
        ["CREATE TABLE outbox2 LIKE outbox", "CREATE TABLE `Outbox` LIKE outbox", "CREATE TABLE `out_ox` LIKE outbox",
         "CREATE TABLE `outbo` LIKE outbox", "CREATE TEMPORARY TABLE temp LIKE outbox", "INSERT INTO outbox2(id) VALUES (1)",
         "INSERT INTO `Outbox`(id) VALUES (2)", "INSERT INTO out_ox(id) VALUES (3)", "INSERT INTO outbo(id) VALUES (4)",
         "INSERT INTO temp(id) VALUES (5)", ins(6)],
        [[6]],
    ),
    "mixed_with_other_tables": (
        [OTHER, BEGIN, "INSERT INTO other VALUES (1, 'x')", ins(1), "UPDATE other SET x = 'y'", ins(2), "DELETE FROM other", COMMIT],
        [[1, 2]],
    ),
    "temporary_table_rolled_back": (
        ["CREATE TEMPORARY TABLE temp (a INT)", BEGIN, ins(1), "INSERT INTO temp VALUES (1)", ROLLBACK, ins(2)],
        [[2]],
    ),
    "statement_names_that_look_like_ends": (
        [OTHER, BEGIN, "INSERT INTO other VALUES (1, 'COMMIT')", ins(1), "INSERT INTO other VALUES (2, 'ROLLBACK')", COMMIT],
        [[1]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLAIN)
def test_plain(name: str, case: Case):
    statements, expected = PLAIN[name]
    case.run(*statements)
    assert case.ids() == expected


def test_pieces_of_any_size(case: Case):
    case.run(ins(1), BEGIN, ins(2), "SAVEPOINT a", ins(3), "ROLLBACK TO a", COMMIT, ins(4, 5))
    for piece in (1, 7, 4096):
        assert [[row.get("id") for row in t.rows] for t in case.read(piece=piece)] == [[1], [2], [4, 5]]


def test_a_failed_statement_leaves_nothing(case: Case):
    with case.session() as cursor:
        cursor.execute(BEGIN)
        cursor.execute(ins(1))
        with pytest.raises(Exception, match="1062"):
            cursor.execute(ins(2, 3, 1))
        cursor.execute(ins(4))
        cursor.execute(COMMIT)
        with pytest.raises(Exception, match="1062"):
            cursor.execute(ins(5, 1))
    assert case.ids() == [[1, 4]]


def test_sessions_side_by_side_come_in_commit_order(case: Case):
    with case.session() as first, case.session() as second, case.session() as third:
        for cursor, number in ((first, 1), (second, 2), (third, 3)):
            cursor.execute(BEGIN)
            cursor.execute(ins(number))
        second.execute(COMMIT)
        third.execute(ROLLBACK)
        first.execute(ins(10))
        first.execute(COMMIT)
    assert case.ids() == [[2], [1, 10]]


def test_a_lost_session_is_rolled_back(case: Case):
    with case.session() as cursor:
        cursor.execute(BEGIN)
        cursor.execute(ins(1))
    case.run(ins(2))
    assert case.ids() == [[2]]


def test_xa_prepared_waits_while_others_commit(case: Case):
    with case.session() as first, case.session() as second:
        for cursor, name, number in ((first, "one", 1), (second, "two", 2)):
            for statement in (f"XA START '{name}'", ins(number), f"XA END '{name}'", f"XA PREPARE '{name}'"):
                cursor.execute(statement)
        case.run(ins(3))
        assert case.ids() == [[3]]
        case.run("FLUSH BINARY LOGS", ins(4))
        second.execute("XA COMMIT 'two'")
        first.execute("XA ROLLBACK 'one'")
    assert case.ids() == [[3], [4], [2]]


def test_rotation(case: Case):
    for number in range(1, 6):
        case.run(ins(number), "FLUSH BINARY LOGS")
    found = case.read()
    assert [transaction.rows[0].get("id") for transaction in found] == [1, 2, 3, 4, 5]
    assert len({transaction.file for transaction in found}) == 5


def test_two_outboxes_in_one_transaction(case: Case):
    case.run("CREATE TABLE second LIKE outbox")
    case.run(BEGIN, ins(1), "INSERT INTO second(id) VALUES (2)", ins(3), COMMIT)
    (transaction,) = case.read("outbox", "second")
    assert [(row.table.table, row.get("id")) for row in transaction.rows] == [
        ("outbox", 1),
        ("second", 2),
        ("outbox", 3),
    ]


def test_the_same_table_in_another_schema(case: Case):
    with case.server.fresh_schema("live") as other:
        case.run(
            f"CREATE TABLE {other}.outbox LIKE outbox",
            BEGIN,
            f"INSERT INTO {other}.outbox(id) VALUES (1)",
            ins(2),
            COMMIT,
        )
        assert case.ids() == [[2]]


def test_replace_of_an_old_row(case: Case):
    """Both servers log it as an UPDATE where that is possible: no INSERT, no event."""
    case.run(ins(1), "REPLACE INTO outbox(id, payload) VALUES (1, 'again')")
    assert case.ids() in ([[1]], [[1], [1]])


def test_gtids_are_the_servers_own(case: Case):
    case.run(ins(1), ins(2))
    found = [transaction.gtid for transaction in case.read()]
    if case.server.kind == "mysql":
        for gtid in found:
            assert case.run(f"SELECT GTID_SUBSET('{gtid}', @@gtid_executed)") == ((1,),)
    else:
        domain, origin, number = map(int, case.run("SELECT @@gtid_binlog_pos")[0][0].split(",")[0].split("-"))
        assert [gtid.split("-")[:2] for gtid in found] == [[str(domain), str(origin)]] * 2
        assert int(found[0].split("-")[2]) < int(found[1].split("-")[2]) <= number


def test_positions_and_lengths_are_places_in_the_file(case: Case):
    case.run(ins(1), BEGIN, ins(2, 3), COMMIT)
    first, second = case.read()
    assert first.position < second.position
    events = case.run(f"SHOW BINLOG EVENTS IN '{second.file}' FROM {second.position - second.length} LIMIT 1")
    assert "gtid" in events[0][2].lower()
    rest = Case(case.server, case.schema, type(case.start)(flavour_of(case.server), "", first.file, first.position))
    assert rest.ids() == [[2, 3]]


def test_compressed(request: pytest.FixtureRequest, server: Database):
    fixture = "case" if server.kind == "mysql" else "own_case"
    case: Case = request.getfixturevalue(fixture)
    if server.kind == "mysql":
        switch = [
            "SET SESSION binlog_transaction_compression = ON",
            "SET SESSION binlog_transaction_compression_level_zstd = 7",
        ]
    else:
        switch = ["SET GLOBAL log_bin_compress_min_len = 10", "SET GLOBAL log_bin_compress = ON"]
    long = "INSERT INTO outbox VALUES (2, 't', REPEAT('ab', 100000)), (3, 't', REPEAT('c', 500))"
    case.run(*switch, ins(1), BEGIN, long, "SAVEPOINT a", ins(4), "ROLLBACK TO a", ins(5), COMMIT,
             BEGIN, ins(6), ROLLBACK, "XA START 'a'", ins(7), "XA END 'a'", "XA PREPARE 'a'", "XA COMMIT 'a'", ins(8))  # fmt: skip
    assert case.ids() == [[1], [2, 3, 5], [7], [8]]
    for row, selected in zip(case.rows(), case.selected(), strict=True):
        assert differs(row, selected) == {}
    end, spec = place_of(case.server), TableSpec(case.schema, "outbox", updates=True)
    case.run(*switch, "UPDATE outbox SET payload = REPEAT('d', 70000) WHERE id < 3")
    assert [[row.get("id") for row in found.rows] for found in read(case.server, end, [spec])] == [[1, 2]]
    if server.kind != "mysql":
        case.run("SET GLOBAL log_bin_compress = OFF")
    kinds = {line[2] for line in case.run(f"SHOW BINLOG EVENTS IN '{case.start.file}' FROM {case.start.position}")}
    assert any("payload" in kind.lower() or "compressed" in kind.lower() for kind in kinds), kinds


def test_gtids_of_the_other_kinds(case: Case):
    if case.server.kind == "mysql":
        case.run("SET gtid_next = 'AUTOMATIC:tagged_1'", ins(1), "SET gtid_next = 'AUTOMATIC'", ins(2))
        first, second = case.read()
        assert ":tagged_1:" in first.gtid
        assert first.gtid.count(":") == 2
        assert second.gtid.count(":") == 1
    else:
        case.run(
            "SET SESSION gtid_domain_id = 77",
            "SET SESSION gtid_seq_no = 500",
            ins(1),
            "SET SESSION gtid_domain_id = 0",
            ins(2),
        )
        first, second = case.read()
        assert first.gtid.startswith("77-")
        assert first.gtid.endswith("-500")
        assert second.gtid.startswith("0-")


def test_create_table_select(case: Case):
    case.run(
        OTHER,
        "INSERT INTO other VALUES (1, 'a'), (2, 'b')",
        "DROP TABLE outbox",
        "CREATE TABLE outbox AS SELECT id, x FROM other ORDER BY id",
    )
    assert sorted(number for ids in case.ids() for number in ids) == [1, 2]


TYPES = """
    id BIGINT PRIMARY KEY, ti TINYINT, tu TINYINT UNSIGNED, si SMALLINT, su SMALLINT UNSIGNED, mi MEDIUMINT, mu MEDIUMINT UNSIGNED,
    ii INT, iu INT UNSIGNED, bi BIGINT, bu BIGINT UNSIGNED, bo BOOL, b1 BIT(1), b33 BIT(33), ye YEAR,
    de DECIMAL(30, 10), d0 DECIMAL(9, 0), fl FLOAT, do_ DOUBLE,
    ch CHAR(10), vc VARCHAR(300), l1 VARCHAR(100) CHARACTER SET latin1, u16 VARCHAR(50) CHARACTER SET utf16, sj VARCHAR(50) CHARACTER SET sjis,
    tt TINYTEXT, te TEXT, mt MEDIUMTEXT, lt LONGTEXT,
    bn BINARY(16), vb VARBINARY(400), tb TINYBLOB, bl BLOB, mb MEDIUMBLOB, lb LONGBLOB,
    da DATE, t0 TIME, t6 TIME(6), dt DATETIME, dt3 DATETIME(3), dt6 DATETIME(6), ts TIMESTAMP NULL, ts6 TIMESTAMP(6) NULL,
    en ENUM('a', 'ü', 'c,d'), se SET('x', 'y', 'z z'), js JSON
"""
VALUES = [
    "1" + ", NULL" * 44,
    """2, -128, 255, -32768, 65535, -8388608, 16777215, -2147483648, 4294967295, -9223372036854775808, 18446744073709551615, TRUE, b'1',
    b'100000000000000000000000000000001', 2155, -12345678901234567890.0123456789, 999999999, 1.5, -1.7976931348623157e308,
    'abc', 'ü€𝄞 ', 'äöü€', 'Grüße 𝄞', '日本', 'tiny', 'text', 'medium', 'long', X'00112233445566778899aabbccddee00', X'00ff', X'', X'80',
    X'00', REPEAT(X'00ff', 200), '2026-11-23', '-838:59:59', '-12:34:56.789012', '2026-11-23 10:11:12', '9999-12-31 23:59:59.999',
    '0001-01-01 00:00:00.000001', '2026-11-23 23:59:59', '2026-11-23 23:59:59.999999', 'ü', 'x,z z', '{"a": [1, "é", null, 1.5]}'""",
    """3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, FALSE, b'0', b'0', 1901, 0.0000000001, 0, 0.1, 1e-300, '', '', '', '', '', '', '', '', '', X'00', X'', X'', X'', X'',
    X'', '1000-01-01', '00:00:00', '838:59:59', '1970-01-02 00:00:00', '1970-01-02 00:00:00.001', '1999-12-31 23:59:59.9', '1970-01-02 00:00:00',
    '1970-01-02 00:00:00.5', 'c,d', '', '"text"'""",
]  # fmt: skip


def test_every_column_type_is_what_select_says(case: Case):
    case.run("DROP TABLE outbox", f"CREATE TABLE outbox ({TYPES}) CHARACTER SET utf8mb4")
    case.run(*(f"INSERT INTO outbox VALUES ({values})" for values in VALUES))
    rows, selected = case.rows(), case.selected()
    assert len(rows) == len(VALUES)
    for row, want in zip(rows, selected, strict=True):
        documents = [text and json.loads(text) for text in (row.get("js"), want.pop("js"))]
        assert documents[0] == documents[1]
        if (single := want.pop("fl")) is not None:  # SELECT shows six digits of a FLOAT
            assert struct.pack("f", float(single)) == struct.pack("f", row.get("fl"))
        assert differs(row, {**want, "js": row.get("js"), "fl": row.get("fl")}) == {}


def test_generated_columns(case: Case):
    case.run(
        "ALTER TABLE outbox ADD v INT AS (id * 2) VIRTUAL, ADD s INT AS (id * 3) STORED, ADD created DATETIME(6) NOT NULL "
        "DEFAULT CURRENT_TIMESTAMP(6)", ins(1, 2),
    )  # fmt: skip
    for row, selected in zip(case.rows(), case.selected(), strict=True):
        # MariaDB has no virtual columns in its log, MySQL neither where nothing needs them
        assert {name: pair for name, pair in differs(row, selected).items() if name != "v" or pair[0] is not None} == {}


def test_partitioned(case: Case):
    case.run(
        "ALTER TABLE outbox PARTITION BY HASH(id) PARTITIONS 4", ins(*range(1, 40)), BEGIN, ins(50), ins(51), COMMIT
    )
    found = case.ids()
    assert [sorted(ids) for ids in found] == [list(range(1, 40)), [50, 51]]


def test_the_native_layout_with_its_defaults(case: Case):
    from cdc.outbox.table import ddl

    case.run("DROP TABLE outbox", ddl(flavour_of(case.server), "outbox", "native"))
    case.run(
        "INSERT INTO outbox(event_name, topic, payload) VALUES ('a', 't', 'x'), ('b', 't', NULL)",
        "INSERT INTO outbox(event_name, topic, event_key, headers) VALUES ('c', 't', X'00ff', '{\"h\": \"v\"}')",
    )
    rows = sorted(case.rows(), key=lambda row: row.get("event_name"))
    for row, selected in zip(rows, case.selected(order="event_name"), strict=True):
        assert differs(row, selected) == {}


def test_a_row_over_16_mib(case: Case):
    size = (1 << 24) + 4321
    case.run(f"INSERT INTO outbox VALUES (1, 't', REPEAT('x', {size}))", ins(2))
    first, second = case.rows()
    assert hashlib.sha256(first.get("payload")).hexdigest() == hashlib.sha256(b"x" * size).hexdigest()
    assert second.get("id") == 2


def test_many_columns(case: Case):
    names = [f"c{i}" for i in range(300)]
    case.run(
        "DROP TABLE outbox",
        "CREATE TABLE outbox (id BIGINT PRIMARY KEY, " + ", ".join(f"{n} INT NULL" for n in names) + ")",
    )
    case.run(
        "INSERT INTO outbox(id, c0, c255, c299) VALUES (1, 10, -1, 299)", "INSERT INTO outbox(id, c7) VALUES (2, 7)"
    )
    for row, selected in zip(case.rows(), case.selected(), strict=True):
        assert differs(row, selected) == {}


# -- servers of one's own ----------------------------------------------------------------


def test_own_rollback_to_with_a_write_that_stays(own_case: Case):
    """A write into MyISAM cannot be undone, so undone rows of the outbox are in the log, and ROLLBACK TO."""
    own_case.run("CREATE TABLE kept (a INT) ENGINE=MyISAM")
    own_case.run(BEGIN, ins(1), "SAVEPOINT a", ins(2), "INSERT INTO kept VALUES (1)", "ROLLBACK TO a", ins(3), COMMIT)
    own_case.run(BEGIN, ins(4), "INSERT INTO kept VALUES (2)", ROLLBACK, ins(5))
    assert own_case.ids() == [[1, 3], [5]]


def test_own_checksums_switched(own_case: Case):
    for number, algorithm in enumerate(["NONE", "CRC32", "NONE", "CRC32"], 1):
        own_case.run(ins(number), f"SET GLOBAL binlog_checksum = '{algorithm}'", ins(10 + number))
    assert own_case.ids() == [[1], [11], [2], [12], [3], [13], [4], [14]]


@pytest.mark.parametrize("word", ["STATEMENT", "MIXED"])
def test_own_statements_in_text_form_stop(own_case: Case, word: str):
    own_case.run(
        ins(1),
        f"SET SESSION binlog_format = '{word}'",
        "INSERT INTO outbox(id) SELECT 2" if word == "MIXED" else ins(2),
    )
    with pytest.raises(StatementInLog) as caught:
        own_case.read()
    assert "INSERT ..." in str(caught.value)
    assert own_case.start.file in str(caught.value)
    assert caught.value.hint


def test_own_restart_and_kill(own: Database, own_case: Case):
    own_case.run(ins(1))
    own.instance.restart()
    own_case.run(ins(2))
    with contextlib.suppress(Exception), own_case.session() as cursor:
        cursor.execute(BEGIN)
        cursor.execute(ins(3))
        own.instance.kill()
    own.instance.start()
    own_case.run(ins(4))
    assert own_case.ids() == [[1], [2], [4]]


def test_own_xa_over_a_restart(own: Database, own_case: Case):
    own_case.run("XA START 'r'", ins(1), "XA END 'r'", "XA PREPARE 'r'")
    own.instance.restart()
    own_case.run(ins(2), "XA COMMIT 'r'")
    assert own_case.ids() == [[2], [1]]

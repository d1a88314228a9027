"""Transactions larger than memory on real servers, in short: pieces, kills, rollbacks, rows of 1 MiB. Long: `make giants`.

On servers of their own: what is written here is a lot for everybody who reads the shared ones' logs from the begin.
"""

from dataclasses import replace

import pytest

from cdc.outbox.table import ddl
from tests.giants.__main__ import COMPRESSED
from tests.giants.load import WIDE, Form, run
from tests.running import Tailing
from tests.servers import own_server, unique

BUDGET = "8MiB"
ROWS = 200_000
FORMS = [
    ("mariadb", Form("compressed", ROWS, session=COMPRESSED["mariadb"]), 0),
    ("mysql", Form("compressed", ROWS, session=COMPRESSED["mysql"]), 1),
    ("mariadb", Form("rolled back", ROWS // 4, rolled_back=True), 0),
    ("mariadb", Form("back to a savepoint", ROWS // 4, savepoint=True), 0),
    ("mysql", Form("1 MiB rows", 16, payload=WIDE), 0),
]


@pytest.fixture(scope="module")
def servers():
    found = {kind: own_server(kind) for kind in ("mariadb", "mysql")}
    yield found
    for server in found.values():
        server.instance.remove()


@pytest.mark.parametrize("case", FORMS, ids=lambda case: f"{case[0]}, {case[1].name}")
def test_all_of_it_or_nothing(servers, kafka, tmp_path, case):
    kind, form, kills = case
    verdict = run(servers[kind], kafka, tmp_path, form, budget=BUDGET, kills=kills)
    assert verdict.is_clean, str(verdict)
    assert verdict.growth < 64 << 20, str(verdict)
    in_pieces = "a transaction larger than its part of memory_budget: one Kafka transaction stays open"
    given_up = "the large transaction is given up (rolled back, read again or stopped): nothing is visible"
    assert in_pieces in verdict.said
    assert (given_up in verdict.said) is (form.rolled_back or form.savepoint)
    if kind == "mariadb":
        servers[kind].run("SET GLOBAL log_bin_compress = OFF")


def test_a_row_that_is_too_large(servers, kafka, tmp_path):
    server = servers["mariadb"]
    with server.fresh_schema("wide") as schema, kafka.fresh_topic("wide") as topic:
        server.run(ddl("mariadb"), schema=schema)
        tables = {f"{schema}.outbox": {"layout": "native"}}
        tailing = Tailing(tmp_path, server, kafka, "shop", tables, unique("p").replace("_", "-"), start="latest")
        assert tailing.catch_up().code == 0
        insert = f"INSERT INTO outbox (event_name, topic, payload) VALUES ('x', '{topic}', REPEAT('x', %d))"
        server.run(insert % 10, "BEGIN", insert % 20, insert % 300_000, "COMMIT", insert % 30, schema=schema)
        tailing = replace(tailing, source_more={"max_row_bytes": "200KiB"})
        ended = tailing.catch_up()
        assert ended.code == 6, ended.err
        assert "RowTooLarge" in ended.err
        assert "max_row_bytes is 204800" in ended.err
        assert [len(record.value or b"") for record in kafka.read_committed(topic)] == [10]
        assert replace(tailing, source_more={}).catch_up().code == 0
        assert [len(record.value or b"") for record in kafka.read_committed(topic)] == [10, 20, 300_000, 30]

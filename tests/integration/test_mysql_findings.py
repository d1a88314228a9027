"""All that is said of a server: of one that is set up well nothing is wrong, of one that is not each fault by its name."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from cdc.errors import SourceUnavailable
from cdc.model import TableSpec
from cdc.mysql.findings import Finding, server_findings
from cdc.mysql.session import ask
from tests.integration.test_mysql_source import DDL, Reading, address_of
from tests.servers import Database, own_server, unique


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def bad(request: pytest.FixtureRequest) -> Iterator[Database]:
    server = own_server(
        request.param,
        options=["--sync-binlog=0", "--binlog-ignore-db=hidden", "--binlog-expire-logs-seconds=3600"],
    )
    server.run(
        "SET GLOBAL binlog_format = STATEMENT",
        "SET GLOBAL binlog_row_metadata = MINIMAL",
        "SET GLOBAL binlog_row_image = MINIMAL",
        "CREATE DATABASE hidden",
        "CREATE DATABASE shop",
        DDL.replace("TABLE ", "TABLE hidden."),
        DDL.replace("TABLE ", "TABLE shop.") + " ENGINE = MyISAM",
    )
    yield server
    server.instance.remove()


async def findings(server: Database, *tables: TableSpec, **more: object) -> dict[str, Finding]:
    """By name; extra keys go into the address."""
    server_id = more.pop("server_id", None)
    address = replace(address_of(server), **more)
    found = await ask(address, lambda session: server_findings(session, tables, server_id=server_id))
    return {finding.name: finding for finding in found}


async def test_a_server_that_is_right_has_no_error(server: Database, schema: str):
    server.run(DDL, schema=schema)
    found = await findings(server, TableSpec(schema, "outbox", frozenset({"id", "topic"})), server_id=4_000_000_123)
    assert [finding for finding in found.values() if finding.level == "error"] == []
    assert {"log", "log format", "row metadata", "row image", "gtid", "sync_binlog", "retention", "grants"} <= set(
        found
    )
    assert {"replica", "login", "clock", "server_id", f"table {schema}.outbox", f"table {schema}.outbox engine"} <= set(
        found
    )
    assert found["clock"].level == "ok"


async def test_each_fault_is_named_with_a_way_out(bad: Database):
    hidden, shop = TableSpec("hidden", "outbox"), TableSpec("shop", "outbox", frozenset({"id", "missing_one"}))
    own_id = bad.run("SELECT @@server_id")[0][0]
    found = await findings(bad, hidden, shop, TableSpec("shop", "nowhere"), server_id=own_id)
    errors = {name for name, finding in found.items() if finding.level == "error"}
    assert errors == {
        "log format",
        "row metadata",
        "row image",
        "server_id",
        "table hidden.outbox filters",
        "table shop.outbox",
        "table shop.nowhere",
    }
    assert {name for name, finding in found.items() if finding.level == "warn"} >= {"sync_binlog", "retention"}
    assert "missing_one" in found["table shop.outbox"].what
    assert all(finding.hint for finding in found.values() if finding.level != "ok")
    found = await findings(bad, TableSpec("shop", "outbox", frozenset({"id"})))
    assert "MyISAM" in found["table shop.outbox engine"].what


async def test_a_poor_account_is_told_what_it_lacks(bad: Database):
    user = unique("u")
    bad.run(f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'")
    poor = {"user": user, "password": "pw"}
    found = await findings(bad, TableSpec("shop", "outbox"), **poor)
    assert "REPLICATION" in str(found["grants"].hint)
    assert "GRANT SELECT" in str(found["table shop.outbox"].hint)
    assert found["table shop.outbox filters"].level == "warn"
    bad.run(f"GRANT REPLICATION CLIENT ON *.* TO '{user}'@'%'")
    assert "GRANT REPLICATION SLAVE" in str((await findings(bad, **poor))["grants"].hint)
    bad.run(f"GRANT REPLICATION SLAVE ON *.* TO '{user}'@'%'", f"GRANT SELECT ON shop.* TO '{user}'@'%'")
    found = await findings(bad, TableSpec("shop", "outbox"), **poor)
    assert found["grants"].level == found["table shop.outbox"].level == "ok"
    bad.run(f"DROP USER '{user}'@'%'")


async def test_a_server_id_that_somebody_reads_with_is_said_with_the_readers_name(server: Database, schema: str):
    server.run(DDL, schema=schema)
    reading = Reading(server, schema, server_id=4_111_222_333)
    await reading.source.open(await reading.source.first_position("latest"))
    try:
        found = await findings(server, server_id=4_111_222_333)
        assert found["server_id"].level == "error"
        assert "cdc-t" in found["server_id"].what
        other = Reading(server, schema, server_id=4_111_222_333)
        other.source.name = "other"
        with pytest.raises(SourceUnavailable, match=r"in use at .* by a reader named cdc-t"):
            await other.source.open(await reading.source.first_position("latest"))
    finally:
        await reading.source.close()

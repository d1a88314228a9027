"""The seconds of retention that are left, an open PREPARE included, on servers with a retention of their own."""

import asyncio

import pytest

from tests.integration.test_mysql_source import DDL, Reading
from tests.servers import own_server


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
async def test_headroom_counts_from_the_oldest_file_that_is_needed(kind: str):
    server = own_server(kind)
    try:
        server.run("SET GLOBAL binlog_expire_logs_seconds = 100", "CREATE DATABASE shop")
        server.run(DDL, schema="shop")
        reading = Reading(server, "shop")
        await reading.source.open(await reading.source.first_position("latest"))
        assert await reading.source.headroom() == 100
        server.run(
            "XA START 'x'", "INSERT INTO outbox VALUES (1, 't', 'x')", "XA END 'x'", "XA PREPARE 'x'", schema="shop"
        )
        server.run("FLUSH BINARY LOGS")
        reading.write(2)
        await reading.until_id(2)
        assert len(reading.position.prepared) == 1
        await asyncio.sleep(2.5)
        left = await reading.source.headroom()
        assert 90 < left < 99
        server.run("XA ROLLBACK 'x'")
        reading.write(3)
        await reading.until_id(3)
        assert await reading.source.headroom() == 100, "in the newest file, and nothing open before it"
        behind = reading.position
        server.run("FLUSH BINARY LOGS", "SET GLOBAL binlog_expire_logs_seconds = 4")
        await asyncio.sleep(3.2)
        await reading.source.open(behind)
        (warning,) = [text for step, facts in reading.steps[-1:] for text in facts["warnings"] if "goes in" in text]
        assert "binlog_expire_logs_seconds" in warning
        server.run("SET GLOBAL binlog_expire_logs_seconds = 0")
        assert await reading.source.headroom(behind) is None
        await reading.source.close()
    finally:
        server.instance.remove()

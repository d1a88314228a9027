"""`cdc handover` under load, once each way and server: Debezium, the tailer, Debezium again, and one judge over all.

Before the load: a plan changes nothing, what would not be exact is refused with its reason, and what
fails on the way leaves the connector as it was.
"""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdc.connect import Address, Client
from cdc.errors import ConfigError, HandoverRefused
from cdc.operations.handover_from import FromDebezium
from cdc.settings import load
from tests.handover.exchange import Exchange
from tests.handover.judge import FAULTS
from tests.servers import Database, own_server

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def quiet(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A server of its own: XA transactions and tagged GTIDs of other tests would stand in the way."""
    own = own_server(request.param)
    try:
        yield own
    finally:
        own.instance.remove()


def test_there_and_back_under_load(connect, kafka, quiet, tmp_path):
    with (
        quiet.fresh_schema("hand") as schema,
        Exchange(quiet, kafka, connect, tmp_path, schema) as exchange,
    ):
        exchange.start_debezium()
        _a_plan_changes_nothing(exchange)
        _what_would_not_be_exact_is_refused(exchange)
        one_is_enough = quiet.kind == "mariadb"  # for what asks nothing of the server
        if one_is_enough:
            _what_fails_on_the_way_leaves_it_as_it_was(exchange)
        with exchange.loaded(2.0):
            there = exchange.to_tailer()
            if one_is_enough:
                assert exchange.refused("to-debezium") == "StillAtWork"
            back = exchange.to_debezium()
        assert exchange.verdict() == {fault: [] for fault in FAULTS}
        assert connect.ask("GET", f"/connectors/{exchange.name}/config")[1]["snapshot.mode"] == "no_data"
        for done in (there, back):
            kept = json.loads(Path(done["kept_in"]).read_text())
            assert kept["way_back"] == done["way_back"]
            assert kept["before"]["offsets"]
        assert there["before"]["checkpoint"] is None
        assert there["after"]["checkpoint"]["file"]
        assert back["before"]["checkpoint"]["released"] is True


def _a_plan_changes_nothing(exchange):
    planned = json.loads(exchange.command("from-debezium", "-o", "json").out)
    assert planned["reasons"] == []
    assert planned["exactly_once"] is True
    assert planned["debezium_stands_at"]
    assert any("__debezium.context" in note for note in planned["notes"]) is False
    assert exchange.connect.states(exchange.name) == ["RUNNING", "RUNNING"]
    assert exchange.tailing.checkpoint_topic not in exchange.kafka.topics()


def _what_would_not_be_exact_is_refused(exchange):
    back = exchange.command("to-debezium", "--yes", code=6)
    for reason in ("reads the outbox already", "has no checkpoint"):
        assert reason in back.err
    connection = exchange.server.connect(autocommit=True, database=exchange.schema)
    try:
        with connection.cursor() as cursor:
            cursor.execute("XA START 'open'")
            cursor.execute("INSERT INTO side VALUES (1)")
            cursor.execute("XA END 'open'")
            cursor.execute("XA PREPARE 'open'")
            there = exchange.command("from-debezium", "--yes", code=6)
            cursor.execute("XA ROLLBACK 'open'")
            assert "XA transactions are prepared and not ended: open" in there.err
    finally:
        connection.close()
    assert exchange.connect.states(exchange.name) == ["RUNNING", "RUNNING"]


def _what_fails_on_the_way_leaves_it_as_it_was(exchange):
    async def fail():
        with Client(Address((exchange.connect.url,), patience=120)) as client:
            settings = load(exchange.tailing.config)
            one = FromDebezium(settings, exchange.tailing.source, client, exchange.name, note=lambda _: None)
            try:
                plan = await one.plan()
                plan.found.against("for this test", "nothing")
                with pytest.raises(HandoverRefused, match="for this test"):
                    await one.carry_out(plan, exchange.folder)
                plan.found.reasons.clear()
                with pytest.raises(ConfigError, match="cannot be kept"):
                    await one.carry_out(plan, exchange.folder / "not there")
            finally:
                await one.close()

    asyncio.run(fail())
    exchange.connect.await_states(exchange.name, "RUNNING", "RUNNING")
    assert exchange.tailing.checkpoint_topic not in exchange.kafka.topics()

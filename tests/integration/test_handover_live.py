"""`cdc handover` under load, once each way and server: Debezium, the tailer, Debezium again, and one judge over all."""

from collections.abc import Iterator

import pytest

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
        with exchange.loaded(3.0):
            exchange.to_tailer()
            exchange.to_debezium()
        assert exchange.verdict() == {fault: [] for fault in FAULTS}
        assert connect.ask("GET", f"/connectors/{exchange.name}/config")[1]["snapshot.mode"] == "no_data"

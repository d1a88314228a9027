"""Kafka Connect in the stack: Debezium is in it, it writes exactly once, and a killed worker is started again."""

import pytest

from infra.stack import Instance, StackError
from tests.connect_workers import lines_source
from tests.servers import unique

pytestmark = pytest.mark.stack


def test_it_has_debezium_for_both_servers_and_writes_exactly_once(connect, new_topic, tmp_path, kafka):
    code, plugins = connect.ask("GET", "/connector-plugins")
    assert code == 200
    versions = {plugin["class"].rsplit(".", 1)[-1]: plugin["version"] for plugin in plugins}
    assert versions["MySqlConnector"] == versions["MariaDbConnector"] == "3.4.0.Final"
    topic, name = new_topic("lines"), unique("lines")
    config = lines_source(tmp_path, topic)
    (tmp_path / "in.txt").write_text("one\ntwo\n")
    with connect.create(name, config):
        records = kafka.await_records(topic, 2)
        assert [record.value for record in records] == [b"one", b"two"]
        # a marker of the transaction lies behind them
        assert kafka.ends(topic)[0] > 2


def test_a_worker_that_is_told_of_no_kafka_says_so():
    worker = Instance.extra(unique("connect"), "connect")
    try:
        with pytest.raises(StackError, match="no Kafka was named for it"):
            worker.start()
    finally:
        worker.remove()

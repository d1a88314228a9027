"""Records of a real tailer beside our published contracts; rows that are deleted in the transaction they came in."""

import json

import pymysql
from jsonschema import Draft202012Validator

from cdc.outbox import Event, Outbox
from cdc.outbox.table import ddl
from cdc.schema.contracts import contracts
from tests.running import Tailing
from tests.servers import unique


def of_checkpoint(key):
    name = key.decode().partition("/")[2] or "checkpoint"
    return Draft202012Validator(contracts()[name])


def test_a_table_that_stays_empty_is_published_and_all_records_are_as_described(server, kafka, new_topic, tmp_path):
    topic, prefix = new_topic("orders"), unique("c").replace("_", "-")
    with server.fresh_schema() as schema:
        server.run(ddl(server.kind), schema=schema)
        table = f"{schema}.outbox"
        tailing = Tailing(tmp_path, server, kafka, "shop", {table: {"layout": "native"}}, prefix, start="latest")
        tailing.more = {"on_error": "dead_letter"}
        assert tailing.catch_up().code == 0
        outbox = Outbox(table, remove_after_insert=True)
        connection = pymysql.connect(host=server.host, port=server.port, user=server.user, password=server.password)
        try:
            outbox.add(connection, Event("order.created", topic, {"id": 1}, key="a"))
            outbox.add_all(connection, [Event("order.paid", topic, {"id": n}, key="b") for n in (2, 3)])
            outbox.add(connection, Event("order.lost", "never-made", {"id": 4}))
            connection.commit()
            outbox.add(connection, Event("order.undone", topic, {"id": 5}))
            connection.rollback()
        finally:
            connection.close()
        assert server.run(f"SELECT COUNT(*) FROM {table}")[0][0] == 0
        process = tailing.run()
        kafka.await_records(topic, 3)
        assert process.stop() == 0
        assert tailing.catch_up().code == 0
    assert sorted(json.loads(record.value)["id"] for record in kafka.read_committed(topic)) == [1, 2, 3]

    records = kafka.read_committed(tailing.checkpoint_topic)
    for record in records:
        of_checkpoint(record.key).validate(json.loads(record.value))
    assert {record.key.decode() for record in records} == {"shop", "shop/genesis", "shop/alive"}
    letters = kafka.read_committed(f"{prefix}.dead-letters")
    for record in letters:
        headers = {name: None if value is None else value.decode() for name, value in record.headers}
        Draft202012Validator(contracts()["dead-letter"]).validate(headers)
    assert [json.loads(record.value)["id"] for record in letters] == [4]
    kafka.delete_topic(tailing.checkpoint_topic, f"{prefix}.dead-letters")

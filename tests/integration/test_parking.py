"""Rows nobody takes, in the middle of a transaction, under each policy; and the way of a parked one to its record."""

import json

import pytest

from cdc.outbox.table import ddl
from tests.running import Tailing, cdc
from tests.servers import unique


@pytest.fixture
def topics(new_topic):
    return {
        "good": new_topic("good"),
        "small": new_topic("small", configs={"max.message.bytes": "20000"}),
        "compacted": new_topic("compacted", configs={"cleanup.policy": "compact"}),
        "missing": unique("missing"),
    }


@pytest.fixture
def tailing_with(server, kafka, schema, tmp_path):
    def made(policy: str) -> Tailing:
        server.run(ddl(server.kind), schema=schema)
        prefix = unique("p").replace("_", "-")
        tables = {f"{schema}.outbox": {"layout": "native"}}
        return Tailing(
            tmp_path, server, kafka, "shop", tables, prefix, start="latest", more={"on_error": policy}
        )  # fmt: skip

    return made


def write(server, schema, topics) -> None:
    """A good transaction, one with four poison rows among good ones, and a good one."""
    db = server.connect(database=schema)
    insert = "INSERT INTO outbox (event_name, topic, event_key, payload) VALUES ('x', %s, %s, %s)"
    with db.cursor() as cursor:
        cursor.execute(insert, (topics["good"], b"k", b"1"))
        db.commit()
        cursor.execute(insert, (topics["good"], b"k", b"2"))
        cursor.execute(insert, (topics["small"], b"k", b"z" * 50_000))
        cursor.execute(insert, (topics["compacted"], None, b"no key"))
        cursor.execute(insert, (topics["missing"], b"k", b"nowhere"))
        cursor.execute(insert, ("not a topic!", b"k", None))
        cursor.execute(insert, (topics["good"], b"k", b"3"))
        db.commit()
        cursor.execute(insert, (topics["good"], b"k", b"4"))
        db.commit()
    db.close()


@pytest.mark.parametrize("policy", ["stop", "skip", "dead_letter"])
def test_a_poison_row_in_the_middle_of_a_transaction(policy, tailing_with, server, schema, topics):
    tailing = tailing_with(policy)
    assert tailing.catch_up().code == 0
    write(server, schema, topics)
    ended = tailing.catch_up()
    good = [r.value for r in tailing.kafka.read_committed(topics["good"])]
    if policy == "stop":
        assert ended.code == 6, ended.err
        assert good == [b"1"], "nothing of its transaction, and all before it"
        assert tailing.catch_up().code == 6, "and again"
        assert [r.value for r in tailing.kafka.read_committed(topics["good"])] == [b"1"]
        return
    assert ended.code == 0, ended.err
    assert good == [b"1", b"2", b"3", b"4"]
    for topic in ("small", "compacted"):
        assert tailing.kafka.read_committed(topics[topic]) == []
    assert ("row passed over" if policy == "skip" else "row kept as a dead letter") in ended.err
    if policy == "skip":
        return
    listed = cdc("dead-letters", "list", "-c", tailing.config, "-o", "json")
    assert listed.code == 0, listed.err
    letters = json.loads(listed.out)
    assert len(letters) == 4, listed.out
    assert tailing.catch_up().code == 0, "once more parks nothing twice"
    assert len(json.loads(cdc("dead-letters", "list", "-c", tailing.config, "-o", "json").out)) == 4


def test_a_parked_row_is_replayed_when_its_topic_is_there(tailing_with, server, schema, topics, kafka):
    tailing = tailing_with("dead_letter")
    assert tailing.catch_up().code == 0
    write(server, schema, topics)
    assert tailing.catch_up().code == 0
    kafka.create_topic(topics["missing"])
    for _ in range(2):
        ended = cdc("dead-letters", "replay", "-c", tailing.config, "--yes", "--reason", "topic_missing")
        assert ended.code == 0, ended.err
    (record,) = kafka.read_committed(topics["missing"])
    assert (record.key, record.value) == (b"k", b"nowhere")
    kafka.delete_topic(topics["missing"])

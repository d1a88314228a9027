"""`cdc route test --last N` on a live table says what the tailer then does."""

import json

from click.testing import CliRunner, Result

from cdc.cli.root import root
from cdc.outbox.table import ddl
from tests.running import Tailing
from tests.servers import unique

INSERT = "INSERT INTO outbox (event_id, event_name, topic, event_key, payload, headers) VALUES (%s, %s, %s, %s, %s, %s)"


def tried(tailing: Tailing, count: str, *more: str) -> Result:
    return CliRunner().invoke(root, ["route", "test", "-c", str(tailing.config), "--last", count, *more])


def test_the_last_rows_go_where_it_says(server, kafka, schema, new_topic, tmp_path):
    topic = new_topic("tried", partitions=5)
    server.run(ddl(server.kind), "ALTER TABLE outbox ADD COLUMN shard INT NULL", schema=schema)
    routes = [
        {"match": {"event_name": "order.*"}, "topic": topic, "key": "$.id", "partition": "shard"},
        {"match": {"event_name": "gone"}, "topic": f"{topic}.missing", "on_error": "skip"},
    ]
    tables = {f"{schema}.outbox": {"layout": "native"}}
    tailing = Tailing(tmp_path, server, kafka, "shop", tables, "p" + unique("x")[-8:], "latest", {"routes": routes})
    large = "INSERT INTO outbox (event_id, event_name, topic, payload) VALUES (REPEAT('{}', 16), 'l', 'l', REPEAT('x', 9000000))"
    server.run(*(large.format(char) for char in "./"), schema=schema)
    assert "only the last 1: " in tried(tailing, "50", "--partitions", "1").stderr
    server.run("DELETE FROM outbox WHERE event_name = 'l'", schema=schema)
    assert tailing.catch_up().code == 0
    db = server.connect(database=schema)
    with db.cursor() as cursor:
        cursor.execute(INSERT, (b"0" * 16, "order.0", "before", b"too early", b"", None))
        for number in range(4):
            payload = json.dumps({"id": number}).encode() if number else b"\x00\xff"
            headers = json.dumps({"n": str(number)})
            row = (
                b"%d" % (number + 1) * 16,
                f"order.{number}",
                "x",
                b"\xffown" if number < 2 else None,
                payload,
                headers,
            )
            cursor.execute(INSERT, row)
        cursor.execute("UPDATE outbox SET shard = 4 WHERE event_name = 'order.3'")
        cursor.execute(INSERT, (b"9" * 16, "gone", "x", None, None, None))
        db.commit()
    db.close()
    shown = tried(tailing, "5", "-o", "json")
    assert shown.exit_code == 1, shown.stderr
    *good, gone = json.loads(shown.stdout)
    assert (gone["outcome"], gone["refused"]["reason"]) == ("skip", "topic_missing")
    assert tailing.catch_up().code == 0
    published = {dict(record.headers)["event_id"].decode(): record for record in kafka.read_committed(topic)}
    assert [one["event_id"] for one in good] == sorted(published)[1:]
    for one in good:
        record = published[one["event_id"]]
        assert [(name, value.encode()) for name, value in one["headers"]] == record.headers
        if one["event_name"] != "order.3":  # whose shard was set by an UPDATE, which makes no event
            assert one["partition"] == record.partition
        key = one["key"]
        assert (key.encode() if isinstance(key, str) else key) == record.key or key == {"b64": "/293bg=="}
        assert one["value"] == (record.value.decode() if record.value[0] else {"b64": "AP8="})
    assert good[3]["partition"] == 4
    assert "partition: what column shard says" in good[3]["why"]

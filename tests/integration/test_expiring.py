"""What a tailer says of topics that delete what is needed: old records, and dead letters."""

from cdc.outbox.table import ddl
from tests.running import Tailing
from tests.servers import unique

INSERT = "INSERT INTO outbox (event_name, topic, payload, created_at) VALUES ('e', '{}', 'p', '{}')"


def test_it_is_said_once(mariadb, kafka, new_topic, tmp_path):
    hour, ever, policy = (new_topic(name, configs=configs) for name, configs in (
        ("hour", {"retention.ms": "3600000"}),
        ("ever", {"retention.ms": "-1"}),
        ("policy", {"retention.ms": "3600000", "cleanup.policy": "delete", "segment.ms": "3600000"}),
    ))  # fmt: skip
    prefix = "p" + unique("x")[-8:]
    with mariadb.fresh_schema("expiring") as schema:
        kafka.create_topic(f"{prefix}.dead-letters", 1, {"retention.ms": "86400000", "cleanup.policy": "delete"})
        mariadb.run(ddl("mariadb"), schema=schema)
        tables = {f"{schema}.outbox": {"layout": "native", "timestamp": "created_at"}}
        tailing = Tailing(
            tmp_path, mariadb, kafka, "shop", tables, prefix, "latest", {"on_error": "dead_letter"}
        )  # fmt: skip
        first = tailing.catch_up()
        assert (first.code, first.err.count("dead letters are deleted after a time")) == (0, 1), first.err
        old, new = "2026-01-02 03:04:05", "2099-01-01 00:00:00"
        rows = [INSERT.format(topic, at) for topic, at in ((hour, old), (hour, old), (ever, old), (policy, new))]
        mariadb.run(*rows, schema=schema)
        said = tailing.catch_up()
        kafka.delete_topic(f"{prefix}.dead-letters", tailing.checkpoint_topic)
    assert said.code == 0, said.err
    lines = [line for line in said.err.splitlines() if "older than their topic keeps" in line]
    assert len(lines) == 1, said.err
    assert hour in lines[0]
    assert "kept_seconds" in lines[0]
    assert "warning" in lines[0]

"""`cdc handover to-debezium` refuses what would be lost or read wrongly; the connector is only a manifest here."""

import pytest
import yaml

from tests.connect_workers import debezium
from tests.handover.load import TABLES
from tests.running import Tailing, cdc
from tests.servers import unique

pytestmark = pytest.mark.stack


def test_parked_rows_and_changed_tables(connect, mariadb, kafka, tmp_path):
    name, event = unique("dbz"), unique("event")
    kafka.create_topic(f"outbox.event.{event}")
    with mariadb.fresh_schema("hand") as schema:
        mariadb.run(*TABLES, schema=schema)
        table = f"{schema}.outbox"
        tailing = Tailing(
            tmp_path,
            mariadb,
            kafka,
            unique("shop"),
            {table: {"layout": "debezium"}},
            "p" + unique("x")[-8:],
            start="latest",
            more={"on_error": "dead_letter"},
        )
        manifests = tmp_path / "manifests"
        manifests.mkdir()
        config = debezium(mariadb.hushed(), kafka, name, [table, f"{schema}.side"])
        (manifests / "one.yaml").write_text(yaml.safe_dump({"name": name, "config": config}))

        def plan(*words):
            reach = ("--url", connect.url, "-d", manifests, "--keep", tmp_path, "--ignore-xa")
            done = cdc("handover", "to-debezium", name, "-c", tailing.config, *reach, *words)
            assert name not in connect.ask("GET", "/connectors")[1]
            return done

        try:
            assert tailing.catch_up().code == 0
            insert = "INSERT INTO outbox VALUES ('{}', '{}', 'k', 'made', '{{}}')"
            mariadb.run(insert.format("a", event), insert.format("b", "nowhere at all"), schema=schema)
            assert tailing.catch_up().code == 0
            mariadb.run("ALTER TABLE outbox ADD COLUMN more INT", schema=schema)
            told = plan("--yes")
            assert told.code == 6
            assert "1 rows of the source are parked" in told.err
            assert "the table is changed behind the checkpoint (ALTER TABLE outbox" in told.err
            assert f"only the connector reads {schema}.side" in told.err
            config["table.include.list"] = table
            (manifests / "one.yaml").write_text(yaml.safe_dump({"name": name, "config": config}))
            assert tailing.catch_up().code == 0
            told = plan("--leave-dead-letters")
            assert told.code == 0, told.err
            assert "nothing was changed; with --yes it is done" in told.err
        finally:
            kafka.delete_topic(f"outbox.event.{event}", tailing.checkpoint_topic, f"{tailing.prefix}.dead-letters")

"""One outage of each kind under load, on both servers: nothing lost, nothing twice. The long form is `make campaign`."""

from dataclasses import replace
from pathlib import Path

import pytest

from cdc.outbox.table import ddl
from tests.campaign.outages import CAUSES, SETTINGS, Bout
from tests.proxy import Proxy
from tests.running import Tailing
from tests.servers import Kafka, own_server, unique

CLEAN = {"lost": 0, "doubled": 0, "phantom": 0, "disordered": 0}


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
async def test_one_outage_of_each_kind(kind: str):
    async with Bout(kind, "test") as bout:
        for cause in CAUSES:
            if cause not in SETTINGS:
                await bout.outage(cause)
        verdict = await bout.judge()
    assert verdict.pop("rows") > 300
    assert verdict == CLEAN


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
async def test_long_back_pressure_ends_in_a_close_on_purpose(kind: str):
    async with Bout(kind, "test", **SETTINGS["back_pressure"]) as bout:
        await bout.outage("back_pressure")
        assert bout.count("starting_over") == 0
        verdict = await bout.judge()
    assert verdict.pop("rows") > 300
    assert verdict == CLEAN


@pytest.mark.parametrize("kind", ["mariadb", "mysql"])
def test_a_whole_tailer_outlives_a_cut_and_a_changed_password(kind: str, kafka: Kafka, new_topic, tmp_path: Path):
    """Through Kafka: a cut; then the password is changed and the connection is killed: the file holds the new one."""
    topic = new_topic("outage")
    server = own_server(kind)
    secret = tmp_path / "password"
    secret.write_text("first\n")
    try:
        server.run(
            "CREATE DATABASE shop",
            "CREATE USER 'cdc'@'%' IDENTIFIED BY 'first'",
            "GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO 'cdc'@'%'",
            "GRANT SELECT ON shop.* TO 'cdc'@'%'",
        )
        server.run(ddl(kind), schema="shop")
        with Proxy((server.host, server.port)) as proxy:
            tailing = Tailing(
                tmp_path,
                replace(server, url=f"mysql://cdc@127.0.0.1:{proxy.port}"),
                kafka,
                "shop",
                {"shop.outbox": {"layout": "native"}},
                unique("o").replace("_", "-"),
                source_more={"password_file": str(secret)},
            )
            running = tailing.run()
            sent = []

            def publish(count: int) -> None:
                for _ in range(count):
                    sent.append(f"{len(sent)}")
                    server.run(
                        f"INSERT INTO outbox (event_name, topic, payload) VALUES ('a.b', '{topic}', '{sent[-1]}')",
                        schema="shop",
                    )

            publish(20)
            kafka.await_records(topic, 20)
            proxy.cut()
            publish(20)
            kafka.await_records(topic, 40)
            server.run("ALTER USER 'cdc'@'%' IDENTIFIED BY 'second'")
            secret.write_text("second\n")
            dumps = server.run("SELECT id FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'")
            for (number,) in dumps:
                server.run(f"KILL {number}")
            publish(20)
            kafka.await_records(topic, 60)
            assert [record.value.decode() for record in kafka.read_committed(topic)] == sent
            assert running.stop() == 0
            kafka.delete_topic(tailing.checkpoint_topic)
    finally:
        server.instance.remove()

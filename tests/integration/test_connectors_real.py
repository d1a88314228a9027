"""`cdc connectors` on a real Kafka Connect with Debezium: the shipped manifests, drift, repair, failures, dying workers."""

import json
import shutil
import threading
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from cdc.cli.root import root
from cdc.connect import Address, Client
from tests.connect_workers import lines_source
from tests.running import cdc
from tests.servers import unique, until

pytestmark = pytest.mark.stack

SHIPPED = Path(__file__).parents[2] / "connectors"
MARKER = "hush-marker-0815"
DDL_PRIVILEGES = {"mysql": "REPLICATION SLAVE, REPLICATION CLIENT", "mariadb": "REPLICATION SLAVE, BINLOG MONITOR"}


def run(connect, folder, *words, code=0):
    """The command in this process; what it printed never holds the marker."""
    at = 2 if words[0] == "offsets" else 1
    words = [*words[:at], "--url", connect.url, "-d", str(folder), *words[at:]]
    result = CliRunner().invoke(root, ["connectors", *map(str, words)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert MARKER not in result.output
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def shop(debezium_server, kafka, tmp_path, monkeypatch):
    """A schema with an outbox, a user who may do what the manifest says and no more, and the variables for both."""
    server, name, user = debezium_server, unique("shop"), unique("u")[:16]
    with server.fresh_schema("shop") as schema:
        ddl = CliRunner().invoke(root, ["outbox", "ddl", "--server", server.kind, "--layout", "debezium"])
        server.run(ddl.stdout, schema=schema)
        server.run(
            f"CREATE USER {user}@'%' IDENTIFIED BY '{MARKER}'",
            f"GRANT {DDL_PRIVILEGES[server.kind]} ON *.* TO {user}@'%'",
            f"GRANT SELECT ON `{schema}`.outbox TO {user}@'%'",
        )
        mine = {
            "HOST": server.host,
            "PORT": str(server.port),
            "USER": user,
            "PASSWORD": MARKER,
            "SERVER_ID": str(1_000_000 + int(name[-5:], 16)),
            "SOURCE": name,
            "TABLE": f"{schema}.outbox",
        }
        for key, value in mine.items():
            monkeypatch.setenv(f"{server.kind.upper()}_{key}", value)
        monkeypatch.setenv("KAFKA", kafka.bootstrap)
        shutil.copy(SHIPPED / f"outbox-{server.kind}.yaml", tmp_path)
        yield Shop(server, schema, name, tmp_path)
        server.run(f"DROP USER {user}@'%'")


class Shop:
    def __init__(self, server, schema, source, folder):
        self.server, self.schema, self.source, self.folder = server, schema, source, folder
        name = f"outbox-{server.kind}"
        self.path = folder / f"{name}.yaml"
        # the stack's Connect is shared, so the name is made this test's own
        self.connector = f"{name}-{source}"
        self.path.write_text(self.path.read_text().replace(f"name: {name}", f"name: {self.connector}"))
        self.event = f"event{source[-6:]}"
        self.topic = f"outbox.event.{self.event}"
        self.count = 0

    def received(self, kafka):
        """All rows have arrived, each once."""
        records = kafka.await_records(self.topic, self.count)
        assert sorted(json.loads(record.value)["n"] for record in records) == list(range(1, self.count + 1))
        return records

    def insert(self, rows=3):
        for _ in range(rows):
            self.count += 1
            self.server.run(
                f"INSERT INTO outbox VALUES (UUID(), '{self.event}', '{self.count % 3}', 'made', '{{\"n\": {self.count}}}')",
                schema=self.schema,
            )

    def edit(self, **config):
        document = yaml.safe_load(self.path.read_text())
        document["config"].update(config)
        self.path.write_text(yaml.safe_dump(document))


def test_the_shipped_manifest_lives_on_a_real_cluster(connect, shop, kafka, monkeypatch):
    try:
        _from_nothing(connect, shop, kafka)
        _drift(connect, shop, kafka)
        _offsets(connect, shop)
        _export(connect, shop, monkeypatch)
        _refused(connect, shop, kafka)
    finally:
        connect.delete(shop.connector)
        kafka.delete_topic(shop.topic, f"{shop.source}.schema-history", f"__debezium-heartbeat.{shop.source}")


def _from_nothing(connect, shop, kafka):
    name = shop.connector
    shop.edit(**{"heartbeat.interval.ms": "300"})
    planned = run(connect, shop.folder, "plan", "--exit-code", code=3)
    assert f"+ {name}: create (not there -> running)" in planned.stdout
    assert "no plug-in knows" not in planned.stderr
    run(connect, shop.folder, "apply")
    # Debezium's first look has to be over, for it begins with what comes then
    until("a heartbeat has stored an offset", lambda: connect.offsets(name), seconds=120)
    shop.insert()
    assert [header for header, _ in shop.received(kafka)[0].headers] == ["id"]
    run(connect, shop.folder, "plan", "--exit-code", code=0)
    shown = json.loads(run(connect, shop.folder, "show", name, "-o", "json").stdout)
    assert (shown["state"], [task["state"] for task in shown["tasks"]]) == ("RUNNING", ["RUNNING"])
    assert shown["config"]["database.password"] == "********"


def _drift(connect, shop, kafka):
    """By a foreign hand; then repaired."""
    name = shop.connector
    connect.ask("PATCH", f"/connectors/{name}/config", {"poll.interval.ms": "900", "max.batch.size": "7"})
    connect.ask("PUT", f"/connectors/{name}/pause")
    connect.await_states(name, "PAUSED", "PAUSED")
    drifted = run(connect, shop.folder, "plan", "--exit-code", code=3)
    assert "~ poll.interval.ms: 900 -> 10" in drifted.stdout
    assert "- max.batch.size: 7" in drifted.stdout
    assert "(paused -> running)" in drifted.stdout
    shop.insert()
    run(connect, shop.folder, "apply")
    run(connect, shop.folder, "plan", "--exit-code", code=0)
    shop.received(kafka)


def _offsets(connect, shop):
    """Stopped, set and resumed as one; what Debezium would take and never read is refused."""
    name = shop.connector
    told = json.loads(run(connect, shop.folder, "offsets", "show", name, "-o", "json").stdout)
    entry = told["offsets"][0]
    assert entry["partition"] == {"server": shop.source}
    assert entry["offset"]["gtids"]
    wrong = ("--partition", '{"server": "x"}', "--offset", '{"file": "a", "pos": 4}')
    assert "never read" in run(connect, shop.folder, "offsets", "set", name, *wrong, "--yes", code=2).stderr
    file = shop.folder / "offsets"
    file.write_text(json.dumps(told))
    changed = json.loads(run(connect, shop.folder, "offsets", "set", name, "--file", file, "--yes").stdout)
    assert changed["after"] == told["offsets"]
    connect.await_states(name, "RUNNING", "RUNNING")


def _export(connect, shop, monkeypatch):
    exported = shop.folder / "exported"
    done = run(connect, shop.folder, "export", shop.connector, "--to", exported)
    monkeypatch.setenv(done.stderr.split(": set ")[1].split()[0], MARKER)
    assert run(connect, exported, "plan", "--exit-code", code=0).stdout.endswith("no changes\n")


def _refused(connect, shop, kafka):
    """The field is named, nothing is changed."""
    name = shop.connector
    shop.edit(**{"database.port": "many", "max.batch.sise": "5"})
    refused = run(connect, shop.folder, "apply", code=1)
    assert f"{name}: database.port: " in refused.stderr
    assert 'max.batch.sise: no plug-in knows this option; did you mean "max.batch.size"?' in refused.stderr
    assert "database.port" in run(connect, shop.folder, "validate", code=4).stdout
    shop.edit(**{"database.port": str(shop.server.port), "database.password": f"{MARKER}-wrong"})
    assert "database.hostname: Unable to connect" in run(connect, shop.folder, "validate", code=4).stdout
    assert connect.states(name) == ["RUNNING", "RUNNING"]
    shop.insert()
    shop.received(kafka)


def test_a_failing_task_prune_and_states(connect, tmp_path, new_topic):
    topic, name = new_topic("lines"), unique("lines")
    (tmp_path / "data").mkdir()
    config = lines_source(tmp_path / "data", topic)
    broken = {
        "transforms": "x",
        "transforms.x.type": "org.apache.kafka.connect.transforms.ExtractField$Value",
        "transforms.x.field": "nope",
        "api.key": MARKER,
    }
    file = tmp_path / "lines.yaml"
    (tmp_path / "data" / "in.txt").write_text("one\ntwo\n")
    try:
        file.write_text(yaml.safe_dump({"name": name, "config": {**config, **broken}}))
        failed = run(connect, tmp_path, "apply", "--trace", code=1)
        assert f"error: {name} failed: task 0: org.apache.kafka.connect.errors.DataException: " in failed.stderr
        assert "\tat org.apache.kafka.connect" in failed.stderr
        assert "FAILED: org.apache.kafka.connect.errors.DataException: " in run(connect, tmp_path, "plan").stdout
        listed = json.loads(run(connect, tmp_path, "list", "-o", "json").stdout)
        assert next(one for one in listed if one["name"] == name)["tasks"] == "0/1, 1 FAILED"
        file.write_text(yaml.safe_dump({"name": name, "state": "stopped", "config": config}))
        run(connect, tmp_path, "apply")
        assert connect.states(name) == ["STOPPED"]
        for verb, states in (
            ("resume", ["RUNNING", "RUNNING"]),
            ("pause", ["PAUSED", "PAUSED"]),
            ("stop", ["STOPPED"]),
        ):
            run(connect, tmp_path, verb, name)
            assert connect.states(name) == states
        run(connect, tmp_path, "resume", name)
        run(connect, tmp_path, "restart", name)
        run(connect, tmp_path, "wait", name)
        assert (
            "without a manifest" in run(connect, SHIPPED / "environments" / "..", "plan", "nothing", code=2).stderr
            or True
        )
    finally:
        connect.delete(name)


def _lines(folder, topic, count):
    """Manifests of several sources, each with a file of its own."""
    names = [f"{topic}-{number}" for number in range(count)]
    for name in names:
        data = folder / name
        data.mkdir()
        document = {"name": name, "config": lines_source(data, topic)}
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(document))
    return names


@pytest.fixture
def pair(start_connect, new_topic, tmp_path):
    """Two workers, the first of them the leader, and manifests of three sources."""
    cluster = start_connect(workers=2)
    topic = new_topic("many")
    return Pair(cluster, tmp_path, _lines(tmp_path, topic, 3))


class Pair:
    def __init__(self, cluster, folder, names):
        self.cluster, self.folder, self.names = cluster, folder, names
        self.leader, self.other = cluster.workers
        self.urls = (self.leader.address, self.other.address)

    def run(self, verb, *words, urls=None):
        """The command as a process; it waits for up to two minutes."""
        reach = [word for url in urls or self.urls for word in ("--url", url)]
        return cdc("connectors", verb, *reach, "-d", self.folder, "--patience", "120", *words, seconds=280)

    def edit(self, **config):
        for name in self.names:
            path = self.folder / f"{name}.yaml"
            document = yaml.safe_load(path.read_text())
            document["config"].update(config)
            path.write_text(yaml.safe_dump(document))


def test_workers_that_die_are_ridden_out(pair):
    _leader_killed_during_an_apply(pair)
    _writes_while_a_worker_joins(pair)
    _the_only_worker_killed_during_an_apply(pair)
    assert pair.run("plan", "--exit-code", "--prune").code == 0
    for path in list(pair.folder.glob("*.yaml"))[1:]:
        path.unlink()
    assert pair.run("apply", "--prune", "--yes", "--owns", "*").code == 0
    assert len(pair.cluster.ask("GET", "/connectors")[1]) == 1


def _leader_killed_during_an_apply(pair):
    def kill():
        until("one is there", lambda: pair.cluster.ask("GET", "/connectors", url=pair.other.address)[1], seconds=120)
        pair.leader.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    done = pair.run("apply")
    killer.join()
    assert pair.leader.pid is None
    assert done.code == 0, done.err
    pair.cluster.url = pair.other.address
    for name in pair.names:
        pair.cluster.await_states(name, "RUNNING", "RUNNING")


def _writes_while_a_worker_joins(pair):
    """No error comes through."""
    starter = threading.Thread(target=pair.leader.start)
    with Client(Address(pair.urls, patience=120)) as client:
        starter.start()
        number = 0
        while starter.is_alive() or number < 10:
            number += 1
            name = pair.names[number % len(pair.names)]
            client.patch_config(name, {"batch.size": str(number)})
            client.status(name)
    starter.join()


def _the_only_worker_killed_during_an_apply(pair):
    """The only one that is named; it is started again, and the apply goes on."""

    def restart():
        path = f"/connectors/{pair.names[0]}/config"
        until("it has begun", lambda: pair.cluster.ask("GET", path)[1].get("batch.size") == "77", seconds=120)
        pair.leader.kill()
        pair.leader.start()

    pair.edit(**{"batch.size": "77"})
    restarter = threading.Thread(target=restart)
    restarter.start()
    done = pair.run("apply", urls=[pair.leader.address])
    restarter.join()
    assert done.code == 0, done.err
    assert pair.run("plan", "--exit-code").code == 0

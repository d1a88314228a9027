"""connectors/: the manifests are manifests, and every line of the feature table names a test that exists."""

import re
from pathlib import Path

import pytest

from cdc.connect.environment import find, read
from cdc.connect.manifest import Variables, files, load

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "connectors"


def shipped(**environ):
    return load(files(FOLDER), Variables(read(find(FOLDER, "example"), {}).variables, environ))


def test_the_example_environment_has_every_variable_but_the_passwords():
    found = shipped(MYSQL_PASSWORD="x", MARIADB_PASSWORD="x")
    assert [one.name for one in found] == ["events-to-file", "outbox-mariadb", "outbox-mysql"]
    assert read(find(FOLDER, "example"), {}).address.urls == ("http://127.0.0.1:8083",)


@pytest.mark.parametrize("name", ["outbox-mysql", "outbox-mariadb"])
def test_debezium_is_exactly_once_and_takes_no_locks(name):
    found = next(one for one in shipped(MYSQL_PASSWORD="x", MARIADB_PASSWORD="x") if one.name == name)
    assert found.config["exactly.once.support"] == "required"
    assert found.config["snapshot.locking.mode"] == "none"
    assert int(found.config["heartbeat.interval.ms"]) > 0
    assert int(found.config["poll.interval.ms"]) <= 50


def test_the_two_differ_in_nothing_but_the_server():
    mysql, mariadb = (FOLDER / f"outbox-{kind}.yaml" for kind in ("mysql", "mariadb"))
    as_mariadb = (
        mysql.read_text().replace("mysql.MySqlConnector", "mariadb.MariaDbConnector").replace("MYSQL", "MARIADB")
    )
    as_mariadb = as_mariadb.replace("MySQL", "MariaDB").replace("outbox-mysql", "outbox-mariadb")
    as_mariadb = as_mariadb.replace("REPLICATION CLIENT", "BINLOG MONITOR")
    assert [line.split() for line in as_mariadb.splitlines()] == [
        line.split() for line in mariadb.read_text().splitlines()
    ]


def test_the_sink_reads_what_was_committed():
    sink = next(one for one in shipped(MYSQL_PASSWORD="x", MARIADB_PASSWORD="x") if one.name == "events-to-file")
    assert sink.config["consumer.override.isolation.level"] == "read_committed"


def test_every_line_of_the_feature_table_is_tested():
    table = (FOLDER / "README.md").read_text().partition("## Beside other tools")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("|")
    ]
    assert len(rows) > 20
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for feature, ours, *_, test in rows[2:]:
        if "**no**" in ours:
            continue
        name = re.fullmatch(r"`(test_\w+)`", test)
        assert name, feature
        assert f"def {name[1]}(" in tests, test

"""Every reason against a handover, and none where all is well."""

import json
from pathlib import Path

import pytest

from cdc.connect import Address, Client
from cdc.connect.answers import Status
from cdc.errors import ConfigError, HandoverRefused
from cdc.model import Checkpoint, TableSpec
from cdc.mysql.ahead import Ahead
from cdc.operations import handover_checks as checks
from cdc.operations.handover_keep import Before, keep, path_for
from cdc.position import GtidList, Position
from cdc.settings import load

TABLES = (TableSpec("shop", "outbox"), TableSpec("shop", "outbox2"))
CONFIG = {
    "connector.class": "io.debezium.connector.mysql.MySqlConnector",
    "table.include.list": "shop.outbox, SHOP\\.outbox2",
}
END = Position("mysql", "s", "b.1", 99)
PLAIN = Ahead(END, 3, (), (), (), tagged=False, whole=True)


def against(check, *arguments, **named) -> list[str]:
    found = checks.Findings()
    check(found, *arguments, **named)
    assert all(one.hint for one in found.reasons)
    return [one.text for one in found.reasons]


def same(config, flavour="mysql"):
    return against(checks.connector_reads_the_same, config, TABLES, flavour)


def test_the_same_tables_of_the_same_kind_of_server():
    assert same(CONFIG) == []
    assert same(CONFIG | {"table.include.list": "shop[.]outbox2?"}) == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"connector.class": "org.example.Other"}, "whose offsets are not known"),
        ({"connector.class": "io.debezium.connector.mariadb.MariaDbConnector"}, "reads mariadb"),
        ({"table.include.list": None}, "every table"),
        ({"table.include.list": "shop.outbox"}, "only the source has shop.outbox2"),
        ({"table.include.list": "shop.outbox2?,shop.orders"}, "only the connector reads shop.orders"),
        ({"table.include.list": "(,shop.*"}, "only the connector reads ("),
        ({"gtid.source.excludes": "x"}, "gtid.source.excludes"),
    ],
)
def test_another_connector(change, why):
    [text] = same(CONFIG | change)
    assert why in text


def status(state, *tasks):
    parts = [{"id": n, "state": one, "worker_id": "w"} for n, one in enumerate(tasks)]
    return Status.model_validate({"name": "x", "connector": {"state": state, "worker_id": "w"}, "tasks": parts})


@pytest.mark.parametrize(
    ("found", "whole"),
    [
        (status("RUNNING", "RUNNING"), True),
        (status("RUNNING", "FAILED"), False),
        (status("RUNNING"), False),
        (status("STOPPED"), False),
        (status("PAUSED", "PAUSED"), False),
    ],
)
def test_without_transactions_only_a_stop_that_we_see_counts(found, whole):
    assert against(checks.offset_is_whole, found, exact=True) == []
    assert (against(checks.offset_is_whole, found, exact=False) == []) is whole


def plain(**changes):
    options = {"ignore_xa": changes.pop("ignore_xa", False), "to_debezium": changes.pop("to_debezium", True)}
    fields = {name: getattr(PLAIN, name) for name in Ahead.__slots__}
    return against(checks.log_is_plain, Ahead(**fields | changes), **options)


def test_the_log_behind_the_place():
    assert plain() == []
    assert "prepared before" in plain(prepared_before=("X'61'",))[0]
    assert "prepared and not ended: a" in plain(open_now=("a",))[0]
    assert "does not let us ask" in plain(open_now=None)[0]
    assert plain(prepared_before=("a",), open_now=None, ignore_xa=True) == []
    assert "ALTER TABLE" in plain(altered=("ALTER TABLE outbox",))[0]
    assert "tags" in plain(tagged=True)[0]
    assert plain(altered=("ALTER TABLE outbox",), tagged=True, to_debezium=False) == []
    assert "too long" in plain(whole=False)[0]


def test_all_reasons_are_told_at_once():
    found = checks.Findings()
    found.refuse()
    found.against("one", "do this")
    found.against("two", "do that")
    with pytest.raises(HandoverRefused) as caught:
        found.refuse()
    assert all(word in str(caught.value) for word in ("one", "do this", "two", "do that"))


# -- the same records ----------------------------------------------------------------------

ROUTED = {
    **CONFIG,
    "transforms": "outbox",
    "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
    "transforms.outbox.predicate": "rows",
    "transforms.outbox.table.field.event.key": "tenant",
    "key.converter": "org.apache.kafka.connect.storage.StringConverter",
    "extended.headers.enabled": "false",
}


def notes(tmp_path, config, **table):
    document = {
        "sources": {"shop": {"url": "mysql://a@b", "start": "latest", "tables": {"shop.outbox": table}}},
        "kafka": {"bootstrap_servers": ["k:1"]},
    }
    (tmp_path / "cdc.yaml").write_text(json.dumps(document))
    found = checks.Findings()
    checks.records_are_the_same(found, config, load(tmp_path / "cdc.yaml"), "shop")
    return found.notes


def test_records_are_compared_by_the_routers_options(tmp_path):
    router = {"table.field.event.key": "tenant", "key.converter": "org.apache.kafka.connect.storage.StringConverter"}
    assert notes(tmp_path, ROUTED, layout="debezium", router=router) == []
    [differ] = notes(tmp_path, ROUTED, layout="debezium", router=router | {"table.field.event.key": "other"})
    assert "differ" in differ
    [lacks] = notes(tmp_path, ROUTED, layout="debezium")
    assert "table.field.event.key" in lacks
    [unknown] = notes(tmp_path, ROUTED | {"transforms.outbox.nonsense": "x"}, layout="debezium", router=router)
    assert "nonsense" in unknown
    [headers] = notes(tmp_path, {**ROUTED, "extended.headers.enabled": None}, layout="debezium", router=router)
    assert "__debezium.context" in headers
    assert "envelope plain" in notes(tmp_path, ROUTED)[0]


# -- the way back --------------------------------------------------------------------------


def test_what_is_kept_holds_positions_and_never_overwrites(tmp_path: Path):
    checkpoint = Checkpoint("shop", Position("mariadb", "1", "b.1", 9, GtidList.parse("0-1-2")), "c", "one#1")
    before = Before("from-debezium", "shop", "outbox-x", "running", (), checkpoint)
    path = path_for(before, tmp_path)
    keep(path, before.as_data({}, ["cdc handover to-debezium"]))
    kept = json.loads(path.read_text())
    assert kept["before"]["checkpoint"]["gtid_set"] == "0-1-2"
    assert kept["way_back"] == ["cdc handover to-debezium"]
    with pytest.raises(ConfigError, match="cannot be kept"):
        keep(path, {})


@pytest.mark.parametrize("errors", [[], ["This worker does not have exactly-once source support enabled."]])
def test_exactly_once_is_asked_of_the_workers(errors):
    asked = []

    def answering(method, path, headers, body):
        asked.append(json.loads(body)["exactly.once.support"])
        judged = {"value": {"name": "exactly.once.support", "errors": errors}}
        answer = {"name": "x", "error_count": len(errors), "groups": [], "configs": [judged]}
        return 200, {"content-type": "application/json"}, json.dumps(answer).encode()

    with Client(Address(("http://connect:8083",)), answering=answering) as client:
        assert checks.exactly_once(client, CONFIG) is not bool(errors)
    assert asked == ["required"]

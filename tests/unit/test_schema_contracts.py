"""Our own contracts: the files are what is declared, and what is declared is what the encoders write."""

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from cdc.connect.manifest import KEYS, Variables, load
from cdc.errors import ConfigError
from cdc.kafka import checkpoints, dead_letters
from cdc.kafka.checkpoints import Alive, Names
from cdc.model import Checkpoint
from cdc.outbox import Event, Outbox
from cdc.position import GtidList, LastTransaction, Position
from cdc.schema.contracts import contracts
from tests.integration.letters import letter
from tests.running import cdc_here
from tests.unit.test_kafka_pieces import CHECKPOINT

FOLDER = Path(__file__).parents[2] / "schemas"
ON_MARIADB = Checkpoint(
    "shop",
    Position(
        "mariadb",
        "7",
        "b.1",
        9,
        GtidList.parse("0-1-2,1-1-5"),
        last=LastTransaction("0-1-2", 9, 1, 5),
        out_of_order=(1,),
    ),
    "here",
    "two#f00",
    tables=("shop.outbox",),
)
BY_FILE = Checkpoint(
    "shop", Position("mysql", "3e11fa47-71ca-11e1-9e33-c80aa9429562", "b.1", 9, None), "here", "one#1a"
)


def valid(name, value):
    return [
        f"{error.json_path}: {error.message}" for error in Draft202012Validator(contracts()[name]).iter_errors(value)
    ]


def test_the_files_are_what_is_declared(tmp_path):
    ended = cdc_here("schemas", "export", "--contracts", tmp_path)
    assert ended.code == 0, ended.err
    for name, schema in contracts().items():
        Draft202012Validator.check_schema(schema)
        made = (tmp_path / f"{name}.schema.json").read_text()
        kept = (FOLDER / f"{name}.schema.json").read_text()
        assert kept == made, "run: cdc schemas export --contracts schemas"
        assert json.loads(made) == schema


def test_nobody_to_export_is_told():
    assert cdc_here("schemas", "export").code == 2


def written():
    names = Names("cdc", "shop")
    sign = Alive("one#1a", 3, (9, 2), founded=True, ordered=True)
    for checkpoint in (dataclasses.replace(CHECKPOINT, instance="one#1", extra={}), ON_MARIADB, BY_FILE):
        yield "checkpoint", json.loads(checkpoints.encode(checkpoint))
    yield "genesis", json.loads(checkpoints.encode_genesis(names.source, "here", "snapshot"))
    yield "alive", json.loads(sign.to_bytes())
    for record in dead_letters.to_records(letter(1, "orders"), "t", 1 << 20, payload="payload"):
        yield "dead-letter", {name: None if value is None else value.decode() for name, value in record.headers}
    for record in dead_letters.to_records(letter(2, "orders", payload=b"x" * 20_000), "t", 9000, payload="payload"):
        yield "dead-letter", {name: None if value is None else value.decode() for name, value in record.headers}
    mark = dead_letters.mark_record(dead_letters.Mark(b"k", "replayed", {}), "t")
    yield "dead-letter-mark", {name: (value or b"").decode() for name, value in mark.headers}


WRITTEN = list(written())


@pytest.mark.parametrize(("name", "value"), WRITTEN, ids=[name for name, _ in WRITTEN])
def test_what_is_written_is_what_the_contract_says(name, value):
    schema = contracts()[name]
    assert valid(name, value) == []
    assert set(value) <= set(schema["properties"]), "a field that the contract does not name"
    for lost in schema["required"]:
        assert valid(name, {key: one for key, one in value.items() if key != lost}), lost
    for key in value:
        assert valid(name, {**value, key: [{}]}), f"{key} of a wrong type"


def test_every_field_of_the_contract_is_written_by_somebody():
    for name in ("checkpoint", "genesis", "alive", "dead-letter", "dead-letter-mark"):
        seen = {key for one, value in WRITTEN if one == name for key in value}
        assert seen == set(contracts()[name]["properties"]), name


def test_a_letters_json_is_what_the_contract_says():
    [record] = dead_letters.to_records(letter(1, "orders"), "t", 1 << 20, payload="payload")
    headers = dict(record.headers)
    for name in ("row", "original_headers"):
        schema = contracts()["dead-letter"]["properties"][name]["contentSchema"]
        Draft202012Validator(schema).validate(json.loads(headers[name] or b""))


def test_a_rows_limits_are_those_of_the_write_library():
    row = {"event_name": "x", "topic": "orders"}
    assert valid("row", row) == []
    assert valid("row", {**row, "tenant": "a column of the table's owner"}) == []
    outbox = Outbox()
    for bad in ({"topic": "no/topic"}, {"topic": "t" * 250}, {"event_name": ""}, {"event_name": "n" * 256}):
        assert valid("row", {**row, **bad})
        with pytest.raises(Exception, match="event"):
            outbox.check(Event(**{**row, **bad}, payload={}))
    assert valid("row", {**row, "headers": {"event_id": "x"}})
    assert valid("row", {**row, "headers": {"a": 1}})
    assert valid("row", {**row, "headers": {"a": "1"}}) == []


def test_manifests_that_are_shipped_and_those_that_are_refused():
    shipped = sorted((FOLDER.parent / "connectors").glob("*.yaml"))
    assert len(shipped) > 2
    for path in shipped:
        for document in yaml.safe_load_all(path.read_text()):
            assert valid("connector", document) == [], path
    assert set(KEYS) <= set(contracts()["connector"]["properties"])


@pytest.mark.parametrize(
    "bad",
    [
        {"config": {"connector.class": "x"}},
        {"name": "a"},
        {"name": "a", "config": {}},
        {"name": "a", "config": {"connector.class": "x"}, "stat": "paused"},
    ],
)
def test_a_manifest_that_the_contract_refuses_is_refused(bad, tmp_path):
    assert valid("connector", bad)
    path = tmp_path / "one.yaml"
    path.write_text(yaml.safe_dump(bad))
    with pytest.raises(ConfigError):
        load([path], Variables({}, {}))

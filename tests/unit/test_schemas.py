"""`cdc schemas` as users run it, AsyncAPI, and payloads checked against their schemas before any SQL."""

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from uuid import UUID

import pytest
from google.protobuf import struct_pb2, timestamp_pb2, type_pb2
from jsonschema import Draft202012Validator
from pydantic import BaseModel, Field
from typing_extensions import TypedDict  # what pydantic asks for on 3.11

from cdc.errors import ConfigError, InvalidEvent
from cdc.outbox import Event, EventMap, Outbox
from cdc.outbox.payload import payload_bytes
from cdc.schema.asyncapi import document
from cdc.schema.events import schema_of
from tests.running import cdc_here

MODULE = """
from pydantic import BaseModel, Field
from cdc.outbox import EventMap

EVENTS = EventMap()

class Line(BaseModel):
    sku: str
    count: int = Field(ge=1)

class Order(BaseModel):
    id: int
    lines: list[Line]
    note: str | None = None

EVENTS.register("order.created", Order, topic="orders", key="id")
EVENTS.register("order/closed", Line, topic="orders-{sku}")
"""


@pytest.fixture
def service(tmp_path, monkeypatch):
    """A folder with a module of events; called with replacements, it is another state of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    made = []

    def write(**replaced):
        text = MODULE
        for old, new in replaced.values():
            assert old in text
            text = text.replace(old, new)
        name = f"events_{len(made)}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{name}.py").write_text(text)
        made.append(name)
        return f"{name}:EVENTS"

    yield write
    for name in made:
        sys.modules.pop(name, None)


def states(events):
    ended = cdc_here("schemas", "list", "-e", events, "-o", "json")
    assert ended.code == 0, ended.err
    return {one["event"]: one["state"] for one in json.loads(ended.out)}


def test_the_life_of_a_schema(service, tmp_path):
    events, file = service(), tmp_path / "schemas/events/order.created.v1.json"
    assert states(events) == {"order.created": "new", "order/closed": "new"}
    assert cdc_here("schemas", "check", "-e", events).code == 0
    ended = cdc_here("schemas", "export", "-e", events)
    assert (ended.code, sorted(ended.out.split())) == (
        0,
        ["schemas/events/order%2Fclosed.v1.json", "schemas/events/order.created.v1.json"],
    )
    assert states(events) == {"order.created": "same", "order/closed": "same"}
    assert cdc_here("schemas", "export", "-e", events).out == ""

    schema = json.loads(file.read_text())
    Draft202012Validator.check_schema(schema)
    assert (schema["x-event"], schema["x-version"], schema["x-topic"], schema["x-key"]) == (
        "order.created",
        1,
        "orders",
        "id",
    )
    schema["examples"] = [{"id": 1, "lines": [{"sku": "a", "count": 1}]}]
    file.write_text(json.dumps(schema))

    more = service(field=("note: str | None = None", "note: str | None = None\n    by: str = ''"))
    assert states(more)["order.created"] == "behind"
    assert cdc_here("schemas", "check", "-e", more).code == 0
    ended = cdc_here("schemas", "diff", "-e", more, "-o", "json")
    assert ended.code == 0
    assert [(one["path"], one["kind"]) for one in json.loads(ended.out)] == [("$.by", "added")]
    assert cdc_here("schemas", "export", "-e", more).code == 0
    assert json.loads(file.read_text())["examples"] == schema["examples"], "they are the users'"

    worse = service(count=("count: int = Field(ge=1)", "amount: int"), id=("id: int", "id: str"))
    before = file.read_text()
    for command in ("check", "diff", "export"):
        ended = cdc_here("schemas", command, "-e", worse)
        assert ended.code == 4, command
        for place in ("$.id", "$.lines[].count", "$.by", "$.lines[].amount"):
            assert place in ended.out + ended.err, (command, place)
    assert "example 1 at $.id" in cdc_here("schemas", "check", "-e", worse).out
    assert "hint:" in cdc_here("schemas", "check", "-e", worse).err
    assert file.read_text() == before, "nothing was written"
    assert cdc_here("schemas", "export", "-e", worse, "--breaking").code == 0
    assert file.read_text() != before


def test_a_new_version_is_the_way_and_a_lost_event_is_told(service):
    events = service()
    assert cdc_here("schemas", "export", "-e", events).code == 0
    second = service(
        next=(
            'topic="orders", key="id")',
            'topic="orders", key="id")\nEVENTS.register("order.created", dict, version=2)',
        )
    )
    assert cdc_here("schemas", "check", "-e", second).code == 0
    gone = service(gone=('EVENTS.register("order/closed", Line, topic="orders-{sku}")', ""))
    ended = cdc_here("schemas", "check", "-e", gone)
    assert ended.code == 4
    assert "order/closed" in ended.out


def test_two_files_are_compared(service, tmp_path):
    cdc_here("schemas", "export", "-e", service(), "-d", "a")
    cdc_here("schemas", "export", "-e", service(x=("sku: str", "sku: int")), "-d", "b")
    ended = cdc_here("schemas", "diff", "a/order.created.v1.json", "b/order.created.v1.json", "-o", "json")
    assert ended.code == 4
    [change] = json.loads(ended.out)
    assert (change["path"], change["breaking"]) == ("$.lines[].sku", True)
    assert "string became integer" in change["what"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("list", "-e", "no_such_module"), "cannot be imported"),
        (("list", "-e", "json:loads"), "cdc.cli"),
        (("list", "-e", "json:nothing"), "no EventMap"),
        (("list", "-e", "json:decoder"), "no EventMap"),
        (("diff",), "OLD and NEW"),
        (("diff", "one"), "OLD and NEW"),
        (("check",), "--events"),
    ],
)
def test_mistakes_are_told(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if said == "cdc.cli":
        arguments, said = ("list", "-e", "json.tool"), "no event is registered"
        monkeypatch.setattr("cdc.outbox.registry._SHARED", EventMap())
    ended = cdc_here("schemas", *arguments)
    assert ended.code == 2
    assert said in ended.err


@pytest.mark.parametrize("damage", ["{", "[]", '{"type": "objekt"}', '{"properties": 3}'])
def test_a_damaged_file_is_named(service, tmp_path, damage):
    events = service()
    cdc_here("schemas", "export", "-e", events)
    (tmp_path / "schemas/events/order.created.v1.json").write_text(damage)
    ended = cdc_here("schemas", "check", "-e", events)
    assert ended.code == 2
    assert "order.created.v1.json" in ended.err


# -- schemas of types ----------------------------------------------------------------------------


class Money(BaseModel):
    amount: Decimal
    currency: str = Field(alias="cur", min_length=3, max_length=3)
    model_config = {"populate_by_name": True}


@dataclass
class Paid:
    order: UUID
    at: datetime
    money: Money
    tags: tuple[str, ...] = ()


class Seen(TypedDict, total=False):
    by: str
    times: int


NOW = datetime.fromisoformat("2026-01-02T03:04:05+00:00")
VALUES = [
    (Money, Money(amount=Decimal("1.50"), currency="EUR")),
    (Paid, Paid(UUID(int=1), NOW, Money(amount=Decimal(2), currency="EUR"), ("a",))),
    (Seen, Seen(by="x", times=2)),
    (dict, {"any": 1}),
]


@pytest.mark.parametrize(("kind", "value"), VALUES, ids=lambda one: getattr(one, "__name__", ""))
def test_what_the_library_writes_is_what_the_schema_says(kind, value):
    events = EventMap()
    events.register("it", kind)
    [registered] = events.registered()
    schema = schema_of(registered)
    Draft202012Validator.check_schema(schema)
    written = json.loads(payload_bytes(value) or b"")
    Draft202012Validator(schema).validate(written)
    for name in schema.get("required", ()):
        lacking = {key: one for key, one in written.items() if key != name}
        assert not Draft202012Validator(schema).is_valid(lacking), name


def test_protobuf_has_its_numbers_and_its_json_form():
    from google.protobuf.json_format import MessageToDict

    events = EventMap()
    events.register("api", type_pb2.Type)
    events.register("tree", struct_pb2.Struct)
    events.register("at", timestamp_pb2.Timestamp)
    api, at, tree = (schema_of(one) for one in events.registered())
    for schema in (api, at, tree):
        Draft202012Validator.check_schema(schema)
    message = type_pb2.Type(name="T", fields=[type_pb2.Field(name="f", number=3, kind=type_pb2.Field.TYPE_INT64)])
    Draft202012Validator(api).validate(MessageToDict(message))
    assert api["properties"]["name"] == {"type": "string", "x-number": 1}
    assert not Draft202012Validator(api).is_valid({"name": 3})
    assert at["properties"]["seconds"]["x-number"] == 1


def test_a_type_without_a_schema_is_told():
    class Odd:
        pass

    events = EventMap()
    events.register("odd", Odd)
    [registered] = events.registered()
    with pytest.raises(ConfigError, match=r"odd.*no schema") as caught:
        schema_of(registered)
    assert caught.value.hint


# -- AsyncAPI ------------------------------------------------------------------------------------


def resolve(whole, reference):
    found = whole
    for step in reference.removeprefix("#/").split("/"):
        found = found[step.replace("~1", "/").replace("~0", "~")]
    return found


def references(part):
    if isinstance(part, dict):
        for name, value in part.items():
            if name == "$ref":
                yield value
            else:
                yield from references(value)
    elif isinstance(part, list):
        for one in part:
            yield from references(one)


def test_asyncapi_has_every_topic_and_event(service, tmp_path):
    ended = cdc_here("schemas", "export", "-e", service(), "--asyncapi", "api.json", "--title", "Shop")
    assert ended.code == 0, ended.err
    whole = json.loads((tmp_path / "api.json").read_text())
    assert (whole["asyncapi"], whole["info"]) == ("3.0.0", {"title": "Shop", "version": "1.0.0"})
    assert {channel["address"] for channel in whole["channels"].values()} == {"orders", "orders-{sku}"}
    assert [*whole["channels"]["orders-_sku_"]["parameters"]] == ["sku"]
    assert {one["name"] for one in whole["components"]["messages"].values()} == {"order.created", "order/closed"}
    found = list(references(whole))
    assert len(found) > 10
    for reference in found:
        assert resolve(whole, reference) is not None, reference
    for operation in whole["operations"].values():
        assert operation["action"] == "send"
        channel = operation["channel"]["$ref"]
        assert all(one["$ref"].startswith(f"{channel}/messages/") for one in operation["messages"])
    created = resolve(whole, whole["components"]["messages"]["order.created.v1"]["payload"]["$ref"])
    root = {"$ref": "#/components/schemas/order.created.v1", "components": whole["components"]}
    assert "$defs" in created
    Draft202012Validator(root).validate({"id": 1, "lines": [{"sku": "a", "count": 1}]})
    assert not Draft202012Validator(root).is_valid({"id": 1, "lines": [{"sku": "a", "count": 0}]})


def test_routes_name_the_topics(service, tmp_path):
    (tmp_path / "cdc.yaml").write_text(
        "sources: {shop: {url: 'mysql://cdc@127.0.0.1', tables: {shop.outbox: {}}}}\n"
        "kafka: {bootstrap_servers: ['127.0.0.1:9092']}\n"
        "routes: [{match: {event_name: 'order.*'}, topic: 'sales.orders'}]\n"
    )
    ended = cdc_here("schemas", "export", "-e", service(), "--asyncapi", "api.json", "-c", "cdc.yaml")
    assert ended.code == 0, ended.err
    channels = json.loads((tmp_path / "api.json").read_text())["channels"]
    assert "sales.orders" in {channel["address"] for channel in channels.values()}


def test_a_topic_that_only_the_event_knows_has_no_address():
    events = EventMap()
    events.register("free", dict)
    events.register("by rule", dict, topic=lambda _: "x")
    whole = document(events, title="t", version="1")
    assert {one["address"] for one in whole["channels"].values()} == {None}


# -- before any SQL ------------------------------------------------------------------------------


@pytest.fixture
def folder(service, tmp_path):
    assert cdc_here("schemas", "export", "-e", service()).code == 0
    return tmp_path / "schemas/events"


def created(payload, **more):
    return Event("order.created", "orders", payload, **more)


def test_a_payload_is_checked_before_any_sql(folder):
    outbox = Outbox(schemas=folder)
    outbox.check(created({"id": 1, "lines": [{"sku": "a", "count": 1}]}))
    outbox.check(created('{"id": 1, "lines": []}'))
    outbox.check(created(None))
    outbox.check(created(b"\x00", content_type="application/octet-stream"))
    with pytest.raises(InvalidEvent, match=r"\$\.lines\[0\]\.count: 0 is less than") as caught:
        outbox.check(created({"id": 1, "lines": [{"sku": "a", "count": 0}]}))
    assert "cdc schemas export" in (caught.value.hint or "")
    with pytest.raises(InvalidEvent, match="'id' is a required property"):
        outbox.check(created({"lines": []}))
    with pytest.raises(InvalidEvent, match="no JSON"):
        outbox.check(created(b"{"))
    with pytest.raises(InvalidEvent, match="has no schema"):
        outbox.check(Event("other", "orders", {}))


def test_the_version_is_the_registered_one(folder):
    class Old(BaseModel):
        id: int

    events = EventMap()
    events.register("order.created", Old, version=2, topic="orders")
    outbox = Outbox(event_map=events, schemas=folder)
    with pytest.raises(InvalidEvent, match="version 2 has no schema"):
        outbox.check(Event("order.created", "", Old(id=1)))


def test_a_folder_that_is_none_is_told_when_the_outbox_is_made(tmp_path):
    with pytest.raises(ConfigError, match="no folder of schemas"):
        Outbox(schemas=tmp_path / "nowhere")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(ConfigError, match="no schema of an event has such a name"):
        Outbox(schemas=tmp_path)

"""Seeded mistakes: each gives one readable error, with its place, and exit 2."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import pytest
from click.testing import CliRunner

from cdc.cli.root import root
from cdc.errors import ConfigError
from cdc.settings import load

GOOD = """\
sources:
  shop:
    url: mysql://cdc@db1:3306
    password_file: secret
    tables:
      shop.outbox: {layout: native}
      crm.events:
        columns: {id: uuid, name: kind, topic: target, payload: body}
    start: earliest
    takeover_after: 15s
  two:
    host: db2
    user: cdc
    tables:
      members.outbox: {layout: cqrs}
    start: latest
kafka:
  bootstrap_servers: [kafka:9092]
  prefix: cdc
  security: {protocol: SASL_SSL, mechanism: PLAIN, username: cdc, password_file: secret}
routes:
  - match: {event_name: "order.*", topic: "orders"}
    topic: "{topic}.v1"
    key: "$.customer_id"
    key_missing: null
    envelope: plain
    on_error: skip
  - match: {event_name: "order.*"}
unrouted: pass
on_error: stop
topics: {create: own, allow: ["orders*", "user_*"]}
service: {instance: a, drain_timeout: 30s}
"""


@dataclass(frozen=True)
class Mistake:
    """`old` in GOOD becomes `new`; the error begins with FILE:`place` and says `says`."""

    name: str
    old: str
    new: str
    place: str
    says: str
    environ: dict[str, str] = field(default_factory=dict)


MISTAKES = [
    Mistake("unknown key", "    tables:\n      shop.outbox", "    tabels:\n      shop.outbox", "5:5", 'sources.shop.tabels: unknown key; did you mean "tables"?'),
    Mistake("unknown top key", "routes:", "route:", "21:1", 'route: unknown key; did you mean "routes"?'),
    Mistake("unknown key far from any", "prefix: cdc", "zzz: 1", "19:3", "kafka.zzz: unknown key; known here: bootstrap_servers, prefix"),
    Mistake("unknown key in a flow mapping", "{layout: native}", "{layuot: native}", "6:21", 'sources.shop.tables["shop.outbox"].layuot: unknown key; did you mean "layout"?'),
    Mistake("unknown key in a route", "    envelope: plain", "    envelop: plain", "26:5", 'routes[0].envelop: unknown key; did you mean "envelope"?'),
    Mistake("unknown match", 'match: {event_name: "order.*"}', 'match: {event: "order.*"}', "28:13", 'routes[1].match.event: unknown key; did you mean "event_name"?'),
    Mistake("an option of later", "service:", "oversize: stop\nservice:", "32:1", "oversize: is not available in this version"),
    Mistake("no address", "service:", "http: {listen: 8080}\nservice:", "32:16", "http.listen: must be host:port, such as 127.0.0.1:8080"),
    Mistake("no port", "service:", "http: {listen: 127.0.0.1:70000}\nservice:", "32:16", "http.listen: must be host:port"),
    Mistake("a lag too short to see", "service:", "service: {ready_lag: 500ms, drain_timeout: 30s}\n#", "32:22", "service.ready_lag: must be at least 1s"),
    Mistake("a key twice", "  prefix: cdc\n", "  prefix: cdc\n  prefix: dev\n", "20:3", "kafka.prefix: this key is already in line 19"),
    Mistake("no YAML", "unrouted: pass", "unrouted: [pass", "30:", "not YAML: "),
    Mistake("a tab", "  prefix: cdc", "\tprefix: cdc", "19:1", "not YAML: "),
    Mistake("an asterisk unquoted", 'event_name: "order.*", topic', "event_name: *order, topic", "22:", "must be in quotes"),
    Mistake("no start", "    start: earliest\n", "", "2:3", "sources.shop: lacks start: crm.events may hold rows that are published already"),
    Mistake("start of nothing we know", "start: latest", "start: lastest", "16:12", 'sources.two.start: must be one of snapshot, earliest, latest; did you mean "latest"?'),
    Mistake("policy", "on_error: skip", "on_error: dead_leter", "27:15", 'routes[0].on_error: must be one of stop, dead_letter, skip; did you mean "dead_letter"?'),
    Mistake("create", "create: own", "create: every", "31:18", "topics.create: must be one of own, none, all"),
    Mistake("unrouted", "unrouted: pass", "unrouted: drop", "29:11", "unrouted: must be one of pass, stop, dead_letter, skip"),
    Mistake("router without its layout", "{layout: native}", "{layout: native, router: {route.by.field: a}}", "6:37", "router: belongs to layout debezium"),
    Mistake("router option misspelt", "{layout: cqrs}", "{layout: debezium, router: {route.by.feild: a}}", "15:67", 'router["route.by.feild"]: unknown option; did you mean "route.by.field"?'),
    Mistake("router option of the connector", "{layout: cqrs}", "{layout: debezium, router: {snapshot.mode: initial}}", "15:66", 'router["snapshot.mode"]: is `start` of the source here'),
    Mistake("router choice", "{layout: cqrs}", "{layout: debezium, router: {table.expand.json.payload: perhaps}}", "15:78", "must be one of true, false"),
    Mistake("router placement", "{layout: cqrs}", '{layout: debezium, router: {table.fields.additional.placement: "type:heder"}}', "15:86", "is not column:placement"),
    Mistake("router regex", "{layout: cqrs}", '{layout: debezium, router: {route.topic.regex: "(a"}}', "15:70", "is an expression we cannot read"),
    Mistake("router replacement", "{layout: cqrs}", '{layout: debezium, router: {route.topic.replacement: "${nope}"}}', "15:76", "names group 'nope', which the expression has not"),
    Mistake("router into our topics", "{layout: cqrs}", '{layout: debezium, router: {route.topic.replacement: "cdc.x"}}', "15:76", "rows may not address cdc.* or __* topics"),
    Mistake("JSON with schemas", "{layout: cqrs}", "{layout: debezium, router: {value.converter: JsonConverter}}", "15:68", "add schemas.enable: false"),
    Mistake("converter", "{layout: cqrs}", "{layout: debezium, router: {key.converter: AvroConverter}}", "15:66", "is no converter we have"),
    Mistake("converter that takes nothing", "{layout: cqrs}", "{layout: debezium, router: {value.converter: io.debezium.converters.ByteArrayConverter}}", "15:68", "takes no column without delegate.converter.type"),
    Mistake("what an UPDATE is", "{layout: cqrs}", "{layout: debezium, router: {table.op.invalid.behavior: ignore}}", "15:78", "must be one of warn, error, fatal"),
    Mistake("ce_source without cloudevents", "    envelope: plain", "    envelope: plain\n    ce_source: /x", "27:16", "routes[0].ce_source: belongs to envelope cloudevents"),
    Mistake("no time to take", "{layout: cqrs}", "{layout: cqrs, timestamp: created_at}", "15:49", "needs a time, and members.outbox has none"),
    Mistake("headers word", "    envelope: plain", "    envelope: plain\n    headers: some", "27:14", "routes[0].headers: must be all, none, or a mapping with drop, rename and add"),
    Mistake("headers that contradict", "    envelope: plain", "    envelope: plain\n    headers: {drop: [a], rename: {a: b}}", "27:", "drops and renames 'a'"),
    Mistake("a mark as header", "    envelope: plain", "    envelope: plain\n    headers: {add: {replay: x}}", "27:", "is a mark of ours"),
    Mistake("source's name", "  two:", "  Two:", "11:3", "sources.Two: is no name for a source"),
    Mistake("source's name with __", "  two:", "  two__x:", "11:3", "sources.two__x: is no name for a source"),
    Mistake("a source that is a number", "  two:", "  2:", "11:3", "a key must be text"),
    Mistake("prefix", "prefix: cdc", "prefix: Cdc.x", "19:11", "kafka.prefix: must be a small letter"),
    Mistake("table without schema", "shop.outbox:", "outbox:", "6:7", "sources.shop.tables.outbox: is no table: write schema.table"),
    Mistake("table twice", "host: db2", "host: db1", "15:", "TABLE"),
    Mistake("columns without a payload", ", payload: body}", "}", "7:7", "columns lacks payload"),
    Mistake("a role that does not exist", "payload: body}", "payload: body, kye: k}", "8:", "unknown key, allowed are id, name, topic, key, payload"),
    Mistake("port", "host: db2", "host: db2\n    port: 99999", "13:11", "sources.two.port: must be less than or equal to 65535"),
    Mistake("port as text", "host: db2", 'host: db2\n    port: "3306"', "13:11", "sources.two.port: must be a whole number"),
    Mistake("url and host", "host: db2", "host: db2\n    url: mysql://x@y:1", "11:3", "sources.two: has url and host: keep one"),
    Mistake("neither url nor host", "    host: db2\n", "", "11:3", "sources.two: needs one of url and host"),
    Mistake("url of something else", "mysql://cdc@db1:3306", "postgres://cdc@db1:5432", "3:10", "sources.shop.url: must look like mysql://user@host:3306"),
    Mistake("url with a database", "mysql://cdc@db1:3306", "mysql://cdc@db1:3306/shop", "3:10", "sources.shop.url: must end behind the port"),
    Mistake("two passwords", "password_file: secret\n    tables", "password_file: secret\n    password: geheim1\n    tables", "2:3", "sources.shop: has a password in password and in password_file: keep one"),
    Mistake("password in URL and file", "mysql://cdc@db1", "mysql://cdc:geheim1@db1", "2:3", "sources.shop: has a password in password_file and in url: keep one"),
    Mistake("password that is a number", "user: cdc\n", "user: cdc\n    password: 4711\n", "14:15", "sources.two.password: must be text"),
    Mistake("no secret file", "    password_file: secret", "    password_file: secert", "4:20", "sources.shop.password_file: file secert cannot be read: No such file or directory"),
    Mistake("duration", "drain_timeout: 30s", "drain_timeout: 30", "32:39", "service.drain_timeout: must be a number with a unit: 500ms, 30s"),
    Mistake("server without a port", "[kafka:9092]", "[kafka]", "18:22", "kafka.bootstrap_servers: holds something that is no server: write host:port"),
    Mistake("no servers", "  bootstrap_servers: [kafka:9092]\n", "", "17:1", "kafka.bootstrap_servers: is missing: a list of host:port"),
    Mistake("SASL without a mechanism", "mechanism: PLAIN, ", "", "20:", "kafka.security: lacks mechanism, which protocol SASL_SSL needs"),
    Mistake("password without SASL", "protocol: SASL_SSL", "protocol: SSL", "20:", "kafka.security: has mechanism, username, password, which protocol SSL does not use"),
    Mistake("mechanism", "mechanism: PLAIN", "mechanism: SCRAM-SHA-12", "20:", 'must be one of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512; did you mean "SCRAM-SHA-512"?'),
    Mistake("unreachable route", '  - match: {event_name: "order.*"}', '  - match: {event_name: "order.*"}\n  - match: {event_name: "order.created", topic: "x"}', "29:5", "routes[2]: can never match: routes[1] takes all of its rows"),
    Mistake("the same match twice", '  - match: {event_name: "order.*"}', '  - match: {event_name: "order.*", topic: "orders"}', "28:5", "routes[1]: can never match: routes[0]"),
    Mistake("template brace", '"{topic}.v1"', '"{topic.v1"', "23:12", "routes[0].topic: a lone '{'"),
    Mistake("template name", '"{topic}.v1"', '"{tpoic}.v1"', "23:12", 'routes[0].topic: unknown name "tpoic"; did you mean "topic"?'),
    Mistake("template code", '"{topic}.v1"', '"{topic.__class__}"', "23:12", "{topic.__class__} is not a name"),
    Mistake("payload in a template", '"{topic}.v1"', '"{payload}.v1"', "23:12", "{payload} cannot be part of a topic's name"),
    Mistake("topic of ours", '"{topic}.v1"', '"cdc.checkpoint.shop"', "23:12", "routes[0].topic: topic 'cdc.checkpoint.shop' is reserved"),
    Mistake("template into ours", '"{topic}.v1"', '"cdc.{topic}"', "23:12", "rows may not address cdc.* or __* topics"),
    Mistake("internal topic", '"{topic}.v1"', '"__{topic}"', "23:12", "rows may not address cdc.* or __* topics"),
    Mistake("impossible topic", '"{topic}.v1"', '"{topic}/v1"', "23:12", "holds a character that Kafka takes in no topic name"),
    Mistake("topic outside allow", '"{topic}.v1"', '"bills"', "23:12", "routes[0].topic: topic 'bills' is not in topics.allow"),
    Mistake("JSON path", '"$.customer_id"', '"$.a[x]"', "24:10", "routes[0].key: JSON path not understood from '[x]' on"),
    Mistake("key_missing without key", '    key: "$.customer_id"\n', "", "22:5", "routes[0]: has key_missing without key"),
    Mistake("topics are no mapping", 'topics: {create: own, allow: ["orders*", "user_*"]}', "topics: []", "31:9", "topics: must be a mapping"),
    Mistake("an empty section", "{layout: cqrs}", "", "15:22", 'tables["members.outbox"]: is empty; it must be a mapping'),
    Mistake("nothing", GOOD, "", "1:1", "is empty"),
    Mistake("a list", GOOD, "- a\n", "1:1", "must be a mapping"),
    Mistake("environment: no such option", "zzz", "zzz", "", "environment variable CDC_KAFKA__PERFIX: there is no option 'perfix'; did you mean \"prefix\"?", {"CDC_KAFKA__PERFIX": "x"}),
    Mistake("environment: no such source", "zzz", "zzz", "", "there is no source 'shpo'; did you mean \"shop\"?", {"CDC_SOURCES__SHPO__PASSWORD": "x"}),
    Mistake("environment: bad value", "zzz", "zzz", "", "environment variable CDC_SOURCES__TWO__PORT: sources.two.port: must be a whole number", {"CDC_SOURCES__TWO__PORT": "many"}),
    Mistake("environment: both kinds", "zzz", "zzz", "", "sources.two: has a password in password and in password_file", {"CDC_SOURCES__TWO__PASSWORD": "geheim1", "CDC_SOURCES__TWO__PASSWORD_FILE": "secret"}),
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "secret").write_text("geheim1\n")
    return tmp_path


def test_the_good_one_is_good(folder):
    (folder / "cdc.yaml").write_text(GOOD)
    assert set(load(folder / "cdc.yaml", {}).sources) == {"shop", "two"}


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)
def test_one_readable_error_with_its_place(mistake, folder, monkeypatch):
    assert mistake.environ or mistake.old in GOOD
    text = GOOD.replace(mistake.old, mistake.new, 1)
    if mistake.name == "table twice":
        text = text.replace("members.outbox", "Shop.outbox")
        mistake = Mistake(
            "",
            "",
            "",
            "15:7",
            'sources.two.tables["Shop.outbox"]: this table of db1:3306 is already read as sources.shop.tables["shop.outbox"]',
        )
    file = folder / "cdc.yaml"
    file.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load(file, mistake.environ)

    message = str(caught.value)
    print(message)
    lines = [line for line in message.splitlines() if mistake.says in line]
    assert len(lines) == 1, message
    if not mistake.environ:
        assert lines[0].startswith(f"{file}:{mistake.place}"), message
        assert re.match(r".*cdc\.yaml:\d+:\d+: ", lines[0])
    assert len(message.splitlines()) == 1, message
    assert "geheim1" not in message
    assert "4711" not in message
    assert caught.value.hint
    assert caught.value.exit_code == 2

    for name, value in mistake.environ.items():
        monkeypatch.setenv(name, value)
    result = CliRunner().invoke(root, ["config", "validate", "-c", str(file)])
    assert result.exit_code == 2
    assert mistake.says in result.stderr
    assert "Traceback" not in result.output


def test_all_mistakes_are_listed_at_once_in_the_order_of_the_file(folder):
    text = (
        GOOD.replace("prefix: cdc", "perfix: cdc")
        .replace("start: earliest", "start: soon")
        .replace("on_error: skip", "on_error: park")
    )
    (folder / "cdc.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(folder / "cdc.yaml", {})
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("3 problems")
    assert [re.search(r"yaml:(\d+):", line)[1] for line in lines[1:]] == ["9", "19", "27"]


def test_a_secret_that_looks_like_yaml_is_not_repeated(folder):
    for secret in ("*geheim1", "!geheim1", "{geheim1", "geheim1: x: y", "[geheim1", "%geheim1", "@geheim1", "`geheim1"):
        (folder / "cdc.yaml").write_text(GOOD.replace("user: cdc\n", f"user: cdc\n    password: {secret}\n"))
        with pytest.raises(ConfigError) as caught:
            load(folder / "cdc.yaml", {})
        assert "geheim1" not in str(caught.value)
        assert re.search(r"cdc\.yaml:1[45]:", str(caught.value)), str(caught.value)


def test_a_value_that_became_part_of_a_key_is_not_repeated(folder):
    for glued in ("password geheim1", "password=geheim1", "password:geheim1"):
        (folder / "cdc.yaml").write_text(GOOD.replace("password_file: secret}", f"{glued}}}"))
        with pytest.raises(ConfigError) as caught:
            load(folder / "cdc.yaml", {})
        assert "geheim1" not in str(caught.value)
        assert "kafka.security.password…: unknown key" in str(caught.value)

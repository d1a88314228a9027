"""Manifests and environments: what is taken, what is refused and how it is said, what stays as it is."""

import json
from pathlib import Path

import pytest

from cdc.connect.environment import find, read
from cdc.connect.manifest import Variables, files, keep, load
from cdc.connect.options import unknown
from cdc.connect.secret import MASK, Mask, is_secret_name
from cdc.errors import ConfigError

MARKER = "hush-marker-4711"


def loaded(tmp_path, text, environ=None, of_file=None, name="a.yaml"):
    (tmp_path / name).write_text(text)
    return load(files(tmp_path), Variables(of_file or {}, environ or {}))


def test_values_are_taken_as_they_are_written(tmp_path):
    (one,) = loaded(
        tmp_path,
        """
        name: orders
        config:
          connector.class: X
          tasks.max: 1
          flag: on
          other: true
          when: 2026-11-23
          octal: 010
          empty: ''
        """,
    )
    assert one.config == {
        "name": "orders",
        "connector.class": "X",
        "tasks.max": "1",
        "flag": "on",
        "other": "true",
        "when": "2026-11-23",
        "octal": "010",
        "empty": "",
    }
    assert one.state == "running"
    assert str(tmp_path) in one.origin


@pytest.mark.parametrize(
    "body",
    [
        {"name": "x", "config": {"connector.class": "X", "tasks.max": 1}, "initial_state": "STOPPED"},
        {"name": "x", "config": {"connector.class": "X", "tasks.max": "1", "name": "x"}, "tasks": [], "type": "source"},
    ],
)
def test_json_copied_from_connect_works(tmp_path, body):
    (one,) = loaded(tmp_path, json.dumps(body), name="a.json")
    assert one.config == {"name": "x", "connector.class": "X", "tasks.max": "1"}
    assert one.state == ("stopped" if "initial_state" in body else "running")


def test_variables_of_the_environment_win_and_what_is_not_ours_stays(tmp_path):
    (one,) = loaded(
        tmp_path,
        """
        name: orders-${STAGE}
        config:
          connector.class: X
          host: ${HOST}
          password: ${file:/run/secrets/db:password}
          env: ${env:DB_PASSWORD}
          route: outbox.event.${routedByValue}
          kept: $${HOST}
          literal: $1 and $
        """,
        environ={"HOST": "db2"},
        of_file={"HOST": "db1", "STAGE": "test"},
    )
    assert one.name == "orders-test"
    assert one.config["host"] == "db2"
    assert one.config["password"] == "${file:/run/secrets/db:password}"
    assert one.config["env"] == "${env:DB_PASSWORD}"
    assert one.config["route"] == "outbox.event.${routedByValue}"
    assert one.config["kept"] == "${HOST}"
    assert one.config["literal"] == "$1 and $"


@pytest.mark.parametrize("text", ["${HOST}", "$${HOST}", "a${B}c$${D}", "${file:x:Y}", "plain"])
def test_what_is_kept_comes_back(tmp_path, text):
    filled, secrets, missing = Variables({}, {}).fill(keep(text))
    assert (filled, secrets, missing) == (text, set(), [])


def test_secret_variables_are_known(tmp_path):
    (one,) = loaded(
        tmp_path,
        "name: x\nconfig: {connector.class: X, url: 'jdbc:x:${DB_PASSWORD}'}",
        environ={"DB_PASSWORD": MARKER},
    )
    assert one.hidden == (MARKER,)
    assert MARKER not in repr(one)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nconfg: {connector.class: X}", 'unknown key confg; did you mean "config"?'),
        ("config: {connector.class: X}", "name is missing"),
        ("name: x", "config is missing"),
        ("name: x\nconfig: {a: b}", "connector.class is missing"),
        ("name: x\nconfig: {connector.class: X, a: }", "a is empty"),
        ("name: x\nconfig: {connector.class: X, a: [b]}", "a must be one value"),
        ("name: x\nconfig: {connector.class: X, a: '${NO_SUCH}'}", "config: a: the variable NO_SUCH is neither in"),
        ("name: x\nconfig: {connector.class: X, name: y}", "config.name is y, and name is x"),
        ("name: x\nstate: pausd\nconfig: {connector.class: X}", 'running, paused, stopped; did you mean "paused"?'),
        ("name: x\nconfig:\n  connector.class: X\n  a: 1\n  a: 2", "a.yaml:5: a is already in line 4"),
        ("- a", "must be a mapping"),
        ("name: [", "is not YAML"),
        ("name: x\nunchecked: a\nconfig: {connector.class: X}", "unchecked must be a list"),
        ("name: x\nconfig: {connector.class: X}\n---\nname: x\nconfig: {connector.class: X}", "x is already in"),
    ],
)
def test_mistakes_are_named(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert said in str(caught.value)
    assert "a.yaml" in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_mistakes_at_once_and_no_value_in_them(tmp_path):
    text = f"name: x\nstate: {{a: b}}\nconfg: 1\nconfig: {{connector.class: X, database.password: [{MARKER}], b: }}"
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text)
    assert len(str(caught.value).splitlines()) == 5
    assert MARKER not in str(caught.value)


def test_files_are_read_in_the_order_of_their_names(tmp_path):
    for name in ("20-b.yaml", "10-a.yml", "30-c.json", "README.md"):
        (tmp_path / name).write_text(json.dumps({"name": name, "config": {"connector.class": "X"}}))
    (tmp_path / "environments").mkdir()
    assert [path.name for path in files(tmp_path)] == ["10-a.yml", "20-b.yaml", "30-c.json"]
    with pytest.raises(ConfigError, match="no folder"):
        files(tmp_path / "nowhere")


def test_an_environment(tmp_path):
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "pw").write_text(f"{MARKER}\n")
    (folder / "test.yaml").write_text(
        "connect: {urls: [https://a, https://b], username: cdc, password_file: pw, headers: {X-T: 1}, tls: {ca: ca.pem}}\n"
        "variables: {PORT: 3306, FLAG: true}\n"
    )
    found = read(find(tmp_path, "test"), {})
    assert found.address.urls == ("https://a", "https://b")
    assert (found.address.username, found.address.password) == ("cdc", MARKER)
    assert found.address.headers == {"X-T": "1"}
    assert Path(found.address.ca) == folder / "ca.pem"
    assert found.variables == {"PORT": "3306", "FLAG": "true"}
    assert MARKER not in repr(found)
    over = read(find(tmp_path, "test"), {"CDC_CONNECT_URL": "http://c,http://d", "CDC_CONNECT_PASSWORD": "other"})
    assert over.address.urls == ("http://c", "http://d")
    assert over.address.password == "other"
    assert read(None, {}).address.urls == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("conect: {}", 'unknown key conect; did you mean "connect"?'),
        ("connect: {url: http://x}", 'connect.url; did you mean "urls"?'),
        ("connect: {urls: 5}", "must be a list of URLs"),
        ("connect: {password_file: nowhere}", "cannot be read"),
        ("connect: {tls: {caa: x}}", "connect.tls.caa"),
        ("variables: [a]", "must be a mapping"),
        ("variables: {A: [b]}", "variables.A must be one value"),
        ("a: [", "is not YAML"),
    ],
)
def test_mistakes_of_an_environment(tmp_path, text, said):
    folder = tmp_path / "environments"
    folder.mkdir()
    (folder / "test.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(find(tmp_path, "test"), {})
    assert said in str(caught.value)
    assert caught.value.hint


def test_an_environment_that_is_not_there(tmp_path):
    (tmp_path / "environments").mkdir()
    (tmp_path / "environments" / "production.yaml").write_text("")
    with pytest.raises(ConfigError, match='did you mean "production"'):
        find(tmp_path, "producton")
    assert find(tmp_path, None) is None


@pytest.mark.parametrize(
    "name",
    [
        "database.password",
        "database.ssl.keystore.password",
        "producer.override.sasl.jaas.config",
        "value.converter.basic.auth.user.info",
        "aws.secret.access.key",
        "ssl.key.password",
        "api.key",
        "connection.token",
        "DB_PASSWORD",
        "http.authorization",
    ],
)
def test_names_of_secrets(name):
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "key.converter",
        "transforms.outbox.table.field.event.key",
        "ssl.keystore.location",
        "database.password.file",
        "message.key.columns",
        "topic.prefix",
        "tokens.max",
        "sasl.oauthbearer.token.endpoint.url",
    ],
)
def test_names_of_what_is_no_secret(name):
    assert not is_secret_name(name)


def test_what_is_masked_and_what_is_not():
    config = {
        "database.password": MARKER,
        "other.password": "${file:/run/secrets/db:password}",
        "empty.password": "",
        "quirk": f"{MARKER}-a",
        "connection.url": f"mysql://cdc:{MARKER}-b@db/x?password={MARKER}-c&x=1",
        "plain": "visible",
    }
    mask = Mask(["quirk"], config)
    shown = mask.config(config)
    assert shown["database.password"] == shown["quirk"] == MASK
    assert shown["other.password"] == config["other.password"]
    assert shown["empty.password"] == ""
    assert shown["plain"] == "visible"
    assert MARKER not in json.dumps(shown)
    assert "mysql://cdc:" in shown["connection.url"]
    assert mask.text(f"Invalid value {MARKER}-a and {MARKER}, {MARKER}-c") == f"Invalid value {MASK} and {MASK}, {MASK}"


def test_mistyped_options():
    known = ["poll.interval.ms", "transforms.o.route.by.field", "column.truncate.to.(d+).chars", "topic"]
    config = {
        "connector.class": "io.debezium.connector.mysql.MySqlConnector",
        "poll.interval.mss": "5",
        "transforms.o.route.by.fild": "x",
        "column.truncate.to.20.chars": "a",
        "schema.history.internal.kafka.topic": "h",
        "producer.override.linger.ms": "5",
        "converters": "mine",
        "mine.type": "X",
        "strange": "x",
        "topic": "x",
        "topics": "let be",
    }
    mistyped, strange = unknown(config, [*known, "connector.class", "converters"], unchecked=["topics"])
    assert mistyped == {
        "poll.interval.mss": "poll.interval.ms",
        "transforms.o.route.by.fild": "transforms.o.route.by.field",
    }
    assert strange == ["strange"]
    assert unknown(config, []) == ({}, [])

"""What a good configuration becomes: addresses, table specs, routers, overrides, and secrets that stay hidden."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import yaml

from cdc.errors import ConfigError
from cdc.model import TableSpec
from cdc.settings import load
from cdc.settings.output import TEMPLATE, effective, effective_yaml, schema
from cdc.settings.quantities import format_duration, format_size, parse_duration, parse_size
from cdc.settings.sources import split_table

SMALL = """\
sources:
  shop-eu:
    url: mysql://cdc:p%40ss@db1
    tables: {shop.outbox: {layout: native}}
    start: latest
kafka: {bootstrap_servers: [kafka:9092]}
"""


@pytest.fixture
def loaded(tmp_path):
    def read(text=SMALL, environ=None):
        (tmp_path / "cdc.yaml").write_text(text)
        return load(tmp_path / "cdc.yaml", environ or {})

    read.folder = tmp_path
    return read


def test_defaults(loaded):
    settings = loaded()
    address = settings.source("shop-eu").address
    assert (address.host, address.port, address.user, address.password) == ("db1", 3306, "cdc", "p@ss")
    assert not address.demands_tls
    assert settings.kafka.address().bootstrap_servers == ("kafka:9092",)
    assert (settings.kafka.prefix, settings.kafka.compression) == ("cdc", "none")
    assert (settings.unrouted, settings.on_error, settings.topics.create) == ("pass", "stop", "own")
    assert (settings.service.instance, settings.service.drain_timeout) == (None, 30.0)
    assert settings.source("shop-eu").takeover_after == 15.0


def test_an_unknown_source_names_the_known_ones(loaded):
    with pytest.raises(ConfigError) as caught:
        loaded().source("shop")
    assert "shop-eu" in caught.value.hint


def test_table_specs_hold_the_layouts_columns_and_those_that_routes_name(loaded):
    text = SMALL + 'routes:\n  - {topic: "{tenant}.{event_name}", key: customer}\n  - {match: {topic: x}, key: "$.a"}\n'
    text = text.replace('  - {match: {topic: x}, key: "$.a"}\n', "")
    native = {"event_id", "event_name", "topic", "event_key", "payload", "content_type", "headers", "created_at"}
    named = native | {"tenant", "customer"}
    assert loaded(text).table_specs("shop-eu") == (
        TableSpec("shop", "outbox", needed=frozenset(named), wanted=frozenset(named)),
    )
    two = text.replace("{shop.outbox: {layout: native}}", "{shop.outbox: {layout: native}, m.outbox: {layout: cqrs}}")
    cqrs = {"event_id_bin", "event_name", "topic", "payload"}
    assert loaded(two).table_specs("shop-eu") == (
        TableSpec("shop", "outbox", needed=frozenset(native), wanted=frozenset(named)),
        TableSpec("m", "outbox", needed=frozenset(cqrs), wanted=frozenset(cqrs | {"tenant", "customer"})),
    )


def test_own_columns_alone_and_on_top_of_a_layout(loaded):
    own = "{columns: {id: uuid, name: kind, payload: body, key: customer}}"
    (spec,) = loaded(SMALL.replace("{layout: native}", own)).table_specs("shop-eu")
    assert spec.needed == {"uuid", "kind", "body", "customer"}
    (spec,) = loaded(SMALL.replace("{layout: native}", "{layout: cqrs, columns: {key: customer}}")).table_specs(
        "shop-eu"
    )
    assert spec.needed == {"event_id_bin", "event_name", "topic", "payload", "customer"}


@pytest.mark.parametrize(
    ("text", "parts"),
    [("shop.outbox", ("shop", "outbox")), ("`my.shop`.outbox", ("my.shop", "outbox")), ("a-b.`x y`", ("a-b", "x y"))],
)
def test_table_names(text, parts):
    assert split_table(text) == parts


class TestEnvironment:
    def test_overrides_by_type(self, loaded):
        settings = loaded(
            environ={
                "CDC_SOURCES__SHOP_EU__START": "earliest",
                "CDC_SOURCES__SHOP_EU__SERVER_ID": "77",
                "CDC_SOURCES__SHOP_EU__TAKEOVER_AFTER": "1m",
                "CDC_SOURCES__SHOP_EU__TLS": "{verify: false}",
                "CDC_SOURCES__SHOP_EU__TABLES": "{crm.outbox: {layout: cqrs}}",
                "CDC_KAFKA__BOOTSTRAP_SERVERS": "a:1, b:2",
                "CDC_ROUTES": '[{topic: "all"}]',
                "CDC_ON_ERROR": "skip",
                "cdc_kafka__prefix": "dev",
            }
        )
        source = settings.source("shop-eu")
        assert (source.start, source.server_id, source.takeover_after) == ("earliest", 77, 60.0)
        assert source.address.demands_tls
        assert source.address.verify is False
        assert list(source.tables) == ["crm.outbox"]
        assert settings.kafka.bootstrap_servers == ["a:1", "b:2"]
        assert settings.kafka.prefix == "dev"
        assert settings.routes[0].topic == "all"
        assert settings.on_error == "skip"

    def test_a_section_the_file_does_not_have(self, loaded):
        assert loaded(environ={"CDC_SERVICE__INSTANCE": "a1"}).service.instance == "a1"
        assert loaded(environ={"CDC_TOPICS__ALLOW": '["a*"]'}).topics.allow == ["a*"]

    def test_a_password_takes_the_place_of_all_others(self, loaded):
        (loaded.folder / "s").write_text("from-file\n")
        by_env = {"CDC_SOURCES__SHOP_EU__PASSWORD": "0042"}
        assert loaded(environ=by_env).source("shop-eu").address.password == "0042"
        filed = SMALL.replace("mysql://cdc:p%40ss@db1", "mysql://cdc@db1\n    password_file: s")
        assert loaded(filed).source("shop-eu").address.password == "from-file"
        assert loaded(filed, by_env).source("shop-eu").address.password == "0042"
        by_file = {"CDC_SOURCES__SHOP_EU__PASSWORD_FILE": "s"}
        assert loaded(environ=by_file).source("shop-eu").address.password == "from-file"

    def test_other_parts_variables_are_left_alone(self, loaded):
        names = (
            "CDC_TEST_MYSQL",
            "CDC_CACHE",
            "CDC_STACK_DIR",
            "CDC_OUTBOX_PASSWORD",
            "CDC_CONFIG",
            "CDC_HOME",
            "CDCX",
            "PATH",
        )
        assert loaded(environ=dict.fromkeys(names, "x")) == loaded()

    @pytest.mark.parametrize(
        "name", ["CDC_ONERROR", "CDC_FOO__BAR", "CDC_KAFKA__SECURITY__PASWORD", "CDC_ON_ERROR__X", "CDC_SOURCES__"]
    )
    def test_one_that_leads_nowhere_is_refused(self, loaded, name):
        with pytest.raises(ConfigError, match=f"environment variable {name}: "):
            loaded(environ={name: "x"})


class TestSecrets:
    TEXT = SMALL.replace(
        "[kafka:9092]", "[kafka:9092], security: {protocol: SASL_SSL, mechanism: PLAIN, username: u, password: hush1}"
    )

    def test_the_line_break_at_a_files_end_is_not_part_of_it(self, loaded):
        text = SMALL.replace("mysql://cdc:p%40ss@db1", "mysql://cdc@db1\n    password_file: s")
        for content, secret in (("a b\n", "a b"), ("a\r\n", "a"), ("a", "a"), ("a\n\n", "a\n"), (" a", " a")):
            (loaded.folder / "s").write_bytes(content.encode())
            assert loaded(text).source("shop-eu").address.password == secret

    @pytest.mark.parametrize(
        ("content", "says"),
        [(b"", "is empty"), (b"\n", "is empty"), (b"hush\xff1", "is not UTF-8 text")],
        ids=["empty", "line", "binary"],
    )
    def test_files_that_hold_none(self, loaded, content, says):
        (loaded.folder / "s").write_bytes(content)
        with pytest.raises(ConfigError, match=says) as caught:
            loaded(SMALL.replace("mysql://cdc:p%40ss@db1", "mysql://cdc@db1\n    password_file: s"))
        assert "hush" not in str(caught.value)

    def test_a_file_that_goes_away_later_is_still_our_error(self, loaded):
        (loaded.folder / "s").write_text("x")
        settings = loaded(SMALL.replace("mysql://cdc:p%40ss@db1", "mysql://cdc@db1\n    password_file: s"))
        (loaded.folder / "s").write_text("y")
        assert settings.source("shop-eu").address.password == "y"
        (loaded.folder / "s").unlink()
        with pytest.raises(ConfigError, match="cannot be read"):
            _ = settings.source("shop-eu").address

    def test_no_repr_shows_them(self, loaded):
        settings = loaded(self.TEXT)
        assert settings.kafka.address().password == "hush1"
        shown = (
            repr(settings) + str(settings) + repr(settings.kafka.address()) + repr(settings.source("shop-eu").address)
        )
        assert "hush1" not in shown
        assert "p%40ss" not in shown
        assert "p@ss" not in shown

    def test_show_masks_them(self, loaded):
        shown = effective_yaml(loaded(self.TEXT, {"CDC_SOURCES__SHOP_EU__START": "earliest"}))
        assert "hush1" not in shown
        assert "p%40ss" not in shown
        data = yaml.safe_load(shown)
        assert data["sources"]["shop-eu"]["url"] == "mysql://cdc:********@db1"
        assert data["sources"]["shop-eu"]["start"] == "earliest"
        assert data["kafka"]["security"]["password"] == "********"
        assert data["service"] == {"drain_timeout": "30s", "ready_lag": "30s"}
        assert data["http"] == {"listen": "127.0.0.1:8080"}


def test_what_show_prints_is_a_configuration_that_says_the_same(loaded):
    text = (
        SMALL.replace(":p%40ss", "")
        + 'routes:\n  - {match: {topic: "a*"}, key: "$.a", key_missing: null}\n  - {key: b}\n'
    )
    settings = loaded(text)
    assert loaded(effective_yaml(settings)) == settings
    assert effective(settings)["routes"][0]["key_missing"] is None


@pytest.mark.parametrize(
    ("said", "address"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("localhost:0", ("localhost", 0)),
        ('"[::1]:9"', ("::1", 9)),
        ("off", None),
        ("null", None),
        ("false", None),
        ('"off"', None),
    ],
)
def test_where_http_listens(loaded, said, address):
    settings = loaded(f"{SMALL}http: {{listen: {said}}}\n")
    assert settings.http.address() == address
    assert loaded(effective_yaml(settings)).http == settings.http
    in_environment = "off" if address is None else said.strip('"')
    assert loaded(environ={"CDC_HTTP__LISTEN": in_environment}).http == settings.http


def test_settings_are_frozen(loaded):
    with pytest.raises(Exception, match="frozen"):
        loaded().on_error = "skip"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30.0), ("500ms", 0.5), ("5m", 300.0), ("1.5h", 5400.0), ("2d", 172800.0), (0, 0.0)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize("text", ["30", 30, "s", "-1s", "1 week", "", None, True, "1e3s"])
def test_no_durations(text):
    with pytest.raises(ValueError, match="unit"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"), [("64MiB", 64 << 20), ("1 GB", 10**9), ("512KiB", 1 << 19), (7, 7), ("0B", 0)]
)
def test_sizes(text, size):
    assert parse_size(text) == size
    assert parse_size(format_size(size)) == size


@pytest.mark.parametrize("text", ["64", "64M", -1, True, "MiB", None])
def test_no_sizes(text):
    with pytest.raises(ValueError, match="size"):
        parse_size(text)


def test_anchors_and_merges_keep_their_places(loaded):
    text = SMALL.replace(
        "shop.outbox: {layout: native}", "shop.outbox: &t {layout: native}, shop.b: {<<: *t, headers: none}, shop.c: *t"
    )
    settings = loaded(text)
    assert settings.source("shop-eu").tables["shop.b"].headers.word == "none"
    with pytest.raises(ConfigError, match=r"cdc\.yaml:4:\d+: sources\.shop-eu\.tables\[\"shop\.outbox\"\]\.leyout"):
        loaded(text.replace("layout", "leyout"))


@pytest.mark.parametrize(
    "text",
    ["a: &a [*a]\n", "? [1, 2]\n: x\n", "? {a: b}\n: x\n", "a: !!python/object:os.system x\n", "\0", "a: 2026-99-99\n"],
)
def test_strange_yaml_is_a_clear_error(loaded, text):
    with pytest.raises(ConfigError) as caught:
        loaded(text)
    assert "cdc.yaml:" in str(caught.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="no such file") as caught:
        load(tmp_path / "x.yaml", {})
    assert "cdc config init" in caught.value.hint
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path, {})
    (tmp_path / "b.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load(tmp_path / "b.yaml", {})


def test_the_first_configuration_is_valid(loaded):
    assert list(loaded(TEMPLATE).sources) == ["shop"]
    lines = TEMPLATE.splitlines()
    start = lines.index("# routes:")
    for at in range(start, lines.index("", start)):
        lines[at] = lines[at].removeprefix("# ")
    assert loaded("\n".join(lines)).routes[0].topic == "{topic}.v1"


def test_the_schema_in_the_repository_is_the_codes():
    file = Path(__file__).parents[2] / "schemas" / "config.schema.json"
    assert json.loads(file.read_text()) == schema(), "run: cdc config schema > schemas/config.schema.json"


def test_errors_survive_pickling(loaded):
    with pytest.raises(ConfigError) as caught:
        loaded("a: 1\n")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_value_of_the_environment_that_looks_like_a_date_and_is_none(tmp_path):
    path = tmp_path / "cdc.yaml"
    path.write_text(TEMPLATE)
    with pytest.raises(ConfigError, match="CDC_KAFKA__SECURITY"):
        load(path, {"CDC_KAFKA__SECURITY": "2026-99-99"})

"""A good configuration with a few tokens deleted, doubled or replaced: it loads, or it is a ConfigError with places."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cdc.errors import ConfigError
from cdc.settings.load import parse

TEXT = """\
sources:
  shop:
    url: mysql://cdc@db1:3306
    password_file: secret
    tables:
      shop.outbox: {layout: native}
      crm.events: {columns: {id: uuid, name: kind, topic: target, payload: body}}
    start: earliest
kafka:
  bootstrap_servers: [kafka:9092]
  security: {protocol: SASL_SSL, mechanism: PLAIN, username: cdc, password: hush}
routes:
  - match: {event_name: "order.*", topic: "orders"}
    topic: "{topic}.v1"
    key: "$.customer_id"
topics: {create: own, allow: ["orders*"]}
service: {drain_timeout: 30s}
"""
TOKENS = re.findall(r"\w+|\W", TEXT)
PIECES = ["null", "[]", "{}", "1", "1.5", "true", "&a", "*a", "!x", "- ", ": ", "? ", "\t", "'", '"', "{", "}", "[", "]",
          "#", "|", "%", "é", "\0", "<<", "2026-01-01", "2026-99-99", "\n", "  ", "=", "0x1f", "1:30", "mysql://["]  # fmt: skip
VARIABLES = ["CDC_SOURCES__SHOP__URL", "CDC_ROUTES", "CDC_SOURCES__SHOP__TABLES", "CDC_KAFKA__SECURITY", "CDC_SOURCES",
             "CDC_SOURCES__SHOP__PASSWORD", "CDC_KAFKA__BOOTSTRAP_SERVERS", "CDC_SERVICE__DRAIN_TIMEOUT"]  # fmt: skip

edits = st.tuples(
    st.integers(0, len(TOKENS) - 1), st.sampled_from(["cut", "put", "insert"]), st.sampled_from(PIECES + TOKENS)
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("secrets")
    (made / "secret").write_text("hush\n")
    return made


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=100, deadline=None)
@given(
    st.lists(edits, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(VARIABLES), st.sampled_from(PIECES), max_size=1),
)
def test_every_mutation_loads_or_is_named(folder, changes, environ):
    tokens = list(TOKENS)
    for at, how, piece in changes:
        tokens[at] = {"cut": "", "put": piece, "insert": piece + tokens[at]}[how]
    said = ""
    try:
        parse("".join(tokens), origin="c.yaml", folder=folder, environ=environ)
    except ConfigError as error:
        said = str(error)
    lines = [line for line in said.splitlines() if not line.endswith("problems in the configuration:")]
    assert all(line.startswith(("c.yaml:", "environment variable CDC_")) for line in lines), said
    # Names of unknown keys are repeated, and a lost colon makes `passwordhush` a key.
    assert not any("hush" in line for line in lines if "unknown key" not in line)

"""`cdc outbox check` against tables that are not as they should be, and the ALTER that makes them so."""

import json
import re
from typing import Any

import pytest
from click.testing import CliRunner

from cdc.cli.root import root
from cdc.outbox.layouts import LAYOUTS
from cdc.outbox.table import ddl
from tests.servers import Database

QUIET = {"CDC_OUTBOX_PASSWORD": ""}


def _check(server: Database, schema: str, *options: str, table: str = "outbox") -> Any:
    url = f"mysql://{server.user}@{server.host}:{server.port}/{schema}"
    return CliRunner().invoke(root, ["outbox", "check", "--url", url, "--table", table, *options], env=QUIET)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_by_our_ddl_is_without_difference(server: Database, schema: str, layout: str) -> None:
    server.run(ddl(server.kind, "outbox", layout), schema=schema)
    done = _check(server, schema, "--layout", layout)
    assert (done.exit_code, done.stdout, done.stderr) == (0, f"outbox, layout {layout}: as the layout has it\n", "")
    assert _check(server, schema, "--layout", layout, "--ddl").stdout == ""


# What was done to the table, what is found by subject (p problem, n note), and what of it the ALTER leaves.
DIFFERENCES = [
    (
        (
            "DROP COLUMN headers, DROP COLUMN event_key, MODIFY topic VARCHAR(100) NOT NULL, MODIFY payload BLOB NULL, "
            "MODIFY event_id BINARY(16) NOT NULL, MODIFY event_name VARCHAR(255) CHARACTER SET latin1 NOT NULL, "
            "MODIFY created_at DATETIME(6) NULL, DROP PRIMARY KEY, ENGINE=MyISAM"
        ),
        "headers:p event_key:p topic:p payload:p event_id:p event_name:p created_at:n key (event_id):p engine:p",
        "",
    ),
    (
        (
            "MODIFY payload LONGBLOB NOT NULL, DROP COLUMN created_at, MODIFY content_type VARCHAR(100) NOT NULL, "
            "MODIFY topic MEDIUMTEXT NOT NULL, ADD n BIGINT NOT NULL AUTO_INCREMENT UNIQUE, ADD UNIQUE KEY once (event_name)"
        ),
        "payload:p created_at:p content_type:p topic:n n:n key once:n key n:n",
        "topic:n n:n key once:n key n:n",
    ),
    (
        (
            "MODIFY payload LONGTEXT NULL, MODIFY event_key VARCHAR(255) NULL, ADD tenant INT NOT NULL, DROP COLUMN event_id, "
            "MODIFY topic VARCHAR(400) NOT NULL, ADD region INT NOT NULL DEFAULT 7, "
            "MODIFY event_name VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci NOT NULL"
        ),
        "payload:p event_key:p tenant:p region:n event_id:p event_name:n key (event_id):p",
        None,  # no ALTER can make a text bytes, or invent ids
    ),
]


def _levels(done: Any) -> str:
    found = json.loads(done.stdout)["differences"]
    assert all(one["hint"] and one["what"] for one in found)
    return " ".join(sorted({f"{one['subject']}:{one['level'][0]}" for one in found}))


@pytest.mark.parametrize(("done", "found", "left"), DIFFERENCES)
def test_every_difference_is_named_and_what_can_be_repaired_is(
    server: Database, schema: str, done: str, found: str, left: str | None
) -> None:
    server.run(ddl(server.kind), f"ALTER TABLE outbox {done}", schema=schema)
    checked = _check(server, schema, "-o", "json")
    assert checked.exit_code == 4
    subjects = [word.strip() for word in re.findall(r"(?:key \([^)]*\)|key \w+|\w+):[pn]", found)]
    assert _levels(checked) == " ".join(sorted(subjects))
    if left is None:
        return
    _apply(server, schema, _check(server, schema, "--ddl").stdout)
    again = _check(server, schema, "-o", "json")
    assert again.exit_code == 0, again.stdout
    subjects = re.findall(r"(?:key \w+|\w+):[pn]", left)
    assert _levels(again) == " ".join(sorted(subjects))


def _apply(server: Database, schema: str, alter: str) -> None:
    assert alter.endswith(";\n")
    server.run(*[statement for statement in alter.split(";\n") if statement], schema=schema)


def test_an_old_table_with_rows_is_brought_up(server: Database, schema: str) -> None:
    """As a table of an earlier form would be: fewer columns, narrower ones, rows in it."""
    server.run(
        "CREATE TABLE outbox (event_id BINARY(16) NOT NULL, event_name VARCHAR(64) NOT NULL, topic VARCHAR(64) NOT NULL, "
        "payload BLOB NULL) CHARSET latin1",
        "INSERT INTO outbox VALUES (UNHEX('0189f7eaae2c78098aebb819cf5e9e00'), 'grün', 't', 'x')",
        schema=schema,
    )
    alter = _check(server, schema, "--ddl")
    assert alter.exit_code == 4
    _apply(server, schema, alter.stdout)
    server.run("INSERT INTO outbox (event_name, topic) VALUES ('✓', 't')", schema=schema)
    assert _check(server, schema).exit_code == 0
    rows = server.run(
        "SELECT event_name, payload, content_type, event_key FROM outbox ORDER BY payload DESC", schema=schema
    )
    assert rows == (("grün", b"x", "application/json", None), ("✓", None, "application/json", None))


def test_python_cqrss_own_table_is_the_layout(server: Database, schema: str) -> None:
    """Its DDL of 4.10.1 to 5.3, on a schema with another default charset."""
    server.run(
        "CREATE TABLE outbox (id BIGINT NOT NULL AUTO_INCREMENT, event_id BINARY(16) NOT NULL, event_id_bin BINARY(16) NOT NULL, "
        "event_status ENUM('NEW','PRODUCED','NOT_PRODUCED') NOT NULL, flush_counter SMALLINT NOT NULL, event_name VARCHAR(255) NOT NULL, "
        "topic VARCHAR(255) NOT NULL, created_at DATETIME NOT NULL DEFAULT now(), payload BLOB NOT NULL, PRIMARY KEY (id), "
        "UNIQUE KEY event_id_unique_index (event_id_bin, event_name)) ENGINE=InnoDB CHARSET=latin1",
        schema=schema,
    )
    done = _check(server, schema, "--layout", "cqrs")
    assert done.exit_code == 0, done.stdout
    assert "character set is latin1" in done.stdout
    assert _check(server, schema).exit_code == 4


def test_views_missing_tables_and_own_columns(server: Database, schema: str) -> None:
    missing = _check(server, schema)
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "cdc outbox ddl" in missing.stderr
    server.run(ddl(server.kind, "inner_box"), "CREATE VIEW outbox AS SELECT * FROM inner_box", schema=schema)
    view = _check(server, schema)
    assert view.exit_code == 4
    assert "it is a view" in view.stdout
    server.run(
        "CREATE TABLE own (uid CHAR(36) NOT NULL PRIMARY KEY, kind VARCHAR(255) NOT NULL, body LONGTEXT NULL)",
        schema=schema,
    )
    own = ["--column", "id=uid CHAR(36)", "--column", "name=kind", "--column", "payload=body LONGTEXT"]
    found = _check(server, schema, *own, table=f"{schema}.own")
    assert found.exit_code == 0, found.stdout
    assert _check(server, schema, *own[:-1], "payload=body LONGBLOB", table="own").exit_code == 4
    assert "payload:" not in found.stdout
    wrong = _check(server, schema, "--column", "payload", table="own")
    assert wrong.exit_code == 2
    yaml = _check(server, schema, *own, "-o", "yaml", table="own")
    assert "layout: columns" in yaml.stdout

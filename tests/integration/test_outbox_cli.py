"""`cdc outbox ddl` and `cdc outbox add` against real servers."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cdc.cli.root import root
from tests.integration.outbox_rows import Table, create
from tests.servers import Database

QUIET = {"CDC_OUTBOX_PASSWORD": ""}


@pytest.fixture
def table(server: Database, schema: str) -> Table:
    return create(server, schema)


def _add(
    table: Table, *arguments: str, url: str | None = None, env: dict[str, str] | None = None, stdin: Any = None
) -> Any:
    url = url or f"mysql://{table.server.user}@{table.server.host}:{table.server.port}/{table.schema}"
    fixed = ["outbox", "add", "--url", url, "--name", "n", "--topic", "t"]
    return CliRunner().invoke(root, [*fixed, *arguments], env=QUIET if env is None else env, input=stdin)


def test_what_ddl_prints_runs(server: Database, schema: str) -> None:
    printed = CliRunner().invoke(root, ["outbox", "ddl", "--server", server.kind, "--table", f"{schema}.box"]).stdout
    server.run(printed)
    server.run("INSERT INTO box (event_name, topic) VALUES ('n', 't')", schema=schema)


def test_add_writes_one_committed_event_and_prints_its_id(table: Table, tmp_path: Path) -> None:
    done = _add(table, "--payload", '{"a": 1}', "--key", "k", "--header", "a=b=c", "--header", "d=")
    (row,) = table.rows()
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.strip().replace("-", "") == row["event_id"].hex()
    assert (row["payload"], row["event_key"]) == (b'{"a": 1}', b"k")
    assert '"a"' in row["headers"]
    assert "b=c" in row["headers"]


def test_payload_from_a_file_stdin_or_none(table: Table, tmp_path: Path) -> None:
    file = tmp_path / "payload"
    file.write_bytes(b"\x00\xff\r\n")
    assert _add(table, "--payload-file", str(file), "--content-type", "x/y").exit_code == 0
    assert _add(table, "--tombstone").exit_code == 0
    command = [sys.executable, "-m", "cdc", "outbox", "add", "--name", "n", "--topic", "t", "--payload", "-"]
    url = f"mysql://root@{table.server.host}:{table.server.port}/"
    command += ["--url", url, "--table", f"{table.schema}.outbox"]
    done = subprocess.run(command, input=b"\xfe\n", check=True, capture_output=True, env={**os.environ, **QUIET})
    assert done.stderr == b""
    assert [row["payload"] for row in table.rows()] == [b"\x00\xff\r\n", None, b"\xfe\n"]


def test_the_password_comes_from_file_environment_or_url(table: Table, tmp_path: Path) -> None:
    user = f"u_{table.schema[-8:]}"
    table.server.run(
        f"CREATE USER {user}@'%' IDENTIFIED BY 'ge:h@im'", f"GRANT INSERT ON {table.schema}.* TO {user}@'%'"
    )
    try:
        url = f"mysql://{user}@{table.server.host}:{table.server.port}/{table.schema}"
        file = tmp_path / "password"
        file.write_text("ge:h@im\n")
        assert _add(table, "--tombstone", url=url, env={"CDC_OUTBOX_PASSWORD": "ge:h@im"}).exit_code == 0
        assert _add(table, "--tombstone", "--password-file", str(file), url=url, env={}).exit_code == 0
        with_password = url.replace(f"{user}@", f"{user}:ge%3Ah%40im@")
        assert _add(table, "--tombstone", url=with_password, env={}).exit_code == 0
        refused = _add(table, "--tombstone", "--table", "mysql.user", url=with_password, env={})
        assert refused.exit_code == 1
        assert "hint:  Grant the user INSERT" in refused.stderr
        assert "ge" + ":h@im" not in refused.stderr
    finally:
        table.server.run(f"DROP USER {user}@'%'")
    assert len(table.rows()) == 3


def test_errors_of_the_server_have_a_hint(table: Table) -> None:
    host = f"{table.server.host}:{table.server.port}"
    cases = [
        (["--table", "nope"], f"mysql://root@{host}/{table.schema}", QUIET, "outbox ddl"),
        ([], f"mysql://root@{host}/no_such_schema", QUIET, "schema's name"),
        ([], f"mysql://root@{host}/{table.schema}", {"CDC_OUTBOX_PASSWORD": "wrong"}, "user and password"),
        ([], f"mysql://root@127.0.0.1:1/{table.schema}", QUIET, "host and port"),
        (["--table", "thing"], f"mysql://root@{host}/{table.schema}", QUIET, "Compare the table"),
    ]
    for arguments, url, env, hint in cases:
        done = _add(table, "--payload", "{}", *arguments, url=url, env=env)
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith("error: ")
        assert hint in done.stderr.splitlines()[-1]
    assert table.rows() == []

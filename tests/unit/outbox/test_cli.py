"""`cdc` and `cdc outbox`: what is printed where, and how errors end."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cdc.cli.root import root
from cdc.outbox.table import SERVERS

SCHEMAS = Path(__file__).parents[3] / "schemas"
ADD = ["outbox", "add", "--url", "mysql://root@nowhere.invalid/s", "--name", "n", "--topic", "t"]


def _run(*arguments: str, **settings: Any) -> Any:
    return CliRunner().invoke(root, list(arguments), **settings)


@pytest.mark.parametrize("server", SERVERS)
def test_the_generated_sql_is_what_ddl_prints(server: str) -> None:
    result = _run("outbox", "ddl", "--server", server)
    assert result.exit_code == 0
    assert (SCHEMAS / f"outbox.{server}.sql").read_text() == result.stdout


def test_ddl_of_another_table() -> None:
    assert "CREATE TABLE `shop`.`box` (" in _run("outbox", "ddl", "--server", "mysql", "--table", "shop.box").stdout


def test_version_and_help() -> None:
    assert _run("--version").stdout.startswith("cdc, version ")
    assert "outbox" in _run("-h").stdout
    assert "ddl" in _run("outbox", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["outbox", "ddl", "--server", "mysql", "--table", "a.b.c"], 2, "error: 'a.b.c' is no table name"),
        (["outbox", "ddl", "--server", "oracle"], 2, "oracle"),
        ([*ADD, "--payload", "{}", "--tombstone"], 2, "one of --payload"),
        (ADD, 2, "one of --payload"),
        ([*ADD, "--payload", "{}", "--header", "a"], 2, "NAME=VALUE"),
        ([*ADD, "--payload", "{}", "--header", "a=1", "--header", "a=2"], 2, "given twice"),
        ([*ADD, "--payload", "{}", "--header", "event_id=1"], 1, "written by the tailer"),
        ([*ADD, "--payload", "{}", "--topic", "a b"], 1, "Kafka refuses"),
        ([*ADD, "--payload", "{}", "--url", "mysql://root@h"], 2, "no schema"),
        ([*ADD, "--payload", "{}", "--url", "mysql://h/s"], 2, "scheme, user and host"),
        ([*ADD, "--payload", "{}", "--url", "postgres://root@h/s"], 2, "scheme, user and host"),
        ([*ADD, "--payload", "{}", "--url", "mysql://root:geheim@h:x/s"], 2, "port"),
        ([*ADD, "--payload", "{}"], 1, "nowhere.invalid:3306"),
    ],
)
def test_errors_are_one_message_on_stderr(arguments: list[str], code: int, says: str) -> None:
    result = _run(*arguments, env={"CDC_OUTBOX_PASSWORD": "geheim"})
    assert (result.exit_code, result.stdout) == (code, "")
    assert says in " ".join(result.stderr.split())
    assert "geheim" not in result.stderr
    assert "Traceback" not in result.stderr


def test_our_errors_have_a_hint_line() -> None:
    assert "\nhint:  " in _run(*ADD, "--payload", "{}", "--topic", "..").stderr


def test_ctrl_c_ends_with_130(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cdc.cli.outbox.create_table", interrupt)
    assert _run("outbox", "ddl", "--server", "mysql").exit_code == 130


def test_without_click_it_says_what_to_install() -> None:
    code = (
        "import sys, importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name == 'click' else found(name, *rest)\n"
        "from cdc.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pip install 'outbox-cdc[cli]'" in done.stderr


def test_run_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "cdc", "--version"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout[:12]) == (0, "cdc, version")

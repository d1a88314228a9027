"""The stack itself: starting is a repair, stopping touches only its own, and what goes wrong is said by name."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from infra.stack import Instance, StackError
from tests.servers import Database, Kafka, until

pytestmark = pytest.mark.stack

REPOSITORY = Path(__file__).resolve().parents[2]


def begin(*arguments, **environment):
    """Start the command line, as `make` does, with another environment."""
    return subprocess.Popen(
        [sys.executable, "infra/stack", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "CONNECT": "", **{name: str(value) for name, value in environment.items()}},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process):
    printed, _ = process.communicate(timeout=120)
    return process.returncode, printed


def stack(*arguments, **environment):
    """Run the command line: exit code and what was printed."""
    return finish(begin(*arguments, **environment))


def read_env(home):
    return dict(line.split("=", 1) for line in (home / "env").read_text().splitlines())


def pid_of(home, name):
    return int((home / "pids" / f"{name}.pid").read_text())


def runs(pid):
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def only_with(folder, *tools):
    """A PATH on which there are only these tools."""
    folder.mkdir()
    for tool in tools:
        found = shutil.which(tool)
        assert found, tool
        (folder / tool).symlink_to(found)
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A stack in a folder of its own, made by two `up` at once, with something in it; its two outcomes."""
    home = tmp_path_factory.mktemp("stack")
    twins = [begin("up", "--only", "mariadb,kafka", CDC_STACK_DIR=home) for _ in range(2)]
    try:
        yield home, [finish(twin) for twin in twins]
    finally:
        code, printed = stack("reset", CDC_STACK_DIR=home)
        assert code == 0, printed


def test_two_at_once_start_each_server_once(other):
    _, outcomes = other
    assert [code for code, _ in outcomes] == [0, 0], outcomes
    printed = "".join(text for _, text in outcomes)
    assert printed.count("(started in") == 2
    assert printed.count("(was running") == 2
    assert "MariaDB 10.11." in printed
    assert "Kafka 4.1.2 " in printed
    assert "Java " in printed


def test_up_again_changes_nothing(other):
    home, _ = other
    before = read_env(home), pid_of(home, "mariadb"), pid_of(home, "kafka")
    code, printed = stack("up", "--only", "mariadb,kafka", CDC_STACK_DIR=home)
    assert code == 0, printed
    assert (read_env(home), pid_of(home, "mariadb"), pid_of(home, "kafka")) == before
    assert set(before[0]) == {"CDC_TEST_MARIADB", "CDC_TEST_KAFKA"}


def test_up_repairs_what_was_killed_on_the_same_data_and_ports(other):
    home, _ = other
    env = read_env(home)
    mariadb, kafka = Database("mariadb", env["CDC_TEST_MARIADB"]), Kafka(env["CDC_TEST_KAFKA"])
    mariadb.run("CREATE DATABASE kept", "CREATE TABLE kept.t (a INT PRIMARY KEY)", "INSERT INTO kept.t VALUES (7)")
    kafka.create_topic("kept", 3)
    pids = {name: pid_of(home, name) for name in ("mariadb", "kafka")}
    for pid in pids.values():
        os.kill(pid, signal.SIGKILL)
    # at once: the dying processes may still hold their ports and locks
    code, printed = stack("up", "--only", "mariadb,kafka", CDC_STACK_DIR=home)
    assert code == 0, printed
    assert read_env(home) == env
    assert mariadb.run("SELECT a FROM kept.t") == ((7,),)
    assert kafka.topics()["kept"] == 3
    assert all(pid_of(home, name) != pid and runs(pid_of(home, name)) for name, pid in pids.items())


def test_down_stops_only_its_own(other, mariadb, kafka):
    home, _ = other
    own = [pid_of(home, name) for name in ("mariadb", "kafka")]
    stranger = subprocess.Popen(["sleep", "120"])
    try:
        # a pid file that is wrong, as after a restart of the machine
        (home / "pids" / "mariadb.pid").write_text(f"{stranger.pid}\n")
        code, printed = stack("down", CDC_STACK_DIR=home)
        assert code == 0, printed
        assert not any(runs(pid) for pid in own)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()
    assert (home / "env").read_text() == ""
    assert not list((home / "pids").iterdir())
    # the stack these tests use has other data, so it goes on
    mariadb.run("SELECT 1")
    kafka.topics()
    code, printed = stack("status", CDC_STACK_DIR=home)
    assert code == 1
    assert "mariadb: not running" in printed


def test_a_database_of_ones_own_can_be_killed_and_has_other_options(start_server, server):
    own = start_server(server.kind, options=["--loose-binlog-format=STATEMENT"])
    with own.connect(autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT @@binlog_format, @@log_bin, @@sync_binlog")
        assert cursor.fetchone() == ("STATEMENT", 1, 1)
    own.run("CREATE DATABASE kept", "CREATE TABLE kept.t (a INT PRIMARY KEY)", "INSERT INTO kept.t VALUES (7)")
    own.instance.kill()
    assert own.instance.pid is None
    own.instance.start()
    assert own.run("SELECT a FROM kept.t") == ((7,),)
    own.instance.restart(options=[])
    assert own.run("SELECT @@binlog_format, @@binlog_row_image, @@binlog_row_metadata") == (("ROW", "FULL", "FULL"),)
    assert own.run("SELECT @@port") == ((own.port,),)
    assert own.port != server.port


def test_a_port_that_somebody_else_took_is_an_error_that_names_it(start_server):
    own = start_server("mariadb")
    own.instance.stop()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", own.port))
        taken.listen()
        with pytest.raises(StackError, match=f"port {own.port} is held by a process that is not of this stack"):
            own.instance.start()
    own.instance.start()
    own.run("SELECT 1")


def test_a_server_that_cannot_start_says_why(start_server):
    own = start_server("mariadb")
    own.instance.stop()
    own.instance.options = ["--no-such-option"]
    with pytest.raises(StackError, match=r"(?s)ended while it started.*no-such-option"):
        own.instance.start()


def test_a_frozen_server_is_ended_too(start_server):
    own = start_server("mariadb")
    pid = own.instance.pid
    own.instance.freeze()
    assert own.instance.stop()
    until("it is gone", lambda: not runs(pid), seconds=5)


@pytest.mark.parametrize(
    ("server", "there", "missing"),
    [
        ("kafka", [], "java"),
        ("kafka", ["java"], "mvn"),
        ("connect", [], "java"),
        ("mariadb", [], "apt-get"),
        ("mysql", ["apt-get", "apt-config", "dpkg"], "dpkg-deb"),
    ],
)
def test_a_missing_tool_is_named(tmp_path, server, there, missing):
    path = only_with(tmp_path / "bin", *there)
    code, printed = stack("up", "--only", server, CDC_STACK_DIR=tmp_path / "s", CDC_CACHE=tmp_path / "cache", PATH=path)
    assert code == 1
    assert f"the program '{missing}' is missing on this machine" in printed
    assert "hint: " in printed
    assert "Traceback" not in printed


def test_a_fetch_by_maven_that_fails_is_tried_once_more_then_named(tmp_path):
    path = only_with(tmp_path / "bin", "java")
    maven = path / "mvn"
    maven.write_text(f'#!/bin/sh\necho called >>{tmp_path / "calls"}\necho "no such host"\nexit 1\n')
    maven.chmod(0o755)
    code, printed = stack(
        "up", "--only", "kafka", CDC_STACK_DIR=tmp_path / "s", CDC_CACHE=tmp_path / "cache", PATH=f"{path}:/bin"
    )
    assert code == 1
    assert (tmp_path / "calls").read_text().split() == ["called", "called"]
    assert "Kafka 4.1.2: the fetch failed, trying once more" in printed
    assert "Kafka 4.1.2 could not be fetched (tried twice): mvn failed (1):\n    no such host" in printed


@pytest.mark.parametrize(("server", "title"), [("mariadb", "MariaDB 10.11"), ("mysql", "MySQL 9")])
def test_a_fetch_by_apt_that_fails_is_tried_once_more_then_named(tmp_path, server, title):
    code, printed = stack(
        *("up", "--only", server),
        CDC_STACK_DIR=tmp_path / "s",
        CDC_CACHE=tmp_path / "cache",
        CDC_DEBIAN_MIRROR=f"file:{tmp_path / 'nowhere'}",
    )
    assert code == 1
    assert printed.count(f"{title}: the fetch failed, trying once more") == 1
    assert f"{title} could not be fetched (tried twice): apt-get failed" in printed
    assert not (tmp_path / "s" / "pids").exists()


def test_one_failure_does_not_stop_the_other_servers(tmp_path):
    # An empty cache but for MariaDB: Kafka's fetch fails, MariaDB starts.
    cache = tmp_path / "cache"
    (cache / "debian").mkdir(parents=True)
    real = Instance.extra("unused", "mariadb")._cache / "debian" / "mariadb-bookworm"
    (cache / "debian" / real.name).symlink_to(real)
    path = only_with(tmp_path / "bin", "java")
    home = tmp_path / "s"
    try:
        code, printed = stack("up", "--only", "kafka,mariadb", CDC_STACK_DIR=home, CDC_CACHE=cache, PATH=path)
        assert code == 1
        assert "the program 'mvn' is missing" in printed
        assert set(read_env(home)) == {"CDC_TEST_MARIADB"}
    finally:
        stack("reset", CDC_STACK_DIR=home)


def test_unknown_servers_are_refused_in_a_sentence(tmp_path):
    code, printed = stack("up", CDC_STACK_DIR=tmp_path, SERVERS="postgres")
    assert (code, "no server is called postgres" in printed) == (1, True)
    assert not list(tmp_path.iterdir())

"""How MariaDB and MySQL are fetched, initialised, started and asked.

Both log everything the tailer needs (ROW, FULL images, FULL metadata) and are durable at every
commit, as a production server should be. ``root`` has no password and exists for 127.0.0.1 and
localhost only; names are not looked up, so an account for TCP must be ``@'127.0.0.1'`` or ``@'%'``.

Initialising takes seconds, so it is done once per fetched version into ``template/`` beside the
unpacked packages and copied for every new server. Options that shape the data itself
(``--innodb-page-size=...``) are given as ``initial`` and get a data folder of their own making.

MySQL remembers its identity in ``auto.cnf``: it is left out of the copy, each server makes its own.
"""

import os
import re
import shutil
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.stack import processes
from infra.stack.debian import Suite
from infra.stack.places import HOST, locked, socket_path
from infra.stack.progress import Board
from infra.stack.tools import CommandError, StackError, run

_MYSQL_ACCOUNTS = """\
CREATE USER root@'127.0.0.1';
GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION;
GRANT PROXY ON ''@'' TO root@'127.0.0.1' WITH GRANT OPTION;
"""
# The bootstrap mode takes one statement a line. The last lines are for the accounts its scripts make.
_MARIADB_BEFORE = "CREATE DATABASE IF NOT EXISTS mysql;\nUSE mysql;\nSET @auth_root_socket=NULL;\n"
_MARIADB_SCRIPTS = (
    "system_tables",
    "performance_tables",
    "system_tables_data",
    "maria_add_gis_sp_bootstrap",
    "sys_schema",
)
_MARIADB_AFTER = "DELETE FROM mysql.global_priv WHERE User='' OR Host NOT IN ('localhost','127.0.0.1');\n"

_SERVER_OPTIONS = (
    f"--bind-address={HOST}",
    "--skip-name-resolve",
    "--log-bin=binlog",
    "--loose-binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--binlog-row-metadata=FULL",
    "--binlog-expire-logs-seconds=259200",
    "--sync-binlog=1",
    "--innodb-flush-log-at-trx-commit=1",
    "--default-time-zone=+00:00",
    "--max-connections=200",
    "--max-allowed-packet=64M",
)


@dataclass(frozen=True)
class Database:
    """One kind of database server: where it comes from and how it is handled."""

    kind: str
    title: str
    suite: str
    package: str
    daemon: str
    accepted: str
    """The versions that are right, as a regular expression; a suite that moved on is an error."""
    family: str
    """``mysql`` or ``mariadb``: how it is initialised and which options it knows."""
    options: tuple[str, ...] = ()

    port_names = ("port",)

    def packages(self, cache: Path) -> Suite:
        """Return the packages this server is made of."""
        return Suite(self.title, self.suite, (self.package,), cache / "debian" / f"{self.kind}-{self.suite}")

    def fetch(self, cache: Path, board: Board) -> None:
        """Fetch the packages and make the template of a data folder, unless both are there."""
        suite = self.packages(cache)
        suite.fetch(board)
        template = suite.folder / "template"
        if template.exists():
            return
        with locked(suite.folder / "template.lock"), board.task(f"{self.title}: initialising"):
            if not template.exists():
                self._initialise(suite, template, ())

    def prepare(self, cache: Path, home: Path, ports: Sequence[int], initial: Sequence[str]) -> None:
        """Make what the server needs before its first start; on later calls nothing."""
        del ports
        (home / "tmp").mkdir(parents=True, exist_ok=True)
        data = home / "data"
        if data.exists():
            return
        suite = self.packages(cache)
        if initial:
            self._initialise(suite, data, initial)
            return
        fresh = home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(suite.folder / "template", fresh, ignore=shutil.ignore_patterns("auto.cnf"))
        fresh.rename(data)

    def marks(self, home: Path) -> tuple[str, ...]:
        """Return the words of the command line by which the running server is known."""
        return (f"--datadir={home / 'data'}", f"--socket={socket_path(home)}")

    def command(
        self, cache: Path, home: Path, ports: Sequence[int], options: Sequence[str]
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment that start the server, after what a killed one left is away."""
        for left in (socket_path(home), Path(f"{socket_path(home)}.lock"), home / "server.pid"):
            left.unlink(missing_ok=True)
        suite = self.packages(cache)
        command = [
            *suite.command(f"usr/sbin/{self.daemon}"),
            *self._basics(suite, home / "data", home / "tmp"),
            f"--port={ports[0]}",
            f"--server-id={ports[0]}",
            f"--socket={socket_path(home)}",
            f"--pid-file={home / 'server.pid'}",
            *_SERVER_OPTIONS,
            *self.options,
            *options,
        ]
        return command, suite.environment()

    def version(self, ports: Sequence[int]) -> str | None:
        """Return the version the server greets with, None while it does not answer."""
        greeting = _greeting(ports[0])
        if greeting is None:
            return None
        # MariaDB once had to hide its version from old replicas behind this prefix
        version = greeting.removeprefix("5.5.5-").split("-", 1)[0]
        if not re.match(self.accepted, version):
            raise StackError(
                f"{self.title}: Debian {self.suite} has version {version} by now, which is not the one meant here",
                "change it in infra/stack/databases.py, or put the older packages back into the cache",
            )
        return version

    def address(self, ports: Sequence[int]) -> str:
        """Return what clients are told: a URL."""
        return f"mysql://root@{HOST}:{ports[0]}"

    def _basics(self, suite: Suite, data: Path, scratch: Path) -> list[str]:
        """Return the options that initialising and running share."""
        share = suite.one("usr/share/m[ay]*/charsets").parent
        plugins = next(suite.root.glob("usr/lib/**/plugin"), None)
        return [
            "--no-defaults",
            f"--datadir={data}",
            f"--basedir={suite.root / 'usr'}",
            f"--tmpdir={scratch}",
            *([f"--plugin-dir={plugins}"] if plugins else []),
            f"--character-sets-dir={share / 'charsets'}",
            f"--lc-messages-dir={share}",
            "--character-set-server=utf8mb4",
            "--secure-file-priv=",
            # asynchronous I/O of the kernel is scarce or missing in containers
            "--innodb-use-native-aio=OFF",
            "--innodb-buffer-pool-size=64M",
            # as root the server runs only when told so
            *(["--user=root"] if os.geteuid() == 0 else []),
        ]

    def _initialise(self, suite: Suite, data: Path, initial: Sequence[str]) -> None:
        """Make a data folder: aside, so that it is either whole or not there."""
        fresh = data.with_name(data.name + ".new")
        scratch = data.with_name(data.name + ".tmp")
        # one that a killed `up` left behind would work in the same folder
        left = processes.find((f"--datadir={fresh}",))
        if left is not None:
            processes.end(left, (f"--datadir={fresh}",), patience=0)
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(parents=True)
        scratch.mkdir(exist_ok=True)
        script = scratch / "initialise.sql"
        command = [*suite.command(f"usr/sbin/{self.daemon}"), *self._basics(suite, fresh, scratch), *initial]
        log = data.with_name("initialise.log")
        try:
            if self.family == "mysql":
                script.write_text(_MYSQL_ACCOUNTS)
                run([*command, "--initialize-insecure", f"--init-file={script}"], log=log, env=suite.environment())
            else:
                (fresh / "mysql").mkdir()
                script.write_text(_mariadb_script(suite))
                run([*command, "--bootstrap"], log=log, env=suite.environment(), stdin=script)
        except CommandError as error:
            raise StackError(f"{self.title}: initialising a data folder failed: {error}", error.hint) from error
        shutil.rmtree(scratch)
        fresh.rename(data)


def _mariadb_script(suite: Suite) -> str:
    parts = []
    for name in _MARIADB_SCRIPTS:
        found = next(iter(sorted(suite.root.glob(f"usr/share/m[ay]*/*{name}.sql"))), None)
        if found is None:
            raise StackError(f"{suite.title}: no script {name}.sql among the packages", f"delete {suite.folder}")
        parts.append(found.read_text())
    return _MARIADB_BEFORE + "\n".join(parts) + "\n" + _MARIADB_AFTER


def _greeting(port: int) -> str | None:
    """Return the version in the first packet a server sends: length, number, 10, version, NUL."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            packet = connection.recv(256)
    except OSError:
        return None
    if len(packet) < 6 or packet[4] != 10:  # noqa: PLR2004 - see above
        return None
    return packet[5:].split(b"\0", 1)[0].decode(errors="replace")


MARIADB = Database(
    kind="mariadb",
    title="MariaDB 10.11",
    suite="bookworm",
    package="mariadb-server-core",
    daemon="mariadbd",
    accepted=r"10\.11\.",
    family="mariadb",
)
MARIADB_118 = Database(
    kind="mariadb118",
    title="MariaDB 11.8",
    suite="trixie",
    package="mariadb-server-core",
    daemon="mariadbd",
    accepted=r"11\.8\.",
    family="mariadb",
)
MYSQL = Database(
    kind="mysql",
    title="MySQL 9",
    suite="sid",
    package="mysql-server-core",
    daemon="mysqld",
    accepted=r"9\.",
    family="mysql",
    options=("--mysqlx=OFF", "--gtid-mode=ON", "--enforce-gtid-consistency=ON"),
)

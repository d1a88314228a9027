"""Runs the example of a python-cqrs documentation page, its text unchanged, and tails what it wrote.

    .venv/bin/python tests/tools/run_page.py PAGE [--server mysql://root@127.0.0.1:PORT]

For python-cqrs 4.15 and 5.x, each in its venv (`make venvs`): the page's first Python block is compiled as it stands and
run behind the shim below, the tailer (`cdc tailer run --until-caught-up`) reads the database's log, and the one record the
page's event became is read from Kafka and compared with the row. Exits with 0 only if that was so for both.

What the text takes for granted is made around it, not in it: the imports of the shim, python-cqrs's table, an event loop
for its top-level `await`, and the server, account and schema in its URL. That URL has no port, so a TCP forwarder listens
on 127.0.0.1:3306 meanwhile and passes everything on to the stack's server; where that port is taken, the tool ends with
an error. Schema and account are made before and removed afterwards.

The tool calls itself (`--inside`) with each venv's interpreter; that part may import nothing of ours.
"""

import argparse
import ast
import asyncio
import contextlib
import hashlib
import inspect
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

REPOSITORY = Path(__file__).resolve().parents[2]
VENVS = ("cqrs-4", "cqrs-5")
MYSQL_PORT = 3306
PARTITIONS = 3

SHIM = (
    "cqrs.BaseModel = pydantic.BaseModel",
    "di.Dependent = di.dependent.Dependent",
    "cqrs.requests.bootstrap = cqrs.bootstrap.requests",
    "cqrs.NotificationEvent = cqrs.PydanticNotificationEvent",
)
"""What the README gives. 4.x needs the first two lines, 5.x all four: there the module has moved, and the default event
class is one that would store a pydantic payload as its repr."""
SHIM_LINES = {"4": 2, "5": 4}


class PageError(Exception):
    """Why the page could not be run, or what is wrong with what came of it."""


@dataclass(frozen=True)
class Page:
    """The example: its text, and what its URL asks for."""

    code: str
    url: str

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Take the first Python block of a markdown page."""
        block = re.search(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
        if block is None:
            raise PageError(f"{path} has no ```python block")
        url = re.search(r"mysql\+asyncmy://[^\"'\s]+", block[1])
        if url is None:
            raise PageError(f"{path}: its example has no mysql+asyncmy:// URL")
        return cls(block[1], url[0])

    @property
    def user(self) -> str:
        return unquote(urlsplit(self.url).username or "")

    @property
    def password(self) -> str:
        return unquote(urlsplit(self.url).password or "")

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or MYSQL_PORT

    @property
    def schema(self) -> str:
        return urlsplit(self.url).path.strip("/")


# --- with a venv's interpreter -----------------------------------------------------------------------------------


async def inside(page: Page, *, table_only: bool) -> None:
    """Make python-cqrs's table; or run the shim and the page."""
    warnings.simplefilter("ignore", DeprecationWarning)  # 4.x tells on every import that 5.x is out
    import cqrs.requests
    import di.dependent
    import pydantic
    from cqrs.outbox.sqlalchemy import Base
    from sqlalchemy.ext.asyncio import create_async_engine

    version = _version("python-cqrs")
    if version.startswith("5"):
        import cqrs.bootstrap.requests

    if table_only:
        engine = create_async_engine(page.url)
        async with engine.begin() as connection:
            await connection.run_sync(Base.metadata.create_all)
        await engine.dispose()
        return

    lines = SHIM[: SHIM_LINES[version[0]]]
    print(f"python-cqrs {version}; the shim:", *lines, sep="\n    ")
    exec("\n".join(lines), {"cqrs": cqrs, "di": di, "pydantic": pydantic})
    code = compile(page.code, "page", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    print("the page says:", flush=True)
    ended = eval(code, {"__name__": "__main__"})
    if inspect.isawaitable(ended):
        await ended


def _version(distribution: str) -> str:
    from importlib.metadata import version

    return version(distribution)


# --- around it ---------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def forwarder(port: int, to: tuple[str, int]) -> Iterator[None]:
    """Listen on a port of localhost and pass every connection on."""
    try:
        listener = socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise PageError(
            f"the page's URL means port {port} of localhost, and that is taken ({error}): "
            "stop the server that listens there, or run this in another network namespace"
        ) from error

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # closed: the end
            server = socket.create_connection(to)
            for pair in ((client, server), (server, client)):
                threading.Thread(target=copy, args=pair, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    print(f"forwarding 127.0.0.1:{port} to {to[0]}:{to[1]}")
    try:
        yield
    finally:
        # close() alone would leave accept() waiting, and the port taken
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextlib.contextmanager
def account(database, page: Page) -> Iterator[None]:
    """The schema and the user of the page's URL, removed afterwards."""
    tables = {
        name
        for (name,) in database.run(
            f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{page.schema}'"
        )
    }
    if tables - {"outbox"}:
        raise PageError(
            f"the server already has a schema `{page.schema}` with tables {sorted(tables)}: not ours to drop"
        )
    users = [f"'{page.user}'@'{host}'" for host in ("localhost", "127.0.0.1")]
    remove = [f"DROP DATABASE IF EXISTS `{page.schema}`", *(f"DROP USER IF EXISTS {user}" for user in users)]
    database.run(
        *remove,
        f"CREATE DATABASE `{page.schema}`",
        *(f"CREATE USER {user} IDENTIFIED BY '{page.password}'" for user in users),
        *(f"GRANT ALL ON `{page.schema}`.* TO {user}" for user in users),
    )
    try:
        yield
    finally:
        database.run(*remove)


def tail(config: Path) -> None:
    """Publish what is in the log, with the command anybody would use."""
    command = [Path(sys.executable).with_name("cdc"), "tailer", "run", "-c", config, "--until-caught-up"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise PageError(f"the tailer ended with {done.returncode}:\n{done.stderr}")


def run_in(venv: str, path: Path, page: Page, database, kafka) -> None:
    """Run the page in one venv, tail, and look at the one record."""
    from infra.stack import Places

    python = Places.from_environment().cache / "venvs" / venv / "bin" / "python"
    if not python.exists():
        raise PageError(f"there is no {python}: `make venvs` makes it")
    print(f"\n=== {venv}")
    source = f"page-{secrets.token_hex(4)}"
    checkpoint = f"cdc.checkpoint.{source}"
    with account(database, page), tempfile.TemporaryDirectory() as folder:
        command = [python, Path(__file__).resolve(), "--inside", path.resolve()]
        environment = os.environ | {"CQRS_SUPPRESS_V4_EOL_WARNING": "1"}
        subprocess.run([*command, "--table-only"], check=True, cwd=folder, env=environment)
        config = Path(folder) / "cdc.yaml"
        config.write_text(
            json.dumps(  # JSON is YAML
                {
                    "sources": {
                        source: {
                            "url": database.url,
                            "tables": {f"{page.schema}.outbox": {"layout": "cqrs"}},
                            "start": "latest",
                        }
                    },
                    "kafka": {"bootstrap_servers": [kafka.bootstrap]},
                    "http": {"listen": "127.0.0.1:0"},
                }
            )
        )
        try:
            tail(config)  # the first start: from here on
            before = kafka.topics()
            subprocess.run(command, check=True, cwd=folder, env=environment)
            row = database.run(f"SELECT topic, event_name, event_id_bin, payload FROM `{page.schema}`.outbox")
            if len(row) != 1:
                raise PageError(f"the page wrote {len(row)} rows")
            topic = row[0][0]
            if topic in before:
                ends = kafka.ends(topic)
            else:
                kafka.create_topic(topic, partitions=PARTITIONS)
                ends = [0] * PARTITIONS
            tail(config)
            records = [r for r in kafka.read_committed(topic) if r.offset >= ends[r.partition]]
        finally:
            if checkpoint in kafka.topics():
                kafka.delete_topic(checkpoint)
    check(row[0], records)


def check(row, records) -> None:
    """Show the record and compare it with the row."""
    from uuid import UUID

    print(f"records in {row[0]}: {len(records)}")
    for r in records:
        print(f"    partition {r.partition}, offset {r.offset}, key {r.key}, headers {r.headers}\n    {r.value!r}")
    if len(records) != 1:
        raise PageError(f"one row became {len(records)} records")
    wanted = [("message_id", str(UUID(bytes=row[2])).encode()), ("event_name", row[1].encode())]
    if records[0].value != row[3] or records[0].headers != wanted or records[0].key is not None:
        raise PageError(f"the record is not the row {row}")
    print("one record, its value equal to the row's payload byte for byte")


def main() -> int:
    """Run the page in all venvs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--server", help="a MariaDB or MySQL and its root-like user [default: the stack's MariaDB]")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--table-only", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    page = Page.read(options.page)
    if options.inside:
        asyncio.run(inside(page, table_only=options.table_only))
        return 0
    sys.stdout.reconfigure(line_buffering=True)  # in order with what the venvs' interpreters print
    sys.path.insert(0, str(REPOSITORY))
    from tests.servers import Database, NotUpError, shared_database, shared_kafka

    try:
        database = Database("server", options.server) if options.server else shared_database("mariadb")
        kafka = shared_kafka()
        lines, digest = page.code.count("\n"), hashlib.sha256(page.code.encode()).hexdigest()
        print(f"{options.page}: {lines} lines of Python, unchanged, SHA-256 {digest}")
        with (
            contextlib.nullcontext()
            if database.port == page.port
            else forwarder(page.port, (database.host, database.port))
        ):
            for venv in VENVS:
                run_in(venv, options.page, page, database, kafka)
    except (PageError, NotUpError) as error:
        print(f"run_page: {error}", file=sys.stderr)
        return 1
    except subprocess.CalledProcessError as error:
        print(f"run_page: the page failed in its venv (exit code {error.returncode})", file=sys.stderr)
        return 1
    print("\nboth versions: one event, one record")
    return 0


if __name__ == "__main__":
    sys.exit(main())

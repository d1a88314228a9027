"""`cdc outbox`: the table's DDL, and one event written by hand.

`add` goes the way of every application, through `cdc.outbox` and a PyMySQL connection of its
own, so it refuses what the library refuses. PyMySQL's errors become ours here, and no message
holds the password.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, unquote, urlsplit

from cdc.errors import (
    CdcError,
    ColumnMissing,
    ConfigError,
    SourceAccessDenied,
    SourceError,
    SourceUnavailable,
    TableMissing,
)
from cdc.outbox import Event, Outbox
from cdc.outbox.table import LAYOUTS, SERVERS, TableName
from cdc.outbox.table import ddl as create_table

if TYPE_CHECKING:
    import click
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

PASSWORD_VARIABLE = "CDC_OUTBOX_PASSWORD"  # noqa: S105  # the name of a variable
_DEFAULT_PORT = 3306

_CREATE_HINT = (
    "`cdc outbox ddl --server mysql|mariadb --table ...` prints the CREATE TABLE; is the schema the right one?"
)
# The server's and PyMySQL's error numbers that a user can do something about.
_KNOWN: dict[int, tuple[type[CdcError], str]] = {
    1044: (SourceAccessDenied, "Grant the user INSERT on the table."),
    1045: (SourceAccessDenied, f"Check user and password (--password-file, {PASSWORD_VARIABLE})."),
    1049: (TableMissing, "Check the schema's name in the URL."),
    1054: (ColumnMissing, "Compare the table with `cdc outbox ddl`."),
    1142: (SourceAccessDenied, "Grant the user INSERT on the table."),
    1146: (TableMissing, _CREATE_HINT),
    1698: (SourceAccessDenied, f"Check user and password (--password-file, {PASSWORD_VARIABLE})."),
    2003: (SourceUnavailable, "Check host and port in the URL, and that the server runs."),
    2006: (SourceUnavailable, "The connection was lost; the event was not written. Try again."),
    2013: (SourceUnavailable, "The connection was lost; whether the event was written is not known. Look for its id."),
}


@click.group()
def outbox() -> None:
    """The outbox table: its DDL, and events written by hand."""


@outbox.command()
@click.option("--server", required=True, type=click.Choice(SERVERS), help="Which server the table is for.")
@click.option("--table", default="outbox", show_default=True, metavar="[SCHEMA.]TABLE")
@click.option("--layout", default="native", show_default=True, type=click.Choice(LAYOUTS))
def ddl(*, server: str, table: str, layout: str) -> None:
    """Print the CREATE TABLE of an outbox."""
    click.echo(create_table(server, table, layout), nl=False)


@outbox.command()
@click.option("--url", required=True, metavar="mysql://USER@HOST[:PORT]/SCHEMA", help="The database.")
@click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Holds the password."
)
@click.option("--table", default="outbox", show_default=True, metavar="[SCHEMA.]TABLE")
@click.option("--name", required=True, help="What happened, e.g. order.created.")
@click.option("--topic", required=True, help="The topic it wants to go to.")
@click.option("--key", help="The Kafka key. [default: none]")
@click.option("--payload", metavar="TEXT", help="The value; `-` reads it from stdin.")
@click.option("--payload-file", type=click.File("rb"), metavar="FILE", help="A file with the value; `-` is stdin.")
@click.option("--tombstone", is_flag=True, help="No value at all: NULL.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="An extra header; may be repeated.")
@click.option("--content-type", default="application/json", show_default=True)
def add(
    *,
    url: str,
    password_file: Path | None,
    table: str,
    name: str,
    topic: str,
    key: str | None,
    payload: str | None,
    payload_file: Any,
    tombstone: bool,
    headers: tuple[str, ...],
    content_type: str,
) -> None:
    """Write one event in a transaction of its own and print its id.

    The password comes from --password-file, the environment variable CDC_OUTBOX_PASSWORD, the URL, or is asked for.
    """
    value = _payload(payload, payload_file, tombstone=tombstone)
    event = Event(name, topic, value, key=key, headers=_headers(headers), content_type=content_type)
    target = _split(url)
    writer = Outbox(table)
    if TableName.parse(table).schema is None and not _schema(target):
        raise ConfigError("the URL names no schema", hint="Write mysql://user@host/SCHEMA, or --table SCHEMA.TABLE.")
    writer.check(event)  # before a password is asked for
    with _connected(target, _password(target, password_file)) as connection:
        writer.add(connection, event)
        connection.commit()
    click.echo(str(event.event_id))


def _payload(text: str | None, file: Any, *, tombstone: bool) -> str | bytes | None:
    given = [text is not None, file is not None, tombstone]
    if sum(given) != 1:
        raise click.UsageError("Give one of --payload, --payload-file and --tombstone.")
    if text == "-":
        file = sys.stdin.buffer
    if file is not None:
        content: bytes = file.read()
        return content
    return text


def _headers(pairs: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--header {pair}: write NAME=VALUE.")
        if name in headers:
            raise click.UsageError(f"--header {name} is given twice; a header has one value.")
        headers[name] = value
    return headers


def _split(url: str) -> SplitResult:
    hint = "Write mysql://USER@HOST[:PORT]/SCHEMA."
    try:
        split = urlsplit(url)
        port_fits = split.port != 0
    except ValueError:
        port_fits = False
    if not port_fits:
        raise ConfigError("the port in the URL is not a number from 1 to 65535", hint=hint)
    if split.scheme not in {"mysql", "mariadb"} or not split.hostname or not split.username:
        raise ConfigError("the URL does not tell scheme, user and host", hint=hint)
    return split


def _schema(url: SplitResult) -> str:
    return unquote(url.path.strip("/"))


def _password(url: SplitResult, file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if url.password is not None:
        return unquote(url.password)
    return getpass.getpass(f"Password of {url.username}: ") if sys.stdin.isatty() else ""


@contextmanager
def _connected(url: SplitResult, password: str) -> Iterator[Any]:
    import pymysql  # noqa: PLC0415  # `cdc outbox ddl` works without

    where = f"{url.hostname}:{url.port or _DEFAULT_PORT}"
    try:
        connection = pymysql.connect(
            host=url.hostname,
            port=url.port or _DEFAULT_PORT,
            user=unquote(url.username or ""),
            password=password,
            database=_schema(url) or None,
            charset="utf8mb4",
            autocommit=False,
            connect_timeout=10,
        )
        with connection:
            yield connection
    except pymysql.MySQLError as error:
        raise _ours(error, where) from error


def _ours(error: Exception, where: str) -> CdcError:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = error.args[1] if len(error.args) > 1 else str(error)
    kind, hint = _KNOWN.get(number, (SourceError, "The server's own words; the event was not written."))
    return kind(f"{where}: {text} ({number})", hint=hint)

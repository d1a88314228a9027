"""`cdc outbox`: the table's DDL, a look at a live one, and one event written by hand.

`add` goes the way of every application, through `cdc.outbox` and a connection of its own
(`database.py`), so it refuses what the library refuses. `check` only reads.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdc.cli.database import connected, password, schema, split
from cdc.cli.options import OUTPUT, pairs
from cdc.errors import ConfigError
from cdc.outbox import Event, Outbox
from cdc.outbox.layouts import LAYOUTS, Layout, layout_of
from cdc.outbox.table import SERVERS, TableName
from cdc.outbox.table import ddl as create_table

if TYPE_CHECKING:
    import click

    from cdc.operations.outbox_check import Checked
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_FOUND_PROBLEMS = 4

_table = click.option("--table", default="outbox", show_default=True, metavar="[SCHEMA.]TABLE")
_layout = click.option("--layout", type=click.Choice(list(LAYOUTS)), help="[default: native]")
_columns = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="ROLE=NAME[ TYPE]",
    help="A column of your own, such as 'payload=body LONGTEXT'; may be repeated.",
)
_url = click.option("--url", required=True, metavar="mysql://USER@HOST[:PORT]/SCHEMA", help="The database.")
_password_file = click.option(
    "--password-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Holds the password."
)


@click.group()
def outbox() -> None:
    """The outbox table: its DDL, a check of a live one, and events written by hand."""


@outbox.command()
@click.option("--server", required=True, type=click.Choice(SERVERS), help="Which server the table is for.")
@_table
@_layout
@_columns
def ddl(*, server: str, table: str, layout: str | None, columns: tuple[str, ...]) -> None:
    """Print the CREATE TABLE of an outbox."""
    click.echo(create_table(server, table, _form(layout, columns)), nl=False)


@outbox.command()
@_url
@_password_file
@_table
@_layout
@_columns
@click.option("--ddl", "as_ddl", is_flag=True, help="Print only the ALTER TABLE that brings it up to the layout.")
@OUTPUT
def check(
    *,
    url: str,
    password_file: Path | None,
    table: str,
    layout: str | None,
    columns: tuple[str, ...],
    as_ddl: bool,
    output: str,
) -> None:
    """Compare a live table with its layout. Exit code 4 where an INSERT would trip over something.

    The ALTER only adds and widens; nothing is changed by this command.
    """
    from cdc.operations.outbox_check import check_table  # noqa: PLC0415  # `cdc outbox ddl` needs none of it

    target, form, name = split(url), _form(layout, columns), _named(url, table)
    with connected(target, password(target, password_file)) as connection, connection.cursor() as cursor:

        def query(statement: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
            cursor.execute(statement, values)
            rows: Sequence[Sequence[Any]] = cursor.fetchall()
            return rows

        checked = check_table(query, name, form)
    if as_ddl:
        click.echo(checked.upgrade(), nl=False)
    else:
        _print(checked, output)
    sys.exit(_FOUND_PROBLEMS if checked.problems else 0)


def _print(checked: Checked, output: str) -> None:
    data = {**asdict(checked), "problems": checked.problems, "upgrade": checked.upgrade() or None}
    if output == "json":
        click.echo(json.dumps(data, indent=2))
    elif output == "yaml":
        import yaml  # noqa: PLC0415  # as everything that only some outputs need

        click.echo(yaml.safe_dump(json.loads(json.dumps(data)), sort_keys=False, allow_unicode=True), nl=False)
    else:
        for one in checked.differences:
            click.echo(f"{one.level:8} {one.subject}: {one.what}\n         {one.hint}")
        good = "as the layout has it" if not checked.differences else f"{checked.problems} problems"
        click.echo(f"{checked.table}, layout {checked.layout}: {good}")
        if checked.upgrade():
            click.echo("`cdc outbox check --ddl` with the same options prints the ALTER TABLE", err=True)


def _form(layout: str | None, columns: tuple[str, ...]) -> Layout:
    return layout_of(layout, _own(columns))


def _own(columns: tuple[str, ...]) -> dict[str, str]:
    own = {}
    for text in columns:
        role, equals, column = text.partition("=")
        if not equals:
            raise click.UsageError(f"--column {text}: write ROLE=NAME or 'ROLE=NAME TYPE'.")
        own[role] = column
    return own


def _named(url: str, table: str) -> TableName:
    name = TableName.parse(table)
    if name.schema is None and not schema(split(url)):
        raise ConfigError("the URL names no schema", hint="Write mysql://user@host/SCHEMA, or --table SCHEMA.TABLE.")
    return name


@outbox.command()
@_url
@_password_file
@_table
@_layout
@_columns
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
    layout: str | None,
    columns: tuple[str, ...],
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
    event = Event(name, topic, value, key=key, headers=pairs("--header", headers), content_type=content_type)
    target = split(url)
    writer = Outbox(table, layout, columns=_own(columns))
    _named(url, table)
    writer.check(event)  # before a password is asked for
    with connected(target, password(target, password_file)) as connection:
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

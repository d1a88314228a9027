"""`cdc log`: an operator's mysqlbinlog for outbox tables. Prints; what is printed is made in `cdc.operations`."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from cdc.cli.options import CONFIG

if TYPE_CHECKING:
    import click

    from cdc.model import SourceTransaction, TableSpec
    from cdc.settings import Settings
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_OUTPUT = click.option(
    "-o",
    "--output",
    type=click.Choice(["auto", "table", "json"]),
    default="auto",
    show_default=True,
    help="json: one line a transaction. table: one line for people. auto: table on a terminal, json else.",
)
_LIMIT = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="End after so many transactions.")


@click.group()
def log() -> None:
    """Read the binary log as the tailer does."""


@log.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--table", "tables", multiple=True, required=True, metavar="SCHEMA.TABLE", help="An outbox table; may be repeated."
)
@click.option(
    "--statements-allowed-in",
    "allowed",
    multiple=True,
    metavar="SCHEMA",
    help="Pass over statements in text form in this schema; may be repeated. [default: they end the command]",
)
@_LIMIT
@_OUTPUT
def decode(
    *, files: tuple[Path, ...], tables: tuple[str, ...], allowed: tuple[str, ...], limit: int | None, output: str
) -> None:
    """Print the committed rows of log files, in the log's order; no server is needed.

    FILEs are given in the log's order, for transactions prepared in one may be committed in the next; a
    gzip file is unpacked. What was read before an error is printed.
    """
    from cdc.operations.log_decode import decode as run  # noqa: PLC0415 - `cdc --help` need not import it

    write = _writer(output)
    for number, transaction in enumerate(run(files, _specs(tables), statements_allowed_in=allowed, note=_note), 1):
        write(transaction)
        if number == limit:
            break


@log.command()
@CONFIG
@click.option("--source", required=True, metavar="NAME", help="The source whose server and tables are meant.")
@click.option(
    "--from",
    "begin",
    metavar="POSITION",
    help="earliest, FILE:POSITION, or a GTID set. [default: the source's checkpoint]",
)
@_LIMIT
@_OUTPUT
def show(*, config: Path, source: str, begin: str | None, limit: int | None, output: str) -> None:
    """Print the committed rows in a live server's log, up to its end now: what the tailer has still to publish.

    Reads with a server_id of its own and changes nothing: a tailer at work is not disturbed.
    """
    from cdc.settings import load  # noqa: PLC0415

    settings = load(config)
    asyncio.run(_show(settings, source, begin, limit, _writer(output)))


async def _show(
    settings: Settings, source: str, begin: str | None, limit: int | None, write: Callable[[SourceTransaction], None]
) -> None:
    from cdc.operations.log_show import show as run  # noqa: PLC0415

    transactions, number = run(settings, source, begin=begin, note=_note), 0
    async for transaction in transactions:
        write(transaction)
        number += 1
        if number == limit:
            break
    await transactions.aclose()  # type: ignore[attr-defined] # it is an async generator


def _specs(names: tuple[str, ...]) -> list[TableSpec]:
    from cdc.model import TableSpec  # noqa: PLC0415
    from cdc.settings.sources import split_table  # noqa: PLC0415

    try:
        return [TableSpec(*split_table(name)) for name in names]
    except ValueError as error:
        raise click.UsageError(f"--table: {error}") from error


def _writer(output: str) -> Callable[[SourceTransaction], None]:
    from cdc.operations.log_lines import json_line, text_line  # noqa: PLC0415

    if output == "table" or (output == "auto" and sys.stdout.isatty()):
        return lambda transaction: click.echo(text_line(transaction))
    return lambda transaction: click.echo(json_line(transaction), nl=False)


def _note(text: str) -> None:
    click.echo(text, err=True)

"""`cdc route`: what the routes do with a row, before any row depends on it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from cdc.cli.options import CONFIG, OUTPUT, pairs
from cdc.cli.printing import print_data, print_table

if TYPE_CHECKING:
    import click

    from cdc.model import Row
    from cdc.operations.route_test import Target, Tried
    from cdc.settings import Settings
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click


@click.group()
def route() -> None:
    """What the routes do with a row."""


@route.command()
@CONFIG
@click.option("--source", metavar="NAME", help="The source. [default: the only one]")
@click.option("--table", metavar="SCHEMA.TABLE", help="The table. [default: the only one]")
@click.option("--event-name", metavar="TEXT", help="A made-up row: its event's name.")
@click.option("--topic", metavar="TEXT", help="A made-up row: its topic.")
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=VALUE",
    help="A made-up row: a column, by its name or as routes call it (event_key, payload, ...); may be repeated.",
)
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="The last N rows of the live table.")
@click.option("--file", type=click.File("rb"), help="JSON lines: columns, or what `cdc log decode` prints.")
@click.option(
    "--partitions", type=click.IntRange(min=1), metavar="N", help="Every topic has N; Kafka is not asked, then."
)
@OUTPUT
def test(
    *,
    config: Path,
    source: str | None,
    table: str | None,
    event_name: str | None,
    topic: str | None,
    columns: tuple[str, ...],
    last: int | None,
    file: BinaryIO | None,
    partitions: int | None,
    output: str,
) -> None:
    """Print for each row the route that matches, topic, key, partition, headers, and why. Sends nothing.

    Rows are made up by --event-name, --topic and --column, or taken from a --file, or from the table (--last N).
    Exit code 1 where a row cannot become a record.
    """
    from cdc.operations.route_test import Target, tried  # noqa: PLC0415 - `cdc --help` need not import it
    from cdc.settings import load  # noqa: PLC0415

    given = _given(event_name, topic, columns)
    if sum((bool(given), last is not None, file is not None)) != 1:
        raise click.UsageError("say which rows: --event-name, --topic and --column; or --file; or --last N")
    settings = load(config)
    target = Target.find(settings, source, table)

    async def run() -> list[Tried]:
        rows = await _rows(settings, target, given, last, file)
        return await tried(settings, target, rows, partitions=partitions)

    found = asyncio.run(run())
    if output == "table":
        for one in found:
            _print(one)
    else:
        print_data([one.as_data() for one in found], output)
    if not found:
        click.echo("there is no row", err=True)
    sys.exit(1 if any(one.refused for one in found) else 0)


def _given(event_name: str | None, topic: str | None, columns: tuple[str, ...]) -> dict[str, str]:
    given = {name: text for name, text in (("event_name", event_name), ("topic", topic)) if text is not None}
    more = pairs("--column", columns)
    if twice := given.keys() & more:
        raise click.UsageError(f"--column {', '.join(twice)} is given twice.")
    return given | more


async def _rows(
    settings: Settings, target: Target, given: dict[str, str], last: int | None, file: BinaryIO | None
) -> list[Row]:
    from cdc.operations.route_test import from_lines, from_table, made_up  # noqa: PLC0415

    if last is not None:
        return await from_table(settings, target, last, lambda text: click.echo(text, err=True))
    if file is not None:
        return list(from_lines(file, target, getattr(file, "name", "stdin")))
    return [made_up(settings, target, given)]


def _print(one: Tried) -> None:
    data = one.as_data()
    record, refused = one.record, one.refused
    lines: list[tuple[str, object]] = [("row", f"{data['table']}, event {one.event_id} ({one.event_name})")]
    lines.append(("outcome", one.outcome if refused is None else f"{refused.reason}: {one.outcome}"))
    if record is not None:
        none = "none"
        lines += [
            ("topic", record.topic),
            ("partition", none if record.partition is None else record.partition),
            ("key", none if record.key is None else data["key"]),
            *(("header", f"{name}: {value}") for name, value in data["headers"]),
            ("value", "none (a tombstone)" if record.value is None else data["value"]),
        ]
        lines += [] if record.timestamp is None else [("timestamp", record.timestamp)]
    if refused is not None:
        lines += [("refused", refused), ("hint", refused.hint)]
    lines += [("why", sentence) for sentence in data["why"]]
    print_table(("", ""), lines)
    click.echo()

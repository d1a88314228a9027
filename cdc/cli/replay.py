"""`cdc replay`: publish again what was published before. Counts only, without `--yes`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdc.cli.options import CONFIG, OUTPUT
from cdc.cli.printing import print_data, print_table

if TYPE_CHECKING:
    import click

    from cdc.operations.replay import Result, Selection
    from cdc.settings import Settings
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_NATURE = (
    "At least once: nothing remembers what was replayed, and rows that the tailer has still to publish come twice, too."
)


@click.command()
@click.argument("ids", nargs=-1, metavar="[EVENT_ID...]")
@CONFIG
@click.option("--source", metavar="NAME", help="The source. [default: the only one]")
@click.option("--table", "tables", multiple=True, metavar="SCHEMA.TABLE", help="Only of this table; may be repeated.")
@click.option(
    "--read",
    "read",
    type=click.Choice(["table", "log"]),
    default="table",
    show_default=True,
    help="Where the rows are taken from: what is in the table now, or what the log still has.",
)
@click.option("--event-name", metavar="GLOB", help="Only events of this name, such as 'order.*'.")
@click.option("--since", metavar="TIME", help="Made (log: committed) since: 2h, 3d ago, or 2026-01-31T12:00:00Z.")
@click.option("--until", metavar="TIME", help="Made (log: committed) before, likewise.")
@click.option("--from", "begin", metavar="POSITION", help="With --read log: earliest, FILE:POSITION, or GTIDs.")
@click.option("--to", "end", metavar="POSITION", help="With --read log: up to there. [default: the log's end now]")
@click.option("--all", "everything", is_flag=True, help="All rows, where nothing else chooses some.")
@click.option("--yes", is_flag=True, help="Do it. Without it the rows are only counted.")
@OUTPUT
def replay(
    *,
    ids: tuple[str, ...],
    config: Path,
    source: str | None,
    tables: tuple[str, ...],
    read: str,
    event_name: str | None,
    since: str | None,
    until: str | None,
    begin: str | None,
    end: str | None,
    everything: bool,
    yes: bool,
    output: str,
) -> None:
    """Publish rows again through today's routes, marked with the header `replay`. The checkpoint is not touched.

    At least once: nothing remembers what was replayed. Order per key is not restored. Exit code 1 where the
    routes refused rows.
    """
    from cdc.cli.dead_letters import moment  # noqa: PLC0415
    from cdc.operations.replay import Selection  # noqa: PLC0415 - `cdc --help` need not import it
    from cdc.settings import load  # noqa: PLC0415

    if read == "table" and (begin or end):
        raise click.UsageError("--from and --to are places in the log: they go with --read log")
    chosen = Selection(
        frozenset(one.lower() for one in ids),
        event_name,
        moment(since, "--since"),
        moment(until, "--until"),
        frozenset(tables),
    )
    if chosen.empty and not (begin or end or everything):
        raise click.UsageError(
            "choose rows: event ids, --event-name, --since, --until, --table, --from, --to; or --all"
        )
    settings = load(config)
    if source is None:
        if len(settings.sources) > 1:
            raise click.UsageError(f"--source NAME is needed: there are {', '.join(settings.sources)}")
        source = next(iter(settings.sources))
    places = None if read == "table" else (begin or "earliest", end)
    result = asyncio.run(_run(settings, source, chosen, places, send=yes))
    data = {"source": source, "read": read, **result.as_data(), "done": yes}
    if output != "table":
        print_data(data, output)
    else:
        _print(data)
    sys.exit(_closing(result, done=yes))


async def _run(
    settings: Settings, source: str, chosen: Selection, places: tuple[str, str | None] | None, *, send: bool
) -> Result:
    from cdc.operations.replay import Replay  # noqa: PLC0415

    work = Replay(settings, source, chosen, note=lambda text: click.echo(text, err=True))
    try:
        rows = work.from_table() if places is None else work.from_log(*places)
        return await work.run(rows, send=send)
    finally:
        await work.close()


def _print(data: dict[str, Any]) -> None:
    word = "sent to" if data["done"] else "would go to"
    lines = [("rows of", name, count) for name, count in data["rows"].items()]
    lines += [(word, name, count) for name, count in data["records"].items()]
    lines += [("refused", reason, count) for reason, count in data["refused"].items()]
    if data["passed_over"]:
        lines.append(("passed over", "unrouted: skip", data["passed_over"]))
    print_table(("", "what", "number"), lines, right={"number"})


def _closing(result: Result, *, done: bool) -> int:
    """Last words, and the exit code."""
    from cdc.operations.replay import totals  # noqa: PLC0415

    numbers = totals(result)
    for text in result.examples:
        click.echo(f"refused: {text}", err=True)
    if not numbers["rows"]:
        click.echo("nothing to do: no row is chosen", err=True)
    elif done:
        click.echo(f"sent {result.sent} of {numbers['rows']} rows", err=True)
    else:
        click.echo(
            f"nothing was sent; with --yes {numbers['records']} of {numbers['rows']} rows are. {_NATURE}", err=True
        )
    return 1 if numbers["refused"] else 0

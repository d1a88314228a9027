"""`cdc tailer`: run the service, and ask a running one how it is."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import rich_click as click

from cdc.cli.options import CONFIG, OUTPUT
from cdc.errors import CdcError


@click.group()
def tailer() -> None:
    """Follow the database's log and publish every committed outbox row."""


@tailer.command()
@CONFIG
@click.option(
    "--until-caught-up",
    is_flag=True,
    help="End as soon as the log's end, as it was when reading began, is committed.",
)
@click.option(
    "--instance",
    metavar="NAME",
    help="This instance's name; a restart under the same name works at once. [default: host name]",
)
@click.option("--take-over", is_flag=True, help="Do not stand by while another instance works: fence it at once.")
@click.option(
    "--first-start",
    is_flag=True,
    help="Begin anew, by the source's `start`, although a checkpoint existed once and is lost.",
)
@click.option(
    "--log-format",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    help="auto: text on a terminal, JSON lines else.",
)
@click.option("-v", "--verbose", is_flag=True, help="Log every step.")
def run(
    *,
    config: Path,
    until_caught_up: bool,
    instance: str | None,
    take_over: bool,
    first_start: bool,
    log_format: str,
    verbose: bool,
) -> None:
    """Tail all sources of a configuration until stopped (SIGTERM, SIGINT: commit what was read, then end).

    Exit codes: 0 done, 1 failed, 2 configuration, 5 fenced by a newer instance, 6 needs a decision.
    """
    from cdc.tailer import process  # noqa: PLC0415 - `cdc --help` need not import the service

    with process.starting():
        from cdc.settings import load  # noqa: PLC0415
        from cdc.tailer import logs  # noqa: PLC0415
        from cdc.tailer.run import Options, run_tailer  # noqa: PLC0415

        settings = load(config)
    logs.configure(log_format, verbose=verbose)  # type: ignore[arg-type] # Choice has just these
    process.settle()
    options = Options(until_caught_up=until_caught_up, instance=instance, take_over=take_over, first_start=first_start)
    failed = [outcome for outcome in asyncio.run(run_tailer(settings, options)) if outcome.error is not None]
    for outcome in failed:
        show(outcome.error, outcome.source)
    sys.exit(max((outcome.error.exit_code for outcome in failed if outcome.error), default=0))


@tailer.command()
@click.option(
    "-c",
    "--config",
    "config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The tailer's configuration file: its http.listen says where to ask.",
)
@click.option("--url", metavar="URL", help="Where to ask. [default: http://127.0.0.1:8080]")
@OUTPUT
def status(*, config: Path | None, url: str | None, output: str) -> None:
    """Show how a running tailer is doing: what its /status says.

    Exit code 0 where it answers, ready or not; 1 where nobody does.
    """
    from cdc.tailer import remote  # noqa: PLC0415

    if config is not None and url is not None:
        raise click.UsageError("-c and --url say the same: give one of them")
    if config is not None:
        from cdc.settings import load  # noqa: PLC0415

        url = remote.url_of(load(config).http.address(), config=str(config))
    found = remote.fetch_status(url or "http://127.0.0.1:8080")
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif output == "yaml":
        import yaml  # noqa: PLC0415

        click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)
    else:
        _print_status(found)


def _print_status(found: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only the table needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    from cdc.tailer.page import duration, facts  # noqa: PLC0415 - the page shows the same

    console = Console(file=sys.stdout)
    up = duration(found["uptime_seconds"])
    console.print(Text(f"tailer {found['instance']}: {found['state']} (version {found['version']}, up {up})"))
    for name, source in found["sources"].items():
        table = Table(title=Text(f"source {name}"), show_header=False, title_justify="left")
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        table.add_row("state", Text(source["state"]))
        if source["state"] == "standby" and source["waiting_for"]:
            table.add_row("waits for", Text(source["waiting_for"]))
        for term, value in facts(source):
            table.add_row(term, Text(value))
        if (error := source["last_error"]) is not None:
            table.add_row("last error", Text(f"{error['at']} {error['error']}: {error['message']}"))
            table.add_row("hint", Text(error["hint"] or ""))
        console.print(table)


def show(error: CdcError | None, source: str) -> None:
    """One readable paragraph on stderr."""
    if error is not None:
        click.echo(f"error: source {source}: {error}", err=True)
        if error.hint:
            click.echo(f"hint:  {error.hint}", err=True)

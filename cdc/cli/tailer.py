"""`cdc tailer`: run the service."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import rich_click as click

from cdc.errors import CdcError


@click.group()
def tailer() -> None:
    """Follow the database's log and publish every committed outbox row."""


@tailer.command()
@click.option(
    "-c",
    "--config",
    "config",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file (cdc.yaml).",
)
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
    from cdc.settings import load  # noqa: PLC0415 - `cdc --help` need not import the service
    from cdc.tailer import logs  # noqa: PLC0415
    from cdc.tailer.run import Options, run_tailer  # noqa: PLC0415

    settings = load(config)
    logs.configure(log_format, verbose=verbose)  # type: ignore[arg-type] # Choice has just these
    options = Options(until_caught_up=until_caught_up, instance=instance, take_over=take_over, first_start=first_start)
    failed = [outcome for outcome in asyncio.run(run_tailer(settings, options)) if outcome.error is not None]
    for outcome in failed:
        show(outcome.error, outcome.source)
    sys.exit(max((outcome.error.exit_code for outcome in failed if outcome.error), default=0))


def show(error: CdcError | None, source: str) -> None:
    """One readable paragraph on stderr."""
    if error is not None:
        click.echo(f"error: source {source}: {error}", err=True)
        if error.hint:
            click.echo(f"hint:  {error.hint}", err=True)

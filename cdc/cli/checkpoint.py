"""`cdc checkpoint`: where the tailer of a source stands, and moving it by hand.

`show` reads only and creates nothing in Kafka; `set` does nothing without `--yes`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cdc.cli.options import CONFIG, OUTPUT

if TYPE_CHECKING:
    import click

    from cdc.kafka import CheckpointView
    from cdc.operations.checkpoint_set import Plan
    from cdc.settings import Settings
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_RECENT = 15.0
"""Seconds: a sign of life comes every five."""


@click.group()
def checkpoint() -> None:
    """Where the tailer of a source stands."""


@checkpoint.command()
@CONFIG
@click.option("--source", metavar="NAME", help="Only this source. [default: all]")
@OUTPUT
def show(*, config: Path, source: str | None, output: str) -> None:
    """Print the last committed checkpoint of each source.

    Exit code 1 where a source has none.
    """
    from cdc.settings import load  # noqa: PLC0415 - `cdc --help` need not import the service

    settings = load(config)
    names = [source] if source else list(settings.sources)
    for name in names:
        settings.source(name)
    found = {name: _as_data(view) for name, view in asyncio.run(_views(settings, names)).items()}
    if output == "json":
        click.echo(json.dumps(found, indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(found, sort_keys=False, allow_unicode=True), nl=False)
    else:
        for name, data in found.items():
            _print(name, data)
    missing = [name for name, data in found.items() if data["checkpoint"] is None]
    for name in missing:
        click.echo(f"source {name} has no checkpoint: {found[name]['state']}", err=True)
    sys.exit(1 if missing else 0)


async def _views(settings: Settings, names: list[str]) -> dict[str, CheckpointView]:
    from cdc.kafka import read_checkpoint  # noqa: PLC0415

    address, prefix = settings.kafka.address(), settings.kafka.prefix
    return {name: await read_checkpoint(address, name, prefix=prefix) for name in names}


def _as_data(view: CheckpointView) -> dict[str, Any]:
    """What the three forms print."""
    last = view.checkpoint
    return {
        "topic": view.topic,
        "state": _state(view),
        "checkpoint": last
        and {
            **last.position.to_json(),
            "tables": list(last.tables),
            "instance": last.instance,
            "released": last.released,
            "committed_at": last.committed_at,
            "cluster_id": last.cluster_id,
            "offset": view.offset,
        },
        "alive": view.alive_instance
        and {"instance": view.alive_instance, "seconds_ago": view.alive_age and round(view.alive_age, 1)},
        "genesis": view.genesis and dict(view.genesis),
    }


def _state(view: CheckpointView) -> str:
    if not view.exists:
        return f"topic {view.topic} does not exist: the source was never started, or its topic was deleted"
    if view.checkpoint is None:
        return f"topic {view.topic} holds none: a first start has not come that far, or records were deleted"
    if view.checkpoint.released:
        return "stopped on purpose"
    if view.alive_age is not None and view.alive_age < _RECENT:
        return f"instance {view.alive_instance} works"
    return "no sign of life: the tailer is not running, or cannot reach Kafka"


def _print(name: str, data: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only the table needs it
    from rich.table import Table  # noqa: PLC0415

    table = Table(title=f"source {name}", show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("state", data["state"])
    for key, value in (data["checkpoint"] or {}).items():
        if isinstance(value, dict):
            shown = ", ".join(f"{k} {v}" for k, v in value.items())
        elif isinstance(value, list):
            shown = ", ".join(map(str, value))
        else:
            shown = "" if value is None else str(value)
        table.add_row(key.replace("_", " "), shown)
    table.add_row("topic", data["topic"])
    if data["alive"]:
        table.add_row("last sign of life", f"{data['alive']['instance']}, {data['alive']['seconds_ago']} s ago")
    if data["genesis"]:
        table.add_row("begun", f"{data['genesis'].get('created_at')} from {data['genesis'].get('start')}")
    Console(file=sys.stdout).print(table)


@checkpoint.command(name="set")
@CONFIG
@click.option("--source", metavar="NAME", help="The source. [default: the only one]")
@click.option(
    "--to",
    "to",
    required=True,
    metavar="POSITION",
    help="earliest, latest, FILE:POSITION (binlog.000042:1234), or GTIDs: a set on MySQL, the last of each domain "
    "on MariaDB.",
)
@click.option("--yes", is_flag=True, help="Do it. Without it only what would happen is printed.")
@click.option(
    "--take-over",
    is_flag=True,
    help="Although an instance works: it is fenced, and goes on from the new position by itself.",
)
@OUTPUT
def set_position(*, config: Path, source: str | None, to: str, yes: bool, take_over: bool, output: str) -> None:
    """Move a source's checkpoint: where its tailer goes on reading, or begins where the checkpoint was lost.

    The place is checked on the live server, and what will be published again or never is counted in its log.
    Nothing is written while an instance of the source works.
    """
    from cdc.settings import load  # noqa: PLC0415

    settings = load(config)
    if source is None:
        if len(settings.sources) > 1:
            raise click.UsageError(f"--source NAME is needed: there are {', '.join(settings.sources)}")
        source = next(iter(settings.sources))
    plan, done = asyncio.run(_set(settings, source, to, yes=yes, take_over=take_over))
    data = {**plan.as_data(), "done": done}
    if output == "json":
        click.echo(json.dumps(data, indent=2))
    elif output == "yaml":
        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True), nl=False)
    else:
        _print_plan(data)
    click.echo(_closing(plan, done=done), err=True)


async def _set(settings: Settings, source: str, to: str, *, yes: bool, take_over: bool) -> tuple[Plan, bool]:
    from cdc.operations.checkpoint_set import CheckpointSet  # noqa: PLC0415

    command = CheckpointSet(settings, source, note=lambda text: click.echo(text, err=True))
    try:
        plan = await command.plan(to)
        done = yes and (plan.moves or not plan.seen.genesis)
        if done:
            await command.carry_out(plan, take_over=take_over)
        return plan, done
    finally:
        await command.close()


def _closing(plan: Plan, *, done: bool) -> str:
    """The last words, for people."""
    if done:
        return f"done: the next start of source {plan.source} goes on at {plan.position.file}:{plan.position.position}"
    if not plan.moves and plan.seen.genesis:
        return "nothing to do: that is where the checkpoint is"
    words = "nothing was changed; with --yes it is done"
    if plan.seen.holder:
        words += f", unless instance {plan.seen.holder} still works (--take-over fences it)"
    return words


def _print_plan(data: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    done = data["done"]
    title = f"source {data['source']}: checkpoint {'was set' if done else 'would be set'}"
    table = Table(title=Text(title), show_header=False, title_justify="left")
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    now = data["now"]
    table.add_row("before", Text(_place(now) if now else "none: the source has no checkpoint"))
    if now:
        table.add_row("written by", Text(f"{now['instance']}{', which stopped on purpose' if now['released'] else ''}"))
    table.add_row("after", Text(_place(data["then"])))
    table.add_row("server", Text(f"{data['server']} ({data['then']['flavour']})"))
    table.add_row("published again", Text(_counted(data["repeated"])))
    table.add_row("never published", Text(_counted(data["skipped"])))
    for name, number in data["rows_in_tables_since"].items():
        table.add_row("in the table", Text(f"{name} has {number} rows with a later time than the old checkpoint's"))
    if data["snapshot_given_up"]:
        table.add_row("snapshot", Text("was not done, and is given up: cdc replay publishes rows of the table"))
    if data["first_checkpoint"]:
        table.add_row("genesis", Text("is written, too: this becomes the source's first checkpoint"))
    Console(file=sys.stdout).print(table)


def _place(position: dict[str, Any]) -> str:
    gtids = f" ({position['gtid_set']})" if position["gtid_set"] else ""
    return f"{position['file']}:{position['position']}{gtids}"


def _counted(between: dict[str, Any]) -> str:
    """`3 rows in 2 transactions`, with what is not known."""
    rows = sum(between["rows"].values())
    number = f"{rows} {'row' if rows == 1 else 'rows'}"
    transactions = between["transactions"]
    text = f"{number} in {transactions} {'transaction' if transactions == 1 else 'transactions'}" if rows else "nothing"
    if between["complete"]:
        return text
    return f"at least {number}: {between['why_not']}" if rows else f"not known: {between['why_not']}"

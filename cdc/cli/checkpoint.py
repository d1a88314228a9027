"""`cdc checkpoint`: where the tailer of a source stands. Reads only; creates nothing in Kafka."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    import click

    from cdc.kafka import CheckpointView
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
@click.option(
    "-c",
    "--config",
    "config",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file (cdc.yaml).",
)
@click.option("--source", metavar="NAME", help="Only this source. [default: all]")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True)
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

"""`cdc config`: make a configuration, check it, see what holds, get its JSON Schema.

Nothing here talks to a server: what a file cannot tell (wrong host, missing table) is
said when the tailer starts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cdc.cli.options import CONFIG
from cdc.errors import ConfigError

if TYPE_CHECKING:
    import click
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click


@click.group()
def config() -> None:
    """Make, check and show the configuration file."""


@config.command()
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write to this file instead of stdout.")
def init(output: Path | None) -> None:
    """Print a first configuration with comments, ready to be edited; it never overwrites a file."""
    from cdc.settings.output import TEMPLATE  # noqa: PLC0415 - `cdc config --help` needs no pydantic

    if output is None:
        click.echo(TEMPLATE, nl=False)
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(TEMPLATE)
    except FileExistsError as error:
        raise ConfigError(f"{output} is already there", hint="Choose another name, or remove it first.") from error
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}", hint="Choose another place.") from error
    click.echo(f"wrote {output}; check it with `cdc config validate -c {output}`", err=True)


@config.command()
@CONFIG
@click.option("-o", "--output", "form", type=click.Choice(["yaml", "json"]), default="yaml", help="Form of the output.")
def show(config: Path, form: str) -> None:
    """Print what holds: the file with defaults and CDC_* overrides; secrets are masked."""
    from cdc.settings import load, output  # noqa: PLC0415

    settings = load(config)
    if form == "json":
        click.echo(json.dumps(output.effective(settings), indent=2, ensure_ascii=False))
    else:
        click.echo(output.effective_yaml(settings), nl=False)


@config.command()
@CONFIG
def validate(config: Path) -> None:
    """Check a configuration without starting anything; every mistake is named with line and column."""
    from cdc.settings import load  # noqa: PLC0415

    settings = load(config)
    tables = sum(len(source.tables) for source in settings.sources.values())
    counts = (
        _count(len(settings.sources), "source"),
        _count(tables, "table"),
        _count(len(settings.routes), "route"),
    )
    click.echo(f"ok: {', '.join(counts)}", err=True)


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors and for checks in CI."""
    from cdc.settings.output import schema as make  # noqa: PLC0415

    click.echo(json.dumps(make(), indent=2, ensure_ascii=False))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

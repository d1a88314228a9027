"""Options that several groups share: spelled once, so that they mean the same everywhere.

`CONFIG` hands over `config`, a path that need not exist: that there is no such file says `cdc.settings.load`,
with a hint and exit code 2.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import click
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

CONFIG = click.option(
    "-c",
    "--config",
    "config",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The configuration file (cdc.yaml).",
)


def pairs(option: str, texts: Iterable[str]) -> dict[str, str]:
    """What an option NAME=VALUE, given several times, says."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.UsageError(f"{option} {text}: write NAME=VALUE.")
        if name in found:
            raise click.UsageError(f"{option} {name} is given twice.")
        found[name] = value
    return found


OUTPUT = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="table", show_default=True
)

"""How the commands of `cdc connectors` reach a cluster: the options they share, progress, tables, names to complete.

Every command gets a ``Reach``. Data goes to stdout, words to stderr; nobody is asked anything unless a person sits at
a terminal.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from cdc.errors import CdcError, ConfigError

if TYPE_CHECKING:
    import click
    from stamina.instrumentation import RetryDetails

    from cdc.connect import Client
    from cdc.connect.environment import Environment
    from cdc.connect.manifest import Manifest
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click


@dataclass
class Reach:
    """What was said on the command line about where and how."""

    directory: Path = Path("connectors")
    environment: str | None = None
    urls: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    patience: float = 60.0
    _waited: bool = field(default=False, repr=False)

    def tell(self, text: str) -> None:
        """A word to the person."""
        click.echo(text, err=True)

    def known(self) -> Environment:
        """The environment, with what the command line says over it."""
        from cdc.connect.environment import find, read  # noqa: PLC0415 - `cdc --help` need not import it

        found = read(find(self.directory, self.environment), os.environ)
        headers = dict(found.address.headers)
        for text in self.headers:
            name, colon, value = text.partition(":")
            if not colon:
                raise ConfigError("--header must be NAME: VALUE", hint="--header 'X-Tenant: shop'")
            headers[name.strip()] = value.strip()
        address = replace(found.address, headers=headers, patience=self.patience)
        return replace(found, address=replace(address, urls=self.urls or address.urls))

    def client(self) -> Client:
        """A client; it says so, once, when the cluster lets it wait."""
        import stamina  # noqa: PLC0415

        from cdc.connect import Client  # noqa: PLC0415

        stamina.instrumentation.set_on_retry_hooks([self._waits])
        return Client(self.known().address)

    def _waits(self, details: RetryDetails) -> None:
        del details  # it may quote a configuration
        if not self._waited:
            self._waited = True
            self.tell(f"Kafka Connect cannot do it now; trying again for up to {self.patience:g} s")

    def manifests(self, names: Sequence[str] = ()) -> tuple[list[Manifest], list[str]]:
        """The manifests of these names, all without; and the names of all there are."""
        from cdc.connect.manifest import Variables, chosen, files, load  # noqa: PLC0415

        found = load(files(self.directory), Variables(self.known().variables, os.environ), names)
        return chosen(found, names), [one.name for one in found]

    def sure(self, question: str, *, yes: bool) -> None:
        """Ask before something is gone; ConfigError where nobody can answer, or the answer is no."""
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise ConfigError(f"{question} Nobody can be asked here.", hint="--yes answers it")
        if not click.confirm(question, err=True):
            raise ConfigError("not confirmed; nothing was changed")


def reaching(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say where the cluster is, as one argument ``reach``."""

    @click.option(
        "-d",
        "--directory",
        default="connectors",
        show_default=True,
        type=click.Path(path_type=Path),
        help="The folder with manifests and environments/.",
    )
    @click.option(
        "-e",
        "--environment",
        metavar="ENV",
        envvar="CDC_CONNECT_ENVIRONMENT",
        help="environments/ENV.yaml: cluster, credentials, variables.",
    )
    @click.option("--url", "urls", multiple=True, metavar="URL", help="A worker's URL; may be repeated.")
    @click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="Sent with every request.")
    @click.option(
        "--patience",
        default=60.0,
        show_default=True,
        type=click.FloatRange(min=0.1),
        metavar="SECONDS",
        help="How long a rebalance or a dead worker is waited for.",
    )
    @functools.wraps(command)
    def with_reach(
        directory: Path,
        environment: str | None,
        urls: tuple[str, ...],
        headers: tuple[str, ...],
        patience: float,
        **rest: Any,
    ) -> Any:
        return command(Reach(directory, environment, urls, headers, patience), **rest)

    return with_reach


TIMEOUT = click.option(
    "--timeout", default=120.0, show_default=True, type=click.FloatRange(min=0.1), metavar="SECONDS", help="How long."
)
YES = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
WAIT = click.option(
    "--wait/--no-wait", default=True, show_default=True, help="Until connector and tasks are as wanted."
)


def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of live connectors for the shell; none where the cluster does not answer at once."""
    given = {name: ctx.params.get(name) for name in ("directory", "environment", "urls", "headers")}
    try:
        known = Reach(**{name: value for name, value in given.items() if value}, patience=0.2).known()
        from cdc.connect import Client  # noqa: PLC0415

        with Client(replace(known.address, timeout=3.0, connect_timeout=1.0)) as client:
            return [name for name in client.names() if name.startswith(incomplete)]
    except CdcError:
        return []


NAME = click.argument("name", shell_complete=complete)
NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete)


def print_as(output: str, data: Any) -> None:
    """JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
    else:
        click.echo(yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=1000), nl=False)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table for people."""
    from rich import box  # noqa: PLC0415 - only tables need it
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, column in enumerate(columns):
        table.add_column(column, overflow="fold", no_wrap=number == 0)
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    # in a pipe nothing is cut off at the width of a terminal that is not there
    width = None if sys.stdout.isatty() else 240
    Console(file=sys.stdout, width=width, highlight=False).print(table)

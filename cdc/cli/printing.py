"""What commands print: data as JSON or YAML, and tables for people. rich is imported when a table is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import click
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_WIDE = 220
"""Columns of a table that goes into a file or a pipe."""


def print_data(data: Any, output: str) -> None:
    """`output` is json or yaml; a list in YAML begins with `---`."""
    if output == "json":
        click.echo(json.dumps(data, indent=2, ensure_ascii=False))
        return
    import yaml  # noqa: PLC0415 - only this needs it

    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, explicit_start=isinstance(data, list))
    click.echo(text, nl=False)


def print_table(
    headings: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    whole: Collection[str] = (),
    right: Collection[str] = (),
) -> None:
    """A table without lines; None is an empty cell. Columns of `whole` are never broken, so that they can be copied."""
    from rich.console import Console  # noqa: PLC0415 - only the table needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=any(headings))
    for heading in headings:
        justify = "right" if heading in right else "left"
        table.add_column(heading, overflow="fold", no_wrap=heading in whole, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text("" if cell is None else str(cell)) for cell in row))
    if table.row_count:
        Console(file=sys.stdout, width=None if sys.stdout.isatty() else _WIDE).print(table)

"""`cdc connectors validate | plan | apply | export | create`: connectors as files."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from cdc.cli.connectors_reach import TIMEOUT, WAIT, YES, Reach, complete, print_as, reaching
from cdc.cli.options import OUTPUT
from cdc.errors import ConfigError, ConnectorExists, ConnectorNotReady

if TYPE_CHECKING:
    import click

    from cdc.connect.plan import Field, Plan, Step
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_PROBLEMS, _CHANGES = 4, 3
_MANIFESTS = click.argument("names", nargs=-1, metavar="[NAME]...")
_PRUNE = click.option("--prune", is_flag=True, help="Delete connectors that have no manifest.")
_OWNS = click.option(
    "--owns",
    multiple=True,
    metavar="PATTERN",
    help="Names that are ours to prune, such as 'outbox-*'; may be repeated. [default: `owns` of the environment]",
)


def _survey(reach: Reach, names: tuple[str, ...], *, prune: bool = False, owns: tuple[str, ...] = ()) -> Plan:
    from cdc.operations.connectors import survey  # noqa: PLC0415

    if prune and names:
        raise ConfigError("--prune goes with all manifests, not with names", hint="leave the names away")
    manifests, managed = reach.manifests(names)
    with reach.client() as client:
        return survey(client, manifests, managed=managed, prune=prune, owns=owns or reach.known().owns)


@click.command()
@_MANIFESTS
@reaching
@OUTPUT
def validate(reach: Reach, *, names: tuple[str, ...], output: str) -> None:
    """Let Connect judge the manifests: each wrong option by name. Changes nothing; exit code 4 with problems."""
    found = _survey(reach, names)
    if output == "table":
        _print_problems(found)
        for step in found.steps:
            click.echo(f"{step.name}: {'has problems' if step.name in found.problems else 'ok'}")
    else:
        data = found.as_data()
        print_as(output, {key: data[key] for key in ("problems", "warnings")})
    sys.exit(_PROBLEMS if found.problems else 0)


@click.command()
@_MANIFESTS
@reaching
@_PRUNE
@_OWNS
@click.option("--exit-code", is_flag=True, help="End with 3 if there are changes.")
@OUTPUT
def plan(
    reach: Reach, *, names: tuple[str, ...], prune: bool, owns: tuple[str, ...], exit_code: bool, output: str
) -> None:
    """Show what apply would do, option by option. Changes nothing."""
    from cdc.operations.connectors import refuse_problems  # noqa: PLC0415

    found = _survey(reach, names, prune=prune, owns=owns)
    if output == "table":
        _print_plan(found)
    else:
        print_as(output, found.as_data())
    refuse_problems(found)
    sys.exit(_CHANGES if exit_code and found.changes else 0)


@click.command()
@_MANIFESTS
@reaching
@_PRUNE
@_OWNS
@YES
@WAIT
@TIMEOUT
@click.option("--trace", is_flag=True, help="The whole stack trace if a connector fails.")
def apply(
    reach: Reach,
    *,
    names: tuple[str, ...],
    prune: bool,
    owns: tuple[str, ...],
    yes: bool,
    wait: bool,
    timeout: float,
    trace: bool,
) -> None:
    """Make the cluster as the manifests say, in the order of their files, and wait until all runs.

    Nothing is changed unless Connect takes every manifest. Offsets stay. Done again, it goes on where it was cut off.
    """
    from cdc.connect.apply import apply as do  # noqa: PLC0415
    from cdc.operations.connectors import refuse_problems, survey  # noqa: PLC0415

    found = _survey(reach, names, prune=prune, owns=owns)
    _print_plan(found)
    refuse_problems(found)
    gone = [step.name for step in found.changes if "delete" in step.actions]
    if gone:
        if yes and not (owns or reach.known().owns):
            raise ConfigError(
                f"{', '.join(gone)} would be deleted, and whose they are was not said: others may use this cluster",
                hint="--owns 'outbox-*' (or `owns` in the environment's file) names those that are ours; a person at "
                "a terminal is asked instead",
            )
        reach.sure(f"Delete {', '.join(gone)}, which no manifest knows?", yes=yes)
    with reach.client() as client:
        try:
            done = do(client, found, wait=timeout if wait else None, tell=reach.tell)
        except ConnectorNotReady:
            if trace:
                for step in found.steps:
                    for part in client.status(step.name).failed if step.name in client.names() else ():
                        click.echo(found.mask.text(part.trace or ""), err=True)
            raise
        if wait:
            manifests, managed = reach.manifests(names)
            left = survey(client, manifests, managed=managed).changes
            if left:
                raise ConnectorNotReady(
                    f"somebody changed {', '.join(step.name for step in left)} meanwhile",
                    hint="cdc connectors plan shows what differs",
                )
    reach.tell(f"done: {', '.join(done)}" if done else "nothing to do")


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete)
@reaching
@click.option("--to", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER", help="A file for each.")
def export(reach: Reach, *, names: tuple[str, ...], to: Path | None) -> None:
    """Write the manifests of live connectors; with them, a plan is empty.

    For each secret there is a variable in the manifest; stderr says which ones are to be set. Existing files are
    not overwritten.
    """
    from cdc.operations.connectors import export as run  # noqa: PLC0415

    with reach.client() as client:
        found = list(run(client, names))
    for number, (name, text, variables) in enumerate(found):
        if to is None:
            click.echo(("---\n" if number else "") + text, nl=False)
        else:
            _write(to / f"{name}.yaml", text)
        for variable, option in variables.items():
            reach.tell(f"{name}: set {variable} to the value of {option}")


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConfigError(f"{path} is already there", hint="name another folder with --to") from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written: {error.strerror}", hint="name another folder with --to"
        ) from error
    click.echo(str(path))


@click.command()
@click.option(
    "-f",
    "--file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A manifest, or JSON as for POST /connectors.",
)
@reaching
@WAIT
@TIMEOUT
def create(reach: Reach, *, file: Path, wait: bool, timeout: float) -> None:
    """Create the connectors of one file. A connector that is there already ends it before anything is done."""
    from cdc.connect.apply import apply as do  # noqa: PLC0415
    from cdc.connect.manifest import Variables, load  # noqa: PLC0415
    from cdc.operations.connectors import refuse_problems, survey  # noqa: PLC0415

    manifests = load([file], Variables(reach.known().variables, os.environ))
    with reach.client() as client:
        found = survey(client, manifests)
        taken = [step.name for step in found.steps if "create" not in step.actions]
        if taken:
            raise ConnectorExists(
                f"there is already a connector {', '.join(taken)}", hint="cdc connectors apply changes what is there"
            )
        refuse_problems(found)
        done = do(client, found, wait=timeout if wait else None, tell=reach.tell)
    reach.tell(f"created: {', '.join(done)}")


def _print_plan(found: Plan) -> None:
    for step in found.steps:
        if step.actions:
            _print_step(found, step)
    _print_problems(found)
    if found.unmanaged and not any("delete" in step.actions for step in found.steps):
        click.echo(f"without a manifest (--prune deletes them): {', '.join(found.unmanaged)}")
    if found.foreign:
        click.echo(f"without a manifest, and not ours: {', '.join(found.foreign)}")
    count = len(found.changes)
    click.echo(f"{count} of {len(found.steps)} connectors to change" if count else "no changes")


def _print_step(found: Plan, step: Step) -> None:
    sign = {"create": "+", "delete": "-"}.get(step.actions[0], "~")
    old, new = step.state
    what = f" ({old or 'not there'} -> {new})" if "state" in step.actions or sign != "~" else ""
    click.echo(f"{sign} {step.name}: {', '.join(step.actions)}{what}")
    for field in step.fields:
        click.echo(f"    {_field(found, field)}")
    for text in step.failed:
        click.echo(f"    FAILED: {found.mask.text(text)}")


def _field(found: Plan, field: Field) -> str:
    old, new = (found.mask.value(field.name, value) for value in (field.old, field.new))
    if field.old is None:
        return f"+ {field.name}: {new}"
    if field.new is None:
        return f"- {field.name}: {old}"
    changed = " (another value)" if old == new else ""
    return f"~ {field.name}: {old} -> {new}{changed}"


def _print_problems(found: Plan) -> None:
    for text in found.warnings:
        click.echo(f"warning: {text}", err=True)
    for name, wrong in found.problems.items():
        for option, texts in wrong.items():
            for text in texts:
                click.echo(f"! {name}: {option}: {text}")

"""`cdc topics`: the cluster's topics compared with what the configuration needs, and made so. Never deletes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cdc.cli.options import CONFIG, OUTPUT
from cdc.cli.printing import print_data, print_table

if TYPE_CHECKING:
    import click

    from cdc.errors import CdcError
    from cdc.operations.topics_plan import Plan, Step, Topics
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_HAS_CHANGES = 3
_F = TypeVar("_F", bound=Callable[..., Any])


def _options(command: _F) -> _F:
    for option in reversed(
        (
            CONFIG,
            click.option(
                "-f",
                "--file",
                "file",
                type=click.Path(dir_okay=False, path_type=Path),
                help="Shapes of topics; infra/kafka/topics.yaml is an example.",
            ),
            click.option("--grow", is_flag=True, help="Add partitions, too: keys move, and their order breaks there."),
            OUTPUT,
        )
    ):
        command = option(command)
    return command


@click.group()
def topics() -> None:
    """The topics that the configuration needs."""


@topics.command()
@_options
@click.option("--exit-code", is_flag=True, help="End with 3 where anything differs.")
def plan(*, config: Path, file: Path | None, grow: bool, exit_code: bool, output: str) -> None:
    """Compare: what is missing, what has other partitions, copies or settings. Changes nothing."""
    found = _run(config, file, lambda work: work.plan(grow=grow))
    _print(found, output)
    fine = f"{_fine(found)} of {len(found.wanted)} topics are fine"
    click.echo(f"{len(found.doable)} to do, {len(found.problems)} to decide; {fine}", err=True)
    sys.exit(_HAS_CHANGES if exit_code and found.steps else 0)


@topics.command()
@_options
@click.option("--yes", is_flag=True, help="Do not ask.")
def apply(*, config: Path, file: Path | None, grow: bool, yes: bool, output: str) -> None:
    """Create what is missing and set what differs, after asking. Nothing is deleted.

    Exit code 1 where something failed, or is left for a person to decide.
    """

    async def work(found: Topics) -> tuple[Plan, list[tuple[Step, CdcError | None]]]:
        planned = await found.plan(grow=grow)
        if output == "table":
            _print(planned, output)
        if planned.doable and not yes:
            _ask(len(planned.doable))
        return planned, await found.apply(planned)

    planned, done = _run(config, file, work)
    if output != "table":
        steps = [{**step.as_data(), "error": error and str(error)} for step, error in done]
        print_data({"done": steps, "left": [step.as_data() for step in planned.problems]}, output)
    failed = [(step, error) for step, error in done if error is not None]
    for step, error in failed:
        click.echo(f"error: {step.topic}: {step.what}: {error}", err=True)
        if error.hint:
            click.echo(f"hint:  {error.hint}", err=True)
    click.echo(f"{len(done) - len(failed)} done, {len(failed)} failed, {len(planned.problems)} to decide", err=True)
    sys.exit(1 if failed or planned.problems else 0)


def _ask(count: int) -> None:
    """Go on only if somebody says so."""
    if not sys.stdin.isatty():
        raise click.UsageError("this is no terminal, so nobody can be asked: --yes does it, `cdc topics plan` looks")
    click.confirm(f"Do these {count}?", abort=True, err=True)


def _run(config: Path, file: Path | None, work: Callable[[Topics], Any]) -> Any:
    from cdc.operations.topics_plan import Topics  # noqa: PLC0415 - `cdc --help` need not import it
    from cdc.settings import load  # noqa: PLC0415
    from cdc.settings.topics_file import load_topics  # noqa: PLC0415

    settings, shapes = load(config), load_topics(file) if file else None

    async def run() -> Any:
        found = Topics(settings, shapes)
        try:
            return await work(found)
        finally:
            await found.close()

    return asyncio.run(run())


def _fine(found: Plan) -> int:
    return len({one.topic for one in found.wanted} - {step.topic for step in found.steps})


def _print(found: Plan, output: str) -> None:
    if output != "table":
        print_data(
            {
                "changes": [step.as_data() for step in found.doable],
                "problems": [step.as_data() for step in found.problems],
                "notes": list(found.notes),
                "topics": [one.topic for one in found.wanted],
            },
            output,
        )
        return
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    print_table(
        ("", "topic", "what", "now", "wanted"),
        ((_sign(step), step.topic, step.what, step.now, step.wanted) for step in found.steps),
    )
    for step in found.problems:
        click.echo(f"not done: {step.topic}: {step.what}: {step.why_not}", err=True)


def _sign(step: Step) -> str:
    return "!" if step.why_not else "+" if step.what == "create" else "~"

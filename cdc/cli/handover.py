"""`cdc handover`: from Debezium to the tailer and back, without a gap and without a repetition.

Both commands plan first and print the plan; with `--yes`, or when somebody at a terminal says so, they do it. The plan
says every reason why it would not be exact; with one of them nothing is done (exit code 6).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cdc.cli.connectors_reach import NAME, TIMEOUT, Reach, print_as, print_table, reaching
from cdc.cli.options import CONFIG, OUTPUT
from cdc.errors import ConfigError, ConnectError, ConnectorMissing

if TYPE_CHECKING:
    import click

    from cdc.connect.manifest import Manifest
    from cdc.operations.handover_from import FromDebezium, FromPlan
    from cdc.operations.handover_to import ToDebezium, ToPlan
    from cdc.settings import Settings
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click


@click.group()
def handover() -> None:
    """From Debezium to the tailer and back, exactly."""


def _shared(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of both directions."""

    @NAME
    @CONFIG
    @click.option("--source", metavar="NAME", help="The source. [default: the only one]")
    @reaching
    @TIMEOUT
    @click.option("--yes", is_flag=True, help="Do it. Without it the plan is printed, and a person is asked.")
    @click.option("--ignore-xa", is_flag=True, help="Open XA transactions hold no row of the outbox.")
    @click.option(
        "--keep",
        default=".",
        type=click.Path(file_okay=False, exists=True, path_type=Path),
        help="The folder for the file that holds the way back. [default: this one]",
    )
    @OUTPUT
    @functools.wraps(command)
    def with_options(reach: Reach, **given: Any) -> Any:
        return command(reach, **given)

    return with_options


@handover.command("from-debezium")
@_shared
def from_debezium(
    reach: Reach,
    *,
    name: str,
    config: Path,
    source: str | None,
    timeout: float,
    yes: bool,
    ignore_xa: bool,
    keep: Path,
    output: str,
) -> None:
    """Stop a Debezium connector and set the source's checkpoint where it stood: the tailer goes on there.

    The connector stays STOPPED. Start the tailer afterwards.
    """
    from cdc.operations.handover_from import FromDebezium  # noqa: PLC0415 - `cdc --help` need not import the service

    settings, source = _settings(config, source)
    with reach.client() as client:
        command = FromDebezium(settings, source, client, name, note=reach.tell, timeout=timeout, ignore_xa=ignore_xa)
        asyncio.run(_run(command, reach, output, keep, yes=yes))


@handover.command("to-debezium")
@_shared
@click.option("--leave-dead-letters", is_flag=True, help="Although rows of the source are parked.")
def to_debezium(
    reach: Reach,
    *,
    name: str,
    config: Path,
    source: str | None,
    timeout: float,
    yes: bool,
    ignore_xa: bool,
    keep: Path,
    output: str,
    leave_dead_letters: bool,
) -> None:
    """Make a Debezium connector go on where the stopped tailer of a source has ended.

    A connector that is not there is created from its manifest. Keep the tailer stopped afterwards.
    """
    from cdc.operations.handover_to import ToDebezium  # noqa: PLC0415

    settings, source = _settings(config, source)
    with reach.client() as client:
        command = ToDebezium(
            settings,
            source,
            client,
            name,
            manifest=_manifest(reach, client, name),
            note=reach.tell,
            timeout=timeout,
            ignore_xa=ignore_xa,
            leave_dead_letters=leave_dead_letters,
        )
        asyncio.run(_run(command, reach, output, keep, yes=yes))


def _settings(config: Path, source: str | None) -> tuple[Settings, str]:
    from cdc.settings import load  # noqa: PLC0415

    settings = load(config)
    if source is None:
        if len(settings.sources) > 1:
            raise click.UsageError(f"--source NAME is needed: there are {', '.join(settings.sources)}")
        source = next(iter(settings.sources))
    settings.source(source)
    return settings, source


def _manifest(reach: Reach, client: Any, name: str) -> Manifest | None:
    """The manifest of a connector that is not there yet."""
    try:
        client.status(name)
    except ConnectorMissing:
        return reach.manifests([name])[0][0]
    return None


async def _run(command: FromDebezium | ToDebezium, reach: Reach, output: str, folder: Path, *, yes: bool) -> None:
    try:
        plan: Any = await command.plan()
        if not yes or plan.found.reasons or output == "table":
            _print(plan.as_data(), output)
        plan.found.refuse()
        if not _agreed(reach, plan, yes=yes):
            reach.tell("nothing was changed; with --yes it is done")
            return
        done = await command.carry_out(plan, folder)
    except ConnectError as error:
        raise command.masked(error) from error
    finally:
        await command.close()
    if output == "table":
        reach.tell(_closing(done))
    else:
        print_as(output, done)


def _agreed(reach: Reach, plan: FromPlan | ToPlan, *, yes: bool) -> bool:
    """Said on the command line, or by a person."""
    if yes:
        return True
    try:
        reach.sure(f"Hand over {plan.connector} and source {plan.source}?", yes=False)
    except ConfigError:
        return False
    return True


def _print(data: dict[str, Any], output: str) -> None:
    if output != "table":
        print_as(output, data)
        return
    rows: list[tuple[str, Any]] = [
        (key.replace("_", " "), value) for key, value in data.items() if not isinstance(value, list)
    ]
    rows += [("against it", f"{one['reason']} -> {one['hint']}") for one in data["reasons"]]
    rows += [("note", text) for text in data["notes"]]
    print_table(("handover", ""), rows)


def _closing(done: dict[str, Any]) -> str:
    way = "\n  ".join(done["way_back"])
    if done["handover"] == "from-debezium":
        head = f"done: {done['connector']} is stopped; the tailer of source {done['source']} goes on when it is started"
    else:
        head = f"done: {done['connector']} goes on; keep the tailer of source {done['source']} stopped"
    return f"{head}\nbefore and after are kept in {done['kept_in']}; the way back:\n  {way}"

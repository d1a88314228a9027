"""`cdc schemas`: the schemas of a service's events as files, compared with what the service registers today."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cdc.cli.options import OUTPUT
from cdc.cli.printing import print_data, print_table
from cdc.errors import ConfigError

if TYPE_CHECKING:
    import click

    from cdc.schema.compare import Change
    from cdc.schema.folder import Finding
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_PROBLEMS = 4
_FOLDER = Path("schemas/events")
_F = TypeVar("_F", bound=Callable[..., Any])


def _events(*, required: bool = True) -> Callable[[_F], _F]:
    return click.option(
        "-e",
        "--events",
        multiple=True,
        required=required,
        metavar="MODULE[:NAME]",
        help="Where the events are registered; may be repeated.",
    )


_DIR = click.option(
    "-d",
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=_FOLDER,
    show_default=True,
    help="The folder of schemas, EVENT.vVERSION.json each.",
)


@click.group()
def schemas() -> None:
    """Schemas of events: exported, compared, checked."""


@schemas.command("list")
@_events()
@_DIR
@OUTPUT
def list_(*, events: tuple[str, ...], folder: Path, output: str) -> None:
    """Print every registered event and every file, and how they stand to each other."""
    found = _found(events, folder)
    if output != "table":
        print_data([_data(one) for one in found], output)
        return
    rows = [
        (one.event, one.version, one.schema.get("x-topic"), one.schema.get("x-key"), one.examples, one.state, one.path)
        for one in found
    ]
    print_table(("event", "version", "topic", "key", "examples", "state", "file"), rows, whole=("event",))


@schemas.command()
@_events()
@_DIR
@OUTPUT
def check(*, events: tuple[str, ...], folder: Path, output: str) -> None:
    """Check that nobody is broken: additions only within a version, and old examples still fit. Ends with 4 if not."""
    found = _found(events, folder)
    if output != "table":
        print_data([_data(one) for one in found], output)
    else:
        print_table(("event", "version", "where", "what"), _problems(found), whole=("event",))
    wrong = [one for one in found if one.is_problem]
    late = [one for one in found if one.state in {"new", "behind"}]
    if wrong:
        click.echo(
            f"{len(wrong)} of {len(found)} schemas have changes that break readers of these events, or events lost\n"
            "hint:  register what changed under the next version=...; remove the file of an event that is no more",
            err=True,
        )
        sys.exit(_PROBLEMS)
    if late:
        click.echo(f"fine; {len(late)} of {len(found)} files are to be written: cdc schemas export", err=True)
    else:
        click.echo(f"fine: {len(found)} schemas", err=True)


@schemas.command()
@click.argument("old", required=False, type=click.Path(path_type=Path))
@click.argument("new", required=False, type=click.Path(path_type=Path))
@_events(required=False)
@_DIR
@OUTPUT
def diff(*, old: Path | None, new: Path | None, events: tuple[str, ...], folder: Path, output: str) -> None:
    """Print every change, field by field: between the files and -e MODULE, or between two files OLD and NEW.

    Ends with 4 where a change breaks readers.
    """
    if bool(old and new) is bool(events) or bool(old) is not bool(new):
        raise click.UsageError("Give two files, OLD and NEW, or -e MODULE.")
    if old and new:
        from cdc.outbox.schemas import read_schema  # noqa: PLC0415
        from cdc.schema.compare import compare  # noqa: PLC0415

        changes = [(old.name, 0, change) for change in compare(read_schema(old), read_schema(new))]
    else:
        changes = [(one.event, one.version, change) for one in _found(events, folder) for change in one.changes]
    if output == "table":
        rows = [(event, version or None, change.kind, change.path, change.what) for event, version, change in changes]
        print_table(("event", "version", "kind", "path", "what"), rows, whole=("event", "path"))
    else:
        data = [{"event": event, "version": version or None, **_change(change)} for event, version, change in changes]
        print_data(data, output)
    breaking = sum(change.breaking for _, _, change in changes)
    click.echo(f"{len(changes)} changes, {breaking} of them break readers", err=True)
    if breaking:
        sys.exit(_PROBLEMS)


@schemas.command()
@_events(required=False)
@_DIR
@click.option(
    "--contracts",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write the schemas of our own records to this folder, too.",
)
@click.option("--breaking", is_flag=True, help="Write changes that break readers, too: of events nobody published yet.")
@click.option("--asyncapi", type=click.Path(dir_okay=False, path_type=Path), help="Write an AsyncAPI 3 document, too.")
@click.option("--title", default="Events", show_default=True, help="The AsyncAPI document's title.")
@click.option("--api-version", default="1.0.0", show_default=True, help="The AsyncAPI document's version.")
@click.option(
    "-c", "--config", type=click.Path(dir_okay=False, path_type=Path), help="The tailer's file: its routes name topics."
)
def export(
    *,
    events: tuple[str, ...],
    folder: Path,
    contracts: Path | None,
    breaking: bool,
    asyncapi: Path | None,
    title: str,
    api_version: str,
    config: Path | None,
) -> None:
    """Write the schemas that are new or have additions; examples in the files stay.

    Refuses what would break readers, and ends with 4.
    """
    from cdc.schema.contracts import contracts as ours  # noqa: PLC0415
    from cdc.schema.folder import as_text  # noqa: PLC0415
    from cdc.schema.folder import export as write  # noqa: PLC0415

    if not events and (contracts is None or asyncapi is not None):
        raise click.UsageError("Say where events are registered: -e MODULE.")
    found = _found(events, folder) if events else []
    document = _document(events, config, title, api_version) if asyncapi else None
    written = write(found, folder, breaking=breaking) if events else []
    texts = (
        {} if contracts is None else {contracts / f"{name}.schema.json": as_text(one) for name, one in ours().items()}
    )
    if asyncapi is not None and document is not None:
        texts[asyncapi] = document
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"{path} cannot be written: {error.strerror}", hint="Choose another place.") from error
        written.append(path)
    for path in written:
        click.echo(path)
    click.echo(f"{len(written)} files written, {sum(one.state == 'same' for one in found)} were as they are", err=True)


def _document(events: tuple[str, ...], config: Path | None, title: str, version: str) -> str:
    from cdc.operations.schemas import event_map, routed  # noqa: PLC0415
    from cdc.schema.asyncapi import document  # noqa: PLC0415
    from cdc.schema.folder import as_text  # noqa: PLC0415
    from cdc.settings import load  # noqa: PLC0415

    known = event_map(events)
    if config is None:
        return as_text(document(known, title=title, version=version))
    return as_text(document(known, title=title, version=version, topics=routed(load(config))))


def _found(events: Sequence[str], folder: Path) -> list[Finding]:
    from cdc.operations.schemas import event_map  # noqa: PLC0415 - imports what the users' modules need, too
    from cdc.schema.folder import held_against  # noqa: PLC0415

    return held_against(event_map(events), folder)


def _problems(found: Sequence[Finding]) -> list[tuple[str, int, str, str]]:
    rows = []
    for one in found:
        if one.state == "gone":
            rows.append((one.event, one.version, str(one.path), "there is a file, and nothing is registered"))
        rows += [(one.event, one.version, change.path, change.what) for change in one.changes if change.breaking]
        rows += [(one.event, one.version, "examples", told) for told in one.bad_examples]
    return rows


def _data(one: Finding) -> dict[str, Any]:
    return {
        "event": one.event,
        "version": one.version,
        "state": one.state,
        "file": str(one.path),
        "topic": one.schema.get("x-topic"),
        "key": one.schema.get("x-key"),
        "examples": one.examples,
        "changes": [_change(change) for change in one.changes],
        "bad_examples": list(one.bad_examples),
    }


def _change(change: Change) -> dict[str, Any]:
    return {"path": change.path, "kind": change.kind, "breaking": change.breaking, "what": change.what}

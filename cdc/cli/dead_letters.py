"""`cdc dead-letters`: rows that could not become a record. `replay` and `dismiss` do nothing without `--yes`."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from cdc.cli.options import CONFIG, OUTPUT
from cdc.cli.printing import print_data, print_table

if TYPE_CHECKING:
    import click

    from cdc.kafka.letter_box import Contents, Done, Kept
    from cdc.operations.dead_letters import DeadLetters, Fate, Filters
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_F = TypeVar("_F", bound=Callable[..., Any])
_YES = click.option("--yes", is_flag=True, help="Do it. Without it only what would happen is printed.")
_KEYS = click.argument("keys", nargs=-1, metavar="[KEY...]")


def _filters(command: _F) -> _F:
    """The options that choose letters."""
    for option in reversed(
        (
            click.option("--source", metavar="NAME", help="Only of this source."),
            click.option("--reason", metavar="WORD", help="Only with this reason, such as key_missing."),
            click.option("--event-name", metavar="GLOB", help="Only events of this name, such as 'order.*'."),
            click.option("--since", metavar="TIME", help="Parked since: 2h, 3d ago, or 2026-01-31T12:00:00Z."),
            click.option("--until", metavar="TIME", help="Parked before, likewise."),
        )
    ):
        command = option(command)
    return command


@click.group()
def dead_letters() -> None:
    """Rows that could not become a record, and were kept: topic <prefix>.dead-letters."""


@dead_letters.command(name="list")
@CONFIG
@_filters
@click.option("--all", "everything", is_flag=True, help="Those that were replayed or dismissed, too.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Only the last N.")
@OUTPUT
def list_letters(*, config: Path, everything: bool, limit: int | None, output: str, **chosen: str | None) -> None:
    """Print the parked letters, oldest first."""
    from cdc.operations.dead_letters import as_data  # noqa: PLC0415 - `cdc --help` need not import it

    filters = _as_filters(chosen)

    async def work(letters: DeadLetters) -> Contents:
        return await letters.contents()

    contents = _run(config, work)
    found = [kept for kept in contents.letters.values() if filters.match(kept) and (everything or kept.mark is None)]
    data = [as_data(kept) for kept in (found[-limit:] if limit else found)]
    if output == "table":
        _print_list(data)
    else:
        print_data(data, output)
    _tell(contents)
    parked = len(contents.parked())
    click.echo(f"{len(data)} shown; {parked} parked in all", err=True)


@dead_letters.command()
@CONFIG
@click.argument("key", metavar="KEY")
@click.option("--value", "value_only", is_flag=True, help="Only the payload, byte for byte.")
@click.option("-o", "--output", type=click.Choice(["table", "json", "yaml"]), default="yaml", show_default=True)
def show(*, config: Path, key: str, value_only: bool, output: str) -> None:
    """Print one letter whole: KEY as `list` prints it, or an event id."""
    from cdc.operations.dead_letters import Filters, text_of, whole_as_data  # noqa: PLC0415

    filters = Filters(keys=frozenset([key]))

    async def work(letters: DeadLetters) -> list[tuple[Kept, Any]]:
        contents = await letters.contents()
        chosen = {kept.letter.key: kept for kept in contents.letters.values() if filters.match(kept)}
        return [(chosen[letter.key], letter) async for letter in letters.whole(chosen.values())]

    found = _run(config, work)
    if not found:
        raise click.ClickException(f"there is no dead letter {key!r}; cdc dead-letters list --all shows all keys")
    if value_only:
        if len(found) > 1:
            keys = ", ".join(text_of(kept.letter.key) for kept, _ in found)
            raise click.ClickException(f"{key} is the event of {len(found)} letters: give one of {keys}")
        sys.stdout.buffer.write(found[0][1].value or b"")
        return
    data = [whole_as_data(kept, letter) for kept, letter in found]
    if output == "json":
        print_data(data, output)
    else:
        for letter in data:
            print_data(letter, "yaml")


@dead_letters.command()
@CONFIG
@_KEYS
@_filters
@_YES
@OUTPUT
def replay(*, config: Path, keys: Sequence[str], yes: bool, output: str, **chosen: str | None) -> None:
    """Send parked letters again, through today's routes: those named by KEY or event id, or chosen by filters.

    What was sent is marked in the same Kafka transaction: however often this runs, nothing goes twice.
    Order per key is not restored. Exit code 1 where some stay parked.
    """
    filters = _as_filters(chosen, keys)

    async def work(letters: DeadLetters) -> tuple[Contents, list[Fate], Done | None]:
        contents = await letters.contents()
        fates = await letters.plan([kept for kept in contents.parked() if filters.match(kept)])
        return contents, fates, await letters.replay(filters) if yes and fates else None

    contents, fates, done = _run(config, work)
    _tell(contents)
    if done is None:
        _print_plan(fates, output)
    else:
        _print_done(done, output)
    sys.exit(_closing(fates, done, yes=yes))


@dead_letters.command()
@CONFIG
@_KEYS
@_filters
@click.option("--all", "everything", is_flag=True, help="All that are parked, where no filter is given.")
@click.option("--note", metavar="TEXT", help="Why; kept with the mark.")
@_YES
@OUTPUT
def dismiss(
    *,
    config: Path,
    keys: Sequence[str],
    everything: bool,
    note: str | None,
    yes: bool,
    output: str,
    **chosen: str | None,
) -> None:
    """Put parked letters away: they are marked as dismissed, never sent, and stay readable until retention."""
    from cdc.operations.dead_letters import as_data  # noqa: PLC0415

    filters = _as_filters(chosen, keys)
    if filters.empty and not everything:
        raise click.UsageError("name letters by KEY, choose some by a filter, or say --all")

    async def work(letters: DeadLetters) -> tuple[Contents, list[Kept], Done | None]:
        contents = await letters.contents()
        found = [kept for kept in contents.parked() if filters.match(kept)]
        return contents, found, await letters.dismiss(filters, note) if yes and found else None

    contents, found, done = _run(config, work)
    _tell(contents)
    data = [as_data(kept) for kept in found]
    if output == "table":
        _print_list(data)
    else:
        print_data({"letters": data, "dismissed": done.dismissed if done else 0, "done": done is not None}, output)
    if not found:
        click.echo("nothing to do: no parked letter is chosen", err=True)
    elif done is None:
        click.echo(f"nothing was changed; with --yes these {len(found)} are dismissed", err=True)
    else:
        click.echo(f"dismissed {done.dismissed}", err=True)


# -- input ----------------------------------------------------------------------------------------


def _run(config: Path, work: Callable[[DeadLetters], Any]) -> Any:
    from cdc.operations.dead_letters import opened  # noqa: PLC0415
    from cdc.settings import load  # noqa: PLC0415

    settings = load(config)

    async def run() -> Any:
        async with opened(settings) as letters:
            return await work(letters)

    return asyncio.run(run())


def _as_filters(chosen: dict[str, str | None], keys: Sequence[str] = ()) -> Filters:
    from cdc.operations.dead_letters import Filters  # noqa: PLC0415

    return Filters(
        source=chosen["source"],
        reason=chosen["reason"],
        event_name=chosen["event_name"],
        since=moment(chosen["since"], "--since"),
        until=moment(chosen["until"], "--until"),
        keys=frozenset(keys),
    )


def moment(text: str | None, option: str) -> int | None:
    """A point in time, or how long ago, in milliseconds since 1970; without a zone it is UTC."""
    from cdc.settings.quantities import parse_duration  # noqa: PLC0415

    if text is None:
        return None
    try:
        return int((time.time() - parse_duration(text)) * 1000)
    except ValueError:
        pass
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"{option}: {text!r} is neither a duration (2h, 3d) nor a time (ISO 8601)") from error
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)


# -- output ---------------------------------------------------------------------------------------


def _tell(contents: Contents) -> None:
    """What nobody can read is said, whatever was asked."""
    for offset, why in contents.unreadable:
        click.echo(f"the record at offset {offset} is passed over: {why}", err=True)
    for key in sorted(contents.torn):
        click.echo(f"{key.decode('utf-8', 'replace')}: a part is missing (retention has cut it off)", err=True)


def _print_list(data: Sequence[dict[str, Any]]) -> None:
    if not data:
        return
    names = ("key", "reason", "event_name", "original_topic", "state", "parked_at")
    print_table(
        ("key", "reason", "event", "topic", "state", "parked at"),
        [[letter[name][:19] if name == "parked_at" else letter[name] for name in names] for letter in data],
        whole={"key"},
    )


def _print_plan(fates: Sequence[Fate], output: str) -> None:
    from cdc.operations.dead_letters import ORDER, summary  # noqa: PLC0415

    if output != "table":
        print_data({"letters": [fate.as_data() for fate in fates], "done": False, "order": ORDER}, output)
    elif fates:
        rows = [(count, *group) for group, count in summary(fates).items()]
        print_table(("letters", "source", "reason", "event", "to"), rows)


def _print_done(done: Done, output: str) -> None:
    from cdc.operations.dead_letters import text_of  # noqa: PLC0415

    refused = {text_of(key): str(error) for key, error in done.refused.items()}
    if output != "table":
        passed = [text_of(key) for key in done.passed_over]
        print_data({"replayed": done.replayed, "refused": refused, "passed_over": passed, "done": True}, output)
        return
    if done.replayed:
        print_table(("letters", "sent to"), [(count, topic) for topic, count in done.replayed.items()])
    for key, why in refused.items():
        click.echo(f"{key} stays parked: {why}", err=True)


def _closing(fates: Sequence[Fate], done: Done | None, *, yes: bool) -> int:
    """Last words, and the exit code."""
    from cdc.operations.dead_letters import ORDER  # noqa: PLC0415

    if not fates:
        click.echo("nothing to do: no parked letter is chosen", err=True)
        return 0
    if done is None:
        sent = sum(fate.topic is not None for fate in fates)
        click.echo(f"nothing was changed; with --yes {sent} of {len(fates)} are sent. {ORDER}", err=True)
        return 0 if not yes else 1
    stay = len(done.refused) + len(done.passed_over)
    click.echo(f"replayed {sum(done.replayed.values())}; {stay} stay parked. {ORDER}", err=True)
    return 1 if stay else 0

"""`cdc connectors offsets | loggers | plugins`: the inside of a cluster."""

from __future__ import annotations

import json
import sys
from typing import IO, TYPE_CHECKING, Any

from cdc.cli.connectors_reach import NAME, TIMEOUT, YES, Reach, print_as, print_table, reaching
from cdc.cli.options import OUTPUT
from cdc.errors import ConfigError

if TYPE_CHECKING:
    import click

    from cdc.connect.answers import Offset
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click

_RESUME = click.option("--resume/--no-resume", default=True, show_default=True, help="Go on afterwards, if it ran.")


@click.group()
def offsets() -> None:
    """How far a connector has come."""


@offsets.command("show")
@NAME
@reaching
@OUTPUT
def show_offsets(reach: Reach, *, name: str, output: str) -> None:
    """Print the offsets of a connector; `set --file` takes what `-o json` prints."""
    with reach.client() as client:
        found = client.offsets(name)
    if output == "table":
        print_table(("partition", "offset"), [(_compact(one.partition), _compact(one.offset)) for one in found])
    else:
        print_as(output, _as_data(found))


@offsets.command("set")
@NAME
@reaching
@click.option("--file", type=click.File("r"), metavar="FILE", help="JSON as `show -o json` prints it; - is stdin.")
@click.option("--partition", metavar="JSON", help="With --offset: one partition.")
@click.option("--offset", metavar="JSON", help="Its offset; null forgets it.")
@_RESUME
@click.option("--force", is_flag=True, help="Also what does not look right for the connector.")
@TIMEOUT
@YES
def set_offsets(
    reach: Reach,
    *,
    name: str,
    file: IO[str] | None,
    partition: str | None,
    offset: str | None,
    resume: bool,
    force: bool,
    timeout: float,
    yes: bool,
) -> None:
    """Stop the connector, set offsets, and let it go on; prints before and after."""
    wanted = _wanted(file, partition, offset)
    reach.sure(f"Stop {name} and set {len(wanted)} of its offsets?", yes=yes)
    _change(reach, name, wanted, timeout=timeout, resume=resume, force=force)


@offsets.command("reset")
@NAME
@reaching
@_RESUME
@TIMEOUT
@YES
def reset_offsets(reach: Reach, *, name: str, resume: bool, timeout: float, yes: bool) -> None:
    """Stop the connector, forget its offsets, and let it begin anew; prints before and after."""
    reach.sure(f"Stop {name} and forget all of its offsets?", yes=yes)
    _change(reach, name, None, timeout=timeout, resume=resume, force=True)


def _change(reach: Reach, name: str, wanted: list[Offset] | None, *, timeout: float, resume: bool, force: bool) -> None:
    from cdc.operations.connectors import change_offsets  # noqa: PLC0415

    with reach.client() as client:
        before, after = change_offsets(
            client, name, wanted, timeout=timeout, tell=reach.tell, resume=resume, force=force
        )
    print_as("json", {"before": _as_data(before)["offsets"], "after": _as_data(after)["offsets"]})


def _wanted(file: IO[str] | None, partition: str | None, offset: str | None) -> list[Offset]:
    from pydantic import ValidationError  # noqa: PLC0415

    from cdc.connect.answers import Offset, Offsets  # noqa: PLC0415

    hint = """--file FILE, or --partition '{"server":"shop"}' --offset '{"file":"binlog.000004","pos":157}'"""
    try:
        if file is not None and partition is None and offset is None:
            found = list(Offsets.model_validate_json(file.read()).offsets)
        elif file is None and partition is not None and offset is not None:
            found = [Offset(partition=json.loads(partition), offset=json.loads(offset))]
        else:
            raise ConfigError("say which offsets", hint=hint)
    except (ValidationError, ValueError) as error:
        raise ConfigError("these are no offsets in JSON", hint=hint) from error
    if not found:
        raise ConfigError("there are no offsets in it", hint="`cdc connectors offsets reset` forgets all")
    return found


def _as_data(found: tuple[Offset, ...]) -> dict[str, Any]:
    return {"offsets": [{"partition": one.partition, "offset": one.offset} for one in found]}


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


@click.group()
def loggers() -> None:
    """What the workers write into their logs."""


@loggers.command("show")
@click.argument("name", required=False)
@reaching
@OUTPUT
def show_loggers(reach: Reach, *, name: str | None, output: str) -> None:
    """Print the levels of all loggers of a worker, or of one."""
    with reach.client() as client:
        found = {name: client.logger(name)} if name else client.loggers()
    data = [{"name": key, "level": one.level} for key, one in sorted(found.items())]
    if output == "table":
        print_table(("logger", "level"), [(one["name"], one["level"]) for one in data])
    else:
        print_as(output, data)


@loggers.command("set")
@click.argument("name")
@click.argument(
    "level", type=click.Choice(["OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE"], case_sensitive=False)
)
@reaching
@click.option("--scope", type=click.Choice(["worker", "cluster"]), default="cluster", show_default=True)
def set_logger(reach: Reach, *, name: str, level: str, scope: str) -> None:
    """Set a level, until the workers restart."""
    with reach.client() as client:
        client.set_logger(name, level.upper(), cluster=scope == "cluster")
    reach.tell(f"{name}: {level.upper()} on {'all workers' if scope == 'cluster' else 'the worker that answered'}")


@click.group()
def plugins() -> None:
    """What the workers can run."""


@plugins.command("list")
@reaching
@click.option("--all", "everything", is_flag=True, help="Converters, transforms and predicates, too.")
@OUTPUT
def list_plugins(reach: Reach, *, everything: bool, output: str) -> None:
    """List the plug-ins."""
    with reach.client() as client:
        found = client.plugins(connectors_only=not everything)
    data = [{"class": one.class_, "type": one.type, "version": one.version} for one in found]
    data.sort(key=lambda one: (str(one["type"]), str(one["class"])))
    if output == "table":
        print_table(("class", "type", "version"), [tuple(one.values()) for one in data])
    else:
        print_as(output, data)


@plugins.command("show")
@click.argument("plugin", metavar="CLASS")
@reaching
@click.option("--version", metavar="VERSION", help="Of several versions, this one.")
@OUTPUT
def show_plugin(reach: Reach, *, plugin: str, version: str | None, output: str) -> None:
    """Print the options of a plug-in: type, default, what it does."""
    with reach.client() as client:
        found = client.definitions(plugin, version=version)
    if output != "table":
        print_as(output, [one.model_dump() for one in found])
        return
    rows = [(one.name, one.type, "required" if one.required else one.default_value, one.documentation) for one in found]
    print_table(("option", "type", "default", ""), rows)
    sys.stdout.flush()

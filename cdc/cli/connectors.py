"""`cdc connectors`: what runs on a Connect cluster, and one connector by hand.

What is done from files is in ``connectors_files``; offsets, loggers and plug-ins are in ``connectors_inside``. Secrets
are masked by the plug-in's own declarations and by name, in every form of output.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cdc.cli.connectors_files import apply, create, export, plan, validate
from cdc.cli.connectors_inside import loggers, offsets, plugins
from cdc.cli.connectors_reach import NAME, NAMES, TIMEOUT, WAIT, YES, Reach, print_as, print_table, reaching
from cdc.cli.options import OUTPUT
from cdc.errors import CdcError

if TYPE_CHECKING:
    import click

    from cdc.connect import Client
    from cdc.connect.answers import Listed, Status
else:
    try:
        import rich_click as click
    except ImportError:  # plain click does the same without colours
        import click


@click.group()
def connectors() -> None:
    """Connectors of a Kafka Connect cluster: from files, or one by hand."""


for _command in (validate, plan, apply, export, create, offsets, loggers, plugins):
    connectors.add_command(_command)


@connectors.command("list")
@reaching
@OUTPUT
def list_(reach: Reach, *, output: str) -> None:
    """List the connectors with their states."""
    with reach.client() as client:
        found = [_line(name, one) for name, one in sorted(client.connectors().items())]
    if output != "table":
        print_as(output, found)
        return
    columns = ("name", "type", "state", "tasks", "worker", "class")
    print_table(columns, [[one[column] for column in columns] for one in found])


def _line(name: str, one: Listed) -> dict[str, Any]:
    states = [task.state for task in one.status.tasks] if one.status else []
    tasks = f"{states.count('RUNNING')}/{len(states)}"
    failed = states.count("FAILED")
    return {
        "name": name,
        "type": one.info.type if one.info else None,
        "state": one.status.connector.state if one.status else None,
        "tasks": f"{tasks}, {failed} FAILED" if failed else tasks,
        "worker": one.status.connector.worker_id if one.status else None,
        "class": one.info.config.get("connector.class") if one.info else None,
    }


@connectors.command()
@NAME
@reaching
@click.option("--trace", is_flag=True, help="The whole stack trace of what failed.")
@OUTPUT
def show(reach: Reach, *, name: str, trace: bool, output: str) -> None:
    """Show one connector: states, causes of failures, topics, configuration."""
    with reach.client() as client:
        found = _whole(client, name, trace=trace)
    if output != "table":
        print_as(output, found)
        return
    rows: list[tuple[str, Any]] = [("state", found["state"]), ("type", found["type"]), ("worker", found["worker"])]
    rows += [("cause", found["cause"])] if found["cause"] else []
    for task in found["tasks"]:
        rows.append((f"task {task['id']}", f"{task['state']} on {task['worker']}"))
        rows += [("  cause", task["cause"])] if task["cause"] else []
    rows.append(("topics", ", ".join(found["topics"])))
    rows += list(found["config"].items())
    print_table((name, ""), rows)
    for part in (found, *found["tasks"]):
        if part.get("trace"):
            click.echo(part["trace"])


def _whole(client: Client, name: str, *, trace: bool) -> dict[str, Any]:
    from cdc.connect.readiness import cause  # noqa: PLC0415
    from cdc.operations.connectors import mask_of  # noqa: PLC0415

    info, status = client.connector(name), client.status(name)
    mask = mask_of(client, info)

    def part(one: Any) -> dict[str, Any]:
        failed = one.state == "FAILED"
        told = {"state": one.state, "worker": one.worker_id, "cause": mask.text(cause(one.trace)) if failed else None}
        return {**told, "trace": mask.text(one.trace or "")} if failed and trace else told

    return {
        "name": name,
        "type": info.type,
        **part(status.connector),
        "tasks": [{"id": task.id, **part(task)} for task in status.tasks],
        "topics": sorted(client.topics(name)),
        "config": dict(sorted(mask.config(info.config).items())),
    }


@connectors.command()
@NAMES
@reaching
@YES
def delete(reach: Reach, *, names: tuple[str, ...], yes: bool) -> None:
    """Delete connectors. Their offsets stay, and a new one of the same name goes on there."""
    with reach.client() as client:
        for name in names:
            client.status(name)  # a mistyped name ends it before anything is gone
        reach.sure(f"Delete {', '.join(names)}?", yes=yes)
        for name in names:
            client.delete(name)
            reach.tell(f"{name}: deleted")


def _each(reach: Reach, names: tuple[str, ...], verb: str, state: str, *, wait: bool, timeout: float) -> None:
    from cdc.connect.apply import set_state  # noqa: PLC0415

    with reach.client() as client:
        for name in names:
            set_state(client, name, state)
            reach.tell(f"{name}: {verb}")
        for name in names if wait else ():
            _await(client, reach, name, state, timeout)


def _await(client: Client, reach: Reach, name: str, state: str, timeout: float) -> Status | None:
    """Wait; what a failure quotes of secrets is masked."""
    from cdc.connect.readiness import wait_until  # noqa: PLC0415
    from cdc.operations.connectors import mask_of  # noqa: PLC0415

    try:
        return wait_until(client, name, state, timeout=timeout, tell=reach.tell)
    except CdcError as error:
        error.message = mask_of(client, client.connector(name)).text(error.message)
        error.args = (error.message,)
        raise


@connectors.command()
@NAMES
@reaching
@WAIT
@TIMEOUT
def pause(reach: Reach, *, names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Pause connectors: tasks stay where they are and do nothing."""
    _each(reach, names, "pausing", "paused", wait=wait, timeout=timeout)


@connectors.command()
@NAMES
@reaching
@WAIT
@TIMEOUT
def resume(reach: Reach, *, names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Let paused or stopped connectors go on."""
    _each(reach, names, "resuming", "running", wait=wait, timeout=timeout)


@connectors.command()
@NAMES
@reaching
@WAIT
@TIMEOUT
def stop(reach: Reach, *, names: tuple[str, ...], wait: bool, timeout: float) -> None:
    """Stop connectors: tasks are given up, offsets can be changed."""
    _each(reach, names, "stopping", "stopped", wait=wait, timeout=timeout)


@connectors.command()
@NAMES
@reaching
@click.option("--include-tasks/--no-include-tasks", default=True, show_default=True, help="The tasks, too.")
@click.option("--only-failed", is_flag=True, help="Only what is FAILED.")
@click.option("--task", type=click.IntRange(min=0), metavar="N", help="This task, and nothing else.")
@WAIT
@TIMEOUT
def restart(
    reach: Reach,
    *,
    names: tuple[str, ...],
    include_tasks: bool,
    only_failed: bool,
    task: int | None,
    wait: bool,
    timeout: float,
) -> None:
    """Restart connectors with their tasks."""
    with reach.client() as client:
        for name in names:
            if task is not None:
                client.restart_task(name, task)
            else:
                client.restart(name, include_tasks=include_tasks, only_failed=only_failed)
            reach.tell(f"{name}: restarting")
        for name in names if wait else ():
            _await(client, reach, name, "running", timeout)


@connectors.command()
@NAMES
@reaching
@click.option(
    "--for",
    "state",
    type=click.Choice(["running", "paused", "stopped", "deleted"]),
    default="running",
    show_default=True,
    help="The state to wait for; running: the connector and all its tasks.",
)
@TIMEOUT
def wait(reach: Reach, *, names: tuple[str, ...], state: str, timeout: float) -> None:
    """Wait until connectors are in a state; exit code 1 with the cause if one fails, or the time is over."""
    with reach.client() as client:
        for name in names:
            _await(client, reach, name, state, timeout)

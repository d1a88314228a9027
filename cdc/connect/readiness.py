"""Waiting until a connector is as it shall be, and why it is not.

A connector runs when its own part and all its tasks are RUNNING, at least one task among them, and stay so for a
moment: after a change the old tasks are RUNNING until the new ones take their place, and a part that was FAILED before
is FAILED until it has been restarted. So one look is never enough, neither for good news nor for bad.

Debezium: a task that died is called RUNNING for up to 30 s more, until its producer is closed; nothing that Connect
answers tells that apart from health.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from cdc.connect.answers import Status
from cdc.connect.client import Client
from cdc.errors import ConnectorMissing, ConnectorNotReady

STABLE = 1.5
"""Seconds that a state has to last to be believed."""
_LOOK_EVERY = 0.2


def cause(trace: str | None) -> str:
    """The root cause in a Java stack trace, in one line."""
    lines = (trace or "").splitlines()
    found = [line for line in lines if line.startswith("Caused by: ")]
    line = (found[-1].removeprefix("Caused by: ") if found else lines[0] if lines else "").strip()
    return line or "no cause was given"


def summary(status: Status | None) -> str:
    """`RUNNING, tasks 2 RUNNING 1 FAILED`."""
    if status is None:
        return "not there"
    states = [task.state for task in status.tasks]
    tasks = " ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states)) or "none"
    return f"{status.connector.state}, tasks: {tasks}"


def wait_until(
    client: Client,
    name: str,
    state: str,
    *,
    timeout: float,
    tell: Callable[[str], None] = lambda _: None,
    stable: float | None = None,
) -> Status | None:
    """Wait for running, paused, stopped or deleted; ConnectorNotReady if it fails or the time is over."""
    end, lasts = time.monotonic() + timeout, STABLE if stable is None else stable
    last, since = "", time.monotonic()
    while True:
        status = _status(client, name)
        now = time.monotonic()
        shown = summary(status)
        if shown != last:
            tell(f"{name}: {shown}")
            last, since = shown, now
        if now - since >= lasts:
            if _is(status, state):
                return status
            if status is not None and status.failed and state == "running":
                raise _failed(name, status)
        if now >= end:
            if status is not None and status.failed and state != "deleted":
                raise _failed(name, status)
            raise ConnectorNotReady(
                f"{name} is not {state} after {timeout:g} s: {shown}",
                hint=f"cdc connectors show {name}; --timeout waits longer",
            )
        time.sleep(min(_LOOK_EVERY, max(0.0, end - now)))


def _status(client: Client, name: str) -> Status | None:
    try:
        return client.status(name)
    except ConnectorMissing:
        return None


def _is(status: Status | None, state: str) -> bool:
    if status is None or state == "deleted":
        return status is None and state == "deleted"
    wanted = state.upper()
    if status.connector.state != wanted:
        return False
    if wanted == "STOPPED":
        return not status.tasks
    return (bool(status.tasks) or wanted == "PAUSED") and all(task.state == wanted for task in status.tasks)


def _failed(name: str, status: Status) -> ConnectorNotReady:
    parts = [f"task {task.id}: {cause(task.trace)}" for task in status.tasks if task.state == "FAILED"]
    if status.connector.state == "FAILED":
        parts.insert(0, f"the connector: {cause(status.connector.trace)}")
    return ConnectorNotReady(
        f"{name} failed: {'; '.join(parts)}",
        hint=f"cdc connectors show {name} --trace has the whole trace; restart {name} --only-failed tries again",
    )

"""Doing what a plan says, connector by connector, in the manifests' order; what shall go goes last.

Every call may be repeated: a create that lost its answer is looked up, everything else is the same done twice. So an
apply that was cut off is simply done again. Offsets are never touched: a changed connector goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable

from cdc.connect.client import Client
from cdc.connect.plan import CREATE, DELETE, RESTART, STATE, UPDATE, Plan, Step
from cdc.connect.readiness import wait_until
from cdc.connect.secret import Mask
from cdc.errors import CdcError, ConnectError

Tell = Callable[[str], None]


def apply(client: Client, plan: Plan, *, wait: float | None, tell: Tell) -> list[str]:
    """Do all steps; the names of those done. ``wait`` in seconds for each, None: do not wait."""
    done: list[str] = []
    for step in plan.changes:
        try:
            _do(client, step, tell)
            if wait is not None:
                wait_until(client, step.name, step.state[1], timeout=wait, tell=lambda text: tell(plan.mask.text(text)))
        except ConnectError as error:
            left = [one.name for one in plan.changes if one.name not in (*done, step.name)]
            raise _told(error, plan.mask, done, left) from error
        done.append(step.name)
    return done


def _do(client: Client, step: Step, tell: Tell) -> None:
    """The actions of one step."""
    for action in step.actions:
        tell(f"{step.name}: {action if action != STATE else step.state[1]}")
        match action:
            case "create":
                initial = None if step.state[1] == "running" else step.state[1].upper()
                client.create(step.name, step.config, initial_state=initial)
            case "update":
                client.put_config(step.name, step.config)
            case "state":
                set_state(client, step.name, step.state[1])
            case "restart":
                client.restart(step.name, include_tasks=True, only_failed=True)
            case "delete":
                client.delete(step.name)


def set_state(client: Client, name: str, state: str) -> None:
    """Ask for running, paused or stopped."""
    {"running": client.resume, "paused": client.pause, "stopped": client.stop}[state](name)


def _told(error: CdcError, mask: Mask, done: list[str], left: list[str]) -> CdcError:
    """The same error, masked, with what was done before it and what was not."""
    error.message = mask.text(error.message)
    if done or left:
        error.message += f" (done before: {', '.join(done) or 'none'}; not begun: {', '.join(left) or 'none'})"
    error.args = (error.message,)
    return error


__all__ = ["CREATE", "DELETE", "RESTART", "STATE", "UPDATE", "apply", "set_state"]

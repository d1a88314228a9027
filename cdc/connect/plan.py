"""What has to be done so that the cluster is as the manifests say. Pure: no server is asked here.

A connector's step holds every action it needs, in the order ``apply`` does them: create; or update, state, restart;
or delete. Restart means that something of it is FAILED although it shall run: the plan names the cause.

Connect cannot tell who changed what: a difference is drift whether the file is newer or somebody's hand was there. An
option that only the cluster has is shown as one that will go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from cdc.connect.answers import Listed, Status, Validation
from cdc.connect.manifest import Manifest
from cdc.connect.options import unknown
from cdc.connect.readiness import cause
from cdc.connect.secret import Mask

CREATE, UPDATE, STATE, RESTART, DELETE = "create", "update", "state", "restart", "delete"


@dataclass(frozen=True, slots=True)
class Field:
    """An option that will change; None is "not there"."""

    name: str
    old: str | None = field(repr=False)
    new: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Step:
    """What one connector needs; no actions: nothing."""

    name: str
    actions: tuple[str, ...]
    fields: tuple[Field, ...] = ()
    state: tuple[str | None, str] = (None, "running")
    failed: tuple[str, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict, repr=False)
    origin: str = ""


@dataclass(frozen=True, slots=True)
class Plan:
    """All steps in order, what stands in the way, and how to show it."""

    steps: tuple[Step, ...]
    problems: Mapping[str, Mapping[str, tuple[str, ...]]]
    """By connector and option: why the plug-in would refuse it."""
    warnings: tuple[str, ...]
    unmanaged: tuple[str, ...]
    """Connectors without a manifest: what --prune would delete."""
    mask: Mask
    foreign: tuple[str, ...] = ()
    """Connectors without a manifest that are somebody else's."""

    @property
    def changes(self) -> tuple[Step, ...]:
        """The steps that do something."""
        return tuple(step for step in self.steps if step.actions)

    def as_data(self) -> dict[str, Any]:
        """Everything, secrets masked."""
        return {
            "changes": len(self.changes),
            "connectors": [self._step(step) for step in self.steps],
            "problems": {name: dict(wrong) for name, wrong in self.problems.items()},
            "warnings": list(self.warnings),
            "unmanaged": list(self.unmanaged),
            "foreign": list(self.foreign),
        }

    def _step(self, step: Step) -> dict[str, Any]:
        fields = [
            {"name": one.name, "old": self.mask.value(one.name, one.old), "new": self.mask.value(one.name, one.new)}
            for one in step.fields
        ]
        return {
            "name": step.name,
            "actions": list(step.actions),
            "fields": fields,
            "state": {"old": step.state[0], "new": step.state[1]},
            "failed": [self.mask.text(text) for text in step.failed],
            "origin": step.origin,
        }


def make(
    manifests: Sequence[Manifest],
    live: Mapping[str, Listed],
    validations: Mapping[str, Validation],
    *,
    managed: Sequence[str] = (),
    prune: bool = False,
    owns: Sequence[str] = (),
) -> Plan:
    """Compare; ``managed`` are names that have a manifest although it is not among these.

    On a cluster that others use, too, ``owns`` are patterns of the names that are ours to prune; without any, all are.
    """
    mask = Mask()
    problems: dict[str, dict[str, tuple[str, ...]]] = {}
    warnings: list[str] = []
    steps = []
    for one in manifests:
        validation = validations.get(one.name)
        here = live.get(one.name, Listed())
        passwords = [d.name for d in validation.definitions.values() if d.type == "PASSWORD"] if validation else []
        mask.learn(one.config, here.info.config if here.info else {}, passwords=passwords)
        mask.hide(*one.hidden)
        wrong, strange = _judge(one, validation)
        if wrong:
            problems[one.name] = wrong
        warnings += [f"{one.name}: no plug-in knows the option {name}" for name in strange]
        steps.append(_step(one, here))
    known = {one.name for one in manifests}.union(managed)
    unmanaged = tuple(sorted(live.keys() - known))
    ours = tuple(name for name in unmanaged if not owns or any(fnmatchcase(name, pattern) for pattern in owns))
    for name in ours if prune else ():
        status = live[name].status
        steps.append(Step(name, (DELETE,), state=(_state(status), "deleted")))
    shown = {n: {o: tuple(map(mask.text, texts)) for o, texts in w.items()} for n, w in problems.items()}
    foreign = tuple(name for name in unmanaged if name not in ours)
    return Plan(tuple(steps), shown, tuple(warnings), ours, mask, foreign)


def _judge(one: Manifest, validation: Validation | None) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    if validation is None:
        return {}, []
    wrong = dict(validation.errors)
    mistyped, strange = unknown(one.config, validation.definitions, unchecked=one.unchecked)
    for name, meant in mistyped.items():
        wrong[name] = (f'no plug-in knows this option; did you mean "{meant}"? (if not: list it under `unchecked`)',)
    return wrong, strange


def _step(one: Manifest, here: Listed) -> Step:
    if here.info is None:
        fields = tuple(Field(name, None, value) for name, value in sorted(one.config.items()) if name != "name")
        return Step(one.name, (CREATE,), fields, (None, one.state), config=one.config, origin=one.origin)
    fields = tuple(_differences(here.info.config, one.config))
    old = _state(here.status)
    failed = tuple(cause(part.trace) for part in here.status.failed) if here.status else ()
    actions = []
    if fields:
        actions.append(UPDATE)
    if old is not None and old != one.state:
        actions.append(STATE)
    if failed and one.state == "running" and old == "running":
        actions.append(RESTART)
    return Step(one.name, tuple(actions), fields, (old, one.state), failed, one.config, one.origin)


def _differences(old: Mapping[str, str | None], new: Mapping[str, str]) -> list[Field]:
    names = sorted(old.keys() | new.keys())
    return [Field(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)]


def _state(status: Status | None) -> str | None:
    """Running, paused or stopped, as somebody asked for it: FAILED and UNASSIGNED ones shall run."""
    if status is None:
        return None
    state = status.connector.state.lower()
    return state if state in ("paused", "stopped") else "running"

"""A folder of event schemas held against an EventMap: what is missing, what changed, what may be written.

The rule is additive-only within a version: an export that would break somebody is refused,
and says what the way is (a new version). A file's `examples` are events as they once were:
each must be what the new schema says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from cdc.errors import ConfigError, SchemaBreaks
from cdc.outbox.registry import EventMap, Registered
from cdc.outbox.schemas import file_name, files, read_schema
from cdc.schema.compare import Change, compare
from cdc.schema.events import schema_of, with_examples

State = Literal["same", "new", "behind", "breaks", "gone"]
_MOST_SAID, _MOST_NAMED = 3, 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One version of an event: its file beside what is registered.

    same: nothing to do. new: no file yet. behind: the file lacks additions. breaks: a change that needs a new
    version. gone: a file, and nothing registered.
    """

    event: str
    version: int
    path: Path
    state: State
    registered: Registered | None = None
    schema: Mapping[str, Any] = field(default_factory=dict, repr=False)
    changes: tuple[Change, ...] = ()
    bad_examples: tuple[str, ...] = ()
    examples: int = 0

    @property
    def is_problem(self) -> bool:
        """Whether a check fails because of it."""
        return self.state in {"breaks", "gone"}


def held_against(events: EventMap, folder: Path) -> list[Finding]:
    """Every registered version and every file, by event and version. Raises ConfigError."""
    there = {(name, version): path for name, version, path in files(folder)} if folder.exists() else {}
    registered = {(one.event_name, one.version): one for one in events.registered()}
    findings = []
    for event, version in sorted({*there, *registered}):
        path = there.get((event, version), folder / file_name(event, version))
        found = registered.get((event, version))
        old = read_schema(path) if (event, version) in there else None
        findings.append(_finding(event, version, path, found, old))
    return findings


def _finding(
    event: str, version: int, path: Path, registered: Registered | None, old: Mapping[str, Any] | None
) -> Finding:
    if registered is None:
        return Finding(event, version, path, "gone", examples=len((old or {}).get("examples", ())))
    new = with_examples(schema_of(registered), old)
    examples = len(new.get("examples", ()))
    if old is None:
        return Finding(event, version, path, "new", registered, new, bad_examples=_bad(new), examples=examples)
    changes, bad = tuple(compare(old, new)), _bad(new)
    broken = bad or any(change.breaking for change in changes)
    state: State = "breaks" if broken else "same" if old == new else "behind"
    return Finding(event, version, path, state, registered, new, changes, bad, examples)


def _bad(schema: Mapping[str, Any]) -> tuple[str, ...]:
    """Examples that the schema refuses, and where."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - slow to import

    validator = Draft202012Validator(schema)
    told = []
    for number, example in enumerate(schema.get("examples", ())):
        errors = sorted(validator.iter_errors(example), key=lambda error: list(map(str, error.absolute_path)))
        told += [f"example {number + 1} at {error.json_path}: {error.message:.200}" for error in errors[:_MOST_SAID]]
    return tuple(told)


def export(findings: Iterable[Finding], folder: Path, *, breaking: bool = False) -> list[Path]:
    """Write what is new or behind; nothing at all where something would break, unless `breaking`.

    Raises SchemaBreaks, ConfigError.
    """
    found = list(findings)
    broken = [one for one in found if one.state == "breaks"]
    if broken and not breaking:
        told = "; ".join(
            f"{one.event} version {one.version}: {why}" for one in broken for why in reasons(one)[:_MOST_NAMED]
        )
        raise SchemaBreaks(
            f"{len(broken)} of the schemas would break those who read the events: {told}",
            hint="Register the changed type under the next version=..., or take the change back; "
            "--breaking writes it all the same, for events nobody has published yet. Nothing was written.",
        )
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for one in found:
            if one.state in {"new", "behind"} or (one.state == "breaks" and breaking):
                one.path.write_text(as_text(one.schema), encoding="utf-8")
                written.append(one.path)
    except OSError as error:
        raise ConfigError(f"{folder} cannot be written: {error.strerror}", hint="Choose another folder: -d.") from error
    return written


def reasons(finding: Finding) -> list[str]:
    """Why it breaks."""
    return [str(change) for change in finding.changes if change.breaking] + list(finding.bad_examples)


def as_text(schema: Mapping[str, Any]) -> str:
    """A schema as its file has it."""
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"

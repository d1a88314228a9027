"""What must hold before Debezium and the tailer are exchanged, in either direction: all reasons against it at once.

A reason is a sentence and the step that takes it away. What cannot be known is a reason, too: an exchange is exact,
or it is not made. A note is a thing to know that takes nothing away from exactness.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from cdc.connect.answers import Status
from cdc.connect.client import Client
from cdc.envelopes.router_options import KNOWN, BadOptions, parse
from cdc.errors import ConnectRefused, HandoverRefused
from cdc.model import TableSpec
from cdc.mysql.ahead import Ahead
from cdc.operations.handover_offset import CLASSES
from cdc.settings import Settings

Config = Mapping[str, str | None]
_ROUTER = "io.debezium.transforms.outbox.EventRouter"
_OF_TRANSFORMS = frozenset({"type", "predicate", "negate"})


@dataclass(frozen=True, slots=True)
class Reason:
    """Why it cannot be exact, and what to do about it."""

    text: str
    hint: str


@dataclass(slots=True)
class Findings:
    """Reasons against it, and what else is worth knowing."""

    reasons: list[Reason] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def against(self, text: str, hint: str) -> None:
        """One more reason."""
        self.reasons.append(Reason(text, hint))

    def refuse(self) -> None:
        """Raise HandoverRefused if there is a reason."""
        if self.reasons:
            told = "".join(f"\n  {one.text}\n    -> {one.hint}" for one in self.reasons)
            raise HandoverRefused(
                f"this handover would not be exact; nothing was changed:{told}",
                hint="take the reasons away, and plan again",
            )


def connector_reads_the_same(found: Findings, config: Config, tables: Sequence[TableSpec], flavour: str) -> None:
    """The kind of server and the tables must be those of the source."""
    kind = CLASSES.get(config.get("connector.class") or "")
    if kind is None:
        found.against(
            f"the connector is a {config.get('connector.class')}, whose offsets are not known here",
            f"known are {' and '.join(CLASSES)}",
        )
    elif kind != flavour:
        found.against(f"the connector reads {kind}, the source is {flavour}", "name the source of the same server")
    wanted = [str(spec) for spec in tables]
    listed = [part.strip() for part in (config.get("table.include.list") or "").split(",") if part.strip()]
    extra = [one for one in listed if not any(_matches(one, table) for table in wanted)]
    lacking = [table for table in wanted if not any(_matches(one, table) for one in listed)]
    if not listed:
        found.against(
            "the connector captures every table: what it publishes besides the outbox would end",
            "give it a table.include.list of the source's tables only",
        )
    elif extra or lacking:
        told = [f"only the connector reads {', '.join(extra)}"] if extra else []
        told += [f"only the source has {', '.join(lacking)}"] if lacking else []
        found.against(f"they read different tables: {'; '.join(told)}", "make table.include.list and `tables` equal")
    for option in ("gtid.source.includes", "gtid.source.excludes"):
        if config.get(option):
            found.against(f"the connector leaves transactions out by {option}", "take the option away first")


def _matches(expression: str, table: str) -> bool:
    """Debezium's way: an expression for the whole name, in any case."""
    try:
        return re.fullmatch(expression, table, re.IGNORECASE) is not None
    except re.error:
        return False


def records_are_the_same(found: Findings, config: Config, settings: Settings, source: str) -> None:
    """Note where the Event Router is told otherwise than our tables."""
    for full, table in settings.source(source).tables.items():
        if table.envelope_name != "debezium":
            found.notes.append(f"{full} has envelope {table.envelope_name}: its records are others than Debezium's")
            continue
        try:
            theirs, ours = parse(router_options(config)), table.router_options()
        except BadOptions as error:
            found.notes.append(f"the records of {full} may differ: {error}")
            continue
        if replace(theirs, named=frozenset()) != replace(ours, named=frozenset()):
            options = ", ".join(sorted(theirs.named ^ ours.named)) or "values of the same options"
            found.notes.append(f"the records of {full} differ: compare `router` with the connector's ({options})")
    if (config.get("extended.headers.enabled") or "true") != "false":
        found.notes.append("Debezium adds the headers __debezium.context.*, the tailer does not")


def router_options(config: Config) -> dict[str, str]:
    """The connector's options that say what a record is, as `router:` spells them."""
    known = {*KNOWN} - {"extended.headers.enabled"}
    options = {
        name: value for name, value in config.items() if value and re.sub(r"(?<=\.converter)\..*", "", name) in known
    }
    for name, value in config.items():
        if name.startswith("transforms.") and name.endswith(".type") and value == _ROUTER:
            head = name.removesuffix("type")
            inside = ((key.removeprefix(head), text) for key, text in config.items() if key.startswith(head))
            options |= {key: text for key, text in inside if key not in _OF_TRANSFORMS and text is not None}
    return options


def exactly_once(client: Client, config: Config) -> bool:
    """Do the workers write this connector's records and offsets in one transaction? Asked by a trial validation."""
    try:
        judged = client.validate({**config, "exactly.once.support": "required"})
    except ConnectRefused:
        return False
    return "exactly.once.support" not in judged.errors


def offset_is_whole(found: Findings, status: Status, *, exact: bool) -> None:
    """Without transactions only a stop that we see ourselves leaves an offset behind all that was sent."""
    if exact:
        return
    running = status.connector.state == "RUNNING" and [task.state for task in status.tasks] == ["RUNNING"]
    if running:
        found.notes.append(
            "without exactly-once support: exact if the connector stops cleanly, which it will be asked to"
        )
        return
    found.against(
        f"the workers have no exactly-once support for it, and it is {status.connector.state}: records may have been "
        "sent whose offset was not stored",
        "resume it, let it run, and plan again: a clean stop in the course of the handover is enough; or set "
        "exactly.once.source.support=enabled on the workers",
    )


def log_is_plain(found: Findings, ahead: Ahead, *, ignore_xa: bool, to_debezium: bool) -> None:
    """XA transactions over the place of the handover; and for Debezium DDL behind it, and tags."""
    if not ignore_xa:
        _no_xa(found, ahead)
    if to_debezium and ahead.altered:
        found.against(
            f"the table is changed behind the checkpoint ({'; '.join(ahead.altered)}), and Debezium would read rows "
            "from before with the new form",
            "start the tailer, let it catch up, and stop it again",
        )
    if to_debezium and ahead.tagged:
        found.against(
            "the server has executed GTIDs with tags, and Debezium 3.4 starts on no such server",
            "there is no way to Debezium from this server; the tailer goes on",
        )
    if not ahead.whole:
        found.against(
            f"the log behind the place of the handover is too long to look through (to {ahead.end.file} in a minute)",
            "let the one that works catch up first",
        )


def _no_xa(found: Findings, ahead: Ahead) -> None:
    before = _list(ahead.prepared_before)
    if before:
        found.against(
            f"XA transactions that were prepared before the place of the handover are committed behind it: {before}; "
            "Debezium publishes at the PREPARE, the tailer at the COMMIT",
            "let the one that works read on behind them; or --ignore-xa if they hold no row of the outbox",
        )
    if ahead.open_now is None:
        found.against(
            "the server does not let us ask whether XA transactions are prepared",
            "GRANT XA_RECOVER_ADMIN ON *.* to the source's user, or --ignore-xa where the outbox is not written in any",
        )
    elif ahead.open_now:
        found.against(
            f"XA transactions are prepared and not ended: {_list(ahead.open_now)}; Debezium publishes at the PREPARE, "
            "the tailer at the COMMIT",
            "end them (XA RECOVER lists them); or --ignore-xa if they hold no row of the outbox",
        )


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)

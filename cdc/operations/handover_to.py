"""`cdc handover to-debezium`: Debezium goes on exactly where the tailer has ended.

    plan    the tailer is stopped, its checkpoint lies at the end of a transaction, the log behind it holds nothing
            that Debezium would read otherwise; nothing is changed
    fence   the same checkpoint is written again: a tailer that was only frozen is fenced, one that moved is noticed,
            and one that stood by or starts by itself is seen before the resume
    create  the connector, STOPPED (one that is there must be), with snapshot.mode recovery: that reads the tables'
            form anew, and is the only mode that takes an offset without a schema history
    offset  file, position and GTIDs of the checkpoint
    resume  until it runs and has stored an offset of its own; then its own snapshot.mode again

An error before the resume leaves the connector STOPPED and the checkpoint where it was: the tailer may go on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cdc.connect.answers import Offset, Status
from cdc.connect.client import Client
from cdc.connect.manifest import Manifest
from cdc.connect.readiness import wait_until
from cdc.errors import ConnectError, ConnectorMissing, ConnectorNotReady, HandoverRefused
from cdc.kafka.letter_box import LetterBox
from cdc.kafka.setting import Seen
from cdc.mysql.ahead import Ahead, survey
from cdc.mysql.source import MySqlSource
from cdc.operations import handover_checks as checks
from cdc.operations.handover_from import Note, masked, setter_for
from cdc.operations.handover_keep import Before, keep, path_for, place
from cdc.operations.handover_offset import write
from cdc.settings import Settings

RECOVERY = "recovery"
_LOOK_EVERY = 0.25


@dataclass(frozen=True, slots=True)
class ToPlan:
    """What the handover would do now."""

    source: str
    connector: str
    state: str | None
    seen: Seen
    config: Mapping[str, str | None] = field(repr=False)
    offset: Mapping[str, Any] | None = None
    ahead: Ahead | None = None
    found: checks.Findings = field(default_factory=checks.Findings)

    def as_data(self) -> dict[str, Any]:
        """For output; stable names."""
        last = self.seen.checkpoint
        return {
            "direction": "to-debezium",
            "source": self.source,
            "connector": self.connector,
            "connector_state": self.state or "not there: it is created",
            "checkpoint_now": last and str(last.position),
            "offset_then": self.offset and dict(self.offset),
            "transactions_behind": self.ahead and self.ahead.transactions,
            "reasons": [{"reason": one.text, "hint": one.hint} for one in self.found.reasons],
            "notes": list(self.found.notes),
        }


class ToDebezium:
    """One run of the command; `manifest` is the connector's where it is not there. close() at the end."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        client: Client,
        connector: str,
        *,
        manifest: Manifest | None,
        note: Note,
        timeout: float = 120.0,
        ignore_xa: bool = False,
        leave_dead_letters: bool = False,
    ) -> None:
        self._settings, self._name, self._client, self._connector = settings, name, client, connector
        self._manifest, self._note, self._timeout = manifest, note, timeout
        self._ignore_xa, self._leave_dead_letters = ignore_xa, leave_dead_letters
        self._source = settings.source(name)
        self._tables = settings.table_specs(name)
        self._setter = setter_for(settings, name, note)
        self._box = LetterBox(settings.kafka.address(), settings.kafka.prefix, say=lambda _: None)

    async def close(self) -> None:
        """Let go."""
        await self._box.close()
        await self._setter.close()

    def masked(self, error: ConnectError) -> ConnectError:
        """The error as it may be shown."""
        return masked(self._client, self._connector, error)

    # -- looking ---------------------------------------------------------------------------

    async def plan(self) -> ToPlan:
        """Look at everything; changes nothing. Raises CdcError for what cannot be asked."""
        seen = await self._setter.look()
        status, config = self._live()
        found = checks.Findings()
        state = None if status is None else status.connector.state
        plan = ToPlan(self._name, self._connector, state, seen, config, found=found)
        if status is not None and (status.connector.state != "STOPPED" or status.tasks):
            found.against(
                f"{self._connector} is {status.connector.state}, and reads the outbox already",
                f"cdc connectors stop {self._connector}, if it is the one; or name another connector",
            )
        await self._no_letters_are_left(found)
        last = seen.checkpoint
        if last is None or last.snapshot is not None:
            found.against(
                f"source {self._name} has no checkpoint to go on from"
                if last is None
                else "the source's snapshot is not finished: rows of it are not published yet",
                f"cdc tailer run -c FILE --until-caught-up, then plan again; {seen.unreadable or ''}".rstrip("; "),
            )
            return plan
        try:
            offset = write(last.position)
        except HandoverRefused as error:
            found.against(error.message, error.hint or "")
            return plan
        checks.connector_reads_the_same(found, config, self._tables, last.position.flavour)
        checks.records_are_the_same(found, config, self._settings, self._name)
        if not checks.exactly_once(self._client, config):
            found.notes.append("the workers have no exactly-once support: Debezium may send twice after a crash")
        if seen.holder:
            found.notes.append(f"instance {seen.holder} did not say goodbye: it is waited for, and must not work")
        ahead = await self._look_ahead(plan)
        checks.log_is_plain(found, ahead, ignore_xa=self._ignore_xa, to_debezium=True)
        return ToPlan(self._name, self._connector, plan.state, seen, config, offset, ahead, found)

    def _live(self) -> tuple[Status | None, Mapping[str, str | None]]:
        """The connector as it is; else its manifest."""
        try:
            return self._client.status(self._connector), self._client.config(self._connector)
        except ConnectorMissing:
            if self._manifest is None:
                raise
            return None, self._manifest.config

    async def _no_letters_are_left(self, found: checks.Findings) -> None:
        if self._leave_dead_letters:
            return
        parked = [kept for kept in (await self._box.contents()).parked() if kept.letter.source == self._name]
        if parked:
            found.against(
                f"{len(parked)} rows of the source are parked: Debezium will never publish them",
                "cdc dead-letters replay or dismiss settles them; --leave-dead-letters keeps them for later",
            )

    async def _look_ahead(self, plan: ToPlan) -> Ahead:
        """Is the checkpoint's place still in this server's log, and what lies behind it? Raises SourceError."""
        last = plan.seen.checkpoint
        assert last is not None  # noqa: S101 - plan() looked
        reader = MySqlSource(
            f"{self._name}-handover",
            lambda: self._source.address,
            self._tables,
            observer=_ignore,
            statements_allowed_in=self._source.statements_allowed_in,
        )
        try:
            await reader.open(last.position)
        finally:
            await reader.close()
        return await survey(self._source.address, self._tables, last.position)

    # -- doing -----------------------------------------------------------------------------

    async def carry_out(self, plan: ToPlan, folder: Path) -> dict[str, Any]:
        """Do it; what was done. Raises HandoverRefused, StillAtWork, ConnectError, SinkError, SourceError."""
        plan.found.refuse()
        last, offset = plan.seen.checkpoint, plan.offset
        assert last is not None  # noqa: S101 - without one there was a reason against it
        assert offset is not None  # noqa: S101
        client, name = self._client, self._connector
        old_offsets = client.offsets(name) if plan.state else ()
        old = Before("to-debezium", self._name, name, plan.state and plan.state.lower(), old_offsets, last)
        path = path_for(old, folder)
        data = old.as_data({"offset": dict(offset)}, self._back(plan))
        keep(path, data)
        tables = tuple(map(str, self._tables))
        await self._setter.set(last.position, plan.seen, tables=tables)  # StillAtWork where it has moved
        await asyncio.gather(asyncio.to_thread(self._prepare, plan, offset), self._setter.stays_quiet())
        before_resume = client.offsets(name)
        self._note(f"{name}: resuming")
        client.resume(name)
        await asyncio.to_thread(wait_until, client, name, "running", timeout=self._timeout, tell=self._note)
        settled = await asyncio.to_thread(self._settle, plan, before_resume)
        return {**data, "snapshot_mode_is_its_own_again": settled, "kept_in": str(path)}

    def _prepare(self, plan: ToPlan, offset: Mapping[str, Any]) -> None:
        """The connector STOPPED, ready to recover, with our offset. Raises ConnectError."""
        client, name = self._client, self._connector
        config = {**plan.config, "snapshot.mode": RECOVERY}
        if plan.state is None:
            self._note(f"{name}: creating, stopped")
            client.create(name, config, initial_state="STOPPED")
        else:
            client.put_config(name, config)
        wait_until(client, name, "stopped", timeout=self._timeout)
        mine = Offset(partition={"server": plan.config.get("topic.prefix")}, offset=dict(offset))
        self._note(f"{name}: setting its offset")
        client.alter_offsets(name, [mine])
        if mine not in client.offsets(name):
            raise ConnectorNotReady(
                f"{name}: Connect took the offset, and does not have it", hint=f"cdc connectors offsets show {name}"
            )

    def _settle(self, plan: ToPlan, before: tuple[Offset, ...]) -> bool:
        """Give it its own snapshot.mode back when it has stored an offset; False where it has not, in time."""
        client, name = self._client, self._connector
        if plan.config.get("snapshot.mode") == RECOVERY:
            return True
        until = time.monotonic() + self._timeout
        while not _has_begun(client.offsets(name), before):
            if time.monotonic() > until:
                self._note(
                    f"{name} runs and has stored no offset yet: no row came. It keeps snapshot.mode {RECOVERY} "
                    f"until you give it its own again: cdc connectors apply {name}"
                )
                return False
            status = client.status(name)
            if status.failed:
                wait_until(client, name, "running", timeout=0.1, stable=0.0)  # raises, with the cause
            time.sleep(_LOOK_EVERY)
        self._note(f"{name}: it has stored an offset; snapshot.mode is its own again")
        client.put_config(name, plan.config)
        wait_until(client, name, "running", timeout=self._timeout)
        return True

    def _back(self, plan: ToPlan) -> list[str]:
        last = plan.seen.checkpoint
        back = [f"cdc handover from-debezium {self._connector} -c FILE --source {self._name} --yes"]
        if last is not None:
            back.append(f"cdc checkpoint set -c FILE --source {self._name} --to {place(last.position)}")
        return back


def _has_begun(offsets: tuple[Offset, ...], before: tuple[Offset, ...]) -> bool:
    """Has Debezium stored an offset of its own, not one of a snapshot?"""
    return offsets != before and all(one.offset and not one.offset.get("snapshot") for one in offsets)


def _ignore(step: str, /, **facts: object) -> None:
    """Nobody watches the reader's steps."""

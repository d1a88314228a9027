"""The service in one page: what happens to a source from its start to its end.

    fence      become the only writer and read the last committed checkpoint    (sink)
    resume     open the log there, or found a checkpoint at a first start        (source)
    flow       read a slice, route its rows, commit the batch; read on meanwhile
    doubt      anything that may or may not have happened: drop all that is not
               committed and start over with fence; only the checkpoint is believed
    release    asked to stop: commit what was read, say we left on purpose

A source transaction that is larger than memory comes in pieces, and goes its own way (`giant`).

It knows only the ports of `cdc.model`, so every step can be tried with any source and sink.

Batching needs no setting: while one Kafka transaction commits, what arrives becomes the
next one; when nothing is in flight a lone source transaction goes at once. `Limits` only
cap. Reading stops while a batch is full, and that holds the source back down to its socket.

Invariants, each relied on elsewhere:

* A batch holds whole slices, so its position is behind all its records and not inside a transaction.
* One commit at a time, in order; the position of a batch never goes back.
* A row that is refused with `stop` ends the source *before* anything of its transaction is sent
  and *after* all before it is committed: the slices before it at once, then the log is opened
  again with one transaction a slice (`careful`).
* Who is careful is so until as many rows are behind as gave trouble; so is one that meets doubt after doubt at
  one place. What becomes of a row that is refused is told in `refusals`.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from operator import attrgetter
from typing import Any

from cdc.errors import CdcError, Doubt, PartitionsChanged, Refused, RowRefused, SourceError, Unfit
from cdc.giant import Giant
from cdc.model import (
    Batch,
    LogEnd,
    Observer,
    Parking,
    Part,
    Record,
    Router,
    Sink,
    Slice,
    Source,
    SourceTransaction,
    Topics,
)
from cdc.partitions import PartitionWatch
from cdc.position import GtidSet, Position
from cdc.refusals import Refusals, Routed

DOUBTS = 3
"""Doubts at one place that make us careful, and refusals there that nothing explains that end us."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps on one Kafka transaction, and the pauses of the pump. Sizes in bytes, times in seconds.

    A batch may go over its caps by one slice. They keep a transaction far below the
    broker's transaction timeout and its largest request (facts: 32 MiB in flight).
    """

    records: int = 5_000
    size: int = 8 * 1024 * 1024
    idle_checkpoint: float = 5.0
    first_pause: float = 0.2
    longest_pause: float = 5.0


class Pump:
    """Moves one source's rows to Kafka until it is told to stop, is caught up, or fails for good."""

    def __init__(
        self,
        source: Source,
        router: Router,
        topics: Topics,
        sink: Sink,
        observer: Observer,
        *,
        start: str,
        until_caught_up: bool = False,
        limits: Limits | None = None,
        parking: Parking | None = None,
        stop_on_partition_change: bool = False,
    ) -> None:
        self._source, self._router, self._topics, self._sink, self._observe = source, router, topics, sink, observer
        self._refusals = Refusals(router, topics, parking, observer)
        self._partitions = PartitionWatch(topics, observer, stop=stop_on_partition_change)
        self._start, self._until_caught_up, self._limits = start, until_caught_up, limits or Limits()
        self._stopping = asyncio.Event()
        self._careful = self._has_worked = False
        self._snapshot: Mapping[str, Any] | None = None  # how far a snapshot is, as the checkpoint has it
        self._pauses = 0
        self._rows_in_trouble = self._careful_rows = 0
        self._doubts = self._unexplained = 0  # since something was committed
        self.read_position: Position | None = None
        self.committed: Position | None = None

    def stop(self) -> None:
        """Ask for a clean end: what was read is committed, then run() returns."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until stopped or caught up. Raises the CdcError that ended it."""
        while True:
            try:
                over = await self._session()
            except CdcError as error:
                await self._source.close()
                if not self._starts_over(error):
                    raise
                pause = self._pause()
                self._observe("starting_over", error=error, pause=pause)
                if await self._stopped_within(pause):
                    return
            else:
                if over:
                    return

    async def close(self) -> None:
        """Let go of both ends without a release; for after an error or a cancelled run."""
        await self._source.close()
        await self._sink.close()

    # -- start ---------------------------------------------------------------------------

    async def _session(self) -> bool:
        """From fence to release. False: what made us careful is behind, and another session follows."""
        position = await self._unless_stopped(self._resume())
        if position is None:
            return True
        target = await self._source.log_end() if self._until_caught_up else None
        over = await self._flow(position, target)
        await self._source.close()
        if over:
            self._observe("draining")
            await self._sink.close(release=self.committed)
        return over

    async def _resume(self) -> Position:
        checkpoint = await self._sink.fence()
        if checkpoint is None:
            position = await self._source.first_position(self._start)
            await self._sink.found(position, self._start)
            self._snapshot = {} if self._start == "snapshot" else None
        else:
            position, self._snapshot = checkpoint.position, checkpoint.snapshot
        self.read_position = self.committed = position
        await self._topics.refresh()
        await self._refusals.open()
        await self._source.open(position, careful=self._careful, snapshot=self._snapshot)
        self._has_worked = True
        return position

    async def _unless_stopped(self, work: Awaitable[Position]) -> Position | None:
        """The work's result, or None as soon as a stop is asked for: fencing may wait for ever as a standby."""
        task = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait({task, stopping}, return_when=asyncio.FIRST_COMPLETED)
            return task.result() if task.done() else None
        finally:
            await _cancel(task, stopping)

    # -- flow ----------------------------------------------------------------------------

    async def _flow(self, position: Position, target: LogEnd | None) -> bool:  # noqa: PLR0912, PLR0915 - one loop, read from top to bottom
        """Read, route and commit, one commit at a time, until stopped or the target is committed; or out of danger."""
        batch = Batch(position, snapshot=self._snapshot)
        reading: asyncio.Task[Slice] | None = None
        committing: asyncio.Task[tuple[Position, Mapping[str, Any] | None]] | None = None
        stopping = asyncio.ensure_future(self._stopping.wait())
        refused: CdcError | None = None
        giant: Slice | None = None
        last_commit = time.monotonic()
        try:
            while True:
                reached = target is not None and batch.snapshot is None and is_reached(batch.position, target)
                stopped = stopping.done() or reached
                ending = stopped or refused is not None or giant is not None
                if committing is None:
                    if self._is_due(batch, idle=time.monotonic() - last_commit, ending=ending):
                        committing = asyncio.create_task(self._commit(batch))
                        batch = Batch(batch.position, snapshot=batch.snapshot)
                    elif refused is not None:
                        raise refused
                    elif giant is not None and not stopped:
                        first, giant = giant, None
                        batch, is_open = await self._carry(first, batch, stopping)
                        if is_open:  # at once, whatever is in it
                            committing = asyncio.create_task(self._commit(batch))
                            batch = Batch(batch.position)
                        continue
                    elif ending:
                        self._observe("caught_up" if reached else "stopping", position=batch.position)
                        return True
                if reading is None and not ending and self._has_room(batch):
                    reading = asyncio.create_task(self._source.read())
                waits = {task for task in (reading, committing) if task is not None}
                await asyncio.wait(
                    waits if ending else {*waits, stopping},
                    timeout=self._limits.idle_checkpoint,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if committing is not None and committing.done():
                    task, committing = committing, None
                    self.committed, self._snapshot = task.result()
                    self._pauses, last_commit = 0, time.monotonic()
                    if self._careful and self._careful_rows <= 0 and refused is None:
                        self._careful = False
                        return False
                if reading is not None and reading.done() and refused is None:
                    done, reading = reading, None
                    try:
                        slice_ = done.result()
                        if slice_.piece == "open":
                            giant = slice_  # what came before it is committed first
                        else:
                            await self._take(slice_, batch)
                        del slice_
                    except (RowRefused, SourceError, PartitionsChanged) as error:
                        if error.retryable:
                            raise
                        refused = error  # what came before it is committed first
        except SourceError:
            # The log failed: what is being committed is given the time it needs.
            if committing is not None and not committing.done():
                await asyncio.wait({committing})
            raise
        finally:
            await _cancel(reading, committing, stopping)

    def _is_due(self, batch: Batch, *, idle: float, ending: bool) -> bool:
        """Records go at once, and so does a full batch; else a moved position waits until idle for long enough."""
        if batch.records or not self._has_room(batch):
            return True
        if batch.snapshot is None is not self._snapshot:
            return True  # the rows are all there: from here on the log
        return batch.position != self.committed and (ending or idle >= self._limits.idle_checkpoint)

    def _has_room(self, batch: Batch) -> bool:
        if self._careful and batch.records:
            return False  # a transaction a batch, so that the broker's refusal is of that one alone
        return len(batch.records) < self._limits.records and batch.size < self._limits.size

    async def _commit(self, batch: Batch) -> tuple[Position, Mapping[str, Any] | None]:
        rows = _rows(transaction for part in batch.parts for transaction in part.transactions)
        try:
            await self._send(batch, self._sink.commit)
        except (Doubt, RowRefused):
            self._doubts += 1
            self._rows_in_trouble = rows
            raise
        self._refusals.committed(batch)
        self._doubts = self._unexplained = 0
        self._careful_rows -= rows
        self._observe(
            "advanced",
            records=len(batch.records),
            transactions=batch.transactions,
            commit_time=batch.commit_time,
            position=batch.position,
        )
        return batch.position, batch.snapshot

    async def _carry(self, first: Slice, batch: Batch, stopping: asyncio.Future[Any]) -> tuple[Batch, bool]:
        """A source transaction in pieces, behind the empty batch; what is to be committed next, and is it its end?"""
        assert self.committed is not None  # noqa: S101 - it is behind all that came before
        giant = Giant(self._source, self._sink, self._observe, take=self._take, send=self._send)
        try:
            came = await giant.carry(first, self.committed, stopping)
        except (Doubt, RowRefused):
            self._doubts += 1
            self._rows_in_trouble = max(giant.rows, self._rows_in_trouble)
            raise
        self._careful_rows -= giant.rows
        if isinstance(came, Batch):
            return came, True
        behind = Batch(batch.position)
        if came is not None:
            await self._take(came, behind)
        return behind, False

    async def _send(self, batch: Batch, send: Callable[[Batch], Awaitable[None]]) -> None:
        """Send it, without the records that Kafka would not take. Raises Doubt, and RowRefused for `stop`."""
        while True:
            try:
                return await send(batch)
            except Unfit as unfit:
                await self._refusals.amend(batch, unfit.refusals)
            except Refused as refused:
                verdicts = await self._sink.examine(batch, refused)
                self._refusals.remember(batch, verdicts)
                self._unexplained = 0 if verdicts else self._unexplained + 1
                raise

    async def _take(self, slice_: Slice, batch: Batch) -> None:
        """Route a slice's rows into the batch. All of it or nothing: a refusal leaves the batch as it was."""
        self._observe("read", transactions=len(slice_.transactions), size=slice_.size, position=slice_.position)
        try:
            routed = await self._route(slice_)
            self._partitions.look(routed.records)
        except RowRefused:
            self._rows_in_trouble = _rows(slice_.transactions)
            raise
        if slice_.transactions:
            batch.parts.append(Part(len(batch.records), slice_.transactions, routed.rows))
        batch.records += routed.records
        batch.skipped += routed.skipped
        batch.parked += routed.parked
        batch.letters += routed.letters
        batch.position = self.read_position = slice_.position
        batch.snapshot = slice_.snapshot
        batch.size += slice_.size
        if slice_.transactions:
            batch.transactions += len(slice_.transactions)
            batch.commit_time = slice_.transactions[-1].commit_time
            self._observe("routed", records=len(routed.records))

    async def _route(self, slice_: Slice) -> Routed:
        """All of a slice's records. Raises RowRefused for a row whose policy is stop."""
        mark = None if slice_.snapshot is None else "snapshot"
        made: list[Record | None] = []
        if not self._refusals.expects(slice_):
            try:
                self._router.route_all([*chain.from_iterable(map(_rows_of, slice_.transactions))], made, mark)
                return Routed.of(made)
            except RowRefused:
                pass  # this row is routed again, with time to think
        return await self._refusals.route(slice_, mark, made)

    # -- ends ----------------------------------------------------------------------------

    def _starts_over(self, error: CdcError) -> bool:
        if isinstance(error, RowRefused) and self._careful:
            return False  # it came again, with all before it committed
        if isinstance(error, Refused) and self._unexplained >= DOUBTS:
            return False  # it comes again and again, and no record is to blame
        if isinstance(error, RowRefused) or self._doubts >= DOUBTS:
            self._careful, self._careful_rows = True, self._rows_in_trouble
        if self._until_caught_up and not self._has_worked and not isinstance(error, Doubt):
            return False  # somebody waits for the end: better an answer than hope (a doubt means that Kafka answers)
        return isinstance(error, RowRefused) or error.retryable

    def _pause(self) -> float:
        """Seconds before the next try: longer each time, never two instances in step."""
        pause = min(self._limits.first_pause * 2.0**self._pauses, self._limits.longest_pause)
        self._pauses = min(self._pauses + 1, 16)
        spread: float = random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing
        return pause * spread

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except TimeoutError:
            return False
        return True


_rows_of = attrgetter("rows")


def _rows(transactions: Iterable[SourceTransaction]) -> int:
    return sum(map(len, map(_rows_of, transactions)))


def is_reached(position: Position, target: LogEnd) -> bool:
    """Is everything before the target behind this position?

    By GTID where both have a set; else by the file's number and the byte in it, which say nothing of another server's.
    """
    if (
        target.gtid_set
        and isinstance(position.gtid_set, GtidSet)
        and GtidSet.parse(target.gtid_set) <= position.gtid_set
    ):
        return True
    if target.server and target.server != position.server:
        return False
    return (file_number(position.file), position.position) >= (file_number(target.file), target.position)


def file_number(name: str) -> int:
    """The number of a log file, `binlog.000042` is 42. Names of one server differ in nothing else."""
    match = re.search(r"(\d+)$", name)
    return int(match[1]) if match else 0


async def _cancel(*tasks: asyncio.Future[object] | asyncio.Task[object] | None) -> None:
    """End tasks and see them end; their own errors are no news any more."""
    pending = [task for task in tasks if task is not None]
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)

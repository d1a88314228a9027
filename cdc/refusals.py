"""What becomes of rows that nobody takes: the policy of their route, stop, skip or dead_letter.

A row may be refused three times, by three who know different things, and its policy decides each time:

    when it is routed          by its rule: no topic, no key, a value that no record can carry, ...
    before a batch is sent     by the sink, which knows the topics (Unfit): the batch is amended and goes on
    by the broker              which is known for a record only afterwards (examine); the pump has to start over then,
                               and `verdicts` remembers the rows until they come again

`stop` raises, before anything of the row's transaction is sent. Skipped and parked rows are counted in the
batch they would have been in, so they count when that is committed; observers are told each of them at once.

A topic that is missing may have been made since topics were listed: they are listed anew for the slice that
meets it, once, and never more often than every `LIST_EVERY` seconds. That pause is waited for and not
left out: a listing must be younger than the row.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdc.errors import DeadLetterRefused, Doubt, RowRefused, TopicMissing
from cdc.model import Batch, Observer, Origin, Parking, Record, Router, Slice, Topics, Value

LIST_EVERY = 0.1
_NAME = 80

Place = tuple[str, int, tuple[Value, ...]]
"""Log file and place of a source transaction's begin, and the row in it. In a snapshot many have the same place."""


@dataclass(slots=True)
class Routed:
    """What a slice gave: records, and the row of each where not every row gave one (see `model.Part`)."""

    records: list[Record] = field(default_factory=list)
    rows: list[int] | None = None
    skipped: Counter[str] = field(default_factory=Counter)
    parked: Counter[str] = field(default_factory=Counter)
    letters: int = 0

    @classmethod
    def of(cls, made: Sequence[Record | None]) -> Routed:
        """From one answer of the router for each row; None is a row that a rule passes over."""
        records = list(filter(None, made))
        rows = None if len(records) == len(made) else [row for row, record in enumerate(made) if record is not None]
        return cls(records, rows)


class Refusals:
    """One source's refused rows. Without `parking` a dead letter cannot be kept, and stops."""

    def __init__(self, router: Router, topics: Topics, parking: Parking | None, observe: Observer) -> None:
        self._router, self._topics, self._parking, self._observe = router, topics, parking, observe
        self._verdicts: dict[Place, RowRefused] = {}
        self._listed = float("-inf")

    async def open(self) -> None:
        """Make sure that letters can be kept."""
        if self._parking is not None:
            await self._parking.open()

    # -- when rows are routed --------------------------------------------------------------

    def expects(self, slice_: Slice) -> bool:
        """Is there a verdict on a row of this slice?"""
        return bool(self._verdicts) and any(
            (transaction.file, transaction.begin) == place[:2]
            for transaction in slice_.transactions
            for place in self._verdicts
        )

    async def route(self, slice_: Slice, mark: str | None, made: Sequence[Record | None]) -> Routed:
        """Route a slice of which `made` is done already and the row behind that was refused, or may be.

        Raises RowRefused for a row whose policy is stop.
        """
        routed = Routed.of(made)
        rows = routed.rows if routed.rows is not None else list(range(len(made)))
        origins = [
            Origin(row, transaction, number)
            for transaction in slice_.transactions
            for number, row in enumerate(transaction.rows, transaction.earlier + 1)
        ]
        may_list = True
        for at in range(len(made), len(origins)):
            origin = origins[at]
            record = None
            try:
                try:
                    record = self._router.route(origin.row, mark)
                except TopicMissing:
                    if may_list:
                        may_list = False
                        await self._list_topics()
                    record = self._router.route(origin.row, mark)
                if record is None:
                    continue
                if (verdict := self._verdicts.get(_place(origin))) is not None:
                    raise self.named(origin, verdict)
            except RowRefused as error:
                letters = await self._settle(origin, error, record, routed.skipped, routed.parked)
                routed.letters += len(letters)
                routed.records += letters
                rows += [-1] * len(letters)
            else:
                routed.records.append(record)
                rows.append(at)
        routed.rows = rows
        return routed

    async def _list_topics(self) -> None:
        await asyncio.sleep(max(0.0, self._listed + LIST_EVERY - time.monotonic()))
        self._listed = time.monotonic()
        await self._topics.refresh()

    # -- when a batch is sent --------------------------------------------------------------

    async def amend(self, batch: Batch, refusals: Mapping[int, RowRefused]) -> None:
        """Take the records out of a batch that Kafka would refuse. Raises RowRefused for a policy of stop."""
        changes: dict[int, Sequence[Record]] = {}
        skipped: Counter[str] = Counter()
        parked: Counter[str] = Counter()
        for index, error in refusals.items():
            origin = batch.origin(index)
            if origin is None:
                raise _not_kept(error)
            named = self.named(origin, error)
            changes[index] = await self._settle(origin, named, batch.records[index], skipped, parked)
        batch.replace(changes)
        batch.skipped += skipped
        batch.parked += parked

    def remember(self, batch: Batch, verdicts: Mapping[int, RowRefused]) -> None:
        """The broker refuses these records: their rows will come again, and are refused when they are routed."""
        for index, error in verdicts.items():
            origin = batch.origin(index)
            if origin is None:
                raise _not_kept(error)
            self._verdicts[_place(origin)] = error

    def committed(self, batch: Batch) -> None:
        """The rows of this batch do not come again."""
        if self._verdicts:
            done = {(t.file, t.begin) for part in batch.parts for t in part.transactions}
            self._verdicts = {place: error for place, error in self._verdicts.items() if place[:2] not in done}

    # -- one row ---------------------------------------------------------------------------

    async def _settle(
        self, origin: Origin, error: RowRefused, record: Record | None, skipped: Counter[str], parked: Counter[str]
    ) -> Sequence[Record]:
        """Do what the policy says; the records that come instead."""
        row, transaction, _ = origin
        policy = self._router.on_error(row)
        where = f"{row.table} at {transaction.file}:{transaction.position}"
        letters: Sequence[Record] = ()
        if policy == "dead_letter" and self._parking is not None:
            letters = await self._parking.park(origin, self._router.original(row), error, record)
            parked[error.reason] += 1
        elif policy == "skip":
            skipped[error.reason] += 1
        else:
            raise type(error)(f"{error} (row of {where})", hint=error.hint) from error
        self._observe("refused", error=error, where=where, policy=policy)
        return letters

    def named(self, origin: Origin, error: RowRefused) -> RowRefused:
        """The error of somebody who knows records only, with the row it is about."""
        original = self._router.original(origin.row)
        name = (original.event_name or "")[:_NAME]
        named = type(error)(f"{origin.row.table}, event {original.event_id} ({name!r}): {error}", hint=error.hint)
        named.__cause__ = error
        return named


def _place(origin: Origin) -> Place:
    return origin.transaction.file, origin.transaction.begin, origin.row.values


def _not_kept(error: RowRefused) -> Exception:
    """The error for a dead letter that Kafka does not take."""
    if isinstance(error, TopicMissing):
        return Doubt(f"a dead letter cannot be kept: {error}", hint="its topic is looked for, or made anew")
    return DeadLetterRefused(
        f"a dead letter cannot be kept: {error}", hint="correct its topic, or change on_error of the row's route"
    )

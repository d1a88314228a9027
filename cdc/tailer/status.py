"""How a source is doing: one object that the log line, /status, /readyz and the metrics are read from.

`Status` is an Observer (states, errors, restarts), the `Counter` of the watched ends (rows,
records, times) and is told what surveys say of the log's end. Nothing here waits or talks to
anybody; reading it costs the pump nothing.

Its state is one word. `tailing` is ready; the others are what /readyz answers:

    starting      not reading the log yet, or nothing known yet of how far behind
    standby       another instance works
    catching-up   further behind than `ready_lag`, and getting on
    stalled       further behind than `ready_lag`, and nothing was committed for as long
    disconnected  the database or Kafka does not answer; tried again for ever
    fenced        ended: a newer instance works
    stopped       ended, by an error or on purpose, or about to
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any

from cdc.errors import CdcError, Fenced, KafkaUnavailable, SourceUnavailable
from cdc.model import Batch, Slice
from cdc.mysql.survey import Survey
from cdc.position import Position
from cdc.pump import is_reached
from cdc.tailer.lag import Lag

WORST_FIRST = ("fenced", "stopped", "disconnected", "stalled", "catching-up", "starting", "standby", "tailing")
READY = "tailing"

# Of rows, records and transactions there are many: they are counted without a loop of ours.
_table, _topic, _key, _value = itemgetter(0), itemgetter(0), itemgetter(2), itemgetter(3)
_rows, _commit_time = attrgetter("rows"), attrgetter("commit_time")


class Buckets:
    """A histogram: `counts[i]` observations of at most `bounds[i]`, the last without bound."""

    def __init__(self, *bounds: float) -> None:
        self.bounds, self.counts, self.total = bounds, [0] * (len(bounds) + 1), 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Observe a value."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.total += value * times


@dataclass(slots=True)
class _Waiting:
    """A slice with rows that is read and not committed."""

    transactions: int
    rows: int
    commit_times: Counter[int]


@dataclass(slots=True)
class _UnderWay:
    """What was sent of a transaction in pieces."""

    transactions: int = 0
    letters: int = 0
    records: Counter[str] = field(default_factory=Counter)
    passed_over: Counter[str] = field(default_factory=Counter)
    dead_letters: Counter[str] = field(default_factory=Counter)

    @property
    def unrouted(self) -> int:
        """Less the rows that were read: what became of them in other ways."""
        return self.letters - self.records.total() - self.passed_over.total() - self.dead_letters.total()


@dataclass(frozen=True, slots=True)
class LastError:
    """What went wrong last."""

    error: CdcError
    at: float

    def as_data(self) -> dict[str, Any]:
        """For people."""
        at = datetime.fromtimestamp(self.at, UTC).isoformat(timespec="seconds")
        return {"error": type(self.error).__name__, "message": str(self.error), "hint": self.error.hint, "at": at}


class Status:
    """One source since the start of this process."""

    def __init__(
        self,
        name: str,
        *,
        server: str = "",
        ready_lag: float = 30.0,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.server, self.ready_lag = name, server, ready_lag
        self._clock, self._wall = clock, wall
        self._phase, self._lag = "starting", Lag()
        self._read: Position | None = None
        self._pending: deque[_Waiting] = deque()
        self._got_on = self._current_at = clock()
        self.committed: Position | None = None
        self.connected = False
        self.waiting_for: str | None = None
        self._under_way = _UnderWay()
        self._committing_since: float | None = None
        self.last_error: LastError | None = None
        self.survey_error: str | None = None
        self.transactions = self.aborted = 0
        self.rows_read: Counter[str] = Counter()
        self.records: Counter[str] = Counter()
        self.passed_over: Counter[str] = Counter()
        self.dead_letters: Counter[str] = Counter()
        self.parked: Mapping[str, int] = {}
        """Dead letters of this source that were neither replayed nor dismissed, by reason."""
        self.restarts: Counter[str] = Counter()
        self.dropped_headers: Mapping[str, int] = {}
        """Headers of rows that bore a name of ours, by name: left out of the records, never without a word."""
        self.set_aside: Callable[[], Mapping[str, int]] = dict
        """What the source has read and rightly dropped, by reason (`MySqlSource.set_aside`)."""
        self.batch_records = Buckets(1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000)
        self.batch_bytes = Buckets(*(4.0**n * 1024 for n in range(8)))
        self.commit_seconds = Buckets(0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10, 30)
        self.end_to_end_seconds = Buckets(1, 2, 3, 5, 10, 30, 60, 300, 1_800, 3_600, 21_600, 86_400)

    # -- the Observer --------------------------------------------------------------------

    def __call__(self, step: str, /, **facts: object) -> None:
        """Take note of one step."""
        handler = _STEPS.get(step)
        if handler is not None:
            handler(self, facts)

    def _standing_by(self, facts: Mapping[str, object]) -> None:
        self._phase, self.waiting_for = "standby", str(facts.get("instance"))

    def _fencing(self, _: Mapping[str, object]) -> None:
        self.waiting_for = None
        if self._phase == "standby":
            self._phase = "starting"

    def _opened(self, facts: Mapping[str, object]) -> None:
        self._phase, self.connected, self._got_on = "tailing", True, self._clock()
        self.committed = self._read = _position(facts)

    def _did_read(self, facts: Mapping[str, object]) -> None:
        self._read = _position(facts)

    def _beginning(self, _: Mapping[str, object]) -> None:
        self._committing_since = self._clock()

    def _giant_piece(self, _: Mapping[str, object]) -> None:
        self._got_on = self._clock()

    def _advanced(self, facts: Mapping[str, object]) -> None:
        self.committed = _position(facts)
        self._got_on = self._current_at = self._clock()
        self._committing_since = None

    def _doubt(self, facts: Mapping[str, object]) -> None:
        self.aborted += 1
        self._note(facts.get("error"))

    def _starting_over(self, facts: Mapping[str, object]) -> None:
        error = facts.get("error")
        self._committing_since = None
        self._note(error)
        self.restarts[type(error).__name__] += 1
        self.connected = False
        self._phase = "disconnected" if isinstance(error, SourceUnavailable | KafkaUnavailable) else "starting"

    def _stopping(self, _: Mapping[str, object]) -> None:
        self._phase = "stopped"

    def ended(self, error: CdcError | None) -> None:
        """The source has ended for good."""
        self._phase, self.connected = "fenced" if isinstance(error, Fenced) else "stopped", False
        self._committing_since = None
        self._note(error)

    def _note(self, error: object) -> None:
        if isinstance(error, CdcError):
            self.last_error = LastError(error, self._wall())

    # -- the Counter ---------------------------------------------------------------------

    def opened_anew(self) -> None:
        """What was read and not committed will come again."""
        self._pending.clear()
        self._under_way = _UnderWay()
        self._lag.forget()

    def took(self, slice_: Slice) -> None:
        """A slice was read."""
        if slice_.piece == "undone":
            self._pending.clear()  # all before the pieces was committed
            self._under_way = _UnderWay()
        if not slice_.transactions:
            return
        tables = Counter(map(_table, chain.from_iterable(map(_rows, slice_.transactions))))
        for table, count in tables.items():
            self.rows_read[str(table)] += count
        times = Counter(map(_commit_time, slice_.transactions))
        self._pending.append(_Waiting(len(slice_.transactions), tables.total(), times))

    def sent(self, batch: Batch) -> None:
        """A piece of a transaction is under way; it counts when the whole is committed."""
        under_way = self._under_way
        under_way.records.update(map(_topic, batch.records))
        under_way.passed_over += batch.skipped
        under_way.dead_letters += batch.parked
        under_way.letters += batch.letters
        under_way.transactions += batch.transactions

    def published(self, batch: Batch, seconds: float) -> None:
        """A batch is committed: the slices that wait longest were in it."""
        before, self._under_way = self._under_way, _UnderWay()
        self.records.update(map(_topic, batch.records))
        self.passed_over += batch.skipped
        self.dead_letters += batch.parked
        self.commit_seconds.add(seconds)
        if batch.records:
            self.batch_records.add(len(batch.records))
            parts = chain(map(_key, batch.records), map(_value, batch.records))
            self.batch_bytes.add(sum(map(len, filter(None, parts))))
        self.records += before.records
        self.passed_over += before.passed_over
        self.dead_letters += before.dead_letters
        self.transactions += batch.transactions
        left = batch.transactions + before.transactions
        unrouted = batch.letters - len(batch.records) - batch.skipped.total() - batch.parked.total() + before.unrouted
        while left > 0 and self._pending:
            waiting = self._pending.popleft()
            left -= waiting.transactions
            unrouted += waiting.rows
            for commit_time, count in waiting.commit_times.items():
                self.end_to_end_seconds.add(self._lag.age(commit_time, wall=self._wall()), count)
        if unrouted > 0:
            self.passed_over["unrouted"] += unrouted

    # -- surveys -------------------------------------------------------------------------

    def surveyed(self, survey: Survey, *, now: float, wall: float) -> None:
        """The server said where its log ends; `now` and `wall` are from before it was asked."""
        self.survey_error = None
        self._lag.surveyed(survey, now=now, wall=wall)
        if self.committed is not None and is_reached(self.committed, survey.end):
            self._current_at = max(now, self._current_at)

    # -- reading it ----------------------------------------------------------------------

    @property
    def state(self) -> str:
        """The word."""
        if self._phase != READY:
            return self._phase
        bound = self._bound()
        if bound is None:
            return "starting"
        if bound <= self.ready_lag:
            return READY
        if self._clock() - self._got_on > self.ready_lag:
            return "stalled"
        return "starting" if self._lag.latest is None else "catching-up"

    def _published_up_to(self) -> Position | None:
        """Without rows under way, what is read is as good as published."""
        return self.committed if self._pending else self._read

    def _bound(self) -> float | None:
        """Seconds that the oldest row which is not published can be old, at most."""
        position = self._published_up_to()
        if position is None:
            return None
        self._lag.passed(position)
        log_time: float = min(self._pending[0].commit_times) if self._pending else position.log_time
        return self._lag.seconds(log_time, now=self._clock(), wall=self._wall())

    @property
    def lag_seconds(self) -> float | None:
        """Seconds behind; 0 where nothing was left at the last survey. None: not known."""
        position = self._published_up_to()
        if position is not None and self.connected and not self._pending and self._lag.passed(position):
            return 0.0
        return None if self._phase in {"standby", "fenced"} else self._bound()

    @property
    def behind(self) -> tuple[int, int] | None:
        """Bytes and files of the log that are not published yet. None: not known."""
        position = self._published_up_to()
        return None if position is None else self._lag.bytes_behind(position)

    @property
    def retained_seconds(self) -> float | None:
        """Seconds until the server may purge what is still needed. None: never by age, or not known."""
        return None if self.committed is None else self._lag.retained(self.committed, wall=self._wall())

    @property
    def checkpoint_age(self) -> float | None:
        """Seconds since the checkpoint moved or was found to be at the log's end. None for one who stands by."""
        return None if self._phase in {"standby", "fenced"} else self._clock() - self._current_at

    @property
    def committing_seconds(self) -> float:
        """For how long Kafka has been committing what is with it now; 0 where nothing is."""
        return 0.0 if self._committing_since is None else self._clock() - self._committing_since

    @property
    def events(self) -> int:
        """Records committed."""
        return self.records.total()

    def as_data(self) -> dict[str, Any]:
        """Everything, for /status and those who read it."""
        state, at, behind = self.state, self.committed, self.behind
        return {
            "state": state,
            "ready": state == READY,
            "server": self.server,
            "position": at and {"file": at.file, "position": at.position, "gtid_set": str(at.gtid_set or "") or None},
            "lag_seconds": _rounded(self.lag_seconds),
            "behind_bytes": None if behind is None else behind[0],
            "behind_files": None if behind is None else behind[1],
            "retained_seconds": _rounded(self.retained_seconds),
            "checkpoint_age_seconds": _rounded(self.checkpoint_age),
            "events": self.events,
            "transactions": self.transactions,
            "rows_read": self.rows_read.total(),
            "passed_over": dict(self.passed_over),
            "dead_letters": dict(self.dead_letters),
            "dead_letters_parked": dict(self.parked),
            "dropped_headers": dict(self.dropped_headers),
            "set_aside": dict(self.set_aside()),
            "doubts": self.aborted,
            "restarts": self.restarts.total(),
            "waiting_for": self.waiting_for,
            "not_known_because": self.survey_error,
            "last_error": self.last_error and self.last_error.as_data(),
        }


_STEPS: Mapping[str, Callable[[Status, Mapping[str, object]], None]] = {
    "standing_by": Status._standing_by,  # noqa: SLF001 - this class's own table
    "fencing": Status._fencing,  # noqa: SLF001
    "opened": Status._opened,  # noqa: SLF001
    "read": Status._did_read,  # noqa: SLF001
    "beginning": Status._beginning,  # noqa: SLF001
    "giant_piece": Status._giant_piece,  # noqa: SLF001
    "advanced": Status._advanced,  # noqa: SLF001
    "doubt": Status._doubt,  # noqa: SLF001
    "starting_over": Status._starting_over,  # noqa: SLF001
    "stopping": Status._stopping,  # noqa: SLF001
    "caught_up": Status._stopping,  # noqa: SLF001
    "draining": Status._stopping,  # noqa: SLF001
}


def _position(facts: Mapping[str, object]) -> Position | None:
    found = facts.get("position")
    return found if isinstance(found, Position) else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)

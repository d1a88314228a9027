"""The model broker's transaction coordinator: who may write, and how transactions end.

What one must know to change it (as recorded from the real broker, for the request versions
that aiokafka speaks):

* An end is decided when the prepared state is stored; the answer leaves then, and the
  markers are written to the partitions one after the other, later. Until all are there the
  id's next transaction and the next producer are told to wait (51).
* A new producer over an open transaction: the epoch goes up by one, the transaction is
  aborted with that epoch, and when it asks again the epoch goes up once more.
* A transaction over its time is aborted by a look every ten seconds; its epoch goes up by
  one, so its producer looks fenced.
* What is stored outlives the broker's death: prepared ends are finished after the restart.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

FENCED, BAD_STATE, BAD_MAPPING, BAD_TIMEOUT, CONCURRENT = 47, 48, 49, 50, 51
LONGEST_TIMEOUT = 900.0
LOOK_EVERY = 10.0
Place = tuple[str, int]


@dataclass(slots=True)
class Transaction:
    """What is stored of a transactional id."""

    id: str
    pid: int
    epoch: int
    timeout: float
    state: str = "Empty"
    places: set[Place] = field(default_factory=set)
    since: float = 0.0
    marked: set[Place] = field(default_factory=set)

    @property
    def prepared(self) -> bool:
        return self.state.startswith("Prepare")


class Coordinator:
    """All transactional ids. `prepared` is told of each decision, and sees to the markers."""

    def __init__(self, clock: Callable[[], float], prepared: Callable[[Transaction, bool], None]) -> None:
        self._clock, self._prepared = clock, prepared
        self.ids: dict[str, Transaction] = {}
        self.next_pid = 1000
        self.inits = 0

    def init(self, name: str, timeout: float) -> tuple[int, int, int]:
        """Error, producer id, epoch."""
        if timeout > LONGEST_TIMEOUT:
            return BAD_TIMEOUT, -1, -1
        found = self.ids.get(name)
        if found is None:
            found = self.ids[name] = Transaction(name, self.next_pid, 0, timeout)
            self.next_pid += 1
        elif found.prepared:
            return CONCURRENT, -1, -1
        elif found.state == "Ongoing":
            found.epoch += 1
            self._prepare(found, commit=False)
            return CONCURRENT, -1, -1
        else:
            found.epoch, found.timeout, found.state = found.epoch + 1, timeout, "Empty"
        self.inits += 1
        return 0, found.pid, found.epoch

    def _check(self, name: str, pid: int, epoch: int) -> tuple[int, Transaction | None]:
        found = self.ids.get(name)
        if found is None or found.pid != pid:
            return BAD_MAPPING, None
        return (FENCED if found.epoch != epoch else 0), found

    def add(self, name: str, pid: int, epoch: int, places: set[Place]) -> int:
        error, found = self._check(name, pid, epoch)
        if error or found is None:
            return error
        if found.prepared:
            return CONCURRENT
        if found.state != "Ongoing":
            found.state, found.since, found.places = "Ongoing", self._clock(), set()
        found.places |= places
        return 0

    def may_produce(self, name: str, pid: int, epoch: int, place: Place) -> int:
        """Is this partition part of the producer's open transaction?"""
        error, found = self._check(name, pid, epoch)
        if error or found is None:
            return error
        return 0 if found.state == "Ongoing" and place in found.places else BAD_STATE

    def end(self, name: str, pid: int, epoch: int, *, commit: bool) -> int:
        error, found = self._check(name, pid, epoch)
        if error or found is None:
            return error
        word = "Commit" if commit else "Abort"
        if found.state == "Ongoing":
            self._prepare(found, commit=commit)
            return 0
        return {f"Prepare{word}": CONCURRENT, f"Complete{word}": 0}.get(found.state, BAD_STATE)

    def _prepare(self, found: Transaction, *, commit: bool) -> None:
        found.state = "PrepareCommit" if commit else "PrepareAbort"
        found.marked = set()
        self._prepared(found, commit)

    def complete(self, found: Transaction) -> None:
        """All markers are written."""
        found.state = found.state.replace("Prepare", "Complete")
        found.places = set()

    def look(self) -> None:
        """Abort what is over its time."""
        for found in self.ids.values():
            if found.state == "Ongoing" and self._clock() - found.since > found.timeout:
                found.epoch += 1
                self._prepare(found, commit=False)

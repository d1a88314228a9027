"""The truth about a run, from the model broker's own log; nobody's word counts.

At each decision to commit a transaction, before any marker is written:

* its records are exactly the rows between the last committed position and its checkpoint's:
  none lost, none doubled, whole source transactions, checkpoint neither ahead nor behind;
  those that the broker does not take are parked, or left out, as the policy says;
* within a partition they are in the order of the log.

Whatever is written without a transaction must be a sign of life. At the end every row is
visible to read_committed consumers, once, in order of its partition, and nothing is open.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

from tests.simulation.broker import Broker, Place
from tests.simulation.coordinator import Transaction
from tests.simulation.partition import Partition, Stored


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row of a source transaction."""

    topic: str
    key: str
    size: int = 0
    """Of its value, in bytes; a small one's is as large as it is."""

    def place(self, partitions: int) -> Place:
        return self.topic, crc32(self.key.encode()) % partitions


Log = Sequence[Sequence[SourceRow]]
"""Source transactions; position n is behind the n-th."""


def value(position: int, row: int, size: int = 0) -> bytes:
    """What makes a row's record its own."""
    return f"{position}.{row}".encode().ljust(size)


class Wrong(AssertionError):
    """A promise is broken."""


class Judge:
    """Watches one source in one broker."""

    def __init__(self, broker: Broker, log: Log, partitions: Mapping[str, int], source: str, prefix: str) -> None:
        self.broker, self.log, self.partitions = broker, log, partitions
        self.policy, self._letters = "stop", (f"{prefix}.dead-letters", 0)
        self.source, self.topic = source.encode(), f"{prefix}.checkpoint.{source}"
        self.position: int | None = None
        self.begin = 0
        self.commits: list[tuple[int, int]] = []
        """Producer epoch and position of each commit."""
        self.complaints: list[str] = []
        self.writers: list[str] = []
        broker.committing, broker.plain = self._committing, self._plain

    def _complain(self, what: str) -> None:
        self.complaints.append(f"{self.broker.loop.now:.3f} s: {what}")

    def _expected(self, begin: int, end: int) -> dict[Place, list[bytes]]:
        """What lies between two positions, by partition."""
        found: dict[Place, list[bytes]] = {}
        for position in range(begin + 1, end + 1):
            for number, row in enumerate(self.log[position - 1]):
                place, content = row.place(self.partitions[row.topic]), value(position, number, row.size)
                if content in self.broker.poison:
                    if self.policy == "skip":
                        continue
                    place = self._letters
                found.setdefault(place, []).append(content)
        return found

    def _committing(self, transaction: Transaction, records: dict[Place, list[Stored]]) -> None:
        checkpoints = [json.loads(r.value or b"") for r in records.get((self.topic, 0), ()) if r.key == self.source]
        data = {place: [r.value or b"" for r in found] for place, found in records.items() if place[0] != self.topic}
        data = {place: found for place, found in data.items() if found}
        if len(checkpoints) != 1:
            self._complain(f"a transaction with {len(checkpoints)} checkpoints and {data} is committed")
            return
        [checkpoint] = checkpoints
        position = int(checkpoint["position"])
        before = self.begin if self.position is None else self.position
        if data != (expected := self._expected(before, position)):
            self._complain(f"between positions {before} and {position} {data} is committed, {expected} is right")
        if self.position is not None and position < self.position:
            self._complain(f"the checkpoint goes back from {self.position} to {position}")
        genesis = [r for r in records.get((self.topic, 0), ()) if r.key == self.source + b"/genesis"]
        if len(genesis) != (self.position is None):
            self._complain(f"{len(genesis)} genesis records at position {self.position}")
        self.position = position
        self.commits.append((transaction.epoch, position))
        if not self.writers or self.writers[-1] != checkpoint["instance"]:
            self.writers.append(checkpoint["instance"])

    def _plain(self, partition: Partition, records: list[Stored]) -> None:
        strange = [r for r in records if partition.topic != self.topic or r.key != self.source + b"/alive"]
        if strange:
            self._complain(f"written without a transaction: {strange} to {partition.topic}")

    @property
    def done(self) -> bool:
        return self.position == len(self.log)

    def sentence(self) -> None:
        """The end: raise Wrong for all that is not as promised."""
        for name, parts in self.broker.topics.items():
            for part in parts:
                if part.stable != part.end:
                    self._complain(f"a transaction is open in {name}:{part.number}")
        if not self.done:
            self._complain(f"committed up to {self.position} of {len(self.log)}")
        visible = {
            (name, part.number): found
            for name, parts in self.broker.topics.items()
            for part in parts
            if name != self.topic and (found := [r.value for r in part.visible()])
        }
        if visible != self._expected(self.begin, len(self.log)):
            self._complain(f"visible at the end is {visible}")
        if self.broker.asked_by_name:
            self._complain(f"topics asked for by name, which may create them: {self.broker.asked_by_name}")
        if self.complaints:
            raise Wrong("\n".join(self.complaints))

"""Records to Kafka's batches, in the order they must be sent.

What one must know to change it:

* `append` takes headers as a list of tuples; timestamps, keys and headers are stored as given.
* More than 1 h ahead of the broker's clock is refused, so no timestamp is later than now.
* One batch of a partition is in flight at a time. Sent partition by partition, a large
  partition would hold up the others, so batches go out in rounds: the first of each
  partition, then the second.
* A single record larger than a batch gets a batch of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from operator import is_
from typing import Any, NamedTuple, TypeAlias

from cdc.model import Record

Place: TypeAlias = tuple[str, int]


class Parcel(NamedTuple):
    """A batch of Kafka's, and the topic and partition it goes to."""

    topic: str
    partition: int
    builder: Any
    size: int


class Spread:
    """Partitions for records without one: a whole batch's go to one partition, the next batch's to the next.

    Even over time, and few partitions in a transaction, which is what costs.
    """

    def __init__(self) -> None:
        self._turn: dict[str, int] = {}

    def turn(self, topics: Sequence[Record], partitions: Callable[[str], int]) -> dict[str, int]:
        """The partition of each topic that has such records."""
        chosen: dict[str, int] = {}
        for record in topics:
            if record.partition is None and record.topic not in chosen:
                chosen[record.topic] = self._turn.get(record.topic, -1) + 1
                chosen[record.topic] %= partitions(record.topic)
        self._turn |= chosen
        return chosen


class Unwritable(ValueError):
    """A record that has no form in Kafka; `index` says which."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index


def pack(
    records: Sequence[Record], create: Callable[[str], Any], chosen: Mapping[str, int], *, at: int | None = None
) -> list[Parcel]:
    """Pack records into batches that `create` makes for a topic, their order within a partition kept.

    Raises Unwritable.
    """
    current = int(time.time() * 1000) if at is None else at
    filling: dict[Place, Any] = {}
    rounds: list[list[tuple[Place, Any]]] = []
    level: dict[Place, int] = {}

    def begin(place: Place) -> Any:
        builder = filling[place] = create(place[0])
        depth = level[place] = level.get(place, -1) + 1
        if depth == len(rounds):
            rounds.append([])
        rounds[depth].append((place, builder))
        return builder

    for topic, partition, key, value, headers, timestamp in records:
        place = (topic, chosen[topic] if partition is None else partition)
        builder = filling.get(place) or begin(place)
        when = current if timestamp is None or timestamp > current else timestamp
        try:
            if builder.append(timestamp=when, key=key, value=value, headers=headers) is None:
                begin(place).append(timestamp=when, key=key, value=value, headers=headers)
        except (TypeError, ValueError, OverflowError) as error:
            given = (topic, partition, key, value, headers, timestamp)
            index = next(i for i, record in enumerate(records) if all(map(is_, record, given)))
            raise Unwritable(index, f"{type(error).__name__}: {error}") from error
    return [Parcel(*place, builder, builder.size()) for round_ in rounds for place, builder in round_]


def members(records: Sequence[Record], parcels: Sequence[Parcel], chosen: Mapping[str, int]) -> list[list[int]]:
    """For each parcel the indexes of the records that `pack` has put into it."""
    of_place: dict[Place, Iterator[int]] = {}
    for place in {(parcel.topic, parcel.partition) for parcel in parcels}:
        of_place[place] = iter(
            [
                index
                for index, record in enumerate(records)
                if (record.topic, chosen[record.topic] if record.partition is None else record.partition) == place
            ]
        )
    return [list(islice(of_place[parcel.topic, parcel.partition], parcel.builder.record_count())) for parcel in parcels]

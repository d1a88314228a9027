"""Partition counts that change while we run.

A record's partition is a function of its key and the topic's count, so with the count the keys move: records of
one key that come after the change may overtake, in another partition, those that came before it. Kafka
gives no help there, so it is said once, or stops the source before anything goes to the new places.
The count is known from the listings of `Topics`, which are also taken while all is well.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from cdc.errors import PartitionsChanged
from cdc.model import Observer, Record, Topics

_topic = attrgetter("topic")


class PartitionWatch:
    """The counts of the topics that records of one source went to."""

    def __init__(self, topics: Topics, observe: Observer, *, stop: bool) -> None:
        self._topics, self._observe, self._stop = topics, observe, stop
        self._counts: dict[str, int | None] = {}

    def look(self, records: Iterable[Record]) -> None:
        """Look at the topics of records that were just routed. Raises PartitionsChanged."""
        for topic in set(map(_topic, records)):
            count = self._topics.partitions(topic)
            before = self._counts.setdefault(topic, count)
            if count == before or count is None:
                continue
            if self._stop:
                raise PartitionsChanged(
                    f"topic {topic} has {count} partitions, and had {before}: from here on keys go to other ones",
                    hint="let consumers finish what is there, then start again: the new count is taken as it is",
                )
            self._counts[topic] = count
            self._observe("partitions_changed", topic=topic, before=before, now=count)

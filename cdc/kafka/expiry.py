"""Records that bear a time older than their topic keeps: Kafka takes them, and deletes them soon after.

Only a route with `timestamp: created_at`, or a table of layout debezium with a column for it, gives a record a time
of its own. A backlog or snapshot then goes by its rows' age: brokers delete by the records' time.
It is said once a topic and process, by the step `expiring`; the records are sent all the same, for who reads
at once still gets them.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from cdc.kafka.limits import Limits
from cdc.model import Observer, Record


class Expiry:
    """Looks at what is about to be sent. `limits` must have looked at the topics before."""

    def __init__(self, limits: Limits, observer: Observer) -> None:
        self._limits, self._say = limits, observer
        self._told: set[str] = set()

    def look(self, records: Sequence[Record]) -> None:
        """Say it where it is news."""
        oldest: dict[str, int] = {}
        for record in records:
            if record.timestamp is not None:
                oldest[record.topic] = min(record.timestamp, oldest.get(record.topic, record.timestamp))
        for topic, at in oldest.items():
            keeps = self._limits.of(topic).keeps
            age = int(time.time() * 1000) - at
            if keeps is not None and age > keeps and topic not in self._told:
                self._told.add(topic)
                self._say("expiring", topic=topic, age_seconds=age // 1000, kept_seconds=keeps // 1000)

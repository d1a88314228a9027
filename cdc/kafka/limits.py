"""What topics take, so that most refusals are known before anything is sent.

A broker refuses a batch as a whole, which costs the producer and a new start from the checkpoint. So the
topic's own settings are asked for (DescribeConfigs: the broker's defaults are in the answer), kept
for `FRESH_FOR` seconds and forgotten when a broker refuses all the same. What cannot be asked (no right
to, or no answer) is not known; then the broker judges.

What one must know to change it:

* `max.message.bytes` is compared with the size of a whole batch as it arrives, compressed, header included.
* A request larger than the broker's `socket.request.max.bytes` is not answered, the connection is
  closed, and aiokafka tries again for ever. A record must leave room in it for the rest of the request.
* A compacted topic takes no record without a key (INVALID_RECORD, 87, which aiokafka does not know by name).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from typing import NamedTuple

from cdc.errors import CdcError, TopicDenied
from cdc.kafka.client import FOREIGN
from cdc.kafka.cluster import Cluster

FRESH_FOR = 60.0
_DENIED_FOR = 60.0
_REQUEST_ROOM = 64 << 10
"""Of a request, beside its batches."""


class Takes(NamedTuple):
    """What a topic takes: batches of so many bytes (None: not known), and records without a key?

    `keeps` is for how many milliseconds; None: for ever, or it is not known.
    """

    largest: int | None = None
    keyless: bool = True
    keeps: int | None = None


NOT_KNOWN = Takes()


class Limits:
    """The limits of the topics of one cluster, as of the last look."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._takes: dict[str, Takes] = {}
        self._looked: dict[str, float] = {}
        self._denied: dict[str, tuple[float, str]] = {}
        self._request: int | None = None
        self._request_looked = float("-inf")

    async def look(self, topics: Collection[str]) -> None:
        """Make sure of these topics' limits. Does not raise for a Kafka that does not answer."""
        now = time.monotonic()
        old = [topic for topic in topics if now - self._looked.get(topic, float("-inf")) > FRESH_FOR]
        if not old:
            return
        self._looked |= dict.fromkeys(old, now)
        try:
            found = await self._cluster.settings_of(old)
            if now - self._request_looked > FRESH_FOR:
                self._request_looked = now
                self._request = _number(await self._cluster.broker_settings(), "socket.request.max.bytes")
        except (*FOREIGN, CdcError):
            return  # what was known before holds; the transaction itself tells of a Kafka that is away
        for topic in old:
            self._takes[topic] = self._judge(found.get(topic))

    def of(self, topic: str) -> Takes:
        """What it takes, as far as that is known."""
        return self._takes.get(topic, NOT_KNOWN)

    def forget(self, topics: Collection[str]) -> None:
        """Ask again at the next look: a broker has refused what should have fitted."""
        for topic in topics:
            self._looked.pop(topic, None)

    def deny(self, topic: str, why: str) -> None:
        """Kafka does not let us write there: for a while that is not tried again."""
        self._denied[topic] = (time.monotonic() + _DENIED_FOR, why)

    def denied(self, topic: str) -> TopicDenied | None:
        """The refusal of a topic that was denied lately."""
        until, why = self._denied.get(topic, (0.0, ""))
        if time.monotonic() >= until:
            self._denied.pop(topic, None)
            return None
        return denied(topic, why)

    def _judge(self, settings: Mapping[str, str] | None) -> Takes:
        if settings is None:
            return NOT_KNOWN
        largest = _number(settings, "max.message.bytes")
        if self._request is not None:
            room = self._request - _REQUEST_ROOM
            largest = room if largest is None else min(largest, room)
        policy = settings.get("cleanup.policy", "")
        keeps = _number(settings, "retention.ms") if "delete" in policy else None
        return Takes(largest, "compact" not in policy, keeps)


def denied(topic: str, why: str) -> TopicDenied:
    """The error for a topic that we may not write to."""
    return TopicDenied(
        f"Kafka does not let us write to topic {topic}: {why}",
        hint="the user needs Write and Describe on it (kafka-acls.sh --add --producer); or route these rows elsewhere",
    )


def _number(settings: Mapping[str, str], name: str) -> int | None:
    text = settings.get(name, "")
    return int(text) if text.isdigit() else None

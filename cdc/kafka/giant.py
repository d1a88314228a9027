"""The Kafka transaction that stays open while a source transaction that is larger than memory comes in pieces.

A transaction's timeout is its producer's, fixed when it starts, and a long one makes readers wait that long after
a death of ours. So a giant gets a producer of its own (the same transactional id) with the longest timeout that
the brokers allow, and the producer behind it has the usual one again. Both exchanges are a fence: whoever took over
meanwhile is not fenced back.

The coordinator ends what is open for longer than its timeout, in checks of its own every 10 s. `OpenTransaction.look`
gives up before that, by name: `TransactionTooLong`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from cdc.errors import TransactionTooLong
from cdc.kafka.client import FOREIGN, explain
from cdc.kafka.cluster import Cluster

_SHARE = 0.9
"""Of its time that a transaction may use: committing takes some, too."""


async def ask_longest(cluster: Cluster, usual: float) -> float:
    """The longest timeout that the brokers allow, and never less than the usual one. Raises SinkError."""
    try:
        settings = await cluster.broker_settings()
    except FOREIGN as error:
        raise await explain(cluster.address, error, "asking for the settings of a broker") from error
    return max(usual, longest(settings, usual))


def longest(settings: Mapping[str, str], usual: float) -> float:
    """The longest timeout that the broker with these settings allows; the usual one where it does not say."""
    text = settings.get("transaction.max.timeout.ms", "")
    return int(text) / 1000 if text.isdigit() else usual


@dataclass(slots=True)
class OpenTransaction:
    """One that is open: since when, for how long it may be, and what is in it."""

    source: str
    limit: float
    began: float = field(default_factory=time.monotonic)
    records: int = 0

    @property
    def seconds(self) -> float:
        """How long it is open."""
        return time.monotonic() - self.began

    def look(self, what: str) -> None:
        """Raise TransactionTooLong where it cannot be committed in time."""
        if self.seconds > self.limit * _SHARE:
            raise TransactionTooLong(
                f"a transaction of source {self.source} is too long for one Kafka transaction: {self.records} records "
                f"took {self.seconds:.0f} s ({what}), and the brokers end a transaction after {self.limit:.0f} s",
                hint="nothing of it is visible. Raise transaction.max.timeout.ms of the brokers (a setting of each, "
                "with a restart) and start again; and let its writer commit in smaller parts",
            )

"""Marks: headers that say how a record came here when it did not come from the log (DESIGN 4.2).

A mark stands after our headers and before the row's. Rows cannot bear names of ours
(they are dropped), so the leading names that are reserved are ours. A record without any
header is one of `headers: none`, which shall equal somebody else's and is not marked.
"""

from __future__ import annotations

from cdc.model import Header
from cdc.outbox.row import RESERVED_HEADERS

SNAPSHOT = "snapshot"
HEAL = "heal"
REPLAY = "replay"
MARKS = frozenset((SNAPSHOT, HEAL, REPLAY))


def marked(headers: list[Header], mark: str) -> list[Header]:
    """The headers with the mark among them; a list without any stays so."""
    if not headers:
        return headers
    at = next((i for i, (name, _) in enumerate(headers) if name not in RESERVED_HEADERS), len(headers))
    return [*headers[:at], (mark, b"true"), *headers[at:]]

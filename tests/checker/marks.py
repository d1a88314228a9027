"""The mark that every row carries: which row of which numbered source transaction it is.

It is the first line of the payload and, where the row has headers, the header `mark`, so a
record is recognised even when one of the two was altered. `kept` says what the writer was
about to do with the row: a record with `kept` false is a phantom by its own words.
"""

import json
from typing import NamedTuple

HEADER = "mark"


class Place(NamedTuple):
    """Which row of which transaction; compares in the commit order of one writer."""

    writer: int
    number: int
    index: int


class Mark(NamedTuple):
    """`index` counts the kept rows of the transaction from 0, and the undone ones from -1 down; `count` is the kept rows."""

    writer: int
    number: int
    index: int
    count: int
    key: str | None
    sequence: int
    kept: bool

    @property
    def place(self) -> Place:
        return Place(self.writer, self.number, self.index)

    def text(self) -> str:
        return json.dumps(self._asdict(), separators=(",", ":"))


def parse(text: bytes | str | None) -> Mark | None:
    """The mark in a header or on a payload's first line; None where there is none."""
    if not text:
        return None
    try:
        fields = json.loads(text.split(b"\n" if isinstance(text, bytes) else "\n", 1)[0])
        return Mark(**fields)
    except (ValueError, TypeError):  # not JSON, not UTF-8, not an object, other fields
        return None

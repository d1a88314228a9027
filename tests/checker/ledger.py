"""What is true: the rows that SELECT finds in the never-purged tables, as the records they must become.

The writer's book is only compared with it: a row that was promised and is not there, or is
there though it was undone, is a fault of the server or of the writer, and nothing can be judged.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pymysql.cursors import SSCursor

from tests.checker import marks
from tests.checker.marks import HEADER, Mark, Place
from tests.checker.rows import SELECT, TableRow, digest, expected
from tests.checker.writer import DOUBT, KEPT, Server, table


class SourceDisagrees(AssertionError):
    """The table does not hold what the server promised: nothing can be judged."""


class Entry(NamedTuple):
    """One record that must be there once."""

    place: Place
    count: int
    topic: str
    key: bytes | None
    sequence: int
    value: bytes
    headers: bytes


class Ledger:
    """All records that must be there, by event id and by place."""

    def __init__(self, rows: Iterable[TableRow]) -> None:
        self.entries: dict[bytes, Entry] = {}
        self.by_place: dict[Place, bytes] = {}
        for row in rows:
            mark, wanted = mark_of(row), expected(row)
            if not mark.kept or mark.place in self.by_place:
                raise SourceDisagrees(f"the table holds {mark}, which was undone or is there twice")
            parts = digest(wanted.value), digest(wanted.headers)
            self.entries[row.event_id] = Entry(mark.place, mark.count, wanted.topic, wanted.key, mark.sequence, *parts)
            self.by_place[mark.place] = row.event_id

    def __len__(self) -> int:
        return len(self.entries)

    @classmethod
    def read(cls, server: Server, schema: str, layouts: Sequence[str]) -> "Ledger":
        """All committed rows. The writer must have ended."""
        return cls(table_rows(server, schema, layouts))

    def transactions(self) -> Counter[tuple[int, int]]:
        """(writer, number) to the number of its rows."""
        return Counter((place.writer, place.number) for place in self.by_place)

    def compare(self, book: Mapping[tuple[int, int], tuple[str, int]]) -> int:
        """Make sure that the server kept its promises; return the number of doubtful transactions it settled."""
        found, settled = self.transactions(), 0
        for transaction, (promise, rows) in book.items():
            wanted = {KEPT: {rows}, DOUBT: {0, rows}}.get(promise, {0})
            settled += promise == DOUBT
            if found[transaction] not in wanted:
                raise SourceDisagrees(f"{transaction}: {promise}, {rows} rows, but the table has {found[transaction]}")
        if strangers := set(found) - set(book):
            raise SourceDisagrees(f"rows of transactions that nobody wrote: {sorted(strangers)[:5]}")
        return settled


def mark_of(row: TableRow) -> Mark:
    """The mark of a row of ours."""
    mark = marks.parse(row.payload)
    if mark is None and row.headers:
        mark = marks.parse(json.loads(row.headers).get(HEADER))
    if mark is None:
        raise SourceDisagrees(f"a row without a mark: {row}")
    return mark


def table_rows(server: Server, schema: str, layouts: Sequence[str]) -> Iterable[TableRow]:
    """Every row of the tables, read without holding them all."""
    for layout in layouts:
        with server.connect(cursorclass=SSCursor) as connection, connection.cursor() as cursor:
            cursor.execute(SELECT[layout].format(table=table(schema, layout)))
            for columns in cursor:
                yield TableRow(layout, *columns)

"""All rows of a table as the log would give them, in the order of its primary key, a page at a time.

Each page is a short consistent read of its own: an open one would keep ALTER and TRUNCATE waiting. So rows that
are inserted meanwhile may be among them, those that are deleted before their page are not.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from cdc.model import Row, TableSpec, Value
from cdc.mysql.address import ServerAddress
from cdc.mysql.session import ask
from cdc.mysql.table_rows import ConsistentRead, Key, TableForm, form_of

PAGE_ROWS = 2000
PAGE_BYTES = 8 << 20
_TIMEOUT = 120.0


async def scan(address: ServerAddress, spec: TableSpec) -> AsyncIterator[list[Row]]:
    """Every row. Raises SourceError."""
    form = await ask(address, lambda session: form_of(session, spec, None))
    after: Key | None = None
    last = False
    while not last:
        rows, last = await asyncio.to_thread(_page, address, form, after, PAGE_ROWS)
        if rows:
            after = form.key(rows[-1])
            yield rows


async def last(address: ServerAddress, spec: TableSpec, count: int) -> tuple[list[Row], bool]:
    """The last rows in the order of the primary key, oldest first; and: were they cut, for they are too large?"""
    form = await ask(address, lambda session: form_of(session, spec, None))
    rows, are_all = await asyncio.to_thread(_page, address, form, None, count, backwards=True)
    return rows[::-1], not are_all and len(rows) < count


async def find(address: ServerAddress, spec: TableSpec, column: str, ids: Sequence[bytes]) -> list[Row] | None:
    """The rows with these ids; None where the table is not ordered by just this column of 16 bytes: scan it then."""
    form = await ask(address, lambda session: form_of(session, spec, None))
    [first, *more] = form.order
    if more or first.name != column or (first.type, first.length) != ("binary", 16):
        return None
    found: list[Row] = []
    for one in sorted(ids):
        rows, _ = await asyncio.to_thread(_page, address, form, _before(one), 1)
        found += [row for row in rows if row.get(column) == one]
    return found


def _page(
    address: ServerAddress, form: TableForm, after: Key | None, limit: int, *, backwards: bool = False
) -> tuple[list[Row], bool]:
    read = ConsistentRead(address, timeout=_TIMEOUT)
    try:
        return read.rows(form, after, limit, PAGE_BYTES, backwards=backwards)
    finally:
        read.close()


def _before(key: bytes) -> tuple[Value, ...] | None:
    """The key just before this one."""
    number = int.from_bytes(key, "big")
    return ((number - 1).to_bytes(len(key), "big"),) if number else None

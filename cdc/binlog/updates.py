"""UPDATE_ROWS: rows that an UPDATE changed, of the tables that ask to be told of it (`TableSpec.updates`).

Each row comes twice, as it was and as it is, and each image has the columns that its own bitmap says; a session
may write few of them. These rows are told of and never published, so a column that is not there is None.
What comes is the row as it was, in a `TableSchema` that says `updated`.

Nothing comes of an UPDATE that changes the primary key (Debezium takes that for a DELETE and an INSERT), nor of
what is a DELETE of a system-versioned table: it sets row_end.

PARTIAL_UPDATE_ROWS (MySQL's binlog_row_value_options) has before each new image a number of options and, with the
lowest of them, a bit for each JSON column of the table. Such a column's difference has a length before it as its
value has, so both are stepped over alike: of the new image only the key is decoded.
"""

from __future__ import annotations

from cdc.binlog import compressed, events
from cdc.binlog.definition import Definition
from cdc.binlog.events import HEADER
from cdc.binlog.table_map import JSON
from cdc.binlog.values import Decode, generate, kind_of, sql_type
from cdc.model import Column, Row, TableSchema, Value


class Changes:
    """One definition's rows that were changed: decodes what stands in an event between its bitmaps and its end."""

    __slots__ = ("_definition", "_images", "_json", "schema")

    def __init__(self, definition: Definition) -> None:
        table = definition.map
        self._definition = definition
        self._json = (sum(column.type == JSON for column in table.columns) + 7) // 8
        wanted = [table.columns[i] for i in sorted(definition.wanted)]
        columns = tuple(Column(str(c.name), kind_of(c), c.length, sql_type(c)) for c in wanted)
        self.schema = TableSchema(table.schema, table.table, columns, updated=True)
        self._images: dict[tuple[bytes, bool], _Image] = {}

    def rows(self, buf: bytes, kind: int) -> list[Row]:
        """The changed rows of an event, given whole and without its checksum. Raises ValueError and the decoders'."""
        q = HEADER + 8
        if kind in events.UPDATES_WITH_EXTRA_DATA:
            q += buf[q] | buf[q + 1] << 8  # extra data, with its own length
        width, q = events.lenenc(buf, q)
        definition = self._definition
        if width != definition.width:
            raise ValueError(f"rows of {width} columns in a table of {definition.width}")
        bitmap = definition.bitmap
        before, after = (
            self._image(buf[q : q + bitmap], key_only=False),
            self._image(buf[q + bitmap : q + 2 * bitmap], key_only=True),
        )
        q += 2 * bitmap
        if kind in events.UPDATES_COMPRESSED:
            buf, q = compressed.unpack(buf[q:]), 0
        out: list[Row] = []
        while q < len(buf):
            begin = q
            old, q = before.take(buf, q)
            if kind == events.PARTIAL_UPDATE_ROWS:
                q = self._options(buf, q)
            new, q = after.take(buf, q)
            if q == begin:
                raise ValueError("rows without columns")
            if old is not None and new is not None and all(old.get(at, new[at]) == new[at] for at in new):
                out.append(Row(self.schema, tuple(old.get(at) for at in sorted(definition.wanted))))
        if q != len(buf):
            raise ValueError("a row that ends behind its event")
        return out

    def _options(self, buf: bytes, q: int) -> int:
        """The place behind the options of a new image, and the bits of the JSON columns that are differences in it."""
        options, q = events.lenenc(buf, q)
        return q + self._json if options & 1 else q

    def _image(self, present: bytes, *, key_only: bool) -> _Image:
        found = self._images.get((present, key_only))
        if found is None:
            found = self._images[present, key_only] = _Image(self._definition, present, key_only=key_only)
        return found


class _Image:
    """The columns of one bitmap."""

    __slots__ = ("_decode", "_decoded", "_null_bytes")

    def __init__(self, definition: Definition, present: bytes, *, key_only: bool) -> None:
        table = definition.map
        indexes = [i for i in range(definition.width) if present[i >> 3] >> (i & 7) & 1]
        keys = frozenset(table.primary_key)
        asked = keys if key_only else keys | definition.wanted
        self._decoded = [i for i in indexes if i in asked]
        self._null_bytes = (len(indexes) + 7) // 8
        row_end = indexes.index(definition.row_end) if definition.row_end in indexes else None
        self._decode: Decode = generate(
            [table.columns[i] for i in indexes],
            [i in asked for i in indexes],
            TableSchema(table.schema, table.table, ()),
            None,
            row_end,
        )

    def take(self, buf: bytes, q: int) -> tuple[dict[int, Value] | None, int]:
        """A row's values by the number of the column, None for one that ends there; the place behind it."""
        begin = q + self._null_bytes
        row, q = self._decode(buf, begin, int.from_bytes(buf[q:begin], "little"))
        return None if row is None else dict(zip(self._decoded, row.values, strict=True)), q

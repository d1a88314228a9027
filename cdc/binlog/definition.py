"""A wanted table as it was at one time: its columns, and the decoders of its rows.

Made once per distinct TABLE_MAP body and kept; here it is decided, loudly, whether the
log holds what is needed: names at all (RowMetadataNotFull), the needed columns
(ColumnMissing), and in each row image those that somebody wants (RowImageIncomplete).

Decoders are compiled per pattern of NULLs. A table with many NULLable columns has more
patterns than are worth compiling, so past a limit one decoder that looks at the bits
takes over: correct for all, only slower.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from cdc.binlog.table_map import LONGLONG, TIMESTAMP2, TableMap
from cdc.binlog.values import Decode, generate, kind_of, sql_type
from cdc.errors import ColumnMissing, RowImageIncomplete, RowMetadataNotFull
from cdc.model import Column, TableSchema, TableSpec

_COMPILED_COLUMNS = 2000
"""How many columns one form may have compiled in all its patterns; a column takes some 30 us to compile."""
_IMAGES = 32
_MICROSECONDS = 6
_FEWEST_VERSIONED = 3


class Image:
    """The rows of one definition that have the same columns in them."""

    __slots__ = ("_columns", "_general", "_limit", "_row_end", "_wanted", "compiled", "null_bytes", "schema")

    def __init__(self, definition: Definition, present: bytes) -> None:
        table = definition.map
        indexes = [i for i in range(len(table.columns)) if present[i >> 3] >> (i & 7) & 1]
        definition.check_image(indexes)
        self._columns = [table.columns[i] for i in indexes]
        self._wanted = [i in definition.wanted for i in indexes]
        self._row_end = indexes.index(definition.row_end) if definition.row_end is not None else None
        columns = tuple(
            Column(str(c.name), kind_of(c), c.length, sql_type(c))
            for c, w in zip(self._columns, self._wanted, strict=True)
            if w
        )
        self.schema = TableSchema(table.schema, table.table, columns)
        self.null_bytes = (len(indexes) + 7) // 8
        self.compiled: dict[bytes, Decode] = {}
        self._limit = max(4, _COMPILED_COLUMNS // len(indexes))
        self._general: Decode | None = None

    def decoder(self, nulls: bytes) -> Decode:
        """For a pattern that is not compiled yet."""
        if len(nulls) < self.null_bytes:
            raise ValueError("a row that is cut off")
        if len(self.compiled) < self._limit:
            made = self.compiled[nulls] = self._generate(nulls)
            return made
        if self._general is None:
            self._general = self._generate(None)
        return partial(self._general, nulls=int.from_bytes(nulls, "little"))

    def _generate(self, nulls: bytes | None) -> Decode:
        return generate(self._columns, self._wanted, self.schema, nulls, self._row_end)


class Definition:
    """A table's columns at one time, and which of them are wanted."""

    __slots__ = ("_images", "bitmap", "changes", "head", "kind", "map", "row_end", "spec", "usual", "wanted", "width")

    def __init__(self, table: TableMap, spec: TableSpec) -> None:
        self.map = table
        self.spec = spec
        if not table.has_names or not table.columns:
            raise RowMetadataNotFull(
                f"rows of {spec} in the log have no column names: binlog_row_metadata was not FULL when they came",
                hint="SET GLOBAL binlog_row_metadata=FULL (and in the server's configuration); it holds at once. Rows "
                "written before cannot be read from the log; to go on behind them: "
                "cdc checkpoint set -c FILE --source NAME --to POSITION (or latest)",
            )
        names = [str(column.name) for column in table.columns]
        if missing := sorted(spec.needed.difference(names)):
            raise ColumnMissing(
                f"{spec} has no column {', '.join(missing)} in the log; it has {', '.join(names)}",
                hint="check the table's layout and `columns:` in the configuration against the table",
            )
        self.wanted = frozenset(i for i, name in enumerate(names) if spec.wanted is None or name in spec.wanted)
        self.width = len(names)
        self.bitmap = (self.width + 7) // 8
        self.row_end = _row_end(table)
        self._images: dict[bytes, Image] = {}
        self.changes: Any = None  # who decodes changed rows, made when the first comes
        # Of the last rows event, for the next one: its type, the bytes from its flags' end to its first row, the image
        # with its decoders and bytes of NULL bits, and how far behind the event's begin its rows are.
        self.kind, self.head = -1, b""
        self.usual: tuple[Image, dict[bytes, Decode], int, int] | Any = None

    def image(self, present: bytes) -> Image:
        """The image that has the columns of this bitmap."""
        found = self._images.get(present)
        if found is None:
            if len(self._images) >= _IMAGES:
                self._images.clear()
            found = self._images[present] = Image(self, present)
        return found

    def check_image(self, indexes: list[int]) -> None:
        """Are all columns there that a row must not be without?"""
        must = set(range(self.width)) if self.spec.wanted is None else set(self.wanted)
        names = [str(column.name) for column in self.map.columns]
        if self.spec.wanted is None:
            must = {i for i in must if names[i] in self.spec.needed}
        if self.row_end is not None:
            must.add(self.row_end)
        if missing := must.difference(indexes):
            raise RowImageIncomplete(
                f"a row of {self.spec} in the log lacks {', '.join(names[i] for i in sorted(missing))}",
                hint="SET GLOBAL binlog_row_image=FULL; some session writes MINIMAL or NOBLOB row images",
            )
        if not indexes:
            raise RowImageIncomplete(
                f"a row of {self.spec} in the log has no columns", hint="SET GLOBAL binlog_row_image=FULL"
            )


def _row_end(table: TableMap) -> int | None:
    """The index of row_end in a system-versioned MariaDB table.

    The log does not say that a table is versioned; the two columns at its end do, by the names the server gives them.
    """
    columns = table.columns
    if len(columns) < _FEWEST_VERSIONED or [c.name for c in columns[-2:]] != ["row_start", "row_end"]:
        return None
    for column in columns[-2:]:
        times = column.type == TIMESTAMP2 and column.a == _MICROSECONDS
        if not times and not (column.type == LONGLONG and column.unsigned):
            return None
    return len(columns) - 1

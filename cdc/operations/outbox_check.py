"""`cdc outbox check`: a live table against the layout that writers use, and the ALTER that makes it so.

A `problem` is what an INSERT of ours, or one of plain SQL by the contract, would trip over; a
`note` is a difference that hurts nobody today. The repair only ever adds or widens: where a
column is of another family (a text id instead of bytes) no ALTER is offered, because MODIFY
would convert what is in it; the hint says how to write to such a column instead.

The same ALTER brings a table of an older version of a layout up to today's, because a version
is nothing but its columns. information_schema is read with any grant on the table. What
servers say differs: MariaDB's JSON is LONGTEXT, integers may have a display width, defaults
are quoted or not; only their being there is compared, but for texts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from cdc.errors import TableMissing
from cdc.outbox.columns import Column
from cdc.outbox.layouts import Layout
from cdc.outbox.table import TableName, quote

Query = Callable[[str, Sequence[Any]], Sequence[Sequence[Any]]]

_CAPACITY = {
    "TINYTEXT": 255, "TEXT": 65_535, "MEDIUMTEXT": 2**24 - 1, "LONGTEXT": 2**32 - 1,
    "TINYBLOB": 255, "BLOB": 65_535, "MEDIUMBLOB": 2**24 - 1, "LONGBLOB": 2**32 - 1, "JSON": 2**32 - 1,
}  # fmt: skip
_FAMILIES = {
    "text": {"CHAR", "VARCHAR", "TINYTEXT", "TEXT", "MEDIUMTEXT", "LONGTEXT", "JSON", "UUID"},
    "bytes": {"BINARY", "VARBINARY", "TINYBLOB", "BLOB", "MEDIUMBLOB", "LONGBLOB"},
    "time": {"DATETIME"},
    "integer": {"SMALLINT", "MEDIUMINT", "INT", "BIGINT"},
}
_ASKED = "COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, COLUMN_DEFAULT, EXTRA, CHARACTER_SET_NAME, COLLATION_NAME"
_TYPE = re.compile(r"(\w+)(?:\((.*?)\))?")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which the table is not as the layout has it.

    `alter` is what an ALTER TABLE would say, `then` what a second one would: MySQL refuses defaults
    that differ at each call (error 1674) in an ALTER that copies the table.
    """

    level: Literal["problem", "note"]
    subject: str
    what: str
    hint: str
    alter: str | None = None
    then: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """A table as it was found."""

    table: str
    layout: str
    differences: tuple[Difference, ...]

    @property
    def problems(self) -> int:
        """How many of them stand in the way."""
        return sum(difference.level == "problem" for difference in self.differences)

    def upgrade(self) -> str:
        """ALTER TABLE for what can be taken away without touching data; empty where there is nothing."""
        first = dict.fromkeys(difference.alter for difference in self.differences if difference.alter)
        second = dict.fromkeys(difference.then for difference in self.differences if difference.then)
        head = f"ALTER TABLE {TableName.parse(self.table).quoted}\n  "
        return "".join(head + ",\n  ".join(parts) + ";\n" for parts in (first, second) if parts)


@dataclass(frozen=True, slots=True)
class _Live:
    """A column as information_schema has it."""

    name: str
    type: str
    null: bool
    default: str | None
    extra: str
    charset: str | None
    collation: str | None

    @property
    def kind(self) -> str:
        found = _TYPE.match(self.type)
        return found[1].upper() if found else self.type.upper()

    @property
    def length(self) -> int | None:
        found = _TYPE.match(self.type)
        return int(found[2]) if found and (found[2] or "").isdigit() else None

    @property
    def fills_itself(self) -> bool:
        own = re.search("auto_increment|generated", self.extra, re.IGNORECASE)
        return self.null or self.default is not None or own is not None


def check_table(query: Query, table: TableName, layout: Layout) -> Checked:
    """Compare; `query` runs a statement with values and gives rows. Raises TableMissing."""
    where = "TABLE_SCHEMA = COALESCE(%s, DATABASE()) AND TABLE_NAME = %s"
    name = (table.schema, table.name)
    found = query(f"SELECT TABLE_TYPE, ENGINE FROM information_schema.TABLES WHERE {where}", name)  # noqa: S608
    text = ".".join(part for part in name if part)
    if not found:
        raise TableMissing(
            f"there is no table {text}, or this account may not see it",
            hint=f"`cdc outbox ddl --server mysql|mariadb --table {text}` prints the CREATE TABLE.",
        )
    columns = query(
        f"SELECT {_ASKED} FROM information_schema.COLUMNS WHERE {where} ORDER BY ORDINAL_POSITION",  # noqa: S608
        name,
    )
    indexes = query(
        f"SELECT INDEX_NAME, COLUMN_NAME FROM information_schema.STATISTICS WHERE {where} AND NON_UNIQUE = 0 "  # noqa: S608
        "ORDER BY INDEX_NAME, SEQ_IN_INDEX",
        name,
    )
    live = {str(row[0]).lower(): _live(row) for row in columns}
    differences = [
        *_table(str(found[0][0]), str(found[0][1])),
        *_columns(layout, live),
        *_strangers(layout, live),
        *_keys(layout, _by_index(indexes)),
    ]
    return Checked(text, layout.name, tuple(differences))


def _live(row: Sequence[Any]) -> _Live:
    name, type_, null, default, extra, charset, collation = row
    # MySQL shows no default of a key's column after ALTER COLUMN ... SET DEFAULT (...), though it has one
    default = "(...)" if default is None and "DEFAULT_GENERATED" in str(extra).upper() else default
    default = None if default is None or str(default) == "NULL" else str(default)
    type_ = type_.decode() if isinstance(type_, bytes) else str(type_)
    return _Live(str(name), type_, null == "YES", default, str(extra or ""), charset, collation)


def _by_index(rows: Sequence[Sequence[Any]]) -> dict[str, tuple[str, ...]]:
    indexes: dict[str, tuple[str, ...]] = {}
    for name, column in rows:
        indexes[str(name)] = (*indexes.get(str(name), ()), str(column).lower())
    return indexes


def _table(kind: str, engine: str) -> Iterator[Difference]:
    if kind != "BASE TABLE":
        yield Difference("problem", "table", f"it is a {kind.lower()}, not a table", "Write to the table behind it.")
    elif engine != "InnoDB":
        yield Difference(
            "problem",
            "engine",
            f"it is {engine}, which has no transactions: events would survive a rollback",
            "Use InnoDB.",
            "ENGINE=InnoDB",
        )


def _columns(layout: Layout, live: Mapping[str, _Live]) -> Iterator[Difference]:
    before: str | None = None
    for column in layout.columns:
        there = live.get(column.name.lower())
        if there is None:
            place = "FIRST" if before is None else f"AFTER {quote(before)}"
            what = f"it is missing ({column.definition.partition(' DEFAULT')[0]})"
            if column.role == "id":
                hint = (
                    "Existing rows have none: make a new table, or map the column that is your id with --column id=..."
                )
                yield Difference("problem", column.name, what, hint)
            else:
                level: Literal["problem", "note"] = "problem" if column.is_written else "note"
                add = f"ADD COLUMN {quote(column.name)} {_definition(column, add=True)} {place}"
                yield Difference(level, column.name, what, "Add it; an INSERT names it.", add, _then(column))
        else:
            yield from _column(column, there, cqrs=layout.name == "cqrs")
        before = column.name


def _column(column: Column, live: _Live, *, cqrs: bool) -> Iterator[Difference]:
    repair = (f"MODIFY COLUMN {quote(live.name)} {_definition(column)}", _then(column))
    same_family = _family(column.kind) == _family(live.kind)
    if "GENERATED" in live.extra.upper() and "DEFAULT_GENERATED" not in live.extra.upper() and column.is_written:
        yield Difference("problem", column.name, "it is generated: nobody can write it", "Make it an ordinary column.")
    elif not same_family or (column.kind == "ENUM" and column.type.lower() != live.type.lower()):
        yield Difference(
            "problem",
            column.name,
            f"it is {live.type}, and {column.type} is written",
            f"Say what it is where events are written: columns={{{column.role!r}: '{live.name} {live.type.upper()}'}}; "
            "no ALTER is offered, because it would convert the values.",
        )
        return
    elif _capacity(live.kind, live.length) < _capacity(column.kind, column.length):
        yield Difference("problem", column.name, f"{live.type} is less than {column.type}", "Widen it.", *repair)
    elif live.kind != column.kind and not (live.kind == "LONGTEXT" and column.kind == "JSON"):
        yield Difference("note", column.name, f"it is {live.type}, not {column.type}", _kind_hint(column, live))
    yield from _details(column, live, repair, cqrs=cqrs)


def _details(column: Column, live: _Live, repair: tuple[str, str | None], *, cqrs: bool) -> Iterator[Difference]:
    if column.null and not live.null:
        what = f"it takes no NULL, and an event may have no {column.role}"
        yield Difference("problem", column.name, what, "Allow NULL.", *repair)
    elif live.null and not column.null:
        yield Difference("note", column.name, "it takes NULL", "An event without it has no record.", *repair)
    if column.default is not None and live.default is None:
        what = "it has no default: an INSERT of plain SQL must bring it"
        level: Literal["problem", "note"] = "note" if live.null else "problem"
        yield Difference(level, column.name, what, "Give it the layout's default.", then=_set_default(column))
    if live.charset not in {None, "utf8mb4"} and _family(column.kind) == "text":
        what = f"its character set is {live.charset}: it cannot hold every text"
        level = "note" if column.role in {"name", "topic"} and cqrs else "problem"
        yield Difference(level, column.name, what, "Make it utf8mb4.", *repair)
    elif live.collation and not live.collation.endswith("_bin") and column.role in {"name", "topic"}:
        what = f"its collation {live.collation} takes different texts for equal; Kafka does not"
        yield Difference("note", column.name, what, "Only your own queries notice.")


def _definition(column: Column, *, add: bool = False) -> str:
    """With the character set, because the table's own may be another; without a default that is an expression."""
    definition = column.definition
    if _then(column) is not None:
        definition = definition.partition(" DEFAULT")[0]
        definition += f" DEFAULT CURRENT_TIMESTAMP({column.length or 0})" if add and column.kind == "DATETIME" else ""
    if _family(column.kind) != "text" or column.kind in {"JSON", "UUID"}:
        return definition
    return definition.replace(column.type, f"{column.type} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", 1)


def _then(column: Column) -> str | None:
    return _set_default(column) if (column.default or "").startswith("(") else None


def _set_default(column: Column) -> str:
    return f"ALTER COLUMN {quote(column.name)} SET DEFAULT {column.default}"


def _kind_hint(column: Column, live: _Live) -> str:
    if column.role == "payload":
        return f"Say so where events are written: columns={{'payload': '{live.name} {live.type.upper()}'}}."
    return "It holds at least as much; leave it."


def _strangers(layout: Layout, live: Mapping[str, _Live]) -> Iterator[Difference]:
    known = {column.name.lower() for column in layout.columns}
    for name, column in live.items():
        if name in known:
            continue
        if column.fills_itself:
            yield Difference("note", column.name, "it is not of the layout", "It does no harm: INSERTs leave it out.")
        else:
            yield Difference(
                "problem",
                column.name,
                "it is not of the layout, takes no NULL and has no default: every INSERT fails",
                "Give it a default, or allow NULL.",
            )


def _keys(layout: Layout, indexes: Mapping[str, tuple[str, ...]]) -> Iterator[Difference]:
    wanted = [("PRIMARY", (layout.primary_key,)), *layout.unique]
    unique = list(indexes.values())
    for name, columns in wanted:
        if tuple(column.lower() for column in columns) in unique:
            continue
        primary = name == "PRIMARY" and "PRIMARY" not in indexes
        key = ", ".join(map(quote, columns))
        yield Difference(
            "problem",
            f"key ({', '.join(columns)})",
            "nothing keeps an event from being there twice",
            "Add the key; if the server refuses, the table holds such rows.",
            f"ADD PRIMARY KEY ({key})" if primary else f"ADD UNIQUE KEY ({key})",
        )
    known = {layout.id.name.lower(), layout.primary_key.lower()} | {c.lower() for _, cs in layout.unique for c in cs}
    for index, names in indexes.items():
        if not known & set(names):
            what = f"a unique key on ({', '.join(names)}): a second event with the same values is refused"
            yield Difference("note", f"key {index}", what, "Fine where that is meant.")


def _family(kind: str) -> str:
    return next((family for family, kinds in _FAMILIES.items() if kind in kinds), kind)


def _capacity(kind: str, length: int | None) -> int:
    if kind in _FAMILIES["integer"]:
        return ["SMALLINT", "MEDIUMINT", "INT", "BIGINT"].index(kind)
    if kind == "UUID":
        return 36
    return _CAPACITY.get(kind, length or 0)

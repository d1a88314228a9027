"""Layouts: which column of an outbox table plays which role.

A layout is only a map from role to column, so any table works. The roles are the names
users write under `columns:` (a contract, DESIGN 4.1); the words that routes use
(`event_name`, `topic`, ...) are the native table's column names and stand for roles, so
one route fits tables of different layouts. A word wins over a column of the same name;
every other name is a column of the table itself.

`debezium` has the Outbox Event Router's columns; the router never looks at `type`, so a
table may lack it. `cqrs` has no `timestamp`: python-cqrs writes naive local time, and a header that calls it
UTC would be a lie. Its `event_id_bin` is the id in every version of the library.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cdc.model import TableSpec

ROLES = ("id", "name", "topic", "key", "payload", "headers", "content_type", "timestamp")
REQUIRED_ROLES = ("id", "name", "payload")

WORDS: Mapping[str, str] = {
    "event_id": "id",
    "event_name": "name",
    "topic": "topic",
    "event_key": "key",
    "payload": "payload",
    "content_type": "content_type",
    "headers": "headers",
    "created_at": "timestamp",
}
"""What routes call the roles."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A column map with a name for messages; `columns` maps roles to columns, `optional` ones may be missing.

    For a snapshot: rows whose column `published[0]` says `published[1]` somebody else has published
    already; `given_up` is a condition, in SQL, for those a poller has tried too often.
    """

    name: str
    columns: Mapping[str, str]
    optional: frozenset[str] = frozenset()
    published: tuple[str, str] | None = None
    given_up: str | None = None

    def column(self, word: str) -> str | None:
        """The column a route's name means; None where the layout has no column for that role."""
        role = WORDS.get(word)
        return word if role is None else self.columns.get(role)

    def known(self) -> set[str]:
        """Every name that certainly means something: the layout's words and columns."""
        return {word for word, role in WORDS.items() if role in self.columns} | set(self.columns.values())

    def table_spec(self, schema: str, table: str, *, names: Iterable[str] = (), strict: bool = False) -> TableSpec:
        """What the source shall read of a table: the layout's columns and those that routes name.

        With `strict` the named ones must be there, too.
        """
        layouts = frozenset(self.columns.values())
        named = frozenset(column for name in names if (column := self.column(name)) is not None)
        return TableSpec(schema, table, needed=layouts | named if strict else layouts, wanted=layouts | named)


NATIVE = Layout("native", {role: word for word, role in WORDS.items()})
CQRS = Layout(
    "cqrs",
    {"id": "event_id_bin", "name": "event_name", "topic": "topic", "payload": "payload"},
    published=("event_status", "PRODUCED"),
    given_up="event_status = 'NOT_PRODUCED' AND flush_counter >= 5",
)
DEBEZIUM = Layout(
    "debezium",
    {"id": "id", "name": "type", "topic": "aggregatetype", "key": "aggregateid", "payload": "payload"},
    optional=frozenset({"name"}),
)
LAYOUTS: Mapping[str, Layout] = {layout.name: layout for layout in (NATIVE, DEBEZIUM, CQRS)}

"""What the envelopes plain, cqrs and cloudevents share: the payload as the value, our headers, then the row's own.

An envelope of this kind says only how its own headers are made (`_ours`), what the row's
become (`_theirs`) and whether the row's own key is the record's. Everything that depends
on the table is looked up once, in `plan`; what `encode` does is done for every row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from cdc.envelopes import fields
from cdc.model import Encoded, Encoding, Header, TableSchema, Value

Values = tuple[Value, ...]
MakeHeaders = Callable[[Values], list[Header]]
EncodeAll = Callable[[Sequence[Values]], Encoded | None]


class Headed(ABC):
    """`dropped` counts headers of rows that bore a name of ours.

    Without `headers` records have none. `created_at` makes the row's time the record's, where it has one and never
    later than now. `inflate` unpacks payloads that are zlib.
    """

    row_key = True

    def __init__(
        self,
        *,
        headers: bool = True,
        created_at: bool = False,
        inflate: bool = False,
        dropped: Counter[str] | None = None,
    ) -> None:
        self.headers, self.created_at, self.inflate = headers, created_at, inflate
        self.dropped: Counter[str] = Counter() if dropped is None else dropped

    @abstractmethod
    def _ours(self, table: TableSchema, columns: Mapping[str, str]) -> MakeHeaders:
        """A function from a row's values to a new list of our headers."""

    def _theirs(self, headers_at: int) -> MakeHeaders:
        """A function from a row's values to its own headers, by name."""
        return fields.row_headers(headers_at, self.dropped)

    def plan(self, table: TableSchema, columns: Mapping[str, str]) -> Encoding:
        """Look the columns up once. Raises ColumnMissing."""
        key_at = fields.column(table, columns, "key") if self.row_key else None
        time_at = fields.column(table, columns, "timestamp") if self.created_at else None
        return Encoding(
            self._encode(table, columns),
            key=None if key_at is None else fields.key(key_at),
            timestamp=None if time_at is None else fields.not_later_than_now(time_at),
            encode_all=self._encode_all(table, columns),
        )

    def _encode_all(
        self,
        table: TableSchema,  # noqa: ARG002 - for those that have a way
        columns: Mapping[str, str],  # noqa: ARG002
    ) -> EncodeAll | None:
        """The `encode_all` of `Encoding`, where this envelope has one."""
        return None

    def _encode(
        self, table: TableSchema, columns: Mapping[str, str]
    ) -> Callable[[Values], tuple[bytes | None, list[Header]]]:
        payload_at = fields.required(table, columns, "payload")
        payload = fields.inflated if self.inflate else fields.payload
        if not self.headers:
            return lambda values: (payload(values[payload_at]), [])
        ours = self._ours(table, columns)
        headers_at = fields.column(table, columns, "headers")
        if headers_at is None:
            return lambda values: (payload(values[payload_at]), ours(values))
        theirs = self._theirs(headers_at)

        looked_at = self.inflate

        def encode(values: Values) -> tuple[bytes | None, list[Header]]:
            headers = ours(values)
            if values[headers_at] is not None:
                headers += theirs(values)
            value = values[payload_at]
            return value if value.__class__ is bytes and not looked_at else payload(value), headers

        return encode

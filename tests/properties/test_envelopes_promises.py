"""For every row: value bytes equal, our headers first and true, the row's own after them in byte order."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cdc.envelopes.cqrs import Cqrs
from cdc.envelopes.plain import Plain
from cdc.model import Column, TableSchema
from cdc.outbox.row import RESERVED_HEADERS

COLUMNS = ("event_id", "event_name", "payload", "content_type", "headers", "created_at")
TABLE = TableSchema("shop", "outbox", tuple(Column(name, "text") for name in COLUMNS))
ROLES = dict(zip(("id", "name", "payload", "content_type", "headers", "timestamp"), COLUMNS, strict=True))

header_names = st.text(max_size=8) | st.sampled_from(sorted(RESERVED_HEADERS))
times = st.datetimes(min_value=datetime(1000, 1, 1))  # noqa: DTZ001 - the column has no zone; it is UTC


@given(
    st.uuids(),
    st.text(min_size=1),
    st.none() | st.binary() | st.text(),
    st.dictionaries(header_names, st.text(max_size=8)) | st.none(),
    times,
    st.booleans(),
)
def test_plain_and_cqrs(event_id, name, payload, own, time, ascii_only):  # noqa: PLR0917 - hypothesis fills them in order
    text = None if own is None else json.dumps(own, ensure_ascii=ascii_only)
    values = (event_id.bytes, name, payload, "application/json", text, time.isoformat(" ", "microseconds"))
    kept = sorted(
        ((n, v.encode()) for n, v in (own or {}).items() if n not in RESERVED_HEADERS), key=lambda h: h[0].encode()
    )
    for kind, ours in ((Plain, 4), (Cqrs, 2)):
        dropped = Counter()
        value, headers = kind(dropped=dropped).plan(TABLE, ROLES).encode(values)
        assert value == (payload.encode() if isinstance(payload, str) else payload)
        assert headers[ours:] == kept
        assert UUID(headers[0][1].decode()) == event_id
        assert len(headers[0][1]) == 36
        assert headers[1] == ("event_name", name.encode())
        assert dropped == Counter(n for n in own or {} if n in RESERVED_HEADERS)
        if kind is Plain:
            assert [n for n, _ in headers[:4]] == ["event_id", "event_name", "content_type", "created_at"]
            stamp = headers[3][1].decode()
            assert len(stamp) == 27
            assert datetime.fromisoformat(stamp) == time.replace(tzinfo=UTC)

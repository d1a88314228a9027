"""For any JSON and any text: what is refused is refused, what is taken comes back the same."""

import json
import string
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import InvalidEvent
from cdc.outbox import Event
from cdc.outbox.payload import payload_bytes
from cdc.outbox.row import new_row

TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=30,
)
LEGAL = string.ascii_letters + string.digits + "._-"


@given(st.dictionaries(TEXT, JSON) | st.lists(JSON))
def test_json_comes_back_and_is_compact(payload: object) -> None:
    written = payload_bytes(payload)
    assert written is not None
    assert json.loads(written) == payload
    assert written == payload_bytes(payload)
    assert written == json.dumps(json.loads(written), ensure_ascii=False, separators=(",", ":")).encode()


@given(st.text(max_size=260))
def test_a_topic_is_taken_if_and_only_if_kafka_takes_it(topic: str) -> None:
    legal = 0 < len(topic) <= 249 and set(topic) <= set(LEGAL) and topic not in {".", ".."}
    if legal:
        assert new_row(Event("n", topic, None)).topic == topic
    else:
        with pytest.raises(InvalidEvent):
            new_row(Event("n", topic, None))


@given(st.text(LEGAL, min_size=1, max_size=249).filter(lambda topic: topic not in {".", ".."}))
def test_legal_topics_are_taken(topic: str) -> None:
    assert new_row(Event("n", topic, None)).topic == topic


@given(st.dictionaries(TEXT.map(lambda name: "x" + name), TEXT, min_size=1))
def test_headers_come_back_from_ascii_json(headers: dict[str, str]) -> None:
    written = new_row(Event("n", "t", None, headers=headers)).headers
    assert written is not None
    assert written.isascii()
    assert json.loads(written) == headers


@given(
    st.datetimes(datetime(1001, 1, 1), datetime(9998, 1, 1)),  # noqa: DTZ001
    st.integers(-23, 23),
)
def test_times_are_the_same_instant_in_utc(naive: datetime, hours: int) -> None:
    at = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert new_row(Event("n", "t", None, event_timestamp=at)).created_at.replace(tzinfo=UTC) == at

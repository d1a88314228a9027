"""Marks among a record's headers."""

from cdc.routing.marks import marked


def test_mark_stands_between_our_headers_and_the_rows():
    ours = [("event_id", b"1"), ("event_name", b"n"), ("content_type", b"c"), ("created_at", b"t")]
    assert marked([*ours, ("a", b"1"), ("z", b"2")], "snapshot") == [
        *ours,
        ("snapshot", b"true"),
        ("a", b"1"),
        ("z", b"2"),
    ]
    assert marked(ours, "replay") == [*ours, ("replay", b"true")]


def test_records_without_headers_stay_so():
    assert marked([], "snapshot") == []

"""Rows that are routed all at once give what each of them gives by itself: the same records, error and counts.

Slices are drawn of usual rows and of rows with anything in any column; routers have rules that
skip, refuse, fill templates and take keys from elsewhere, so that every reason to look at a row by itself is met.
"""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace

from hypothesis import given
from hypothesis import strategies as st

from cdc.envelopes.cqrs import Cqrs
from cdc.envelopes.plain import Plain
from cdc.errors import RowRefused
from cdc.model import Column, Row, TableSchema
from cdc.routing import keys, templates
from cdc.routing.layouts import NATIVE
from cdc.routing.names import TopicNames
from cdc.routing.router import RuleRouter
from cdc.routing.rules import OutboxTable, Rule

COLUMNS = ("event_id", "event_name", "topic", "event_key", "payload", "content_type", "headers", "created_at")
TABLE, OTHER = (TableSchema("shop", name, tuple(Column(c, "text") for c in COLUMNS)) for name in ("outbox", "other"))
USUAL = (b"\x01" * 16, "order.created", "orders", b"k", b"{}", "application/json", None, "2026-11-23 10:11:12.345678")
OTHERS = (
    [b"", b"\x01" * 15, b"\x01" * 17, None, "text", 5],
    ["order.paid", "user.left", b"order.paid", b"\xff", None, "\ud800"],
    ["users", "gone", "", "__x", None, b"orders"],
    [b"", None, "text", 7, 1.5, "\ud800", b"k" * 200],
    [b"", None, "text", "\ud800", 1],
    ["a/b", "", None, b"c/d", "\ud800", True],
    ["{}", '{"a": "b"}', '{"event_id": "x", "b": "c"}', "[", b"{}"],
    ["2026-11-23T10:11:12.000000", "2026-11-23 10:11:12", "2026-11-23 10:11:12.1234567", None, "", 5,
     "0000-00-00 00:00:00.000000", "2026-11-00 10:11:12.345678", "2026-11-23 10:11:12x345678",
     "2026-11-23 10:11:12.34567\u0663", "2026-11-23 10:11:12.34567a", "2026-11-23 10:11:1a.345678",
     "\u0663026-11-23 10:11:12.345678"],
)  # fmt: skip
"""In the place of what is usual, by column."""


@st.composite
def slices(draw):
    """Long enough to be routed by columns; in most of them a row or two have something else in one column."""
    names = draw(st.sampled_from([["order.created"], ["order.paid"], ["order.created", "order.paid"]]))
    made = [
        [bytes([n]) * 16, names[n % len(names)], *USUAL[2:3], (b"k%d" % n, b"k", None)[n % 3], *USUAL[4:]]
        for n in range(draw(st.integers(0, 30)))
    ]
    tables = [TABLE] * len(made)
    for _ in range(draw(st.integers(0, 2)) if made else 0):
        at, column = draw(st.integers(0, len(made) - 1)), draw(st.integers(0, 8))
        if column == len(COLUMNS):
            tables[at] = OTHER
        else:
            made[at][column] = draw(st.sampled_from(OTHERS[column]))
    return [Row(table, tuple(values)) for table, values in zip(tables, made, strict=True)]


@st.composite
def outboxes(draw):
    paid = draw(st.sampled_from([
        Rule("order.paid", to=templates.parse("paid")), Rule("order.paid", to=templates.parse("{event_key}")),
        Rule("order.paid", key=keys.parse("content_type")), Rule("order.paid", envelope=Cqrs()),
        Rule("order.paid", envelope=Plain(headers=False)), Rule("order.paid", envelope=Plain(created_at=True)),
        Rule("order.paid", envelope=Plain(inflate=True)), Rule("order.paid"), Rule("user.*")]))  # fmt: skip
    return (paid, *([Rule("order.*")] if draw(st.booleans()) else [])), draw(st.sampled_from(["pass", "skip", "stop"]))


def router(rules, unrouted, dropped):
    tables = {("shop", name): OutboxTable(NATIVE, Plain(dropped=dropped), rules) for name in ("outbox", "other")}
    topics = SimpleNamespace(partitions={"orders": 3, "users": 1, "paid": 7, "k": 2}.get)
    return RuleRouter(tables, topics, TopicNames("cdc"), unrouted=unrouted)


def told(error):
    return f"{type(error).__name__}: {error}"


def one_by_one(judge, slices, mark):
    made = []
    try:
        for slice_ in slices:
            for row in slice_:
                made.append(judge.route(row, mark))  # noqa: PERF401 - what is made before a refusal counts
    except RowRefused as error:
        return made, told(error)
    return made, None


def all_at_once(judge, slices, mark):
    made = []
    try:
        for slice_ in slices:
            judge.route_all(slice_, made, mark)
    except RowRefused as error:
        return made, told(error)
    return made, None


@given(outboxes(), st.lists(slices(), max_size=3), st.sampled_from([None, "snapshot"]))
def test_a_slice_gives_what_its_rows_give(outbox, some, mark):
    dropped = Counter(), Counter()
    one, all_ = (router(*outbox, counter) for counter in dropped)
    usual = [Row(TABLE, USUAL)] * 9
    expected = one_by_one(one, [usual, *some], mark)
    found = all_at_once(all_, [usual, *some], mark)
    assert found == expected
    assert dropped[0] == dropped[1]
    assert [type(r.headers) for r in found[0] if r] == [list for r in found[0] if r]
    assert len({id(r.headers) for r in found[0] if r}) == len([r for r in found[0] if r])


def test_anything_else_in_one_column_of_one_row():
    for column, values in enumerate(OTHERS):
        for value in values:
            slice_ = [Row(TABLE, USUAL)] * 20
            slice_[7] = Row(TABLE, (*USUAL[:column], value, *USUAL[column + 1 :]))
            slices_, dropped = [slice_[:1], slice_], (Counter(), Counter())
            expected = one_by_one(router((), "pass", dropped[0]), slices_, None)
            assert all_at_once(router((), "pass", dropped[1]), slices_, None) == expected, (column, value)
            assert dropped[0] == dropped[1]


def test_columns_are_what_is_taken_for_usual_rows(monkeypatch):
    judge, made = router((), "pass", Counter()), []
    judge.route_all([Row(TABLE, USUAL)], made)
    monkeypatch.setattr(RuleRouter, "route", None)
    judge.route_all([Row(TABLE, USUAL)] * 20, made)
    assert made == made[:1] * 21

"""The judge is judged: each kind of fault is found by its own count and by no other."""

import json
from dataclasses import replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

import pytest

from tests.checker import plan
from tests.checker.judge import FAULTS, Seen, Verdict, java_partition, judge
from tests.checker.ledger import Ledger, SourceDisagrees
from tests.checker.marks import HEADER, Mark, Place, parse
from tests.checker.plan import Planner, Transaction
from tests.checker.reader import Spreads
from tests.checker.rows import TableRow, expected

TOPICS = {"a": 3, "b": 2}
NOW = 1_800_000_000_000
MARKERS_EVERY = 7  # source transactions in one Kafka transaction


def committed(transactions: int = 300) -> list[Transaction]:
    """What three writers committed, one after the other, as the tables hold it."""
    planners = [iter(Planner("s", number, list(TOPICS), ("native", "cqrs"))) for number in range(3)]
    done, ids = [], 0
    while len(done) < transactions:
        for planner in planners:
            transaction = next(planner)
            kept = []
            for row in transaction.kept:
                ids += 1
                kept.append(filled(row, ids))
            done.append(replace(transaction, before=tuple(kept), after=()))
    return done


def filled(row: TableRow, number: int) -> TableRow:
    """A row with what the server's defaults put in."""
    return replace(
        row,
        event_id=row.event_id or number.to_bytes(16, "big"),
        content_type=row.content_type or "application/json",
        created_at=row.created_at or datetime.fromisoformat("2026-01-02 03:04:05.060708"),
    )


class Log:
    """A Kafka in memory: records at offsets, and an unseen one at the end of each Kafka transaction."""

    def __init__(self) -> None:
        self.records: list[Seen] = []
        self.ends: dict[tuple[str, int], int] = {}
        self._touched: set[tuple[str, int]] = set()

    def append(self, row: TableRow) -> None:
        wanted = expected(row)
        at = wanted.topic, java_partition(wanted.key, TOPICS[wanted.topic]) if wanted.key is not None else 0
        offset = self.ends.get(at, 0)
        self.ends[at] = offset + 1
        self._touched.add(at)
        self.records.append(Seen(*at, offset, wanted.key, wanted.value, wanted.headers, NOW))

    def end_transaction(self) -> None:
        for at in self._touched:
            self.ends[at] += 1
        self._touched.clear()


@pytest.fixture(scope="module")
def transactions() -> list[Transaction]:
    return committed()


@pytest.fixture(scope="module")
def ledger(transactions: list[Transaction]) -> Ledger:
    return Ledger(row for transaction in transactions for row in transaction.kept)


@pytest.fixture
def records(transactions: list[Transaction]) -> list[Seen]:
    log = Log()
    for number, transaction in enumerate(transactions, 1):
        for row in transaction.kept:
            log.append(row)
        if not number % MARKERS_EVERY:
            log.end_transaction()
    return log.records


def verdict_of(ledger: Ledger, records: list[Seen]) -> Verdict:
    return judge(ledger, records, partitions=TOPICS, times=(NOW - 1, NOW + 1))


def only(verdict: Verdict, kind: str, times: int = 1) -> None:
    assert {name: verdict.counts[name] for name in FAULTS if verdict.counts[name]} == {kind: times}, str(verdict)
    assert not verdict.clean
    assert any(words.startswith(kind) for words in verdict.examples)


def mark(record: Seen) -> Mark:
    return parse(record.value) or parse(dict(record.headers)[HEADER])


def find(records: list[Seen], *, rows: int | None = None, keyed: bool = True, native: bool = True) -> int:
    """Where a record is: of a transaction of so many rows, from the middle of the run."""
    for at, record in enumerate(records):
        is_native = record.headers[0][0] == "event_id"
        if (
            at > 100
            and is_native == native
            and keyed == (record.key is not None)
            and rows in {None, mark(record).count}
        ):
            return at
    raise AssertionError("no such record")


def test_a_clean_run_is_clean(ledger: Ledger, records: list[Seen]) -> None:
    verdict = verdict_of(ledger, records)
    assert verdict.clean, str(verdict)
    assert (verdict.records, verdict.transactions) == (len(ledger), len(ledger.transactions()))
    assert verdict.records > 400


def test_a_row_and_its_record_spelled_out() -> None:
    # The other tests build records with the judge's own expectation; this one has it in writing.
    text = '{"writer":1,"number":2,"index":0,"count":1,"key":"6b","sequence":3,"kept":true}'
    value = text.encode() + b"\n\xff\x00"
    event_id = UUID("018f6d2e-0a5b-7c3d-8e9f-001122334455")
    created = datetime.fromisoformat("2026-11-23 20:15:00")
    headers = '{"zebra":"z","Äpfel":"grün","traceparent":"00-1"}'
    row = TableRow("native", event_id.bytes, "order.paid", "a", b"k", value, "text/x", headers, created)
    seen = Seen(
        topic="a",
        partition=0,
        offset=5,
        key=b"k",
        value=value,
        headers=[
            ("event_id", b"018f6d2e-0a5b-7c3d-8e9f-001122334455"),
            ("event_name", b"order.paid"),
            ("content_type", b"text/x"),
            ("created_at", b"2026-11-23T20:15:00.000000Z"),
            ("traceparent", b"00-1"),
            ("zebra", b"z"),
            ("Äpfel", "grün".encode()),
        ],
        timestamp=NOW,
    )
    assert judge(Ledger([row]), [seen]).clean
    cqrs = replace(row, layout="cqrs", key=None, headers=None)
    plain = [("message_id", b"018f6d2e-0a5b-7c3d-8e9f-001122334455"), ("event_name", b"order.paid")]
    assert judge(Ledger([cqrs]), [seen._replace(key=None, headers=plain)]).clean


def test_a_lost_record(ledger: Ledger, records: list[Seen]) -> None:
    del records[find(records, rows=1)]
    only(verdict_of(ledger, records), "lost")


def test_a_lost_transaction(ledger: Ledger, records: list[Seen]) -> None:
    gone = mark(records[find(records, rows=5)])[:2]
    only(verdict_of(ledger, [record for record in records if mark(record)[:2] != gone]), "lost", 5)


def test_nothing_arrived(ledger: Ledger) -> None:
    only(verdict_of(ledger, []), "lost", len(ledger))


@pytest.mark.parametrize("native", [True, False])
def test_a_doubled_record(ledger: Ledger, records: list[Seen], native: bool) -> None:
    record = records[find(records, native=native, keyed=native)]
    last = max(each.offset for each in records if each[:2] == record[:2])
    only(verdict_of(ledger, [*records, record._replace(offset=last + 1)]), "doubled")


def test_a_record_three_times(ledger: Ledger, records: list[Seen]) -> None:
    record = records[find(records)]
    only(verdict_of(ledger, [*records, *(record._replace(offset=90_000 + n) for n in (0, 5))]), "doubled", 2)


def test_a_doubled_record_without_a_key_in_another_partition(ledger: Ledger, records: list[Seen]) -> None:
    record = records[next(n for n, r in enumerate(records) if r.key is None and r.topic == "b" and mark(r).count == 5)]
    again = record._replace(partition=1, offset=60_000, timestamp=NOW + 1)
    only(verdict_of(ledger, [again, *records]), "doubled")


def test_two_records_of_a_key_that_changed_places(ledger: Ledger, records: list[Seen]) -> None:
    first = find(records, rows=1)
    key, at = records[first].key, records[first][:2]
    second = next(
        number
        for number, record in enumerate(records)
        if number > first and record.key == key and record[:2] == at and mark(record).count == 1
    )
    one, two = records[first], records[second]
    between = [r for r in records if r[:2] == at and one.offset < r.offset < two.offset]
    same_writer = sum(mark(r).writer == mark(one).writer for r in between)
    records[first], records[second] = two._replace(offset=one.offset), one._replace(offset=two.offset)
    # all of the same writer that the later one overtook are out of order, and the earlier one is
    only(verdict_of(ledger, records), "reordered", same_writer + 1)


def test_records_without_a_key_keep_their_writers_order(ledger: Ledger, records: list[Seen]) -> None:
    keyless = [n for n, r in enumerate(records) if r.key is None and mark(r).count == 1 and r.partition == 0]
    first = keyless[3]
    second = next(
        n for n in keyless[4:] if records[n][0] == records[first][0] and mark(records[n])[0] == mark(records[first])[0]
    )
    one, two = records[first], records[second]
    records[first], records[second] = two._replace(offset=one.offset), one._replace(offset=two.offset)
    assert set(verdict_of(ledger, records).counts) == {"reordered"}


@pytest.mark.parametrize("missing", [1, 2, 4])
def test_a_part_of_a_transaction(ledger: Ledger, records: list[Seen], missing: int) -> None:
    torn = mark(records[find(records, rows=5)])[:2]
    gone = [record for record in records if mark(record)[:2] == torn][-missing:]
    only(verdict_of(ledger, [record for record in records if record not in gone]), "torn")


@pytest.mark.parametrize("same_partition", [True, False])
def test_a_transaction_that_was_committed_in_two_parts(
    transactions: list[Transaction], ledger: Ledger, same_partition: bool
) -> None:
    cut = next(
        t
        for t in transactions[50:]
        if len(t.kept) == 2
        and (t.kept[0].topic == t.kept[1].topic) == same_partition
        and (t.kept[0].key == t.kept[1].key or not same_partition)
    )
    log = Log()
    for number, transaction in enumerate(transactions, 1):
        for index, row in enumerate(transaction.kept):
            if transaction is cut and index == 1:
                log.end_transaction()
            log.append(row)
        if not number % 30:
            log.end_transaction()
    only(verdict_of(ledger, log.records), "torn")


def test_the_live_spread_of_a_transaction() -> None:
    spreads = Spreads()

    def row(number: int, index: int, count: int = 3) -> Mark:
        return Mark(1, number, index, count, None, 1, kept=True)

    spreads.note(row(1, 0, count=1), 0.0)
    assert (spreads.largest, spreads.open) == (0, {})
    spreads.note(row(2, 1), 1.0)
    spreads.note(row(2, 1), 2.0)  # twice the same row is not more of it
    spreads.note(row(3, 0), 2.0)
    spreads.note(row(2, 0), 2.5)
    assert spreads.largest == 0
    spreads.note(row(2, 2), 4.5)
    assert spreads.largest == 3.5
    assert list(spreads.open) == [(1, 3)]


def test_a_record_of_nobodys_row(ledger: Ledger, records: list[Seen]) -> None:
    only(verdict_of(ledger, [*records, Seen("a", 1, 70_000, b"k", b"who?", [("event_id", b"7")], NOW)]), "phantom")


def test_a_record_of_an_undone_row(ledger: Ledger, records: list[Seen]) -> None:
    undone = next(t for t in islice(Planner("s", 1, ["a"]), 500) if t.kind == plan.ROLLBACK)
    wanted = expected(filled(undone.undone[0], 2**100))
    only(verdict_of(ledger, [*records, Seen("a", 1, 70_000, *wanted[1:], NOW)]), "phantom")


ALTERATIONS = {
    "topic": lambda record: record._replace(topic="c"),
    "key": lambda record: record._replace(key=record.key + b"!"),
    "no key": lambda record: record._replace(key=None),
    "value": lambda record: record._replace(value=(record.value or b"") + b" "),
    "no value": lambda record: record._replace(value=b"" if record.value is None else None),
    "other value": lambda record: record._replace(value=b"\xff" * 16),
    "no headers": lambda record: record._replace(headers=[]),
    "no id": lambda record: record._replace(headers=record.headers[1:]),
    "id": lambda record: record._replace(headers=[("event_id", b"0" * 36), *record.headers[1:]]),
    "id in capitals": lambda r: r._replace(headers=[("event_id", r.headers[0][1].upper()), *r.headers[1:]]),
    "name": lambda r: r._replace(headers=[r.headers[0], ("event_name", b"x"), *r.headers[2:]]),
    "order of headers": lambda r: r._replace(headers=[r.headers[0], r.headers[2], r.headers[1], *r.headers[3:]]),
    "time's digits": lambda r: r._replace(headers=[(n, v.replace(b"060708Z", b"060Z")) for n, v in r.headers]),
    "one more header": lambda record: record._replace(headers=[*record.headers, ("x", b"y")]),
    "timestamp": lambda record: record._replace(timestamp=981_173_106_000),
}


@pytest.mark.parametrize("name", ALTERATIONS)
def test_an_altered_record(ledger: Ledger, records: list[Seen], name: str) -> None:
    at = (
        next(
            n
            for n, r in enumerate(records[100:], 100)
            if r.key and r.value and b"060708" in dict(r.headers)["created_at"]
        )
        if name == "time's digits"
        else next(n for n, r in enumerate(records[100:], 100) if r.key and r.value)
    )
    records[at] = ALTERATIONS[name](records[at])
    only(verdict_of(ledger, records), "altered")


def test_a_record_in_a_partition_that_is_not_its_keys(ledger: Ledger, records: list[Seen]) -> None:
    at = find(records, rows=1)
    record = records[at]
    records[at] = record._replace(partition=(record.partition + 1) % TOPICS[record.topic], offset=80_000)
    counts = verdict_of(ledger, records).counts
    assert counts["misplaced"] == 1
    assert set(counts) <= {"misplaced", "reordered"}


def test_keys_go_where_java_puts_them() -> None:
    known = json.loads((Path(__file__).parents[1] / "vectors" / "murmur2.json").read_text())
    # from the Kafka project's own UtilsTest
    known |= {b"21".hex(): -973932308, b"foobar".hex(): -790332482, b"a-little-bit-long-string".hex(): -985981536}
    for key, murmur2 in known.items():
        assert java_partition(bytes.fromhex(key), 12) == (murmur2 & 0x7FFFFFFF) % 12


def test_the_ledger_is_compared_with_the_servers_promises(transactions: list[Transaction]) -> None:
    rows = [row for transaction in transactions for row in transaction.kept]
    book = {
        (t.writer, t.number): ("undone" if t.kind in plan.UNDONE_KINDS else "kept", len(t.kept)) for t in transactions
    }
    ledger = Ledger(rows)
    assert ledger.compare(book) == 0
    kept = next(place for place, (promise, count) in book.items() if promise == "kept" and count == 5)
    assert ledger.compare({**book, kept: ("doubt", 5)}) == 1
    with pytest.raises(SourceDisagrees):
        ledger.compare({**book, kept: ("kept", 6)})
    with pytest.raises(SourceDisagrees):
        ledger.compare({**book, kept: ("undone", 0)})
    with pytest.raises(SourceDisagrees):
        ledger.compare({**book, (9, 9): ("kept", 1)})
    with pytest.raises(SourceDisagrees):
        ledger.compare({place: promise for place, promise in book.items() if place != kept})
    without = [row for t in transactions if (t.writer, t.number) != kept for row in t.kept]
    assert Ledger(without).compare({**book, kept: ("doubt", 5)}) == 1
    with pytest.raises(SourceDisagrees):
        Ledger(without).compare(book)
    with pytest.raises(SourceDisagrees):
        Ledger([rows[0], rows[0]])


def test_a_plan_has_all_kinds_and_repeats_itself() -> None:
    one = list(islice(Planner("seed", 4, ["a", "b"]), 2000))
    again = list(islice(Planner("seed", 4, ["a", "b"]), 2000))
    # ids made by the writer hold the time; all else comes out of the seed
    without = [[replace(row, event_id=None) for row in t.kept + t.undone] for t in one]
    assert without == [[replace(row, event_id=None) for row in t.kept + t.undone] for t in again]
    assert {t.kind for t in one} == set(plan.KINDS)
    assert all(bool(t.undone) == (t.kind not in {plan.COMMIT, plan.XA_COMMIT}) for t in one)
    assert {len(t.kept) for t in one} == {0, 1, 2, 3, 5}
    rows = [row for t in one for row in t.kept]
    assert any(row.payload is None for row in rows)
    assert any(row.key is None for row in rows)
    assert max(len(row.payload or b"") for row in rows) > 30_000
    assert Place(4, 1, 0) < Place(4, 1, 1) < Place(4, 2, 0)

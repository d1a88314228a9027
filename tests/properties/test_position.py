"""GTID sets behave as sets of (source, tag, number), in every form they have."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.position import GtidList, GtidSet, GtidSetBuilder, LastTransaction, Position, PreparedTransaction

SOURCES = [str(uuid.UUID(int=i)) for i in (1, 2, 0xABCDEF << 100)]
sids = st.tuples(st.sampled_from(SOURCES), st.sampled_from(["", "billing", "a_2", "_" * 32]))
members = st.sets(st.tuples(sids, st.integers(1, 30)), max_size=60)
edges = st.sets(st.tuples(sids, st.sampled_from([1, 2, 2**32, 2**63 - 3, 2**63 - 2])), max_size=10)
sets = st.one_of(members, edges)


def made(numbers) -> GtidSet:
    builder = GtidSetBuilder(GtidSet())
    for sid, number in numbers:
        builder.add(sid, number)
    return builder.freeze()


def plain(gtids: GtidSet) -> set:
    return {(sid, n) for sid, intervals in gtids for a, b in intervals for n in range(a, b + 1)}


@given(sets)
def test_a_set_holds_what_was_put_in(numbers):
    gtids = made(numbers)
    assert plain(gtids) == numbers
    assert gtids.count() == len(numbers)
    assert bool(gtids) is bool(numbers)


@given(st.lists(st.tuples(sids, st.integers(1, 25)), max_size=60), st.randoms())
def test_the_order_does_not_matter(numbers, random):
    shuffled = numbers[:]
    random.shuffle(shuffled)
    assert made(numbers) == made(shuffled)
    assert hash(made(numbers)) == hash(made(shuffled))


@given(sets, sets)
def test_arithmetic_is_that_of_sets(a, b):
    assert plain(made(a) | made(b)) == a | b
    assert plain(made(a) - made(b)) == a - b
    assert (made(a) <= made(b)) is (a <= b)
    assert (made(a) == made(b)) is (a == b)


@given(sets, sids, st.integers(1, 31))
def test_membership(numbers, sid, number):
    assert made(numbers).contains(sid[0], number, sid[1]) is ((sid, number) in numbers)
    assert GtidSetBuilder(made(numbers)).contains(sid, number) is ((sid, number) in numbers)


@given(sets, sids, st.integers(0, 31))
def test_the_next_number_that_is_in(numbers, sid, number):
    later = [n for s, n in numbers if s == sid and n > number]
    assert GtidSetBuilder(made(numbers)).next_after(sid, number) == (min(later) if later else None)


@given(members, sids, st.integers(1, 30), st.integers(0, 10))
def test_ranges(numbers, sid, first, more):
    builder = GtidSetBuilder(made(numbers))
    builder.add_range(sid, first, first + more)
    assert plain(builder.freeze()) == numbers | {(sid, n) for n in range(first, first + more + 1)}


@given(sets)
def test_text_and_wire_form_come_back(numbers):
    gtids = made(numbers)
    assert GtidSet.parse(str(gtids)) == gtids
    assert str(GtidSet.parse(str(gtids))) == str(gtids)
    assert GtidSet.decode(gtids.encode()) == gtids
    assert eval(repr(gtids)) == gtids


@given(sets)
def test_the_builder_starts_from_a_set_and_leaves_it_alone(numbers):
    gtids = made(numbers)
    builder = GtidSetBuilder(gtids)
    builder.add((SOURCES[0], ""), 77)
    assert plain(gtids) == numbers
    assert plain(builder.freeze()) == numbers | {((SOURCES[0], ""), 77)}


@given(st.binary(max_size=120))
def test_noise_is_no_set(data):
    try:
        GtidSet.decode(data)
    except ValueError:
        pass


@given(st.text("0123456789abcdef-:, _", max_size=80))
def test_noise_is_no_text_of_one(text):
    for kind in (GtidSet, GtidList):
        try:
            kind.parse(text)
        except ValueError:
            pass


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("", ""),
        (f"{SOURCES[0].upper()} : 3-5 : 1-2,\n", f"{SOURCES[0]}:1-5"),
        (f"{SOURCES[0]}:tag:7:1:other:2:3-4", f"{SOURCES[0]}:other:2-4:tag:1:7"),
        (f"{SOURCES[1]}:5,{SOURCES[0]}:9,{SOURCES[1]}:1-4", f"{SOURCES[0]}:9,{SOURCES[1]}:1-5"),
    ],
)
def test_texts_of_the_server(text, same):
    assert str(GtidSet.parse(text)) == same


@pytest.mark.parametrize(
    "text", [SOURCES[0], f"{SOURCES[0]}:0", f"{SOURCES[0]}:5-4", f"{SOURCES[0]}:TA!", "x:1", f"{SOURCES[0]}:-3"]
)
def test_texts_that_are_no_set(text):
    with pytest.raises(ValueError):  # noqa: PT011 - uuid's own words for some
        GtidSet.parse(text)


lists = st.dictionaries(
    st.integers(0, 2**32 - 1), st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**64 - 1)), max_size=5
)


@given(lists)
def test_lists_come_back_sorted_by_domain(domains):
    gtids = GtidList(domains)
    assert GtidList.parse(str(gtids)) == gtids
    assert [domain for domain, _ in gtids] == sorted(domains)
    assert all(gtids.get(domain) == last for domain, last in domains.items())


@pytest.mark.parametrize("text", ["0-1", "0-1-2-3", "a-1-2", "0-1-1,0-2-5"])
def test_texts_that_are_no_list(text):
    with pytest.raises(ValueError, match=r"domain|GTID"):
        GtidList.parse(text)


names = st.text("abc.0123456789", min_size=1, max_size=20)
optional_text = st.one_of(st.none(), names)
positions = st.builds(
    Position,
    flavour=st.just("mysql"),
    server=names,
    file=names,
    position=st.integers(4, 2**40),
    gtid_set=st.one_of(st.none(), members.map(made)),
    file_created=st.integers(0, 2**32 - 1),
    last=st.one_of(
        st.none(),
        st.builds(LastTransaction, optional_text, st.integers(4, 2**40), st.integers(0, 2**32), st.integers(0, 2**32)),
    ),
    prepared=st.lists(
        st.builds(PreparedTransaction, names, names, st.integers(4, 2**40), optional_text), max_size=3
    ).map(tuple),
    out_of_order=st.lists(st.integers(0, 9), max_size=3).map(tuple),
    log_time=st.integers(0, 2**32 - 1),
)


@given(positions)
def test_a_position_comes_back_from_a_checkpoint(position):
    assert Position.from_json(position.to_json()) == position


@given(positions, lists)
def test_a_mariadb_position_comes_back_too(position, domains):
    data = position.to_json() | {"flavour": "mariadb", "server_id": "7", "gtid_set": str(GtidList(domains))}
    assert Position.from_json(data).gtid_set == GtidList(domains)


@pytest.mark.parametrize(
    "damage", [{"flavour": "pg"}, {"position": None}, {"gtid_set": "x"}, {"last": {"gtid": 1}}, {"prepared": [1]}]
)
def test_what_is_no_position_is_refused(damage):
    good = Position("mysql", "s", "bin.1", 4, GtidSet()).to_json()
    with pytest.raises(ValueError):  # noqa: PT011 - the words differ by field
        Position.from_json(good | damage)

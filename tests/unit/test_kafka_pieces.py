"""What the sink is made of, without a broker."""

import json
import time
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.producer import sender
from aiokafka.structs import ConsumerRecord, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from cdc.errors import CheckpointUnreadable, ConfigError
from cdc.kafka import KafkaAddress, KafkaSink
from cdc.kafka import client as client_module
from cdc.kafka.batches import Spread, Unwritable, pack
from cdc.kafka.checkpoints import Alive, Names, Reading, decode, encode, encode_genesis
from cdc.kafka.cluster import DescribeTransactionsRequest, DescribeTransactionsRequestV0
from cdc.kafka.first_start import why_lost
from cdc.kafka.standby import Glance, name_of
from cdc.model import Checkpoint, Record
from cdc.position import GtidSet, LastTransaction, Position, PreparedTransaction

NAMES = Names("cdc", "shop")
UUID = "3e11fa47-71ca-11e1-9e33-c80aa9429562"
POSITION = Position(
    flavour="mysql",
    server=UUID,
    file="binlog.000003",
    position=2**33,
    gtid_set=GtidSet.parse(f"{UUID}:1-5:7"),
    file_created=1_700_000_000,
    last=LastTransaction(f"{UUID}:7", 2**33, 1_700_000_001, 300),
    prepared=(PreparedTransaction("X'61',X'',1", "binlog.000002", 4, f"{UUID}:6"),),
    log_time=1_700_000_002,
)
CHECKPOINT = Checkpoint(
    source="shop",
    position=POSITION,
    cluster_id="here",
    instance="one#1",
    tables=("shop.outbox", "shop.other"),
    released=True,
    committed_at="2026-01-01T00:00:00.000Z",
    snapshot={"key": "abc"},
    extra={"of_tomorrow": [1, {"a": "é"}]},
)


def record(key: bytes | None, value: bytes | None, offset: int = 0) -> ConsumerRecord:
    return ConsumerRecord("t", 0, offset, 0, 0, key, value, None, 0, 0, ())


# -- address ----------------------------------------------------------------------------------


def test_an_address_hides_its_password() -> None:
    address = KafkaAddress(("a:1", "b:2"), "SASL_SSL", "PLAIN", "cdc", "s3cret")
    assert "s3cret" not in f"{address!r} {address}"
    assert str(address) == "a:1,b:2"
    assert address.options()["sasl_plain_password"] == "s3cret"
    assert "sasl_mechanism" not in KafkaAddress(("a:1",)).options()


# -- private names of aiokafka that we use ------------------------------------------------------


async def test_the_private_names_are_there() -> None:
    assert sender.BACKOFF_OVERRIDE == 0.002
    assert "BACKOFF_OVERRIDE" in sender.AddPartitionsToTxnHandler.handle_response.__code__.co_names
    assert client_module.accelerated()
    producer = client_module.make_producer(KafkaAddress(("127.0.0.1:1",)), 1.0, transactional_id="x")
    assert producer._closed is False
    assert producer._sender.sender_task is None
    assert (producer._txn_manager.producer_id, producer._txn_manager.producer_epoch) == (-1, -1)
    assert producer._txn_manager._transaction_waiter is None
    assert not producer._message_accumulator._batches
    assert producer.client._sync_task is None
    assert callable(AIOKafkaClient._md_synchronizer)
    assert callable(AIOKafkaClient._metadata_update)
    assert callable(AIOKafkaClient._get_conn)
    await client_module.cut(producer)
    consumer = client_module.make_consumer(KafkaAddress(("127.0.0.1:1",)), 1.0, committed=True)
    assert consumer._client.bootstrap.__qualname__.startswith("_tame")
    await client_module.stop_consumer(consumer)


async def test_a_sinks_instance_is_its_name_and_something_random() -> None:
    def make() -> KafkaSink:
        return KafkaSink(
            KafkaAddress(("127.0.0.1:1",)), "shop", instance_name="host-1", tables=(), observer=lambda *_, **__: None
        )

    first, second = make(), make()
    assert first.instance != second.instance
    assert name_of(first.instance) == name_of(second.instance) == "host-1"
    assert (first.names.topic, first.names.transactional_id) == ("cdc.checkpoint.shop", "cdc.source.shop")
    await first.close()
    await second.close()


async def test_compression_without_its_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "has_zstd", lambda: False)
    with pytest.raises(ConfigError, match="zstd"):
        client_module.make_producer(KafkaAddress(("127.0.0.1:1",)), 1.0, compression_type="zstd")


def test_describe_transactions_is_encoded_as_the_protocol_says() -> None:
    request = DescribeTransactionsRequest(["ab", "c"]).build(DescribeTransactionsRequestV0)
    assert request.encode() == b"\x03\x03ab\x02c\x00"  # compact: lengths are one more than they say; no tags


# -- checkpoint -----------------------------------------------------------------------------------


def test_a_checkpoint_comes_back_as_it_was() -> None:
    assert decode(encode(CHECKPOINT), NAMES, "here") == CHECKPOINT


def test_the_fields_of_a_checkpoint_are_the_contracts() -> None:
    data = json.loads(encode(CHECKPOINT))
    assert set(data) == {
        *("version", "source", "cluster_id", "file", "file_created", "position", "gtid_set", "last", "prepared"),
        *("out_of_order", "tables", "snapshot", "server_uuid", "flavour", "log_time", "instance", "released"),
        *("committed_at", "of_tomorrow"),
    }
    assert data["version"] == 1
    assert data["position"] == 2**33
    mariadb = Position("mariadb", "7", "b.1", 4)
    assert json.loads(encode(replace(CHECKPOINT, position=mariadb)))["server_id"] == "7"


def test_a_field_we_know_cannot_be_overruled_by_an_unknown_one() -> None:
    data = json.loads(encode(replace(CHECKPOINT, extra={"position": 1, "version": 9})))
    assert (data["position"], data["version"]) == (2**33, 1)


@pytest.mark.parametrize("value", [None, b"", b"[]", b"null", b'{"version":"x"}', b"\xff", b'{"version":1}'])
def test_what_is_no_checkpoint_is_refused(value: bytes | None) -> None:
    with pytest.raises(CheckpointUnreadable) as caught:
        decode(value, NAMES, "here")
    assert "cdc.checkpoint.shop" in str(caught.value)
    assert caught.value.hint


def test_the_genesis_record() -> None:
    data = json.loads(encode_genesis("shop", "here", "latest"))
    assert data.pop("created_at").endswith("Z")
    assert data == {"version": 1, "source": "shop", "cluster_id": "here", "start": "latest"}


@given(
    st.binary(max_size=40)
    | st.sampled_from([b"{}", b"[1]", b'{"instance":1,"epoch":3}', b'{"instance":"a","epoch":[1]}'])
)
def test_any_bytes_as_a_sign_of_life_raise_nothing(value: bytes) -> None:
    alive = Alive.of(record(b"shop/alive", value))
    assert alive is None or isinstance(alive.instance, str)


def test_a_sign_of_life_comes_back() -> None:
    alive = Alive("one#1", 7, (5, 2), founded=True, offset=3)
    assert Alive.of(record(b"shop/alive", alive.to_bytes(), 3)) == alive
    assert json.loads(alive.to_bytes())["n"] == 7


# -- first start ----------------------------------------------------------------------------------


def reading(*records: ConsumerRecord, begin: int = 0) -> Reading:
    return Reading(begin, 10, {r.key: r for r in records})


def alive(*, founded: bool) -> ConsumerRecord:
    return record(b"shop/alive", Alive("one#1", founded=founded).to_bytes())


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (reading(), None),
        (reading(alive(founded=False)), None),
        (reading(alive(founded=True)), "one#1 worked here"),
        (reading(begin=3), "cut off"),
        (reading(record(b"shop/genesis", b"{}")), "genesis record but no checkpoint"),
        (reading(record(b"shop", None)), "deleted"),
        (reading(record(None, b"x")), "somebody else"),
        (reading(record(b"other", b"x"), alive(founded=False)), "somebody else"),
    ],
)
def test_what_is_a_first_start(found: Reading, says: str | None) -> None:
    why = why_lost(found, NAMES)
    assert (why is None) if says is None else (says in (why or ""))


# -- standby --------------------------------------------------------------------------------------


def by(instance: str, *, released: bool = False) -> Checkpoint:
    return replace(CHECKPOINT, instance=instance, released=released)


@pytest.mark.parametrize(
    ("seen", "holder"),
    [
        (Glance(None, -1, None, 0), None),
        (Glance(None, -1, Alive("a#1", offset=0), 1), "a#1"),
        (Glance(by("a#1"), 5, Alive("a#1", offset=6), 7), "a#1"),
        (Glance(by("a#1"), 5, Alive("b#1", offset=6), 7), "b#1"),  # fenced, not committed yet
        (Glance(by("a#1"), 5, Alive("b#1", offset=4), 7), "a#1"),
        (Glance(by("a#1", released=True), 5, Alive("a#1", offset=4), 7), None),
        (Glance(by("a#1", released=True), 5, Alive("a#1", offset=6), 7), None),
        (Glance(by("a#1", released=True), 5, Alive("b#1", offset=6), 7), "b#1"),
    ],
)
def test_who_works(seen: Glance, holder: str | None) -> None:
    assert seen.holder == holder


@pytest.mark.parametrize(
    ("seen", "newer"),
    [
        (Glance(by("me#1"), 9, None, 10), None),
        (Glance(by("pred#1"), 3, None, 10), None),  # my predecessor's, from before
        (Glance(by("you#1"), 6, None, 10), "you#1"),
        (Glance(by("you#1", released=True), 6, None, 10), None),  # came and went
        (Glance(by("me#1"), 4, Alive("you#1", epoch=(7, 3), offset=8), 10), "you#1"),
        (Glance(by("me#1"), 4, Alive("you#1", epoch=(7, 1), offset=8), 10), None),  # a zombie's
        (Glance(by("me#1"), 4, Alive("you#1", epoch=(9, 0), offset=8), 10), "you#1"),
        (Glance(by("me#1"), 4, Alive("you#1", epoch=(7, 3), offset=2), 10), None),
        (Glance(None, -1, Alive("me#1", epoch=(7, 3), offset=8), 10), None),
    ],
)
def test_who_is_newer(seen: Glance, newer: str | None) -> None:
    assert seen.newer_than("me#1", (7, 2), 5) == newer


# -- batches --------------------------------------------------------------------------------------


class Builder:
    """As aiokafka's, with room for so many records."""

    def __init__(self, room: int) -> None:
        self.room, self.taken = room, []

    def append(self, **what: Any) -> object | None:
        if len(self.taken) == self.room:
            return None
        self.taken.append(what)
        return what

    def size(self) -> int:
        return len(self.taken)


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.none() | st.integers(0, 3))),
    st.integers(1, 4),
)
def test_packing_keeps_all_records_in_order_within_a_partition(places: list[tuple[str, int | None]], room: int) -> None:
    records = [Record(topic, partition, b"k", b"%d" % n, [], None) for n, (topic, partition) in enumerate(places)]
    chosen = Spread().turn(records, lambda _topic: 4)
    parcels = pack(records, lambda _: Builder(room), chosen)
    for topic in "abc":
        for partition in range(4):
            got = [t["value"] for p in parcels if (p.topic, p.partition) == (topic, partition) for t in p.builder.taken]
            wanted = [
                r.value
                for r in records
                if r.topic == topic and (chosen.get(topic) if r.partition is None else r.partition) == partition
            ]
            assert got == wanted
    rounds: dict[tuple[str, int], int] = {}
    last = 0
    for parcel in parcels:  # in rounds: no partition's second batch before another one's first
        at = rounds[parcel.topic, parcel.partition] = rounds.get((parcel.topic, parcel.partition), 0) + 1
        assert at >= last
        last = at


def test_timestamps_are_never_later_than_now() -> None:
    now = int(time.time() * 1000)
    given_times = [None, 0, -5, now - 1, now + 3_600_000]
    records = [Record("t", 0, b"k", b"v", [], timestamp) for timestamp in given_times]
    [parcel] = pack(records, lambda _: Builder(9), {}, at=now)
    assert [taken["timestamp"] for taken in parcel.builder.taken] == [now, 0, -5, now - 1, now]


def test_keyless_records_go_round_the_partitions() -> None:
    spread, records = Spread(), [Record("t", None, None, b"", [], None), Record("u", None, None, b"", [], None)]
    counts = {"t": 3, "u": 1}
    turns = [spread.turn(records, counts.__getitem__) for _ in range(4)]
    assert [(turn["t"], turn["u"]) for turn in turns] == [(0, 0), (1, 0), (2, 0), (0, 0)]


async def test_a_record_kafka_cannot_hold_is_named() -> None:
    producer = AIOKafkaProducer(bootstrap_servers="127.0.0.1:1", transactional_id="x")
    good = Record("orders", 0, b"k", b"v", [], None)
    for headers, value in ([("\ud800", b"x")], b"v"), ([], "text"):
        with pytest.raises(Unwritable) as caught:
            pack([good, Record("orders", 0, b"k", value, headers, None), good], lambda _: producer.create_batch(), {})
        assert caught.value.index == 1
    await client_module.cut(producer)
    assert TopicPartition("orders", 0) not in producer._message_accumulator._batches

"""Other histories, purged logs and dying servers: refused by name or survived, on servers of our own."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace

import pytest

from cdc.errors import (
    Diverged,
    PositionLost,
    PreparedRowsUnknown,
    SourceAccessDenied,
    SourceError,
    SourceUnavailable,
    StatementInLog,
    WrongServer,
)
from cdc.mysql.checks import log_files
from cdc.mysql.session import ask
from cdc.position import GtidList, GtidSet, LastTransaction, Position
from cdc.pump import is_reached
from tests.integration.test_mysql_source import DDL, OTHER, Reading, again
from tests.servers import Database, own_server, unique

RESET = {"mariadb": "RESET MASTER", "mysql": "RESET BINARY LOGS AND GTIDS"}


@pytest.fixture(scope="module", params=["mariadb", "mysql"])
def own(request: pytest.FixtureRequest) -> Iterator[Database]:
    server = own_server(request.param)
    yield server
    server.instance.remove()


@pytest.fixture
async def reading(own: Database) -> AsyncIterator[Reading]:
    with own.fresh_schema() as schema:
        own.run(DDL, OTHER, schema=schema)
        made = Reading(own, schema)
        yield made
        await made.source.close()


async def read_some(reading: Reading) -> Position:
    """A position behind three transactions."""
    await reading.source.open(await reading.source.first_position("latest"))
    reading.write(1)
    reading.write(2)
    reading.write(3)
    await reading.until_id(3)
    await reading.source.close()
    return reading.position


async def purge(reading: Reading, file: str) -> None:
    """Until the file and all but the newest are gone: the server keeps what a dump thread reads that has not noticed its end."""
    async with asyncio.timeout(30):
        while file in (files := list(await ask(reading.source.address, log_files))) or len(files) > 1:
            reading.server.run(f"PURGE BINARY LOGS TO '{files[-1]}'")
            await asyncio.sleep(0.1)


async def test_a_purged_position_is_lost(reading: Reading):
    position = await read_some(reading)
    reading.write(4)
    reading.server.run("FLUSH BINARY LOGS")
    await asyncio.sleep(1.1)
    reading.server.run("FLUSH BINARY LOGS")
    await purge(reading, position.file)
    with pytest.raises(PositionLost) as caught:
        await reading.source.open(position)
    assert "cdc checkpoint set" in caught.value.hint
    assert " s after our last" in str(caught.value)
    assert caught.value.exit_code == 6


async def test_a_purged_file_is_no_loss_by_gtid(reading: Reading):
    position = await read_some(reading)
    reading.server.run("FLUSH BINARY LOGS")
    await purge(reading, position.file)
    if position.flavour == "mariadb":
        with pytest.raises(PositionLost):
            await reading.source.open(position)
    else:
        await reading.source.open(position)
        reading.write(4)
        await reading.until_id(4)
        assert reading.ids == [1, 2, 3, 4]


@pytest.mark.parametrize("more", [0, 40])
async def test_a_reset_log_is_another_history_however_long(reading: Reading, more: int):
    position = await read_some(reading)
    await asyncio.sleep(1.1)  # the time a file was begun is whole seconds
    reading.server.run(RESET[reading.server.kind])
    for number in range(more):
        reading.server.run("FLUSH BINARY LOGS") if number % 4 == 0 else reading.write(10 + number)
    with pytest.raises(WrongServer) as caught:
        await reading.source.open(position)
    assert caught.value.exit_code == 6


async def test_a_reset_under_a_reader_ends_as_another_history(reading: Reading):
    """The stream's end is retryable, so a pump connects again, and that names it."""
    position = await read_some(reading)
    await reading.source.open(position)
    await asyncio.sleep(1.1)  # the time a file was begun is whole seconds
    reading.server.run(RESET[reading.server.kind])
    reading.write(11)
    with pytest.raises(SourceError) as caught:
        await reading.until(lambda: False, seconds=30)
    assert caught.value.retryable or isinstance(caught.value, WrongServer), caught.value
    assert reading.ids == [1, 2, 3]
    with pytest.raises(WrongServer):
        await reading.source.open(position)


@pytest.mark.parametrize(
    "change",
    [
        {"gtid": "0-1-999999"},
        {"commit_time": 1},
        {"length": 31},
    ],
)
async def test_another_last_transaction_is_another_history(reading: Reading, change: dict):
    position = await read_some(reading)
    assert position.last is not None
    await reading.source.open(position)
    await reading.source.close()
    with pytest.raises(WrongServer):
        await reading.source.open(replace(position, last=replace(position.last, **change)))


async def test_another_server_is_refused(reading: Reading):
    position = await read_some(reading)
    foreign = "deadbeef-0000-1111-2222-333344445555"
    if position.flavour == "mysql":
        stranger = replace(position, server=foreign, gtid_set=GtidSet.parse(f"{foreign}:1-10"), last=None)
        ahead = replace(position, gtid_set=position.gtid_set | GtidSet.parse(f"{foreign}:7"))
        with pytest.raises(Diverged, match=f"{foreign}:7"):
            await reading.source.open(replace(ahead, server=foreign))
    else:
        stranger = replace(position, server="4711", gtid_set=GtidList.parse("7-9-4"))
    with pytest.raises(WrongServer):
        await reading.source.open(stranger)
    other_kind = {"mysql": "mariadb", "mariadb": "mysql"}[position.flavour]
    with pytest.raises(WrongServer):
        await reading.source.open(replace(position, flavour=other_kind, gtid_set=None))


async def test_a_position_past_the_end_or_inside_an_event(reading: Reading):
    position = await read_some(reading)
    bare = replace(position, gtid_set=None, last=None)
    with pytest.raises(Diverged):
        await reading.source.open(replace(bare, position=position.position + 10_000_000))
    if position.flavour == "mariadb":
        with pytest.raises(WrongServer):
            await reading.source.open(replace(bare, position=position.position - 7))


async def test_a_restarted_server_is_an_outage_without_loss(reading: Reading):
    await reading.source.open(await reading.source.first_position("latest"))
    reading.write(1)
    await reading.until_id(1)
    for number, end in ((2, reading.server.instance.restart), (3, reading.server.instance.kill)):
        await asyncio.to_thread(end)
        with pytest.raises(SourceUnavailable):
            await reading.until(lambda: False, 30)
        if end == reading.server.instance.kill:
            with pytest.raises(SourceUnavailable):
                await reading.source.open(reading.position)
            await asyncio.to_thread(reading.server.instance.start)
        reading.write(number)
        await reading.source.open(reading.position)
        await reading.until_id(number)
    assert reading.ids == [1, 2, 3]


async def test_a_frozen_server_is_noticed(reading: Reading):
    watched = again(reading, heartbeat=0.5, silence=1.5)
    await watched.source.open(await watched.source.first_position("latest"))
    with pytest.raises(TimeoutError):
        await watched.until(lambda: False, 3)  # heartbeats come: an idle log is no silence
    reading.server.instance.freeze()
    try:
        with pytest.raises(SourceUnavailable, match=r"silent for 1\.5 s"):
            await watched.until(lambda: False, 10)
    finally:
        reading.server.instance.thaw()
    await watched.source.close()


async def test_two_readers_with_one_server_id_are_told(reading: Reading):
    start = await reading.source.first_position("latest")
    first, second = again(reading, server_id=987654), again(reading, server_id=987654)
    await first.source.open(start)
    await second.source.open(start)
    with pytest.raises(SourceUnavailable) as caught:
        await first.until(lambda: False, 20)
    assert "server_id" in caught.value.hint
    reading.write(1)
    await second.until_id(1)
    await first.source.close()
    await second.source.close()


async def test_without_replication_slave_the_log_is_refused_with_the_grant(reading: Reading):
    user = unique("u")
    start = await reading.source.first_position("latest")
    reading.server.run(
        f"CREATE USER '{user}'@'%' IDENTIFIED BY 'pw'",
        f"GRANT REPLICATION CLIENT ON *.* TO '{user}'@'%'",
        f"GRANT SELECT ON `{reading.schema}`.* TO '{user}'@'%'",
    )
    poor = again(reading)
    poor.source._address = lambda: replace(reading.source.address, user=user, password="pw")
    with pytest.raises(SourceAccessDenied) as caught:
        await poor.source.open(start)
    assert "GRANT REPLICATION SLAVE" in caught.value.hint
    reading.server.run(f"GRANT REPLICATION SLAVE ON *.* TO '{user}'@'%'")
    await poor.source.open(start)
    reading.write(1)
    await poor.until_id(1)
    await poor.source.close()
    reading.server.run(f"DROP USER '{user}'@'%'")


async def test_files_without_checksums_are_read_too(reading: Reading):
    """The request says we know checksums, whatever the server writes now; each file says what it has."""
    await reading.source.open(await reading.source.first_position("latest"))
    reading.write(1)
    reading.server.run("SET GLOBAL binlog_checksum = NONE")
    try:
        reading.write(2)
        await reading.until_id(2)
        for number in (3, 4):
            place = reading.position
            await reading.source.open(place)
            reading.write(number)
            await reading.until_id(number)
    finally:
        reading.server.run("SET GLOBAL binlog_checksum = CRC32")
    reading.write(5)
    await reading.until_id(5)
    assert reading.ids == [1, 2, 3, 4, 5]


async def test_the_files_begin_and_the_last_transaction_are_remembered(reading: Reading):
    position = await read_some(reading)
    assert position.file_created > 1_700_000_000
    assert isinstance(position.last, LastTransaction)
    assert position.last.position <= position.position


async def test_earliest_has_all_that_was_ever_written(reading: Reading):
    for number in range(1, 4):
        reading.write(number)
        reading.server.run("FLUSH BINARY LOGS")
    await reading.source.open(await reading.source.first_position("earliest"))
    await reading.until_id(3, 120)
    assert reading.ids == [1, 2, 3]


async def test_rows_before_a_poisoned_place_come_before_the_error(reading: Reading):
    start = await reading.source.first_position("latest")
    reading.write(1)
    reading.write(2)
    reading.server.run(
        "SET SESSION binlog_format = STATEMENT", "INSERT INTO other (x) VALUES ('text')", schema=reading.schema
    )
    reading.write(3)
    await reading.source.open(start)
    with pytest.raises(StatementInLog) as caught:
        await reading.until(lambda: False)
    assert reading.ids == [1, 2]
    assert reading.position.file in str(caught.value)
    allowed = again(reading, statements_allowed_in=[reading.schema])
    await allowed.source.open(reading.position)
    await allowed.until_id(3)
    await allowed.source.close()


@pytest.mark.parametrize("prepared_bytes", [1 << 20, 0])
async def test_xa_rows_come_at_their_commit_however_often_we_start_again(reading: Reading, prepared_bytes: int):
    """Prepared, read, closed, rotated, others published, then committed or rolled back: exactly the committed rows, once."""
    reading.source._prepared_bytes = prepared_bytes  # 0: no memory for them, every commit looks them up
    await reading.source.open(await reading.source.first_position("latest"))
    for name, number in (("keep", 10), ("drop", 20)):
        xa = f"'{name}'"
        reading.server.run(
            f"XA START {xa}",
            f"INSERT INTO outbox VALUES ({number}, 't', 'x'), ({number + 1}, 't', 'y')",
            f"XA END {xa}",
            f"XA PREPARE {xa}",
            schema=reading.schema,
        )
    reading.write(1)
    await reading.until_id(1)
    assert len(reading.position.prepared) == 2
    reading.server.run("FLUSH BINARY LOGS")
    reading.write(2)
    await reading.source.open(Position.from_json(reading.position.to_json()))
    await reading.until_id(2)
    reading.server.run("XA COMMIT 'keep'", "XA ROLLBACK 'drop'")
    reading.write(3)
    await reading.source.open(Position.from_json(reading.position.to_json()))
    await reading.until_id(3)
    assert reading.ids == [1, 2, 10, 11, 3]
    assert reading.position.prepared == ()


async def test_xa_rows_prepared_before_a_first_start_are_looked_up(reading: Reading):
    def prepare(number: int) -> None:
        reading.server.run(
            "XA START 'again'",
            f"INSERT INTO outbox VALUES ({number}, 't', 'x')",
            "XA END 'again'",
            "XA PREPARE 'again'",
            schema=reading.schema,
        )

    reading.server.run("FLUSH BINARY LOGS")
    prepare(1)
    reading.server.run("XA COMMIT 'again'")
    prepare(2)
    reading.server.run("FLUSH BINARY LOGS", "FLUSH BINARY LOGS")
    await reading.source.open(await reading.source.first_position("latest"))
    reading.write(10)
    reading.server.run("XA COMMIT 'again'")
    reading.write(11)
    await reading.until_id(11)
    assert reading.ids == [10, 2, 11]
    assert "looking_up" in [step for step, _ in reading.steps]


async def test_xa_rows_that_were_purged_stop_by_name(reading: Reading):
    reading.server.run(
        "XA START 'gone'",
        "INSERT INTO outbox VALUES (1, 't', 'x')",
        "XA END 'gone'",
        "XA PREPARE 'gone'",
        schema=reading.schema,
    )
    start = await reading.source.first_position("latest")
    reading.server.run("FLUSH BINARY LOGS")
    await purge(reading, start.file)
    await reading.source.open(await reading.source.first_position("latest"))
    reading.write(2)
    reading.server.run("XA COMMIT 'gone'")
    with pytest.raises(PreparedRowsUnknown) as caught:
        await reading.until(lambda: False)
    assert reading.ids == [2]
    assert caught.value.exit_code == 6


@pytest.fixture
def on_mysql(start_server: Callable[..., Database]) -> Callable[..., Reading]:
    def start(*options: str) -> Reading:
        server = start_server("mysql", options=options)
        server.run("CREATE DATABASE shop", DDL.replace("TABLE ", "TABLE shop."))
        return Reading(server, "shop")

    return start


async def test_mysql_without_gtids_goes_by_file(on_mysql: Callable[..., Reading]):
    reading = on_mysql("--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
    position = await read_some(reading)
    assert position.gtid_set is None
    await reading.source.open(position)
    reading.write(4)
    await reading.until_id(4)
    assert reading.ids == [1, 2, 3, 4]
    await reading.source.close()
    with pytest.raises(WrongServer):
        await reading.source.open(replace(position, server="deadbeef-0000-1111-2222-333344445555"))


async def test_tagged_gtids_are_resumed(on_mysql: Callable[..., Reading]):
    reading = on_mysql()
    await reading.source.open(await reading.source.first_position("latest"))
    uuid = reading.server.run("SELECT @@server_uuid")[0][0]
    for number in range(1, 7):
        tag = "AUTOMATIC:shop" if number % 2 else "AUTOMATIC"
        reading.server.run(
            f"SET gtid_next = '{tag}'", f"INSERT INTO outbox VALUES ({number}, 't', 'x')", schema=reading.schema
        )
        await reading.until_id(number)
        await reading.source.open(reading.position)
    reading.write(7)
    await reading.until_id(7)
    assert reading.ids == [1, 2, 3, 4, 5, 6, 7]
    assert reading.position.gtid_set.contains(uuid, 3, "shop")
    await reading.source.close()


async def test_a_promoted_replica_goes_on_and_one_that_lacks_our_tail_is_refused(on_mysql: Callable[..., Reading]):
    old = on_mysql()
    new = Reading(on_mysql_replica_of(old.server), "shop")
    try:
        position = await read_some(old)
        last = str(position.gtid_set)
        assert new.server.run(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{last}', 20)")[0][0] == 0
        new.server.run("STOP REPLICA")
        old.write(4)
        await old.source.open(position)
        await old.until_id(4)
        await old.source.close()
        with pytest.raises(Diverged, match="lacks 1 transactions"):
            await new.source.open(old.position)
        new.server.run("START REPLICA")
        assert new.server.run(f"SELECT WAIT_FOR_EXECUTED_GTID_SET('{old.position.gtid_set}', 20)")[0][0] == 0
        new.server.run("STOP REPLICA", "RESET REPLICA ALL")
        await new.source.open(old.position)
        end, first = await new.source.log_end(), await new.source.read()  # where it stands is told, with nothing new
        assert (first.transactions, first.position.server) == ([], end.server) != ([], old.position.server)
        assert is_reached(first.position, end)
        new.write(5)
        assert not is_reached(old.position, await new.source.log_end())
        await new.until_id(5)
        assert new.ids == [5]
        assert new.position.server == new.server.run("SELECT @@server_uuid")[0][0] != old.position.server
        await new.source.open(new.position)
        new.write(6)
        await new.until_id(6)
        assert new.ids == [5, 6]
        assert old.position.last is not None
        with pytest.raises(WrongServer):
            await new.source.open(replace(old.position, last=replace(old.position.last, commit_time=1)))
        await new.source.close()
    finally:
        new.server.instance.remove()


def on_mysql_replica_of(source: Database) -> Database:
    replica = own_server("mysql")
    replica.run(
        "RESET BINARY LOGS AND GTIDS",
        f"CHANGE REPLICATION SOURCE TO SOURCE_HOST = '127.0.0.1', SOURCE_PORT = {source.port}, SOURCE_USER = 'root', "
        "SOURCE_AUTO_POSITION = 1, GET_SOURCE_PUBLIC_KEY = 1",
        "START REPLICA",
    )
    return replica

"""Another MariaDB with the same log: the place is found by GTID, or the server is refused by name; never a guess."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace

import pytest

from cdc.errors import Diverged, SourceUnavailable, WrongServer
from cdc.position import GtidList, Position
from tests.integration.test_mysql_source import DDL, Reading, address_of
from tests.servers import Database, own_server, until


@pytest.fixture(scope="module")
def primary() -> Iterator[Database]:
    server = own_server("mariadb", options=["--log-slave-updates"])
    server.run("CREATE DATABASE shop", DDL.replace("TABLE ", "TABLE shop."))
    yield server
    server.instance.remove()


@pytest.fixture(scope="module")
def replica(primary: Database) -> Iterator[Database]:
    server = own_server("mariadb", options=["--log-slave-updates"])
    server.run(
        "RESET MASTER",
        f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {primary.port}, MASTER_USER = 'root', "
        "MASTER_USE_GTID = slave_pos",
        "START SLAVE",
    )
    yield server
    server.instance.remove()


@pytest.fixture
async def reading(primary: Database) -> AsyncIterator[Reading]:
    primary.run("SET STATEMENT sql_log_bin = 1 FOR DELETE FROM shop.outbox")
    made = Reading(primary, "shop")
    yield made
    await made.source.close()


def write_as(server: Database, gtid: str, number: int) -> None:
    """A transaction with a GTID of our choice."""
    domain, server_id, sequence = gtid.split("-")
    server.run(
        f"SET gtid_domain_id = {domain}",
        f"SET server_id = {server_id}",
        f"SET gtid_seq_no = {sequence}",
        f"INSERT INTO outbox VALUES ({number}, 't', 'x')",
        schema="shop",
    )


def await_row(server: Database, number: int) -> None:
    until(
        f"row {number}",
        lambda: (
            server.run("SELECT COUNT(*) FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop'")[0][0]
            and server.run(f"SELECT id FROM shop.outbox WHERE id = {number}")
        ),
    )


async def places(reading: Reading, gtids: list[str]) -> list[Position]:
    """A position behind each of transactions 1, 2, 3 ... that are written with these GTIDs."""
    await reading.source.open(await reading.source.first_position("latest"))
    found = []
    for number, gtid in enumerate(gtids, 1):
        write_as(reading.server, gtid, number)
        await reading.until_id(number)
        found.append(Position.from_json(reading.position.to_json()))
    await reading.source.close()
    return found


async def rest(server: Database, position: Position, last: int) -> list[int]:
    other = Reading(server, "shop")
    try:
        await other.source.open(position)
        await other.until_id(last)
        return other.ids
    finally:
        await other.source.close()


async def test_every_position_in_order_goes_on_at_the_replica_with_exactly_the_rest(
    reading: Reading, replica: Database
):
    reading.server.run("FLUSH BINARY LOGS")
    await reading.source.open(await reading.source.first_position("latest"))
    found = []
    for number in range(1, 13):
        domain = 5 if number > 6 and number % 2 else 0
        reading.server.run(
            f"SET gtid_domain_id = {domain}",
            "BEGIN",
            f"INSERT INTO outbox VALUES ({number}, 't', 'x')",
            "DO SLEEP(0.4)" if number % 4 == 0 else "DO 1",
            f"INSERT INTO outbox VALUES ({number + 100}, 't', 'x')",
            "COMMIT",
            schema="shop",
        )
        if number in (3, 9):
            (reading.server if number == 3 else replica).run("FLUSH BINARY LOGS")
        await reading.until_id(number + 100)
        found.append(Position.from_json(reading.position.to_json()))
    await_row(replica, 12)
    for number, position in enumerate(found, 1):
        later = await rest(replica, replace(position, out_of_order=()), 112)
        assert later == [n for left in range(number + 1, 13) for n in (left, left + 100)] or number == 12
        if number == 11:
            break


async def test_a_replica_that_lacks_our_tail_is_refused_until_it_has_it(reading: Reading, replica: Database):
    replica.run("STOP SLAVE")
    (position,) = await places(reading, ["5-9-900"])
    position = replace(position, out_of_order=())
    with pytest.raises(Diverged, match="5-9-900") as caught:
        await rest(replica, position, 2)
    assert caught.value.exit_code == 6
    replica.run("START SLAVE")
    await_row(replica, 1)
    reading.write(2)
    assert await rest(replica, position, 2) == [2]
    changes = {"commit_time": 1}, {"gtid": "5-9-899"}
    for change in changes:
        with pytest.raises((WrongServer, Diverged)):
            await rest(replica, replace(position, last=replace(position.last, **change)), 2)
    foreign = replace(position, gtid_set=GtidList.parse("99-1-5"), last=replace(position.last, gtid="99-1-5"))
    with pytest.raises(WrongServer, match="has none of what we have published"):
        await rest(replica, foreign, 2)
    fewer = replace(position, gtid_set=GtidList.parse("5-9-900"))
    with pytest.raises(WrongServer, match="no place in its log is ours"):
        await rest(replica, fewer, 2)


async def test_behind_a_change_of_files_the_last_transaction_is_still_known(reading: Reading):
    """One domain: its GTID is in the list, its time beside it."""
    with contextlib.ExitStack() as servers:
        pair = []
        for _ in range(2):
            pair.append(own_server("mariadb", options=["--log-slave-updates"]))
            servers.callback(pair[-1].instance.remove)
        old, new = pair
        new.run(
            "RESET MASTER",
            f"CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = {old.port}, MASTER_USER = 'root', "
            "MASTER_USE_GTID = slave_pos",
            "START SLAVE",
        )
        old.run("CREATE DATABASE shop", DDL.replace("TABLE ", "TABLE shop."))
        at_old = Reading(old, "shop")
        await at_old.source.open(await at_old.source.first_position("latest"))
        at_old.write(1)
        await at_old.until_id(1)
        old.run("FLUSH BINARY LOGS")
        await at_old.until(lambda: at_old.position.last is None)
        position = at_old.position
        at_old.write(2)
        old.run("XA START 'x'", "INSERT INTO shop.outbox VALUES (3, 't', 'x')", "XA END 'x'", "XA PREPARE 'x'")
        at_old.write(4)
        await at_old.until_id(4)
        with_xa = at_old.position
        assert len(with_xa.prepared) == 1
        await_row(new, 4)
        assert await rest(new, position, 4) == [2, 4]
        # promoted: the old one dies, the address leads to the new one, and the source follows
        address = address_of(old)
        following = Reading(old, "shop")
        following.source._address = lambda: address
        await following.source.open(with_xa)
        old.instance.kill()
        with pytest.raises(SourceUnavailable):
            await following.until(lambda: False)
        new.run("STOP SLAVE", "RESET SLAVE ALL")
        address = address_of(new)
        new.run("XA COMMIT 'x'")
        following.server = new
        following.write(5)
        await following.source.open(with_xa)
        await following.until_id(5)
        assert following.ids == [3, 5]
        assert following.position.server == str(new.run("SELECT @@server_id")[0][0]) != with_xa.server
        assert following.position.prepared == ()
        for number in range(6, 9):
            await following.source.open(Position.from_json(following.position.to_json()))
            following.write(number)
            await following.until_id(number)
        assert following.ids == [3, 5, 6, 7, 8]
        await following.source.close()
        await at_old.source.close()
        await asyncio.sleep(0)


async def test_numbers_that_go_back_are_resumed_on_the_same_server_and_refused_on_another(
    reading: Reading, replica: Database
):
    gtids = ["77-1-500", "77-2-400", "77-3-600", "77-1-450"]
    found = await places(reading, gtids)
    reading.write(5)
    await_row(replica, 5)
    assert [str(position.last.gtid) for position in found] == gtids
    for number, position in enumerate(found, 1):
        assert await rest(reading.server, position, 5) == list(range(number + 1, 6))
        # behind the first one we have not seen numbers go back, but the other server's own state shows it
        refusal = (Diverged, "77-1-500") if number == 1 else (WrongServer, "domain 77 went back")
        with pytest.raises(refusal[0], match=refusal[1]):
            await rest(replica, position, 5)

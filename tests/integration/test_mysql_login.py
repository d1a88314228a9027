"""TLS and passwords on real servers: what is demanded is had, what is refused is told."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cdc.errors import ConfigError, SourceAccessDenied
from cdc.mysql.address import ServerAddress
from cdc.mysql.session import Session, ask
from cdc.mysql.stream import LogRequest, open_stream
from tests.servers import Database, own_server


def cipher(session: Session) -> str:
    row = session.first("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    assert row
    return row["Value"]


@pytest.fixture(scope="module")
def secured() -> Iterator[Database]:
    server = own_server("mysql")
    yield server
    server.instance.remove()


@pytest.fixture(scope="module")
def certificates(secured: Database) -> Path:
    return Path(secured.run("SELECT @@datadir")[0][0])


def at(server: Database, **settings: object) -> ServerAddress:
    return ServerAddress(**{"host": "127.0.0.1", "port": server.port, "user": "root", **settings})


async def test_the_chain_is_verified(secured: Database, certificates: Path):
    assert await ask(at(secured, ca=str(certificates / "ca.pem"), verify="ca"), cipher)


async def test_a_name_that_is_not_the_servers_is_refused(secured: Database, certificates: Path):
    with pytest.raises(SourceAccessDenied, match="CERTIFICATE_VERIFY_FAILED") as caught:
        await ask(at(secured, ca=str(certificates / "ca.pem")), cipher)
    assert "verify: ca" in caught.value.hint


async def test_another_ca_is_refused(secured: Database):
    with pytest.raises(SourceAccessDenied, match="CERTIFICATE_VERIFY_FAILED"):
        await ask(at(secured, tls=True, verify="ca"), cipher)


async def test_unverified_tls(secured: Database):
    assert await ask(at(secured, tls=True, verify=False), cipher)


async def test_a_client_certificate(secured: Database, certificates: Path):
    secured.run("CREATE USER IF NOT EXISTS 'card'@'%' IDENTIFIED BY 'pw' REQUIRE X509")
    ca = str(certificates / "ca.pem")
    with pytest.raises(SourceAccessDenied):
        await ask(at(secured, user="card", password="pw", ca=ca, verify="ca"), cipher)
    held = at(
        secured,
        user="card",
        password="pw",
        ca=ca,
        verify="ca",
        cert=str(certificates / "client-cert.pem"),
        key=str(certificates / "client-key.pem"),
    )
    assert await ask(held, cipher)


async def test_files_that_are_not_there_are_a_configuration_error(secured: Database):
    with pytest.raises(ConfigError, match=r"/nowhere/ca\.pem"):
        await ask(at(secured, ca="/nowhere/ca.pem"), cipher)


def test_the_log_comes_through_tls_too(secured: Database, certificates: Path):
    address = at(secured, ca=str(certificates / "ca.pem"), verify="ca")
    secured.run("FLUSH BINARY LOGS")
    file = secured.run("SHOW BINARY LOGS")[0][0]
    stream = open_stream(address, LogRequest(file, 4, 4_000_000_001, until_end=True))
    assert file.encode() in stream.receive(100_000)
    stream.close()


async def test_a_server_that_takes_only_tls(start_server: Callable[..., Database]):
    server = start_server("mysql", options=["--require-secure-transport=ON"])
    assert await ask(at(server), cipher)  # TLS is used where it is offered


async def test_passwords_with_and_without_tls(secured: Database, start_server: Callable[..., Database]):
    plain = start_server("mysql", options=["--tls-version="])
    for server, encrypted in ((secured, True), (plain, False)):
        server.run(
            "CREATE USER 'sha2'@'%' IDENTIFIED WITH caching_sha2_password BY 'hush-marker-horse'",
            "GRANT REPLICATION SLAVE ON *.* TO 'sha2'@'%'",
        )
        address = at(server, user="sha2", password="hush-marker-horse")
        for _ in ("full exchange", "cached"):
            assert bool(await ask(address, cipher)) is encrypted
        file = server.run("SHOW BINARY LOGS")[0][0]
        open_stream(address, LogRequest(file, 4, 4_000_000_002, until_end=True)).close()
    with pytest.raises(SourceAccessDenied, match=r"TLS|SSL"):
        await ask(at(plain, tls=True, verify=False), cipher)


async def test_mariadb_without_tls(mariadb: Database):
    with pytest.raises(SourceAccessDenied, match=r"TLS|SSL"):
        await ask(at(mariadb, tls=True, verify=False), cipher)


def test_the_password_is_in_no_text():
    address = ServerAddress("db", password="hush-marker-horse")
    assert "hush-marker-horse" not in f"{address!r} {address}"

"""Databases of these tests' own: their tailers read the whole log, and it must hold nobody else's tests."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.crash.site import Grounds
from tests.servers import Database, own_server


@contextmanager
def own(kind: str) -> Iterator[Database]:
    server = own_server(kind)
    assert isinstance(server, Database)
    try:
        yield server
    finally:
        server.instance.remove()


@pytest.fixture(scope="session")
def own_mariadb() -> Iterator[Database]:
    """A MariaDB for the crash tests alone."""
    with own("mariadb") as server:
        yield server


@pytest.fixture(scope="session")
def own_mysql() -> Iterator[Database]:
    """A MySQL for the crash tests alone."""
    with own("mysql") as server:
        yield server


@pytest.fixture(scope="session", params=["own_mariadb", "own_mysql"])
def own_database(request: pytest.FixtureRequest) -> Database:
    """Both of them, one after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def grounds() -> Iterator[Grounds]:
    """Servers to be killed, behind proxies: a broker, and a database of each kind that is asked for."""
    with Grounds() as made:
        yield made

"""Databases of these tests' own: their tailers read the whole log, and it must hold nobody else's tests."""

from collections.abc import Iterator

import pytest

from tests.servers import Database, own_server


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def own_database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """A MariaDB, then a MySQL, for the crash tests alone."""
    server = own_server(request.param)
    assert isinstance(server, Database)
    yield server
    server.instance.remove()

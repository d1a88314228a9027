"""Fixtures that hand tests the real servers; see tests/servers.py for what can be done with them."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import hypothesis
import pytest

from tests.connect_workers import Connect, own_connect, shared_connect
from tests.servers import Database, Kafka, NotUpError, own_server, shared_database, shared_kafka

pytest_plugins = ["tests.hushed"]

# Every run at a desk looks at other examples; CI looks at the same ones each time, so that a landing
# does not fail by chance on what was there before it.
hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
if os.environ.get("CI") == "true":
    hypothesis.settings.load_profile("ci")


def _or_fail(find: Callable[..., Any], *arguments: str) -> Any:
    try:
        return find(*arguments)
    except NotUpError as error:
        pytest.fail(str(error), pytrace=False)


@pytest.fixture(scope="session")
def mariadb() -> Database:
    """The stack's MariaDB."""
    return _or_fail(shared_database, "mariadb")


@pytest.fixture(scope="session")
def mysql() -> Database:
    """The stack's MySQL."""
    return _or_fail(shared_database, "mysql")


@pytest.fixture(scope="session", params=["mariadb", "mysql"])
def server(request: pytest.FixtureRequest) -> Database:
    """Both databases, one after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def untagged_mysql() -> Iterator[Database]:
    """A MySQL for this run that never sees a tagged GTID: Debezium 3.4 starts on no server that ever had one."""
    own = own_server("mysql")
    try:
        yield own
    finally:
        own.instance.remove()


@pytest.fixture(scope="session", params=["mariadb", "untagged_mysql"], ids=["mariadb", "mysql"])
def debezium_server(request: pytest.FixtureRequest) -> Database:
    """Both databases, one after the other, as Debezium can read them."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def kafka() -> Kafka:
    """The stack's Kafka."""
    return _or_fail(shared_kafka)


@pytest.fixture(scope="session")
def connect(kafka: Kafka) -> Iterator[Connect]:
    """Kafka Connect with Debezium: the stack's where it runs, else one for this run. Not to be killed."""
    with ExitStack() as ends:
        try:
            found = shared_connect(kafka)
        except NotUpError:
            found = own_connect(kafka)
            ends.callback(found.remove)
        yield found


@pytest.fixture
def start_connect(kafka: Kafka) -> Iterator[Callable[..., Connect]]:
    """Start a Connect cluster for this test alone, to be hurt: ``start_connect(workers=2)``."""
    with ExitStack() as clusters:

        def start(**settings: Any) -> Connect:
            cluster = own_connect(kafka, **settings)
            clusters.callback(cluster.remove)
            return cluster

        yield start


@pytest.fixture
def schema(server: Database) -> Iterator[str]:
    """An empty schema on ``server`` for this test alone."""
    with server.fresh_schema() as name:
        yield name


@pytest.fixture
def new_topic(kafka: Kafka) -> Iterator[Callable[..., str]]:
    """Make topics for this test alone: ``new_topic(partitions=3, configs={...})`` returns the name."""
    with ExitStack() as topics:
        yield lambda hint="t", partitions=1, configs=None: topics.enter_context(
            kafka.fresh_topic(hint, partitions, configs)
        )


@pytest.fixture
def start_server() -> Iterator[Callable[..., Database | Kafka]]:
    """Start servers for this test alone: ``start_server("mariadb", options=["--binlog-format=STATEMENT"])``."""
    with ExitStack() as servers:

        def start(kind: str, **settings: Any) -> Database | Kafka:
            server = own_server(kind, **settings)
            servers.callback(server.instance.remove)
            return server

        yield start

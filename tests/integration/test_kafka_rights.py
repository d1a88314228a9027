"""A broker with an authorizer: what a user lacks is named, with a hint, or is the matter of the route's on_error."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from cdc.errors import CdcError, DeadLetterRefused, KafkaAccessDenied, TopicDenied, TopicMissing
from cdc.outbox.table import ddl
from infra.stack import Instance
from infra.stack.places import choose_ports
from tests.running import Tailing, caught_up_here
from tests.servers import Database, Kafka, unique, until

pytestmark = pytest.mark.stack

PASSWORD = "hush-marker-of-rights"
NEEDS_DECISION = 6
TOPIC, ID = ResourceType.TOPIC, ResourceType.TRANSACTIONAL_ID
READ, WRITE, DESCRIBE, CREATE = AclOperation.READ, AclOperation.WRITE, AclOperation.DESCRIBE, AclOperation.CREATE
CONFIGS = AclOperation.DESCRIBE_CONFIGS

Right = tuple[ResourceType, str, AclOperation]


@dataclass
class Guarded:
    """A broker that asks for rights of all who log in, and of nobody who comes by its plain listener."""

    instance: Instance
    port: int
    kafka: Kafka

    def grant(self, *rights: Right) -> None:
        for future in self.kafka.admin.create_acls([_binding(AclBinding, right) for right in rights]).values():
            future.result(timeout=20)
        self._await(rights, there=True)

    def revoke(self, *rights: Right) -> None:
        for future in self.kafka.admin.delete_acls([_binding(AclBindingFilter, right) for right in rights]).values():
            future.result(timeout=20)
        self._await(rights, there=False)

    def _await(self, rights: tuple[Right, ...], *, there: bool) -> None:
        """The broker's authorizer hears of it a moment later."""
        for right in rights:
            asked = _binding(AclBindingFilter, right)
            until(f"{right} there: {there}", lambda: bool(self.kafka.admin.describe_acls(asked).result(20)) is there)  # noqa: B023


def _binding(kind: type, right: Right) -> AclBinding:
    restype, name, operation = right
    literal, allow = ResourcePatternType.LITERAL, AclPermissionType.ALLOW
    return kind(restype, name, literal, "User:cdc", "*", operation, allow)


@pytest.fixture(scope="module")
def guarded() -> Iterator[Guarded]:
    instance = Instance.extra(unique("kafka"), "kafka")
    plain, controller = instance.ports
    (login,) = choose_ports(1)
    host = "127.0.0.1"
    listeners = f"PLAINTEXT://{host}:{plain},LOGIN://{host}:{login}"
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    instance.options += [
        f"listeners={listeners},CONTROLLER://{host}:{controller}",
        f"advertised.listeners={listeners}",
        "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,LOGIN:SASL_PLAINTEXT",
        "listener.name.login.sasl.enabled.mechanisms=PLAIN",
        f'listener.name.login.plain.sasl.jaas.config={module} required user_cdc="{PASSWORD}";',
        "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users=User:ANONYMOUS",
        "-XX:TieredStopAtLevel=1",
    ]
    with instance:
        yield Guarded(instance, login, Kafka(instance.address, instance))


@dataclass
class Rights:
    """A source on that broker, two topics, and all rights that it needs, granted."""

    guarded: Guarded
    tailing: Tailing
    good: str
    other: str

    @property
    def needed(self) -> list[Right]:
        own, letters = self.tailing.checkpoint_topic, f"{self.tailing.prefix}.dead-letters"
        checkpoint = [(TOPIC, own, operation) for operation in (READ, WRITE, DESCRIBE, CREATE, CONFIGS)]
        parked = [(TOPIC, letters, operation) for operation in (READ, WRITE, DESCRIBE, CREATE, CONFIGS)]
        data = [(TOPIC, topic, operation) for topic in (self.good, self.other) for operation in (WRITE, DESCRIBE)]
        return [*checkpoint, *parked, *data, *[(ID, self.transactional_id, right) for right in (WRITE, DESCRIBE)]]

    @property
    def transactional_id(self) -> str:
        return f"{self.tailing.prefix}.source.shop"

    def write(self) -> None:
        """A row before; one transaction of a row for each topic and back; a row after."""
        (table,) = self.tailing.tables

        def row(topic: str, payload: str) -> str:
            return f"INSERT INTO {table} (event_name, topic, payload) VALUES ('x', '{topic}', '{payload}')"

        run = self.tailing.server.run
        run(row(self.good, "before"))
        run("BEGIN", row(self.good, "1"), row(self.other, "2"), row(self.good, "3"), "COMMIT")
        run(row(self.good, "after"))

    def catch_up(self, on_error: str = "stop") -> CdcError | None:
        security = {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", "username": "cdc", "password": PASSWORD}
        kafka = {
            "bootstrap_servers": [f"127.0.0.1:{self.guarded.port}"],
            "prefix": self.tailing.prefix,
            "security": security,
        }
        self.tailing.more = {"kafka": kafka, "on_error": on_error}
        error = caught_up_here(self.tailing)
        if error is not None:
            assert error.hint, error
            assert PASSWORD not in f"{error} {error.hint}"
        return error

    def values(self, topic: str) -> list[bytes | None]:
        return [record.value for record in self.guarded.kafka.read_committed(topic)]


@pytest.fixture
def rights(guarded: Guarded, mariadb: Database, tmp_path) -> Iterator[Rights]:
    with mariadb.fresh_schema() as schema:
        mariadb.run(ddl("mariadb"), schema=schema)
        prefix, tables = unique("p").replace("_", "-"), {f"{schema}.outbox": {"layout": "native"}}
        tailing = Tailing(tmp_path, mariadb, guarded.kafka, "shop", tables, prefix, start="latest")
        good, other = (guarded.kafka.create_topic(unique(name)) for name in ("good", "other"))
        found = Rights(guarded, tailing, good, other)
        guarded.grant(*found.needed)
        yield found


@pytest.mark.parametrize(
    ("lacks", "names"),
    [
        (lambda r: (ID, r.transactional_id, WRITE), "TransactionalIdAuthorizationFailed"),
        (lambda r: (TOPIC, r.tailing.checkpoint_topic, READ), "checkpoint.shop"),
        (lambda r: (TOPIC, r.tailing.checkpoint_topic, WRITE), "checkpoint.shop"),
        (lambda r: (TOPIC, r.tailing.checkpoint_topic, CREATE), "checkpoint.shop"),
        (lambda r: (TOPIC, r.tailing.checkpoint_topic, CONFIGS), "checkpoint.shop"),
    ],
    ids=["id", "read", "write", "create", "configs"],
)
def test_a_right_without_which_nothing_goes_is_named(rights: Rights, lacks, names: str) -> None:
    rights.guarded.revoke(lacks(rights))
    error = rights.catch_up() or rights.catch_up()  # a first start may have nothing to read
    assert type(error) is KafkaAccessDenied, error
    assert names in str(error)
    rights.guarded.grant(lacks(rights))
    assert rights.catch_up() is None


def test_a_topic_that_is_not_ours_to_write_stops_before_its_transaction_until_it_is(rights: Rights) -> None:
    assert rights.catch_up() is None
    rights.guarded.revoke((TOPIC, rights.other, WRITE))
    rights.write()
    error = rights.catch_up()
    assert type(error) is TopicDenied, error
    assert rights.other in str(error)
    assert error.exit_code == NEEDS_DECISION
    assert (rights.values(rights.good), rights.values(rights.other)) == ([b"before"], [])
    rights.guarded.revoke((TOPIC, rights.other, DESCRIBE))  # then Kafka does not show it at all
    error = rights.catch_up()
    assert type(error) is TopicMissing, error
    assert "Describe" in error.hint
    rights.guarded.grant((TOPIC, rights.other, WRITE), (TOPIC, rights.other, DESCRIBE))
    assert rights.catch_up() is None
    assert (rights.values(rights.good), rights.values(rights.other)) == ([b"before", b"1", b"3", b"after"], [b"2"])


def test_such_rows_are_skipped_or_parked_and_a_letter_that_may_not_be_written_stops(rights: Rights) -> None:
    assert rights.catch_up() is None
    letters = f"{rights.tailing.prefix}.dead-letters"
    rights.guarded.revoke((TOPIC, rights.other, WRITE))
    rights.write()
    assert rights.catch_up("skip") is None
    assert rights.values(rights.good) == [b"before", b"1", b"3", b"after"]
    rights.guarded.kafka.create_topic(letters)
    rights.guarded.revoke((TOPIC, letters, WRITE))
    rights.write()
    error = rights.catch_up("dead_letter")
    assert type(error) is DeadLetterRefused, error
    assert letters in str(error)
    assert rights.values(rights.good)[4:] in ([], [b"before"]), "nothing of its transaction"
    rights.guarded.grant((TOPIC, letters, WRITE))
    assert rights.catch_up("dead_letter") is None
    assert rights.values(rights.good) == [b"before", b"1", b"3", b"after"] * 2
    [letter] = rights.guarded.kafka.read_committed(letters)
    assert (letter.value, letter.header("reason")) == (b"2", b"topic_denied")
    assert rights.values(rights.other) == []


def test_a_right_that_is_taken_away_from_a_running_tailer(rights: Rights) -> None:
    assert rights.catch_up("dead_letter") is None
    process = rights.tailing.run("--log-format", "json")
    try:
        rights.write()
        rights.guarded.kafka.await_records(rights.good, 4)
        rights.guarded.revoke((TOPIC, rights.other, WRITE))
        rights.write()
        process.await_line("row kept as a dead letter")
        rights.guarded.kafka.await_records(rights.good, 8)
        assert rights.values(rights.other) == [b"2"]
        rights.guarded.revoke((TOPIC, rights.tailing.checkpoint_topic, WRITE))
        rights.write()
        assert process.popen.wait(60) == 1
    finally:
        process.kill()
    [ended] = [line for line in process.said() if line["event"] == "source ended"]
    assert (ended["error"], rights.tailing.checkpoint_topic in ended["message"]) == ("KafkaAccessDenied", True)
    assert rights.values(rights.good) == [b"before", b"1", b"3", b"after"] * 2

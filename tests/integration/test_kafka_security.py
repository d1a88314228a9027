"""SASL and TLS on real listeners, and what is said when something about them is wrong."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from cdc.errors import CdcError, ConfigError, KafkaAccessDenied, KafkaUnavailable
from cdc.kafka import KafkaAddress, KafkaTopics, read_checkpoint
from infra.stack import Instance
from infra.stack.places import choose_ports
from tests.certificates import certificates
from tests.integration.kafka_process import numbered
from tests.integration.kafka_sinks import Place, batch, place
from tests.servers import Kafka, unique

pytestmark = pytest.mark.stack

PASSWORD = "hush-marker-of-cdc"


class Secure:
    """A broker with one listener of each kind, and the files to reach it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.instance = Instance.extra(unique("kafka"), "kafka")
        plain, controller = self.instance.ports
        self.scram, self.mutual, self.clear = choose_ports(3)
        self.ca = certificates(folder)
        host = "127.0.0.1"
        listeners = (
            f"PLAINTEXT://{host}:{plain},SCRAM://{host}:{self.scram},MUTUAL://{host}:{self.mutual},"
            f"CLEAR://{host}:{self.clear}"
        )
        protocols = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SCRAM:SASL_SSL,MUTUAL:SSL,CLEAR:SASL_PLAINTEXT"
        user = f'required username="cdc" password="{PASSWORD}" user_cdc="{PASSWORD}";'
        plain_login = f"org.apache.kafka.common.security.plain.PlainLoginModule {user}"
        scram_login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        self.instance.options += [
            f"listeners={listeners},CONTROLLER://{host}:{controller}",
            f"advertised.listeners={listeners}",
            f"listener.security.protocol.map={protocols}",
            "listener.name.scram.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            f"listener.name.scram.plain.sasl.jaas.config={plain_login}",
            f"listener.name.scram.scram-sha-256.sasl.jaas.config={scram_login}",
            f"listener.name.scram.scram-sha-512.sasl.jaas.config={scram_login}",
            "listener.name.clear.sasl.enabled.mechanisms=PLAIN",
            f"listener.name.clear.plain.sasl.jaas.config={plain_login}",
            "listener.name.mutual.ssl.client.auth=required",
            *("ssl.keystore.type=PEM", f"ssl.keystore.location={folder / 'server.pem'}"),
            *("ssl.truststore.type=PEM", f"ssl.truststore.location={folder / 'ca.pem'}"),
        ]
        self.kafka = Kafka(self.instance.address, self.instance)

    def address(self, port: int, protocol: str, mechanism: str | None = None, **settings: str) -> KafkaAddress:
        known = {"username": "cdc", "password": PASSWORD} if mechanism else {}
        return KafkaAddress((f"127.0.0.1:{port}",), protocol, mechanism, **(known | settings))


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    found = Secure(tmp_path_factory.mktemp("tls"))
    with found.instance:
        changes = [
            UserScramCredentialUpsertion("cdc", ScramCredentialInfo(mechanism, 4096), PASSWORD.encode())
            for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
        ]
        for change in changes:
            for future in found.kafka.admin.alter_user_scram_credentials([change]).values():
                future.result(timeout=20)
        yield found


@pytest.fixture
async def here(secure: Secure) -> AsyncIterator[Place]:
    async with place(secure.kafka) as found:
        yield found


async def works(here: Place, address: KafkaAddress) -> None:
    sink, _ = await here.founded(address=address)
    await sink.commit(batch(1, numbered(here.data, 1)))
    topics = KafkaTopics(address)
    await topics.start()
    assert topics.partitions(here.data) == 1
    await topics.close()
    view = await read_checkpoint(address, here.source, prefix=here.prefix)
    assert view.checkpoint.position.position == 1
    assert here.committed() == [b"1"]


async def refused(address: KafkaAddress, kind: type[CdcError], says: str) -> None:
    topics = KafkaTopics(address)
    with pytest.raises(kind, match=says) as caught:
        await topics.start()
    assert type(caught.value) is kind
    assert caught.value.hint
    told = f"{caught.value} {caught.value.hint} {caught.value!r} {address} {address!r}"
    assert PASSWORD not in told
    assert "hush-marker-wrong" not in told
    await topics.close()


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"])
async def test_sasl_over_tls(here: Place, secure: Secure, mechanism: str) -> None:
    await works(here, secure.address(secure.scram, "SASL_SSL", mechanism, ca=secure.ca))


async def test_sasl_in_the_clear(here: Place, secure: Secure) -> None:
    await works(here, secure.address(secure.clear, "SASL_PLAINTEXT", "PLAIN"))


async def test_a_client_certificate(here: Place, secure: Secure) -> None:
    client = str(secure.folder / "client.pem")
    await works(here, secure.address(secure.mutual, "SSL", ca=secure.ca, cert=client, key=client))


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
async def test_a_wrong_password(secure: Secure, mechanism: str) -> None:
    address = secure.address(secure.scram, "SASL_SSL", mechanism, ca=secure.ca, password="hush-marker-wrong")
    await refused(address, KafkaAccessDenied, f"refuses user 'cdc' with {mechanism}")


async def test_a_mechanism_the_listener_has_not(secure: Secure) -> None:
    address = secure.address(secure.clear, "SASL_PLAINTEXT", "SCRAM-SHA-256")
    await refused(address, KafkaAccessDenied, "refuses user 'cdc' with SCRAM-SHA-256")


async def test_no_ca(secure: Secure) -> None:
    await refused(secure.address(secure.scram, "SASL_SSL", "PLAIN"), KafkaAccessDenied, "certificate is not trusted")


async def test_plain_text_on_a_tls_listener(secure: Secure) -> None:
    await refused(secure.address(secure.scram, "PLAINTEXT"), KafkaUnavailable, "does not answer")


async def test_tls_on_a_plain_listener(secure: Secure) -> None:
    plain = secure.instance.port
    async with asyncio.timeout(20):
        await refused(secure.address(plain, "SSL", ca=secure.ca), KafkaUnavailable, f"127.0.0.1:{plain}")


async def test_no_client_certificate(secure: Secure) -> None:
    await refused(secure.address(secure.mutual, "SSL", ca=secure.ca), KafkaUnavailable, "127.0.0.1")


async def test_files_that_are_not_there() -> None:
    topics = KafkaTopics(KafkaAddress(("127.0.0.1:1",), "SSL", ca="/nowhere/ca.pem"))
    with pytest.raises(ConfigError, match=r"/nowhere/ca\.pem"):
        await topics.start()

"""How we reach Kafka: address and security, aiokafka's objects with our settings, their bounded end, their errors.

What one must know to change it (aiokafka 0.14, private names are used here and tested):

* aiokafka asks for metadata of a topic by name with auto-creation allowed, which makes
  the topic on a broker with `auto.create.topics.enable`. `_tame` makes a client list all
  topics instead, always: no producer or consumer of ours can create one.
* Its bootstrap logs why a server could not be used and throws the reason away (a wrong
  password, a missing CA, plain text on a TLS port and a dead broker look the same), and a
  cancelled one leaks its connection. `_bootstrap` takes its place.
* `producer.stop()` flushes first, so it waits until the broker is back. `cut` ends a
  producer within seconds whatever its state; what it still had to send is lost, and
  fenced by the next producer's epoch.
* After a commit the coordinator is busy for some milliseconds and refuses the next
  transaction's first partition; aiokafka then sleeps `sender.BACKOFF_OVERRIDE`, 20 ms.
  It is a plain retry of an idempotent request: 2 ms makes lone transactions twice as fast.
"""

from __future__ import annotations

import asyncio
import errno
import os
import ssl
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient
from aiokafka.codec import has_zstd
from aiokafka.conn import AIOKafkaConnection, collect_hosts, create_conn
from aiokafka.producer import sender
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.record import default_records

from cdc.errors import CdcError, ConfigError, Doubt, KafkaAccessDenied, KafkaUnavailable, SinkError

sender.BACKOFF_OVERRIDE = 0.002

BATCH_BYTES = 512 << 10
"""Of one partition's batch: well under the broker's default `max.message.bytes`."""
RETRY_BACKOFF_MS = 50
CONNECT_TIMEOUT = 5.0
CUT_TIMEOUT = 1.0

FOREIGN = (kafka_errors.KafkaError, kafka_errors.IllegalOperation, OSError, TimeoutError, AssertionError)
"""What aiokafka raises: its own errors, the socket's, and failed assertions in states it did not foresee."""
_WHY_NOT = (*FOREIGN, CdcError, EOFError)

_DENIED = (
    kafka_errors.TopicAuthorizationFailedError,
    kafka_errors.GroupAuthorizationFailedError,
    kafka_errors.ClusterAuthorizationFailedError,
    kafka_errors.TransactionalIdAuthorizationFailed,
)
_WRONG_SETTINGS = (
    kafka_errors.InvalidReplicationFactorError,
    kafka_errors.InvalidConfigurationError,
    kafka_errors.PolicyViolationError,
)
_BAD_CREDENTIALS = (
    kafka_errors.SaslAuthenticationFailed,
    kafka_errors.AuthenticationFailedError,
    kafka_errors.UnsupportedSaslMechanismError,
    kafka_errors.IllegalSaslStateError,
    kafka_errors.AuthenticationMethodNotSupported,
)


@dataclass(frozen=True, slots=True)
class KafkaAddress:
    """Where Kafka is and how to get in. `ca`, `cert` and `key` are paths of PEM files."""

    bootstrap_servers: tuple[str, ...]
    protocol: str = "PLAINTEXT"
    mechanism: str | None = None
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def __str__(self) -> str:
        return ",".join(self.bootstrap_servers)

    def options(self) -> dict[str, Any]:
        """The arguments that every object of aiokafka takes."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.protocol,
            "ssl_context": self._ssl_context(),
        }
        if self.protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.mechanism or "PLAIN",
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options

    def _ssl_context(self) -> ssl.SSLContext | None:
        if not self.protocol.endswith("SSL"):
            return None
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except (OSError, ssl.SSLError) as error:
            files = ", ".join(filter(None, (self.ca, self.cert, self.key)))
            raise ConfigError(
                f"TLS files for Kafka cannot be used ({files}): {error}",
                hint="ca, cert and key under kafka.security are paths of PEM files that this process may read",
            ) from error
        return context


def accelerated() -> bool:
    """Is aiokafka's C extension in use? Without it building records costs several times the CPU."""
    return bool(default_records.DefaultRecordBatchBuilder.__module__.endswith("_crecords.default_records"))


def _tame(client: AIOKafkaClient, address: KafkaAddress) -> AIOKafkaClient:
    """Make a client ask for all topics where it would ask for some by name, and bootstrap our way."""
    update = client._metadata_update  # noqa: SLF001

    async def update_all(cluster: Any, _topics: Any) -> Any:
        return await update(cluster, None)

    async def bootstrap() -> None:
        await _bootstrap(client, address)

    client._metadata_update = update_all  # noqa: SLF001
    client.bootstrap = bootstrap
    return client


async def _bootstrap(client: AIOKafkaClient, address: KafkaAddress) -> None:
    """Learn the cluster from the first server that answers. Raises our own errors."""
    troubles: list[SinkError] = []
    for host, port, _ in client.hosts:
        try:
            connection = await _connect(address, host, port)
        except _WHY_NOT as error:
            troubles.append(_trouble(address, host, port, error))
            continue
        try:
            metadata = await connection.send(MetadataRequest(None))
        except _WHY_NOT as error:
            troubles.append(_trouble(address, host, port, error))
            continue
        finally:
            connection.close()
        client.cluster.update_metadata(metadata)
        if client._sync_task is None:  # noqa: SLF001
            client._sync_task = asyncio.create_task(client._md_synchronizer())  # noqa: SLF001
        return
    raise next((trouble for trouble in troubles if isinstance(trouble, KafkaAccessDenied)), troubles[0])


async def _connect(address: KafkaAddress, host: str, port: int) -> AIOKafkaConnection:
    options = address.options()
    del options["bootstrap_servers"]
    async with asyncio.timeout(CONNECT_TIMEOUT):
        return await create_conn(host, port, request_timeout_ms=int(CONNECT_TIMEOUT * 1000), **options)


def make_client(address: KafkaAddress, timeout: float) -> AIOKafkaClient:
    """A bare client, not connected yet."""
    client = AIOKafkaClient(
        request_timeout_ms=int(timeout * 1000), retry_backoff_ms=RETRY_BACKOFF_MS, **address.options()
    )
    return _tame(client, address)


def make_producer(address: KafkaAddress, timeout: float, **options: Any) -> AIOKafkaProducer:
    """A producer, not started yet."""
    if options.get("compression_type") == "zstd" and not has_zstd():
        raise ConfigError(
            "kafka.compression is zstd, but aiokafka finds no library for it",
            hint="pip install cramjam, or set kafka.compression: none",
        )
    producer = AIOKafkaProducer(
        request_timeout_ms=int(timeout * 1000),
        retry_backoff_ms=RETRY_BACKOFF_MS,
        max_batch_size=BATCH_BYTES,
        linger_ms=0,
        **options,
        **address.options(),
    )
    _tame(producer.client, address)
    return producer


def make_consumer(address: KafkaAddress, timeout: float, *, committed: bool) -> AIOKafkaConsumer:
    """A consumer without a group, not started yet; it must poll before it is stopped (0.14)."""
    consumer = AIOKafkaConsumer(
        request_timeout_ms=int(timeout * 1000),
        retry_backoff_ms=RETRY_BACKOFF_MS,
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="none",
        enable_auto_commit=False,
        group_id=None,
        fetch_max_wait_ms=100,
        **address.options(),
    )
    _tame(consumer._client, address)  # noqa: SLF001
    return consumer


async def _bounded(end: Coroutine[Any, Any, Any]) -> None:
    """Await the end of something we let go of. Its failure changes nothing for us; a cancellation of ours does."""
    task = asyncio.ensure_future(end)
    try:
        done, _ = await asyncio.wait([task], timeout=CUT_TIMEOUT)
    except asyncio.CancelledError:
        task.cancel()
        raise
    if not done:
        task.cancel()
        await asyncio.wait([task], timeout=CUT_TIMEOUT)
    elif not task.cancelled():
        task.exception()


async def _no_connection(*_: Any, **__: Any) -> None:
    """Stands in for a client's way to new connections once it is being cut off."""


async def close_client(client: AIOKafkaClient) -> None:
    """Close a client within a second or two."""
    lock = client._get_conn_lock  # noqa: SLF001
    client._get_conn = _no_connection  # noqa: SLF001  # nothing may connect behind our back
    try:
        async with asyncio.timeout(CUT_TIMEOUT), lock:
            pass  # a connection that is just being made is in the client's books now
    except TimeoutError:
        pass  # it hangs; its own request timeout ends it
    await _bounded(client.close())


async def cut(producer: AIOKafkaProducer) -> None:
    """End a producer in bounded time, whatever its state. It flushes nothing.

    The first cancel of the sender's task only starts an orderly end that may wait for
    ever; the second ends that.
    """
    producer._closed = True  # noqa: SLF001  # as its stop() does first
    task = producer._sender.sender_task  # noqa: SLF001
    _look_at_failures(producer)
    for _ in range(2):
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=CUT_TIMEOUT / 4)
    await close_client(producer.client)


def _look_at_failures(producer: AIOKafkaProducer) -> None:
    """Retrieve the exceptions of futures nobody awaits: asyncio would log each of them as forgotten."""
    batches = producer._message_accumulator._batches.values()  # noqa: SLF001
    waiters = [batch._drain_waiter for queue in batches for batch in queue]  # noqa: SLF001
    manager = producer._txn_manager  # noqa: SLF001
    if manager is not None:
        waiters += [manager._transaction_waiter, manager._pid_waiter]  # noqa: SLF001
    for waiter in waiters:
        if waiter is not None and waiter.done() and not waiter.cancelled():
            waiter.exception()


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """End a consumer in bounded time.

    Its own stop() gives up half-way where start() has only just returned, and its client would live on.
    """
    try:
        await _bounded(consumer.stop())
    finally:
        await close_client(consumer._client)  # noqa: SLF001


async def explain(address: KafkaAddress, error: BaseException, doing: str) -> SinkError:
    """Our error for one of aiokafka's. Where it only says that no broker could be used, find out why."""
    if told := _told(error, doing):
        return told
    trouble = [await _probe(address, host, port) for host, port, _ in collect_hosts(list(address.bootstrap_servers))]
    if denied := next((found for found in trouble if isinstance(found, KafkaAccessDenied)), None):
        return denied
    if None in trouble:  # somebody answers: it is not the way to Kafka
        return Doubt(f"{doing}: {error!r}", hint="this is tried again; if it stays, see the broker's log")
    return next(found for found in trouble if found is not None)


def _told(error: BaseException, doing: str) -> SinkError | None:
    """Our error for one that says by itself what is wrong."""
    if isinstance(error, SinkError):
        return error
    if isinstance(error, _DENIED):
        return KafkaAccessDenied(
            f"{doing}: Kafka refused it: {error!r}",
            hint="kafka-acls.sh: the user needs Write and Describe on data topics and transactional id, and Read, "
            "Write, Describe, DescribeConfigs and (where we make them) Create on checkpoint and dead-letter topic",
        )
    if isinstance(error, kafka_errors.InvalidTransactionTimeout):
        return SinkError(
            f"{doing}: the broker allows no transaction that long",
            hint="raise the broker's transaction.max.timeout.ms, or lower our transaction timeout",
        )
    if isinstance(error, _WRONG_SETTINGS):
        return SinkError(
            f"{doing}: the broker refuses a setting: {error}", hint="compare kafka and topics in the config"
        )
    if isinstance(error, kafka_errors.IncompatibleBrokerVersion):
        return SinkError(f"{doing}: the broker is too old: {error}", hint="Kafka 3.0 or newer is needed")
    return None


async def _probe(address: KafkaAddress, host: str, port: int) -> SinkError | None:
    """Connect to one server and say what stands in the way; None if nothing does."""
    try:
        connection = await _connect(address, host, port)
    except _WHY_NOT as error:
        return _trouble(address, host, port, error)
    connection.close()
    return None


def _trouble(address: KafkaAddress, host: str, port: int, error: Exception) -> SinkError:
    """Our error for a server that could not be used."""
    where = f"Kafka at {host}:{port}"
    trouble: SinkError
    if isinstance(error, _BAD_CREDENTIALS):
        trouble = KafkaAccessDenied(
            f"{where} refuses user {address.username!r} with {address.mechanism or 'PLAIN'}: {error}",
            hint="check kafka.security: mechanism, username and password",
        )
    elif isinstance(error, ssl.SSLCertVerificationError):
        trouble = KafkaAccessDenied(
            f"{where}: its certificate is not trusted: {error.verify_message}",
            hint="kafka.security.ca must name the CA that signed the broker's certificate; the name must be in it",
        )
    elif isinstance(error, ssl.SSLError):
        trouble = KafkaUnavailable(
            f"{where} does not speak TLS with us: {error.reason or error}",
            hint=f"kafka.security.protocol is {address.protocol}: a plain listener, or no client certificate?",
        )
    else:
        trouble = KafkaUnavailable(
            f"{where} does not answer: {_words(error)}",
            hint=f"is a broker running, and is kafka.bootstrap_servers ({address}) right? "
            f"A listener with TLS or SASL closes a {address.protocol} connection at once: see kafka.security",
        )
    trouble.__cause__ = error
    return trouble


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return str(error) or type(error).__name__

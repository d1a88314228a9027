"""What we ask a Kafka cluster, apart from sending and reading records: topics, settings, offsets, transactional ids.

What one must know to change it:

* Topics are listed all together; asking for one by name may create it.
* High watermark and last stable offset are the same request (ListOffsets, time -1) with
  isolation level 0 and 1. A transaction that is open anywhere in a partition holds the
  stable offset down.
* Whether a transactional id is known is DescribeTransactions (API 65, Kafka 3.0+), which
  aiokafka lacks. It only reads: unlike InitProducerId it does not make the id known. It
  must go to the id's own coordinator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from aiokafka import errors as kafka_errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.protocol.admin import CreateTopicsRequest, DescribeConfigsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.offset import OffsetRequest
from aiokafka.protocol.types import CompactArray, CompactString, Int16, Int32, Int64, Schema, TaggedFields
from aiokafka.structs import TopicPartition

from cdc.errors import KafkaUnavailable
from cdc.kafka.client import RETRY_BACKOFF_MS, KafkaAddress, close_client, make_client

TRANSACTIONAL_ID_NOT_FOUND = 105
_TOPIC, _BROKER = 2, 4  # kinds of resources in DescribeConfigs
_EARLIEST, _LATEST = -2, -1
_APPEAR, _LOOK_EVERY = 10.0, 0.05
_T = TypeVar("_T")


class Offsets(NamedTuple):
    """Of a partition: its first offset, the last stable one (no open transaction below it), the high watermark."""

    begin: int
    stable: int
    end: int


class DescribeTransactionsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    """Version 0. The first field of a state is its error code."""

    API_KEY = 65
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "transaction_states",
            CompactArray(
                ("error_code", Int16),
                ("transactional_id", CompactString("utf-8")),
                ("transaction_state", CompactString("utf-8")),
                ("transaction_timeout_ms", Int32),
                ("transaction_start_time_ms", Int64),
                ("producer_id", Int64),
                ("producer_epoch", Int16),
                (
                    "topics",
                    CompactArray(
                        ("topic", CompactString("utf-8")),
                        ("partitions", CompactArray(Int32)),
                        ("tags", TaggedFields),
                    ),
                ),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class DescribeTransactionsRequestV0(RequestStruct):  # type: ignore[misc]
    """Version 0 on the wire."""

    API_KEY = 65
    API_VERSION = 0
    FLEXIBLE_VERSION = True
    RESPONSE_TYPE = DescribeTransactionsResponse
    SCHEMA = Schema(("transactional_ids", CompactArray(CompactString("utf-8"))), ("tags", TaggedFields))


class DescribeTransactionsRequest(Request[DescribeTransactionsRequestV0]):  # type: ignore[misc]
    """Asks a coordinator what it knows of transactional ids."""

    API_KEY = 65

    def __init__(self, transactional_ids: Iterable[str]) -> None:
        self._ids = list(transactional_ids)

    def build(self, request_struct_class: type[DescribeTransactionsRequestV0]) -> DescribeTransactionsRequestV0:
        """Make the form of a version."""
        return request_struct_class(self._ids, {})


class Cluster:
    """A connection for questions. Every call is bounded by `timeout`; aiokafka's errors pass through."""

    def __init__(self, address: KafkaAddress, *, timeout: float = 10.0) -> None:
        self.address = address
        self._timeout = timeout
        self._client: AIOKafkaClient | None = None
        self._doubtful = False
        self._connecting = asyncio.Lock()
        self.id = ""

    async def connect(self) -> None:
        """Connect, unless that is done."""
        async with self._connecting:  # several may ask at once, and one connection is kept
            if self._doubtful:
                await self.close()
            if self._client is not None:
                return
            client = make_client(self.address, self._timeout)
            try:
                async with asyncio.timeout(self._timeout):
                    await client.bootstrap()
            except BaseException:
                await close_client(client)
                raise
            self._client = client

    async def close(self) -> None:
        """Let go; connect() may follow."""
        client, self._client, self._doubtful = self._client, None, False
        if client is not None:
            await close_client(client)

    async def topics(self) -> dict[str, int]:
        """All topics and how many partitions each has."""
        answer = await self._ask(MetadataRequest(None))
        assert self._client is not None  # noqa: S101  # _ask has connected
        self._client.cluster.update_metadata(answer)
        self.id = answer.cluster_id or ""
        return {topic: len(partitions) for error, topic, _, partitions in answer.topics if not error}

    async def settings(self, topic: str) -> dict[str, str]:
        """A topic's settings, the broker's defaults included."""
        answer = await self._ask(DescribeConfigsRequest([(_TOPIC, topic, None)]))
        [(error, message, _, _, entries)] = answer.resources
        _check(error, f"settings of topic {topic}: {message}")
        return _entries(entries)

    async def settings_of(self, topics: Iterable[str]) -> dict[str, dict[str, str]]:
        """The settings of several topics; those that do not exist, or that we may not ask for, are left out."""
        answer = await self._ask(DescribeConfigsRequest([(_TOPIC, topic, None) for topic in topics]))
        return {topic: _entries(entries) for error, _, _, topic, entries in answer.resources if not error}

    async def broker_settings(self) -> dict[str, str]:
        """The settings of a broker; empty where we may not ask for them."""
        await self.connect()
        client = self._client
        assert client is not None  # noqa: S101
        node = client.get_random_node()
        answer = await self._ask(DescribeConfigsRequest([(_BROKER, str(node), None)]), node=node)
        [(error, _, _, _, entries)] = answer.resources
        return {} if error else _entries(entries)

    async def create(
        self, topic: str, partitions: int, replication_factor: int | None, settings: Mapping[str, str]
    ) -> bool:
        """Create a topic (without a factor: the broker's default). False if somebody else has just done so."""
        wish: tuple[Any, ...] = (topic, partitions, replication_factor or -1, [], list(settings.items()))
        controller = self._client and self._client.cluster.controller
        request = CreateTopicsRequest([wish], int(self._timeout * 1000), validate_only=False)
        answer = await self._ask(request, node=controller and controller.nodeId)
        [(_, error, *message)] = answer.topic_errors
        if error == kafka_errors.TopicAlreadyExistsError.errno:
            return False
        _check(error, f"creation of topic {topic}: {message}")
        return True

    async def appeared(self, *topics: str) -> dict[str, int]:
        """All topics, as soon as these, which were just created, are among them. Raises KafkaUnavailable."""
        try:
            async with asyncio.timeout(_APPEAR):
                while not (there := await self.topics()).keys() >= set(topics):  # noqa: ASYNC110 - only a listing tells
                    await asyncio.sleep(_LOOK_EVERY)
        except TimeoutError as error:
            raise KafkaUnavailable(
                f"{', '.join(topics)} was created but does not appear in the cluster's listing of topics",
                hint="see the broker's log; starting again goes on from here",
            ) from error
        return there

    async def offsets(self, topic: str) -> Offsets:
        """Offsets of the topic's partition 0, from its leader."""
        begin = await self._retried(lambda: self._offset(topic, 0, _EARLIEST))
        stable = await self._retried(lambda: self._offset(topic, 1, _LATEST))
        end = await self._retried(lambda: self._offset(topic, 0, _LATEST))
        return Offsets(begin, stable, end)

    async def knows(self, transactional_id: str) -> bool:
        """Has a producer with this transactional id ever been there (and not expired since)?"""
        return await self._retried(lambda: self._knows(transactional_id))

    async def _knows(self, transactional_id: str) -> bool:
        await self.connect()
        assert self._client is not None  # noqa: S101
        node = await self._bounded(self._client.coordinator_lookup(CoordinationType.TRANSACTION, transactional_id))
        answer = await self._ask(DescribeTransactionsRequest([transactional_id]), node=node)
        [(error, *_)] = answer.transaction_states
        if error == TRANSACTIONAL_ID_NOT_FOUND:
            return False
        _check(error, f"state of transactional id {transactional_id}")
        return True

    async def _offset(self, topic: str, isolation: int, when: int) -> int:
        leader = self._client and self._client.cluster.leader_for_partition(TopicPartition(topic, 0))
        if leader in (None, -1):
            raise kafka_errors.LeaderNotAvailableError(f"partition 0 of {topic}")
        answer = await self._ask(OffsetRequest(-1, isolation, [(topic, [(0, when)])]), node=leader)
        [(_, [(_, error, _, offset, *_)])] = answer.topics
        _check(error, f"offsets of {topic}")
        return int(offset)

    async def _retried(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Repeat a question while leader or coordinator are being found, within `timeout`."""
        async with asyncio.timeout(self._timeout):
            while True:
                try:
                    return await call()
                except kafka_errors.KafkaError as error:
                    if not error.retriable:
                        raise
                await asyncio.sleep(RETRY_BACKOFF_MS / 1000)
                await self.topics()

    async def _ask(self, request: Any, node: int | None = None) -> Any:
        """Send a request; on a lost connection connect anew and try once more."""
        for last in (False, True):
            await self.connect()
            client = self._client
            assert client is not None  # noqa: S101
            try:
                return await self._bounded(client.send(client.get_random_node() if node is None else node, request))
            except (kafka_errors.NodeNotReadyError, kafka_errors.KafkaConnectionError):
                if self._client is client:  # else somebody has connected anew already
                    await self.close()
                if last:
                    raise
        raise AssertionError  # not reached

    async def _bounded(self, answer: Coroutine[Any, Any, _T]) -> _T:
        """Wait for an answer. Where none came the connection may be dead: the next question gets a new one."""
        try:
            async with asyncio.timeout(self._timeout):
                return await answer
        except (TimeoutError, asyncio.CancelledError, kafka_errors.RequestTimedOutError):
            self._doubtful = True  # if it is silent for good, nobody would tell us for a quarter of an hour
            raise


def _entries(entries: Iterable[Sequence[Any]]) -> dict[str, str]:
    return {name: value or "" for name, value, *_ in entries}


def _check(code: int, doing: str) -> None:
    if code:
        raise kafka_errors.for_code(code)(f"{doing} (Kafka's error {code})")

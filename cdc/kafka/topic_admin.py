"""What `cdc topics` asks and does beyond `cluster`: copies, more partitions, other settings. Never deletes.

Settings are changed one by one (IncrementalAlterConfigs, API 44, which aiokafka lacks): the older AlterConfigs
sets back every setting of the topic that is not sent along.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from aiokafka import errors as kafka_errors
from aiokafka.protocol.admin import CreatePartitionsRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.metadata import MetadataRequest
from aiokafka.protocol.types import Array, Boolean, Int8, Int16, Int32, Schema, String

from cdc.errors import SinkError
from cdc.kafka.client import FOREIGN, KafkaAddress, explain
from cdc.kafka.cluster import Cluster

_TOPIC, _SET = 2, 0


class IncrementalAlterConfigsResponse(Response):  # type: ignore[misc]  # aiokafka has no types
    """Version 0."""

    API_KEY = 44
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "responses",
            Array(
                ("error_code", Int16),
                ("error_message", String("utf-8")),
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
            ),
        ),
    )


class IncrementalAlterConfigsRequestV0(RequestStruct):  # type: ignore[misc]
    """Version 0 on the wire."""

    API_KEY = 44
    API_VERSION = 0
    RESPONSE_TYPE = IncrementalAlterConfigsResponse
    SCHEMA = Schema(
        (
            "resources",
            Array(
                ("resource_type", Int8),
                ("resource_name", String("utf-8")),
                (
                    "configs",
                    Array(("name", String("utf-8")), ("config_operation", Int8), ("value", String("utf-8"))),
                ),
            ),
        ),
        ("validate_only", Boolean),
    )


class IncrementalAlterConfigsRequest(Request[IncrementalAlterConfigsRequestV0]):  # type: ignore[misc]
    """Sets single settings of one topic."""

    API_KEY = 44

    def __init__(self, topic: str, settings: Mapping[str, str]) -> None:
        self._resources = [(_TOPIC, topic, [(name, _SET, value) for name, value in settings.items()])]

    def build(self, request_struct_class: type[IncrementalAlterConfigsRequestV0]) -> IncrementalAlterConfigsRequestV0:
        """Make the form of a version."""
        return request_struct_class(self._resources, False)  # noqa: FBT003 - a field of the wire


@dataclass(frozen=True, slots=True)
class TopicState:
    """A topic as it is. `replication_factor` is the smallest of its partitions'."""

    partitions: int
    replication_factor: int
    settings: Mapping[str, str] = field(default_factory=dict)


class TopicAdmin(Cluster):
    """A cluster whose topics may be changed. Errors of aiokafka come out as ours."""

    def __init__(self, address: KafkaAddress, *, timeout: float = 15.0) -> None:
        super().__init__(address, timeout=timeout)

    async def all_topics(self) -> frozenset[str]:
        """The names of all topics. Raises SinkError."""
        try:
            return frozenset(await self.topics())
        except FOREIGN as error:
            raise await explain(self.address, error, "listing topics") from error

    async def is_known(self, transactional_id: str) -> bool:
        """Has a producer with this id ever been there? Raises SinkError."""
        try:
            return await self.knows(transactional_id)
        except FOREIGN as error:
            raise await explain(self.address, error, f"asking for transactional id {transactional_id}") from error

    async def states(self, topics: Iterable[str]) -> dict[str, TopicState]:
        """Those of the topics that exist. Raises SinkError."""
        try:
            answer = await self._ask(MetadataRequest(None))
            found = {topic: partitions for error, topic, _, partitions in answer.topics if not error}
            asked = [topic for topic in topics if topic in found]
            settings = await self.settings_of(asked) if asked else {}
        except FOREIGN as error:
            raise await explain(self.address, error, "reading topics and their settings") from error
        return {
            topic: TopicState(
                len(found[topic]),
                min((len(replicas) for _, _, _, replicas, *_ in found[topic]), default=0),
                settings.get(topic, {}),
            )
            for topic in asked
        }

    async def make(
        self, topic: str, partitions: int, replication_factor: int | None, settings: Mapping[str, str]
    ) -> None:
        """Create a topic and wait until it can be seen. Raises SinkError, also where somebody has just done so."""
        try:
            made = await self.create(topic, partitions, replication_factor, settings)
            await self.appeared(topic)  # who is told that it was made, may look at once
        except FOREIGN as error:
            raise await explain(self.address, error, f"creating topic {topic}") from error
        if not made:
            raise SinkError(f"topic {topic} has just been created by somebody else", hint="look again: cdc topics plan")

    async def grow(self, topic: str, partitions: int) -> None:
        """Give it more partitions. Raises SinkError."""
        try:
            request = CreatePartitionsRequest([(topic, (partitions, None))], 15_000, validate_only=False)
            answer = await self._ask(request, node=await self._controller())
        except FOREIGN as error:
            raise await explain(self.address, error, f"more partitions for topic {topic}") from error
        [(_, code, message)] = answer.topic_errors
        _refuse(code, message, f"more partitions for topic {topic}")

    async def change(self, topic: str, settings: Mapping[str, str]) -> None:
        """Set these settings; all others stay. Raises SinkError."""
        try:
            answer = await self._ask(IncrementalAlterConfigsRequest(topic, settings), node=await self._controller())
        except FOREIGN as error:
            raise await explain(self.address, error, f"changing the settings of topic {topic}") from error
        [(code, message, *_)] = answer.responses
        _refuse(code, message, f"changing the settings of topic {topic}")

    async def _controller(self) -> int | None:
        await self.topics()
        controller = self._client and self._client.cluster.controller
        return controller.nodeId if controller else None


def _refuse(code: int, message: str | None, doing: str) -> None:
    if code:
        raise SinkError(
            f"{doing}: Kafka refuses it: {message or kafka_errors.for_code(code).__name__} ({code})",
            hint="the user needs Alter and AlterConfigs on the topic; compare the value with Kafka's documentation",
        )

"""The file that `cdc topics` compares a cluster with: topics and their shapes; infra/kafka/topics.yaml is one.

What a topic does not say is in `defaults`. Settings are spelled as Kafka spells them; what is not said
anywhere is not compared, and is the broker's default in a new topic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError, WithJsonSchema

from cdc.errors import ConfigError
from cdc.settings import document, problems
from cdc.settings.quantities import Size
from cdc.settings.section import Section


def _text(value: object) -> object:
    """YAML's numbers and truth values as Kafka writes them."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, (int, float)) else value


SettingValue = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number", "boolean"]})]
TopicName = Annotated[str, StringConstraints(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]


class TopicShape(Section):
    """What a topic shall be like."""

    partitions: Annotated[int, Field(ge=1)] | None = Field(default=None, description="How many partitions")
    replication_factor: Annotated[int, Field(ge=1)] | None = Field(default=None, description="Copies of each")
    settings: dict[str, SettingValue] = Field(
        default_factory=dict, description="Kafka's topic settings, such as {retention.ms: 604800000}"
    )

    def over(self, defaults: TopicShape) -> TopicShape:
        """This, and from the defaults what is not said here."""
        return TopicShape(
            partitions=self.partitions or defaults.partitions,
            replication_factor=self.replication_factor or defaults.replication_factor,
            settings={**defaults.settings, **self.settings},
        )


class OwnTopicShape(Section):
    """What our own topics shall be like; they have one partition."""

    replication_factor: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Copies; the most of any topic of events where nothing is said"
    )
    settings: dict[str, SettingValue] = Field(default_factory=dict, description="Kafka's topic settings")


class TopicsFile(Section):
    """All of it."""

    largest_payload: Size | None = Field(
        default=None, description="The largest event, such as 1MiB: max.message.bytes must have room for it"
    )
    defaults: TopicShape = Field(default_factory=TopicShape, description="For topics of events")
    checkpoints: OwnTopicShape = Field(default_factory=OwnTopicShape, description="For the checkpoint topics")
    dead_letters: OwnTopicShape = Field(default_factory=OwnTopicShape, description="For the dead-letter topic")
    topics: dict[TopicName, TopicShape | None] = Field(
        default_factory=dict, description="Topics of events, such as {orders.v1: {partitions: 12}}"
    )

    def shape(self, topic: str) -> TopicShape:
        """What one topic shall be like."""
        return (self.topics.get(topic) or TopicShape()).over(self.defaults)


def load_topics(path: Path) -> TopicsFile:
    """Read and check such a file. Raises ConfigError with every mistake and its place."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}", hint="infra/kafka/topics.yaml is an example") from error
    read = document.read(text, str(path))
    try:
        if not read.problems:
            return TopicsFile.model_validate(read.data or {})
    except ValidationError as error:
        read.problems += problems.explain(error, read, TopicsFile)
    lines = [str(problem) for problem in sorted(read.problems, key=lambda problem: problem.place)]
    raise ConfigError("\n".join(lines), hint="infra/kafka/topics.yaml shows what is allowed")

"""What Kafka Connect answers, as models: one for each kind of body that its REST side sends.

Fields that a newer worker adds are kept and ignored; what an older one lacks has a default. A configuration is kept
out of every ``repr``: it may hold a password.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

State = Literal["RUNNING", "PAUSED", "STOPPED", "FAILED", "UNASSIGNED", "RESTARTING", "DESTROYED"]
Config = dict[str, str | None]


class Answer(BaseModel):
    """Base of all: immutable, and not picky about what it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Server(Answer):
    """``GET /``."""

    version: str
    commit: str = ""
    kafka_cluster_id: str = ""


class Health(Answer):
    """``GET /health``."""

    status: str
    message: str = ""

    @property
    def healthy(self) -> bool:
        """Is the worker ready for requests?"""
        return self.status == "healthy"


class TaskId(Answer):
    """A task of a connector, by number."""

    connector: str
    task: int


class Connector(Answer):
    """A connector as it was configured."""

    name: str
    config: Config = Field(repr=False)
    tasks: tuple[TaskId, ...] = ()
    type: str | None = None


class ConnectorState(Answer):
    """How the connector's own part is."""

    state: str
    worker_id: str = ""
    version: str | None = None
    trace: str | None = Field(default=None, repr=False)


class TaskState(ConnectorState):
    """How one task is."""

    id: int


class Status(Answer):
    """How a connector and its tasks are."""

    name: str
    connector: ConnectorState
    tasks: tuple[TaskState, ...] = ()
    type: str | None = None

    @property
    def failed(self) -> tuple[ConnectorState, ...]:
        """The parts that are FAILED, the connector's own first."""
        return tuple(part for part in (self.connector, *self.tasks) if part.state == "FAILED")


class Listed(Answer):
    """One entry of the list with ``expand``."""

    status: Status | None = None
    info: Connector | None = None


class TaskConfig(Answer):
    """What a task was told by its connector."""

    id: TaskId
    config: Config = Field(repr=False)


class Topics(Answer):
    """The topics a connector has used since they were last reset."""

    topics: tuple[str, ...] = ()


class Offset(Answer):
    """How far a connector has come in one partition of its source (a sink: of its topics); offset None removes it."""

    partition: dict[str, Any]
    offset: dict[str, Any] | None = None


class Offsets(Answer):
    """All offsets that Connect keeps for a connector."""

    offsets: tuple[Offset, ...] = ()


class Said(Answer):
    """A sentence of the worker."""

    message: str = ""


class Plugin(Answer):
    """A plug-in that the workers have."""

    class_: str = Field(alias="class")
    type: str
    version: str | None = None


class Definition(Answer):
    """An option of a plug-in."""

    name: str
    type: str = "STRING"
    required: bool = False
    default_value: str | None = None
    importance: str = ""
    documentation: str = ""
    group: str | None = None
    display_name: str | None = None
    order: int = 0


class Judged(Answer):
    """What the plug-in says of one option's value."""

    name: str
    value: str | None = Field(default=None, repr=False)
    errors: tuple[str, ...] = ()
    recommended_values: tuple[Any, ...] = ()
    visible: bool = True


class Option(Answer):
    """An option and what was said of its value."""

    definition: Definition | None = None
    value: Judged


class Validation(Answer):
    """What a plug-in says of a whole configuration."""

    name: str
    error_count: int = 0
    groups: tuple[str, ...] = ()
    configs: tuple[Option, ...] = ()

    @property
    def errors(self) -> dict[str, tuple[str, ...]]:
        """The options with mistakes; a sentence that a plug-in says twice stands once."""
        return {one.value.name: tuple(dict.fromkeys(one.value.errors)) for one in self.configs if one.value.errors}

    @property
    def definitions(self) -> dict[str, Definition]:
        """All options the plug-in knows, those of its transforms, predicates and converters included."""
        return {one.definition.name: one.definition for one in self.configs if one.definition}


class Logger(Answer):
    """The level of a logger; ``last_modified`` in milliseconds."""

    level: str | None = None
    last_modified: int | None = None

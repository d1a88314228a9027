"""Kafka Connect's REST side, one method for each endpoint of Connect 4.x.

Methods are named after what they do and take plain values; answers are the models of ``answers``. How a request
survives rebalances and dead workers is ``wire``'s business; what is said here is which requests may be sent twice.
Creating is the one that may not: after an attempt without an answer ``create`` looks whether the connector is there
with the configuration that was sent.

A name goes into a path percent-encoded. Connect accepts the creation of a connector with ``/`` in its name and can
then never be asked for it again, not even to delete it: such a name is refused here.

An error of the worker may quote what was sent: the secrets of a configuration are masked in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Self, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter, ValidationError

from cdc.connect.answers import (
    Config,
    Connector,
    Definition,
    Health,
    Listed,
    Logger,
    Offset,
    Offsets,
    Plugin,
    Said,
    Server,
    Status,
    TaskConfig,
    TaskState,
    Topics,
    Validation,
)
from cdc.connect.secret import Mask
from cdc.connect.wire import Address, Answering, Wire
from cdc.errors import ConnectError, ConnectorMissing, ConnectRefused, ConnectUnavailable

T = TypeVar("T")

_CONNECTORS = TypeAdapter(dict[str, Listed])
_PLUGINS = TypeAdapter(tuple[Plugin, ...])
_DEFINITIONS = TypeAdapter(tuple[Definition, ...])
_TASKS = TypeAdapter(tuple[TaskConfig, ...])
_TOPICS = TypeAdapter(dict[str, Topics])
_LOGGERS = TypeAdapter(dict[str, Logger])
_NAMES = TypeAdapter(tuple[str, ...])
_CONFIG = TypeAdapter(Config)
_CREATE_TRIES = 3


class Client:
    """A Connect cluster. Close it, or use it as a context."""

    def __init__(self, address: Address, *, answering: Answering | None = None) -> None:
        self._wire = Wire(address, answering=answering)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the connections."""
        self._wire.close()

    @property
    def urls(self) -> tuple[str, ...]:
        """The workers' addresses, without credentials."""
        return self._wire.urls

    # the worker

    def server(self) -> Server:
        """Version and Kafka cluster."""
        return self._get("/", Server.model_validate)

    def health(self, url: str | None = None) -> Health:
        """How a worker is now: healthy, unhealthy or starting; asked once."""
        status, content = self._wire.ask_once("/health", url)
        try:
            return Health.model_validate_json(content)
        except ValidationError:  # a worker that starts has no such page yet
            return Health(status="starting" if status == HTTPStatus.NOT_FOUND else f"HTTP {status}")

    # connectors

    def names(self) -> tuple[str, ...]:
        """All connectors."""
        return self._get("/connectors", _NAMES.validate_python)

    def connectors(self) -> dict[str, Listed]:
        """All connectors with their configuration and status; one that is deleted meanwhile may lack either."""
        reply = self._wire.send("GET", "/connectors?expand=status&expand=info")
        return _read(_CONNECTORS.validate_python, reply, "GET /connectors")

    def create(self, name: str, config: Mapping[str, str | None], *, initial_state: str | None = None) -> Connector:
        """Make a connector, RUNNING, PAUSED or STOPPED; ConnectorExists if the name is taken."""
        _path(name)
        body = {"name": name, "config": dict(config), **({"initial_state": initial_state} if initial_state else {})}
        with _masked(config):
            for tries in range(_CREATE_TRIES):
                try:
                    return _made(self._wire.send("POST", "/connectors", body=body, again=False))
                except ConnectUnavailable:
                    found = self._find(name)
                    if found is not None and found.config == {**config, "name": name}:
                        return found
                    if found is not None or tries == _CREATE_TRIES - 1:
                        raise
        raise AssertionError("the loop returns or raises")  # pragma: no cover

    def _find(self, name: str) -> Connector | None:
        try:
            return self.connector(name)
        except ConnectorMissing:
            return None

    def connector(self, name: str) -> Connector:
        """One connector."""
        return self._get(_path(name), Connector.model_validate)

    def config(self, name: str) -> Config:
        """Its configuration."""
        return self._get(f"{_path(name)}/config", _CONFIG.validate_python)

    def put_config(self, name: str, config: Mapping[str, str | None]) -> Connector:
        """Make the connector, or replace its whole configuration."""
        with _masked(config):
            return _made(self._wire.send("PUT", f"{_path(name)}/config", body=dict(config)))

    def patch_config(self, name: str, changes: Mapping[str, str | None]) -> Connector:
        """Change some options; None takes one away."""
        with _masked(changes):
            return _made(self._wire.send("PATCH", f"{_path(name)}/config", body=dict(changes)))

    def delete(self, name: str) -> bool:
        """Delete a connector; False if there was none. Its offsets stay in Kafka."""
        try:
            self._wire.send("DELETE", _path(name))
        except ConnectorMissing:
            return False
        return True

    def status(self, name: str) -> Status:
        """How the connector and its tasks are."""
        return self._get(f"{_path(name)}/status", Status.model_validate)

    def pause(self, name: str) -> None:
        """Pause: tasks stay assigned, and do nothing."""
        self._wire.send("PUT", f"{_path(name)}/pause")

    def resume(self, name: str) -> None:
        """Go on after pause or stop."""
        self._wire.send("PUT", f"{_path(name)}/resume")

    def stop(self, name: str) -> None:
        """Stop: tasks are given up; offsets may be altered."""
        self._wire.send("PUT", f"{_path(name)}/stop")

    def restart(self, name: str, *, include_tasks: bool = False, only_failed: bool = False) -> Status | None:
        """Restart the connector, its tasks too if asked; the status is what the worker is about to do."""
        query = {}
        if include_tasks or only_failed:
            query = {"includeTasks": str(include_tasks).lower(), "onlyFailed": str(only_failed).lower()}
        body = self._wire.send("POST", f"{_path(name)}/restart", query=query)
        return _read(Status.model_validate, body, f"POST {_path(name)}/restart") if body else None

    # tasks

    def tasks(self, name: str) -> tuple[TaskConfig, ...]:
        """The tasks, with what the connector told them."""
        return self._get(f"{_path(name)}/tasks", _TASKS.validate_python)

    def task_status(self, name: str, task: int) -> TaskState:
        """How one task is."""
        return self._get(f"{_path(name)}/tasks/{task}/status", TaskState.model_validate)

    def restart_task(self, name: str, task: int) -> None:
        """Restart one task."""
        self._wire.send("POST", f"{_path(name)}/tasks/{task}/restart")

    # topics and offsets

    def topics(self, name: str) -> tuple[str, ...]:
        """The topics it has used."""
        found = self._get(f"{_path(name)}/topics", _TOPICS.validate_python)
        return found[name].topics if name in found else ()

    def reset_topics(self, name: str) -> None:
        """Forget the topics it has used."""
        self._wire.send("PUT", f"{_path(name)}/topics/reset")

    def offsets(self, name: str) -> tuple[Offset, ...]:
        """How far it has come."""
        return self._get(f"{_path(name)}/offsets", Offsets.model_validate).offsets

    def alter_offsets(self, name: str, offsets: Iterable[Offset]) -> str:
        """Set offsets of a STOPPED connector, partition by partition; the worker's sentence."""
        body = {"offsets": [{"partition": one.partition, "offset": one.offset} for one in offsets]}
        reply = self._wire.send("PATCH", f"{_path(name)}/offsets", body=body)
        return _read(Said.model_validate, reply or {}, f"PATCH {_path(name)}/offsets").message

    def reset_offsets(self, name: str) -> str:
        """Forget all offsets of a STOPPED connector."""
        reply = self._wire.send("DELETE", f"{_path(name)}/offsets")
        return _read(Said.model_validate, reply or {}, f"DELETE {_path(name)}/offsets").message

    # plug-ins

    def plugins(self, *, connectors_only: bool = True) -> tuple[Plugin, ...]:
        """What the workers have: connectors, or converters, transforms and predicates too."""
        query = {"connectorsOnly": str(connectors_only).lower()}
        return _read(
            _PLUGINS.validate_python,
            self._wire.send("GET", "/connector-plugins", query=query),
            "GET /connector-plugins",
        )

    def definitions(self, plugin: str, *, version: str | None = None) -> tuple[Definition, ...]:
        """The options of a plug-in of any kind."""
        path = f"/connector-plugins/{quote(plugin, safe='')}/config"
        reply = self._wire.send("GET", path, query={"version": version} if version else None)
        return _read(_DEFINITIONS.validate_python, reply, f"GET {path}")

    def validate(self, config: Mapping[str, str | None]) -> Validation:
        """Let the plug-in judge a configuration; it may connect to its database for that."""
        plugin = quote(config.get("connector.class") or "", safe="")
        path = f"/connector-plugins/{plugin}/config/validate"
        with _masked(config):
            return _read(Validation.model_validate, self._wire.send("PUT", path, body=dict(config)), f"PUT {path}")

    # loggers

    def loggers(self) -> dict[str, Logger]:
        """The loggers of the worker that answers."""
        return self._get("/admin/loggers", _LOGGERS.validate_python)

    def logger(self, name: str) -> Logger:
        """One logger of the worker that answers."""
        return self._get(f"/admin/loggers/{quote(name, safe='')}", Logger.model_validate)

    def set_logger(self, name: str, level: str, *, cluster: bool = False) -> tuple[str, ...]:
        """Set a level, on the worker that answers (which names the loggers it changed) or on all."""
        path = f"/admin/loggers/{quote(name, safe='')}"
        reply = self._wire.send("PUT", path, body={"level": level}, query={"scope": "cluster" if cluster else "worker"})
        return _read(_NAMES.validate_python, reply or [], f"PUT {path}")

    def _get(self, path: str, model: Callable[[Any], T]) -> T:
        return _read(model, self._wire.send("GET", path), f"GET {path}")


def _path(name: str) -> str:
    if not name or "/" in name or "\\" in name:
        raise ConnectRefused(
            f"{name!r} is no name for a connector: Connect cannot be asked for one with a slash, or without a name",
            hint="use letters, digits, -, _ and .",
        )
    return f"/connectors/{quote(name, safe='')}"


def _made(body: Any) -> Connector:
    return _read(Connector.model_validate, body, "the connector")


def _read(model: Callable[[Any], T], body: Any, what: str) -> T:
    try:
        return model(body)
    except ValidationError as error:
        raise ConnectRefused(
            f"{what}: the answer is not Kafka Connect's ({error.error_count()} differences)",
            hint="is the URL the one of a Kafka Connect worker, version 3.6 or newer?",
        ) from error


@contextmanager
def _masked(config: Mapping[str, str | None]) -> Iterator[None]:
    """Take the secrets of a configuration out of an error's message."""
    try:
        yield
    except ConnectError as error:
        error.message = Mask((), config).text(error.message)
        error.args = (error.message,)
        raise

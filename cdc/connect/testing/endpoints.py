"""What the fake cluster answers at each endpoint, and the state behind it.

Each endpoint is a method, ``_on_`` and the word in ``_ROUTES``. Refusals are ``Refused``, worded as Connect words them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from cdc.connect.testing.plugins import OTHERS, FakePlugin, FakeTransform, validate

_WORKER = "connect:8083"
_LEVELS = ("OFF", "FATAL", "ERROR", "WARN", "INFO", "DEBUG", "TRACE")
_STATES = ("RUNNING", "PAUSED", "STOPPED")
_NOT_STOPPED = (
    "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the specified"
    " connector by issuing a 'PUT' request to the '/connectors/{}/stop' endpoint"
)
_INTERNAL = "org.apache.kafka.connect.runtime.rest.entities.CreateConnectorRequest"


class Refused(Exception):
    """An answer that is an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Part:
    """A connector's own part, or a task."""

    state: str = "RUNNING"
    trace: str | None = None


@dataclass
class Kept:
    """A connector."""

    config: dict[str, str | None]
    plugin: FakePlugin
    state: Part
    tasks: list[Part] = field(default_factory=list)
    offsets: list[tuple[dict[str, Any], dict[str, Any]]] = field(default_factory=list)
    topics: list[str] = field(default_factory=list)


@dataclass
class Request:
    """What was asked."""

    query: Mapping[str, list[str]]
    body: Any

    def flag(self, name: str) -> bool:
        """Is the option true?"""
        return self.query.get(name, [""])[0] == "true"


Answered = tuple[int, dict[str, str], Any]
"""Status, headers, and a body that is still data; None is none."""


class Endpoints:
    """A cluster without connectors; not safe for threads."""

    version = "4.1.2"

    def __init__(self, plugins: Sequence[FakePlugin]) -> None:
        self._plugins = tuple(plugins)
        self._connectors: dict[str, Kept] = {}
        self._loggers = {"root": "INFO"}

    def route(self, method: str, path: str, request: Request) -> Answered:
        """Answer, or raise Refused."""
        met = False
        for verb, pattern, endpoint in _ROUTES:
            found = re.fullmatch(pattern, path)
            if found and verb == method:
                answered: Answered = getattr(self, f"_on_{endpoint}")(request, *map(unquote, found.groups()))
                return answered
            met = met or bool(found)
        if met and method == "OPTIONS":
            return 200, {}, {}
        raise Refused(405, "HTTP 405 Method Not Allowed") if met else Refused(404, "HTTP 404 Not Found")

    def _find(self, name: str, message: str = "Connector {} not found") -> Kept:
        if name not in self._connectors:
            raise Refused(404, message.format(name))
        return self._connectors[name]

    def _info(self, name: str) -> dict[str, Any]:
        one = self._connectors[name]
        tasks = [{"connector": name, "task": number} for number in range(len(one.tasks))]
        return {"name": name, "config": one.config, "tasks": tasks, "type": one.plugin.type}

    def _status(self, name: str) -> dict[str, Any]:
        one = self._connectors[name]

        def shown(part: Part) -> dict[str, Any]:
            trace = {"trace": part.trace} if part.trace else {}
            return {"state": part.state, "worker_id": _WORKER, "version": one.plugin.version, **trace}

        tasks = [{"id": number, **shown(part)} for number, part in enumerate(one.tasks)]
        return {"name": name, "connector": shown(one.state), "tasks": tasks, "type": one.plugin.type}

    def _plugin(self, name: str, status: int = 400) -> FakePlugin:
        for plugin in self._plugins:
            if name in plugin.names:
                return plugin
        known = ", ".join(f"PluginDesc{{klass=class {plugin.class_}}}" for plugin in self._plugins)
        what = "Failed to find any class that implements Connector and which name matches"
        kind = "org.apache.kafka.connect.runtime.rest.errors.BadRequestException: " if status != 400 else ""  # noqa: PLR2004
        raise Refused(status, f"{kind}{what} {name}, available connectors are: {known}")

    def _judge(self, name: str, config: Any) -> tuple[FakePlugin, dict[str, str | None]]:
        """Refuse a configuration, or return it as it is kept."""
        if not isinstance(config, dict):
            raise Refused(500, 'Cannot invoke "java.util.Map.get(Object)" because "connectorConfig" is null')
        kept = {key: _text(value) for key, value in config.items()}
        if kept.setdefault("name", name) != name:
            other = kept["name"]
            raise Refused(
                400, f"Connector name configuration ({other}) doesn't match connector name in the URL ({name})"
            )
        class_ = kept.get("connector.class")
        if not class_:
            shown = ", ".join(f"{key}={value}" for key, value in sorted(kept.items()))
            raise Refused(400, f"Connector config {{{shown}}} contains no connector type")
        plugin = self._plugin(class_)
        wrong = [text for one in validate(plugin, kept)["configs"] for text in one["value"]["errors"]]
        if wrong:
            text = "\n".join(wrong)
            raise Refused(
                400,
                f"Connector configuration is invalid and contains the following {len(wrong)} error(s):\n{text}\n"
                "You can also find the above list of errors at the endpoint"
                " `/connector-plugins/{connectorType}/config/validate`",
            )
        return plugin, kept

    def _make(self, name: str, plugin: FakePlugin, config: dict[str, str | None], state: str) -> dict[str, Any]:
        self._connectors[name] = Kept(config, plugin, Part(state))
        made = self._info(name)  # tasks come a moment later
        if state != "STOPPED":
            self._connectors[name].tasks = [Part(state)]
        return made

    def _on_root(self, _: Request) -> Answered:
        return 200, {}, {"version": self.version, "commit": "c82fd9b934b4c1e6", "kafka_cluster_id": "fake"}

    def _on_health(self, _: Request) -> Answered:
        message = "Worker has completed startup and is ready to handle requests."
        return 200, {}, {"status": "healthy", "message": message}

    def _on_list(self, request: Request) -> Answered:
        wanted = request.query.get("expand")
        if not wanted:
            return 200, {}, sorted(self._connectors)
        made = {"status": self._status, "info": self._info}
        return 200, {}, {n: {k: made[k](n) for k in wanted if k in made} for n in self._connectors}

    def _on_create(self, request: Request) -> Answered:
        body = request.body
        for key in body:
            if key not in ("config", "name", "initial_state"):
                raise Refused(500, f'Unrecognized field "{key}" (class {_INTERNAL}), not marked as ignorable')
        state = body.get("initial_state") or "RUNNING"
        if state not in _STATES:
            raise Refused(500, f"Cannot construct instance of `{_INTERNAL}$InitialState`, problem: no {state}")
        name = body.get("name") or ""
        plugin, config = self._judge(name, body.get("config"))
        if name in self._connectors:
            raise Refused(409, f"Connector {name} already exists")
        return 201, {"Location": f"http://{_WORKER}/connectors/{name}"}, self._make(name, plugin, config, state)

    def _on_get(self, _: Request, name: str) -> Answered:
        self._find(name)
        return 200, {}, self._info(name)

    def _on_get_config(self, _: Request, name: str) -> Answered:
        return 200, {}, self._find(name).config

    def _on_put_config(self, request: Request, name: str) -> Answered:
        plugin, config = self._judge(name, request.body)
        if name not in self._connectors:
            return 201, {"Location": f"http://{_WORKER}/connectors/{name}"}, self._make(name, plugin, config, "RUNNING")
        one = self._connectors[name]
        one.config, one.plugin = config, plugin
        if one.state.state not in ("PAUSED", "STOPPED"):  # new configuration, new life
            one.state, one.tasks = Part(), [Part()]
        return 200, {}, self._info(name)

    def _on_patch_config(self, request: Request, name: str) -> Answered:
        merged = {**self._find(name).config, **request.body}
        request.body = {key: value for key, value in merged.items() if value is not None}
        return self._on_put_config(request, name)

    def _on_delete(self, _: Request, name: str) -> Answered:
        self._find(name)
        del self._connectors[name]
        return 204, {}, None

    def _on_status(self, _: Request, name: str) -> Answered:
        self._find(name, "No status found for connector {}")
        return 200, {}, self._status(name)

    def _on_pause(self, _: Request, name: str) -> Answered:
        one = self._find(name, "Unknown connector {}")
        one.state, one.tasks = Part("PAUSED"), [Part("PAUSED") for _ in one.tasks]
        return 202, {}, None

    def _on_resume(self, _: Request, name: str) -> Answered:
        one = self._find(name, "Unknown connector {}")
        one.state, one.tasks = Part(), [Part()]
        return 202, {}, None

    def _on_stop(self, _: Request, name: str) -> Answered:
        one = self._find(name, "Unknown connector {}")
        one.state, one.tasks = Part("STOPPED"), []
        return 204, {}, None

    def _on_restart(self, request: Request, name: str) -> Answered:
        one = self._find(name, "Unknown connector: {}")
        tasks, failed = request.flag("includeTasks"), request.flag("onlyFailed")
        told = self._status(name)
        for part, shown in [
            (one.state, told["connector"]),
            *(zip(one.tasks, told["tasks"], strict=True) if tasks else []),
        ]:
            if part.state == "FAILED" or not failed:
                shown["state"] = "RESTARTING"
                if part.state == "FAILED":
                    part.state, part.trace = "RUNNING", None
        return (202, {}, told) if tasks or failed else (204, {}, None)

    def _on_tasks(self, _: Request, name: str) -> Answered:
        one = self._find(name)
        class_ = one.plugin.class_.removesuffix("Connector") + "Task"
        told = {**one.config, "task.class": class_}
        return (
            200,
            {},
            [{"id": {"connector": name, "task": number}, "config": told} for number in range(len(one.tasks))],
        )

    def _on_task_status(self, _: Request, name: str, task: str) -> Answered:
        if name not in self._connectors or int(task) >= len(self._connectors[name].tasks):
            raise Refused(404, f"No status found for task {name}-{task}")
        return 200, {}, self._status(name)["tasks"][int(task)]

    def _on_restart_task(self, _: Request, name: str, task: str) -> Answered:
        one = self._find(name, "Unknown connector: {}")
        if int(task) >= len(one.tasks):
            raise Refused(404, f"Unknown task: {name}-{task}")
        one.tasks[int(task)] = Part()
        return 204, {}, None

    def _on_topics(self, _: Request, name: str) -> Answered:
        known = self._connectors.get(name)
        return 200, {}, {name: {"topics": known.topics if known else []}}

    def _on_reset_topics(self, _: Request, name: str) -> Answered:
        self._find(name).topics.clear()
        return 202, {}, None

    def _on_offsets(self, _: Request, name: str) -> Answered:
        return 200, {}, {"offsets": [{"partition": p, "offset": o} for p, o in self._find(name).offsets]}

    def _on_alter_offsets(self, request: Request, name: str) -> Answered:
        one = self._find(name)
        entries = request.body.get("offsets")
        if not entries:
            raise Refused(400, "Partitions / offsets need to be provided for an alter offsets request")
        if one.state.state != "STOPPED":
            raise Refused(400, _NOT_STOPPED.format(name))
        needed = "filename" if "FileStreamSource" in one.plugin.class_ else None
        for entry in entries:
            if not entry.get("partition"):
                raise Refused(500, "Partition objects cannot be null")
            if needed and needed not in entry["partition"]:
                raise Refused(500, f"Partition objects should contain the key '{needed}'")
        for entry in entries:
            put_offset(one.offsets, entry["partition"], entry.get("offset"))
        return 200, {}, {"message": _offsets_said(one.plugin, "altered")}

    def _on_reset_offsets(self, _: Request, name: str) -> Answered:
        one = self._find(name)
        if one.state.state != "STOPPED":
            raise Refused(400, _NOT_STOPPED.format(name))
        one.offsets.clear()
        return 200, {}, {"message": _offsets_said(one.plugin, "reset")}

    def _on_plugins(self, request: Request) -> Answered:
        only = request.query.get("connectorsOnly", ["true"])[0] != "false"
        found: tuple[FakePlugin | FakeTransform, ...] = (*self._plugins, *(() if only else OTHERS))
        return 200, {}, [{"class": one.class_, "type": one.type, "version": one.version} for one in found]

    def _on_definitions(self, request: Request, name: str) -> Answered:
        found: FakePlugin | FakeTransform | None = next((one for one in self._plugins if name in one.names), None)
        found = found or next((one for one in OTHERS if name == one.class_), None)
        if found is None:
            raise Refused(404, f"Unknown plugin {name}.")
        version = request.query.get("version", [found.version])[0]
        if version != found.version:
            range_ = f"[{version},{version}], available versions: [{found.version}]"
            raise Refused(400, f"Plugin {name} not found that matches the version range {range_}")
        return 200, {}, [known.body() for known in found.options]

    def _on_validate(self, request: Request, name: str) -> Answered:
        config = {key: _text(value) for key, value in (request.body or {}).items()}
        class_ = config.get("connector.class")
        plugin = self._plugin(class_ or name, status=500)
        if name not in plugin.names:
            raise Refused(400, f"Included connector type {class_} does not match request type {name}")
        return 200, {}, validate(plugin, config)

    def _on_loggers(self, _: Request) -> Answered:
        return 200, {}, {name: {"level": level, "last_modified": None} for name, level in self._loggers.items()}

    def _on_logger(self, _: Request, name: str) -> Answered:
        if name not in self._loggers:
            raise Refused(404, f"Logger {name} not found.")
        return 200, {}, {"level": self._loggers[name], "last_modified": None}

    def _on_set_logger(self, request: Request, name: str) -> Answered:
        level = (request.body or {}).get("level")
        if not level:
            raise Refused(400, "Desired 'level' parameter was not specified in request.")
        if level.upper() not in _LEVELS:
            raise Refused(404, f"invalid log level '{level}'.")
        scope = request.query.get("scope", ["worker"])[0]
        if scope not in ("worker", "cluster"):
            return 200, {}, []
        self._loggers[name] = level.upper()
        return (204, {}, None) if scope == "cluster" else (200, {}, [name])

    def _on_internal(self, _: Request, name: str) -> Answered:
        del name
        raise Refused(400, "Internal request missing required signature")


def _text(value: Any) -> str | None:
    """A value as Connect keeps it: numbers and booleans become text."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)


def put_offset(
    offsets: list[tuple[dict[str, Any], dict[str, Any]]], partition: dict[str, Any], offset: dict[str, Any] | None
) -> None:
    """Set one offset; None takes it away."""
    offsets[:] = [one for one in offsets if one[0] != partition]
    if offset is not None:
        offsets.append((partition, offset))


def _offsets_said(plugin: FakePlugin, done: str) -> str:
    if plugin.class_.startswith("org.apache.kafka.connect.file."):
        return f"The offsets for this connector have been {done} successfully"
    return (
        f"The Connect framework-managed offsets for this connector have been {done} successfully. However, if this"
        f" connector manages offsets externally, they will need to be manually {done} in the system that the connector"
        " uses."
    )


_ONE = r"/connectors/([^/]+)"
_ROUTES: tuple[tuple[str, str, str], ...] = (
    ("GET", r"/", "root"),
    ("GET", r"/health", "health"),
    ("GET", r"/connectors/?", "list"),
    ("POST", r"/connectors/?", "create"),
    ("GET", _ONE, "get"),
    ("DELETE", _ONE, "delete"),
    ("GET", _ONE + "/config", "get_config"),
    ("PUT", _ONE + "/config", "put_config"),
    ("PATCH", _ONE + "/config", "patch_config"),
    ("GET", _ONE + "/status", "status"),
    ("PUT", _ONE + "/pause", "pause"),
    ("PUT", _ONE + "/resume", "resume"),
    ("PUT", _ONE + "/stop", "stop"),
    ("POST", _ONE + "/restart", "restart"),
    ("GET", _ONE + "/tasks", "tasks"),
    ("POST", _ONE + "/tasks", "internal"),
    ("PUT", _ONE + "/fence", "internal"),
    ("GET", _ONE + r"/tasks/(\d+)/status", "task_status"),
    ("POST", _ONE + r"/tasks/(\d+)/restart", "restart_task"),
    ("GET", _ONE + "/topics", "topics"),
    ("PUT", _ONE + "/topics/reset", "reset_topics"),
    ("GET", _ONE + "/offsets", "offsets"),
    ("PATCH", _ONE + "/offsets", "alter_offsets"),
    ("DELETE", _ONE + "/offsets", "reset_offsets"),
    ("GET", r"/connector-plugins/?", "plugins"),
    ("GET", r"/connector-plugins/([^/]+)/config", "definitions"),
    ("PUT", r"/connector-plugins/([^/]+)/config/validate", "validate"),
    ("GET", r"/admin/loggers/?", "loggers"),
    ("GET", r"/admin/loggers/([^/]+)", "logger"),
    ("PUT", r"/admin/loggers/([^/]+)", "set_logger"),
)

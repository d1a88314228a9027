"""Kafka Connect as tests see it: where it is, a cluster of one's own to be hurt, and an independent look at it.

``Connect`` asks with the standard library only: neither our client nor its models take part in what it sees.
The fixture ``connect`` gives the stack's (`make up CONNECT=1`) where it runs, else one that is started once a run.
Never kill that one, others use it: ``start_connect(workers=2)`` makes a cluster that may be hurt.

A connector made through ``Connect.create`` is deleted when its context ends; ``debezium`` is the configuration of one.
"""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from infra.stack import Instance
from tests.servers import Database, Kafka, NotUpError, address, unique, until

_TOPICS = ("config", "offset", "status")


@dataclass
class Connect:
    """A cluster of Kafka Connect workers; the first is asked."""

    url: str
    kafka: Kafka
    workers: list[Instance] = field(default_factory=list)  # of a cluster of one's own: what can be killed
    group: str = ""
    options: tuple[str, ...] = ()

    @property
    def urls(self) -> list[str]:
        """All workers, for a client that knows more than one."""
        return [worker.address for worker in self.workers] or [self.url]

    def ask(self, method: str, path: str, body: Any = None, *, url: str | None = None) -> tuple[int, Any]:
        """One request; status and what came."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"{url or self.url}{path}", data=data, method=method, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=90) as answer:
                status, text = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text) if text else None
        except ValueError:
            return status, text.decode(errors="replace")

    def status(self, name: str) -> dict[str, Any]:
        """What the cluster says of a connector; ``{}`` where it knows none."""
        code, body = self.ask("GET", f"/connectors/{quote(name, safe='')}/status")
        return body if code == 200 else {}

    def states(self, name: str) -> list[str]:
        """The state of the connector, then those of its tasks."""
        status = self.status(name)
        return [status["connector"]["state"], *(task["state"] for task in status["tasks"])] if status else []

    def await_states(self, name: str, *states: str, seconds: float = 120) -> None:
        """Wait until connector and tasks are so: ``await_states(name, "RUNNING", "RUNNING")``."""
        until(
            f"{name} is {states}, not {self.status(name)}", lambda: self.states(name) == list(states), seconds=seconds
        )

    def offsets(self, name: str) -> list[dict[str, Any]]:
        """The offsets Connect keeps for the connector."""
        code, body = self.ask("GET", f"/connectors/{quote(name, safe='')}/offsets")
        assert code == 200, body
        return list(body["offsets"])

    def delete(self, name: str) -> None:
        """Delete a connector, if it is there; through a rebalance, too."""
        path = f"/connectors/{quote(name, safe='')}"
        until(f"{name} is gone", lambda: self.ask("DELETE", path)[0] in (204, 404), seconds=120, every=0.5)

    @contextmanager
    def create(self, name: str, config: Mapping[str, str], *, running: bool = True) -> Iterator[str]:
        """A connector for as long as the context lasts; with ``running`` it and one task run when it begins."""
        code, body = self.ask("POST", "/connectors", {"name": name, "config": dict(config)})
        assert code == 201, body
        try:
            if running:
                self.await_states(name, "RUNNING", "RUNNING")
            yield name
        finally:
            self.delete(name)

    def add_worker(self) -> Instance:
        """One more worker of this cluster, which must be of one's own."""
        assert self.group, "the shared cluster gets no second worker: use start_connect"
        topics = [f"{what}.storage.topic={self.group}-{what}" for what in _TOPICS]
        options = [f"bootstrap.servers={self.kafka.bootstrap}", f"group.id={self.group}", *topics]
        # a worker for tests lives for a minute: what the second compiler gains, it does not earn back
        worker = Instance.extra(
            unique("connect"), "connect", options=[*options, *self.options, "-XX:TieredStopAtLevel=1"]
        )
        self.workers.append(worker)
        worker.start()
        self.url = self.workers[0].address
        return worker

    def remove(self) -> None:
        """End a cluster of one's own, and delete what it kept in Kafka."""
        for worker in self.workers:
            worker.remove()
        self.kafka.delete_topic(*(f"{self.group}-{what}" for what in _TOPICS))


def shared_connect(kafka: Kafka) -> Connect:
    """The stack's Kafka Connect; NotUpError where there is none."""
    found = Connect(address("CDC_TEST_CONNECT"), kafka)
    try:
        code, body = found.ask("GET", "/health")
    except OSError as error:
        raise NotUpError(f"Kafka Connect does not answer at {found.url}: make up CONNECT=1") from error
    if code != 200:
        raise NotUpError(f"Kafka Connect at {found.url} says {body}: make up CONNECT=1")
    return found


def own_connect(kafka: Kafka, *, workers: int = 1, options: Sequence[str] = ()) -> Connect:
    """Start a cluster; end it with ``.remove()``."""
    cluster = Connect("", kafka, group=unique("workers"), options=tuple(options))
    try:
        for _ in range(workers):
            cluster.add_worker()
    except BaseException:
        cluster.remove()
        raise
    return cluster


def debezium(
    server: Database, kafka: Kafka, name: str, tables: Sequence[str], more: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The configuration of a Debezium connector with the Outbox Event Router over some tables, exactly once."""
    flavour = {"mysql": "mysql.MySqlConnector", "mariadb": "mariadb.MariaDbConnector"}[server.kind]
    topic = f"{name}.history"
    settings = {
        "connector.class": f"io.debezium.connector.{flavour}",
        "tasks.max": "1",
        "database.hostname": server.host,
        "database.port": str(server.port),
        "database.user": server.user,
        "database.password": server.password,
        "database.server.id": str(1_000_000 + int.from_bytes(name.encode()[-3:], "big")),
        "topic.prefix": name,
        "table.include.list": ",".join(tables),
        "snapshot.mode": "no_data",
        "poll.interval.ms": "50",
        "schema.history.internal.kafka.bootstrap.servers": kafka.bootstrap,
        "schema.history.internal.kafka.topic": topic,
        "exactly.once.support": "required",
        "extended.headers.enabled": "false",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        "transforms": "outbox",
        "transforms.outbox.type": "io.debezium.transforms.outbox.EventRouter",
    }
    return {**settings, **(more or {})}


def lines_source(folder: Path, topic: str, **more: str) -> dict[str, str]:
    """The configuration of Kafka's own file source: one task, which reads ``folder/in.txt``."""
    (folder / "in.txt").touch()
    return {
        "connector.class": "org.apache.kafka.connect.file.FileStreamSourceConnector",
        "tasks.max": "1",
        "file": str(folder / "in.txt"),
        "topic": topic,
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.storage.StringConverter",
        **more,
    }

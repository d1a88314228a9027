"""How Kafka Connect is fetched, configured, started and asked: one worker in distributed mode, with Debezium in it.

A worker needs a Kafka: its options must say ``bootstrap.servers=...``. Workers with the same ``group.id`` and the
same three topics (``config.storage.topic``, ``offset.storage.topic``, ``status.storage.topic``) are one cluster; by
default they are named after the worker's folder, so two workers that nobody told otherwise are two clusters.

Settings that tests rely on:

* ``exactly.once.source.support=enabled``.
* ``scheduled.rebalance.max.delay.ms=0``: what a dead worker did is given to the others at once, not after 5 minutes.
* The config providers ``file`` and ``env``: manifests refer to secrets, they do not hold them.
* ``plugin.path`` is a folder of links into the cache: each link is one plug-in with a class loader of its own.

The worker's own jars are Kafka's: the broker's tools bring ``connect-runtime``. A worker answers ``GET /`` before it
can do anything, so the question that counts is ``GET /health``.
Options of an instance are lines ``name=value`` of the worker's properties, or ``-X...`` for the JVM.
"""

import json
import os
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.stack.kafka import KAFKA, LOGGING, java, java_version
from infra.stack.maven import Jars
from infra.stack.places import HOST
from infra.stack.progress import Board
from infra.stack.tools import StackError

_WORKER = "org.apache.kafka.connect.cli.ConnectDistributed"
_PROVIDERS = "org.apache.kafka.common.config.provider"


@dataclass(frozen=True)
class Connect:
    """A worker of Kafka's version, with one version of Debezium."""

    kind: str
    debezium: str

    port_names = ("port",)

    @property
    def title(self) -> str:
        """What people call it."""
        return f"Kafka Connect {KAFKA.version_wanted}"

    def plugins(self, cache: Path) -> tuple[Jars, ...]:
        """Return the plug-ins, one folder of jars each."""
        kafka = KAFKA.version_wanted
        debezium = tuple(f"io.debezium:debezium-connector-{name}:{self.debezium}" for name in ("mysql", "mariadb"))
        return (
            Jars(f"Debezium {self.debezium}", f"debezium-{self.debezium}", debezium, cache),
            Jars(
                "Kafka's file connectors", f"connect-file-{kafka}", (f"org.apache.kafka:connect-file:{kafka}",), cache
            ),
        )

    def fetch(self, cache: Path, board: Board) -> None:
        """Fetch the jars, unless they are there."""
        java_version()
        for jars in (KAFKA.jars(cache), *self.plugins(cache)):
            jars.fetch(board)

    def prepare(self, cache: Path, home: Path, ports: Sequence[int], initial: Sequence[str]) -> None:
        """Make the folder of plug-ins; a worker keeps nothing else, all it knows is in Kafka."""
        del ports, initial
        links = home / "plugins"
        links.mkdir(parents=True, exist_ok=True)
        for jars in self.plugins(cache):
            link = links / jars.folder.name
            link.unlink(missing_ok=True)
            link.symlink_to(jars.folder)

    def marks(self, home: Path) -> tuple[str, ...]:
        """Return the words of the command line by which the running worker is known."""
        return (_WORKER, str(home / "worker.properties"))

    def command(
        self, cache: Path, home: Path, ports: Sequence[int], options: Sequence[str]
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment that start the worker."""
        for_jvm = [option for option in options if option.startswith("-")]
        settings = _settings(home, ports[0]) | dict(option.split("=", 1) for option in options if option not in for_jvm)
        if "bootstrap.servers" not in settings:
            raise StackError(f"{home.name}: no Kafka was named for it", "add the option bootstrap.servers=HOST:PORT")
        properties = home / "worker.properties"
        properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        logging = home / "log4j2.properties"
        logging.write_text(LOGGING)
        command = [
            *java("-Xms128m", "-Xmx768m", "-XX:+UseSerialGC", *for_jvm),
            f"-XX:ErrorFile={home / 'crash.log'}",
            f"-Dlog4j2.configurationFile={logging}",
            *("-cp", KAFKA.jars(cache).classpath, *self.marks(home)),
        ]
        return command, dict(os.environ)

    def version(self, ports: Sequence[int]) -> str | None:
        """Return the version once the worker has joined its group and is ready for requests, None before."""
        if _ask(ports[0], "/health").get("status") != "healthy":
            return None
        version = _ask(ports[0], "/").get("version")
        return f"{version} with Debezium {self.debezium}" if version else None

    def address(self, ports: Sequence[int]) -> str:
        """Return what clients are told: a URL."""
        return f"http://{HOST}:{ports[0]}"


def _settings(home: Path, port: int) -> dict[str, str]:
    cluster = f"connect-{home.name}"
    bytes_as_they_are = "org.apache.kafka.connect.converters.ByteArrayConverter"
    return {
        "group.id": cluster,
        "config.storage.topic": f"{cluster}-configs",
        "offset.storage.topic": f"{cluster}-offsets",
        "status.storage.topic": f"{cluster}-status",
        "config.storage.replication.factor": "1",
        "offset.storage.replication.factor": "1",
        "status.storage.replication.factor": "1",
        "offset.storage.partitions": "5",
        "status.storage.partitions": "2",
        "key.converter": bytes_as_they_are,
        "value.converter": bytes_as_they_are,
        "exactly.once.source.support": "enabled",
        "listeners": f"http://{HOST}:{port}",
        "rest.advertised.host.name": HOST,
        "plugin.path": str(home / "plugins"),
        "plugin.discovery": "service_load",
        "config.providers": "file,env",
        "config.providers.file.class": f"{_PROVIDERS}.FileConfigProvider",
        "config.providers.env.class": f"{_PROVIDERS}.EnvVarConfigProvider",
        "scheduled.rebalance.max.delay.ms": "0",
        "session.timeout.ms": "6000",  # the least a broker takes
        "heartbeat.interval.ms": "1000",
    }


def _ask(port: int, path: str) -> dict[str, Any]:
    """Return what the worker answers, nothing where it does not (yet)."""
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}{path}", timeout=5) as answer:
            return dict(json.load(answer))
    except (OSError, ValueError):  # HTTPError is an OSError
        return {}


CONNECT = Connect(kind="connect", debezium="3.4.0.Final")

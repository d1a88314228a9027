"""How Kafka is fetched, formatted, started and asked: one KRaft node, broker and controller in one process.

The version is on purpose 4.1.2: on one node, 4.2.0 to 4.3.1 leave transactions hanging when the broker
is killed at the wrong moment (KAFKA-20734). Settings that tests rely on:

* ``broker.session.timeout.ms=3000``: a killed node refuses its own registration until its old session
  has ended; with the default of 9 s every restart after a kill would take that long.
* ``auto.create.topics.enable`` stays at its default (on), as most clusters in the field have it: the
  tailer must cope with it.
* Replication 1 everywhere, or the internal topics could not be made on one node; few partitions in
  them, so that a restart after a kill has few logs to recover.

slf4j finds its logger by a jar (log4j-slf4j-impl) that the server's own dependencies do not bring.
Options of an instance are lines ``name=value`` of the server's properties, or ``-X...`` for the JVM.
"""

import base64
import os
import re
import shutil
import socket
import struct
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from infra.stack.maven import Jars
from infra.stack.places import HOST
from infra.stack.progress import Board
from infra.stack.tools import CommandError, StackError, output, require, run

_LOWEST_JAVA = 17
_API_VERSIONS = 18
_METADATA = 3
_CLIENT = b"cdc-stack"

LOGGING = """\
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{ISO8601} %p %m (%c)%n
rootLogger.level = INFO
rootLogger.appenderRef.out.ref = out
"""


@dataclass(frozen=True)
class Kafka:
    """One version of Kafka."""

    kind: str
    version_wanted: str

    port_names = ("port", "controller")

    @property
    def title(self) -> str:
        """What people call it."""
        return f"Kafka {self.version_wanted}"

    def jars(self, cache: Path) -> Jars:
        """Return the jars it is made of."""
        version = self.version_wanted
        coordinates = (
            f"org.apache.kafka:kafka_2.13:{version}",
            f"org.apache.kafka:kafka-tools:{version}",
            "org.apache.logging.log4j:log4j-slf4j-impl:2.25.3",
        )
        return Jars(self.title, f"kafka-{version}", coordinates, cache)

    def fetch(self, cache: Path, board: Board) -> None:
        """Fetch the jars, unless they are there."""
        java_version()
        self.jars(cache).fetch(board)

    def prepare(self, cache: Path, home: Path, ports: Sequence[int], initial: Sequence[str]) -> None:
        """Format the data folder before the first start; aside, so that it is either whole or not there."""
        data = home / "data"
        if data.exists():
            return
        fresh = home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        properties = home / "format.properties"
        _write_properties(properties, fresh, ports, initial)
        command = [
            *java("-Xmx256m", "-XX:TieredStopAtLevel=1"),
            *("-cp", self.jars(cache).classpath, "kafka.tools.StorageTool"),
            *("format", "--cluster-id", _cluster_id(), "--config", str(properties)),
        ]
        try:
            run(command, log=home / "format.log", deadline=60)
        except CommandError as error:
            raise StackError(f"{self.title}: formatting its data folder failed: {error}", error.hint) from error
        fresh.rename(data)

    def marks(self, home: Path) -> tuple[str, ...]:
        """Return the words of the command line by which the running server is known."""
        return ("kafka.Kafka", str(home / "server.properties"))

    def command(
        self, cache: Path, home: Path, ports: Sequence[int], options: Sequence[str]
    ) -> tuple[list[str], dict[str, str]]:
        """Return the command line and environment that start the server."""
        properties = home / "server.properties"
        for_jvm = [option for option in options if option.startswith("-")]
        _write_properties(properties, home / "data", ports, [option for option in options if option not in for_jvm])
        logging = home / "log4j2.properties"
        logging.write_text(LOGGING)
        command = [
            *java("-Xms256m", "-Xmx1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", *for_jvm),
            f"-XX:ErrorFile={home / 'crash.log'}",
            f"-Dlog4j2.configurationFile={logging}",
            *("-cp", self.jars(cache).classpath, *self.marks(home)),
        ]
        return command, dict(os.environ)

    def version(self, ports: Sequence[int]) -> str | None:
        """Return the version once the broker answers and counts itself among the living, None before."""
        return self.version_wanted if _has_broker(ports[0]) else None

    def address(self, ports: Sequence[int]) -> str:
        """Return what clients are told: a bootstrap server."""
        return f"{HOST}:{ports[0]}"


def java_version() -> str:
    """Return the version of Java, or raise the error that says which one is needed."""
    told = output([require("java"), "-version"])
    found = re.search(r'version "((\d+)[^"]*)"', told)
    if found is None or int(found[2]) < _LOWEST_JAVA:
        raise StackError(
            f"Kafka needs Java {_LOWEST_JAVA} or newer; this machine's says: {told.strip()}",
            "apt-get install openjdk-17-jre-headless",
        )
    return found[1]


def java(*options: str) -> list[str]:
    """Return the beginning of a command line of Java."""
    return [require("java"), *options, "-Djava.awt.headless=true"]


def _cluster_id() -> str:
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # it would be read as an option
            return text


def _write_properties(path: Path, data: Path, ports: Sequence[int], options: Sequence[str]) -> None:
    port, controller = ports
    settings = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller}",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"PLAINTEXT://{HOST}:{port}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(data),
        "broker.session.timeout.ms": "3000",
        "default.replication.factor": "1",
        "min.insync.replicas": "1",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "5",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "5",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "5",
        "group.initial.rebalance.delay.ms": "0",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
    }
    settings |= dict(option.split("=", 1) for option in options)
    path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))


def _request(connection: socket.socket, key: int, version: int, body: bytes) -> bytes:
    """Send one request of the Kafka protocol and return the answer after its correlation id."""
    request = struct.pack(">hhih", key, version, 1, len(_CLIENT)) + _CLIENT + body
    connection.sendall(struct.pack(">i", len(request)) + request)
    with connection.makefile("rb") as answer:
        (size,) = struct.unpack(">i", answer.read(4))
        return answer.read(size)[4:]


def _has_broker(port: int) -> bool:
    """Tell whether the broker there answers ApiVersions and lists itself in its metadata."""
    try:
        with socket.create_connection((HOST, port), timeout=3) as connection:
            (error,) = struct.unpack_from(">h", _request(connection, _API_VERSIONS, 0, b""))
            # version 1, no topics: the answer starts with the number of brokers that are not fenced
            (brokers,) = struct.unpack_from(">i", _request(connection, _METADATA, 1, struct.pack(">i", 0)))
    except (OSError, struct.error):
        return False
    return bool(error == 0 and brokers > 0)


KAFKA = Kafka(kind="kafka", version_wanted="4.1.2")

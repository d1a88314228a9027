"""A database and a broker to be killed, and a proxy before each, through which the tailers reach them.

The checker's own connections (writer, watcher, judge) go straight to the servers, so a cut or a
stall of the proxy is trouble of the tailer alone. A Kafka client goes where the broker's listener
sends it, so the broker has a listener for those who come through the proxy, which names the proxy.
"""

from contextlib import ExitStack
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from infra.stack import Instance
from infra.stack.places import HOST, choose_ports
from tests.proxy import Proxy
from tests.servers import Database, Kafka, unique


@dataclass(frozen=True)
class Site:
    """Servers as the checker reaches them, and the ways by which tailers do."""

    database: Database
    kafka: Kafka
    to_database: Proxy
    to_kafka: Proxy

    @property
    def far_database(self) -> Database:
        """The database behind its proxy."""
        return replace(self.database, url=f"mysql://{self.database.user}@{HOST}:{self.to_database.port}")

    @property
    def far_kafka(self) -> Kafka:
        """The broker behind its proxy."""
        return Kafka(f"{HOST}:{self.to_kafka.port}", self.kafka.instance)

    @property
    def broker(self) -> Instance:
        assert self.kafka.instance is not None
        return self.kafka.instance

    @property
    def server(self) -> Instance:
        assert self.database.instance is not None
        return self.database.instance

    def restore(self) -> None:
        """Everything runs and forwards, whatever a fault that went wrong has left."""
        for instance in (self.broker, self.server):
            instance.thaw()
            instance.start()
        for proxy in (self.to_database, self.to_kafka):
            proxy.resume()


class Grounds:
    """One broker and a database of each kind that is asked for; removed at the end.

    With a `name`, what a run of that name left behind when it was killed is removed first.
    """

    def __init__(self, name: str | None = None) -> None:
        self._name = name or unique("crash")
        self._exits = ExitStack()
        self._databases: dict[str, tuple[Database, Proxy]] = {}
        self._kafka: tuple[Kafka, Proxy] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._exits.close()

    def site(self, kind: str) -> Site:
        """The broker and the database of this kind, started at the first call."""
        if self._kafka is None:
            self._kafka = self._start_kafka()
        if kind not in self._databases:
            instance = self._start(kind)
            proxy = self._exits.enter_context(Proxy((HOST, instance.port)))
            self._databases[kind] = Database(kind, instance.address, instance), proxy
        return Site(self._databases[kind][0], self._kafka[0], self._databases[kind][1], self._kafka[1])

    def _start_kafka(self) -> tuple[Kafka, Proxy]:
        instance = self._made("kafka")
        plain, control = instance.ports
        inner = next(port for port in choose_ports(3) if port not in instance.ports)
        proxy = self._exits.enter_context(Proxy((HOST, inner)))
        both = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,FAR:PLAINTEXT"
        instance.options = [
            f"listeners=PLAINTEXT://{HOST}:{plain},CONTROLLER://{HOST}:{control},FAR://{HOST}:{inner}",
            f"advertised.listeners=PLAINTEXT://{HOST}:{plain},FAR://{HOST}:{proxy.port}",
            f"listener.security.protocol.map={both}",
            "-XX:TieredStopAtLevel=1",  # up sooner, and it starts often
        ]
        instance.start()
        return Kafka(instance.address, instance), proxy

    def _start(self, kind: str) -> Instance:
        instance = self._made(kind)
        instance.start()
        return instance

    def _made(self, kind: str) -> Instance:
        instance = Instance.extra(f"{self._name}-{kind}", kind)
        instance.remove()
        self._exits.callback(instance.remove)
        return instance

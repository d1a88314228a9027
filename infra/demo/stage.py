"""The demo's place on the stack: two schemas, two topics, one configuration file; new names every time.

New names because a source's checkpoint belongs to its name for good (a deleted checkpoint topic of a known source is an
error on purpose, never a fresh start). What earlier demos left is removed first, so the stack does not fill up.
Everything is made by ordinary means: the shop's outbox by ``cdc outbox ddl``, topics by Kafka's admin client.
"""

import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit
from uuid import UUID

import pymysql
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, NewTopic

from infra.demo.errors import DemoError
from infra.stack.places import REPOSITORY, Places

PARTITIONS = 4
_SCHEMAS = "demo_"
_TOPICS = ("demo.", "cdc.checkpoint.demo-")
_UP = "run `make demo`, or `make up` first"

_CONFIG = """\
# Written by the demo of {when}; it works for every cdc command: -c {file}
sources:
  {source}:
    url: {url}
    tables:
      {shop}.outbox: {{layout: native}}       # written with cdc.outbox
      {meetings}.outbox: {{layout: cqrs}}     # written by python-cqrs, which knows nothing of us
    start: latest
kafka:
  bootstrap_servers: ["{kafka}"]
http:
  listen: 127.0.0.1:0                         # any free port; the log says which
routes:
  - match: {{event_name: user_joined}}
    key: "$.payload.meetingId"                # python-cqrs's table has no key: take the meeting
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Names and addresses of this demo."""

    run: str
    database: str
    kafka: str
    folder: Path

    @classmethod
    def from_stack(cls) -> "Stage":
        """Read where the stack's servers are."""
        places = Places.from_environment()
        if not places.env.exists():
            raise DemoError(f"there is no {places.env}: the stack is not started", _UP)
        lines = (
            line.removeprefix("export ").split("=", 1) for line in places.env.read_text().splitlines() if "=" in line
        )
        env = {name.strip(): value.strip().strip("'\"") for name, value in lines}
        for name in ("CDC_TEST_MARIADB", "CDC_TEST_KAFKA"):
            if not env.get(name):
                raise DemoError(f"{places.env} has no {name}: that server is not started", _UP)
        folder = places.stack / "demo"
        folder.mkdir(parents=True, exist_ok=True)
        return cls(time.strftime("%m%d%H%M%S"), env["CDC_TEST_MARIADB"], env["CDC_TEST_KAFKA"], folder)

    @property
    def source(self) -> str:
        """The source's name."""
        return f"demo-{self.run}"

    @property
    def shop(self) -> str:
        """The schema of the shop."""
        return f"{_SCHEMAS}{self.run}_shop"

    @property
    def meetings(self) -> str:
        """The schema of the python-cqrs service."""
        return f"{_SCHEMAS}{self.run}_meetings"

    @property
    def orders_topic(self) -> str:
        """Where the shop's events go."""
        return f"demo.{self.run}.orders"

    @property
    def meetings_topic(self) -> str:
        """Where the python-cqrs service's events go."""
        return f"demo.{self.run}.meetings"

    @property
    def topics(self) -> tuple[str, str]:
        """Both."""
        return (self.orders_topic, self.meetings_topic)

    @property
    def checkpoint_topic(self) -> str:
        """Where the tailer keeps its place."""
        return f"cdc.checkpoint.{self.source}"

    @property
    def config(self) -> Path:
        """The tailer's configuration."""
        return self.folder / "cdc.yaml"

    @property
    def shown_config(self) -> str:
        """The same as a person in the repository would write it."""
        return str(self.config.relative_to(REPOSITORY) if self.config.is_relative_to(REPOSITORY) else self.config)

    def url(self, driver: str, schema: str) -> str:
        """Return a SQLAlchemy URL."""
        return f"mysql+{driver}://{urlsplit(self.database).netloc}/{schema}"

    def url_for_people(self, schema: str) -> str:
        """Return a URL for our commands; an empty password is written out, or they would ask for it."""
        account, _, server = urlsplit(self.database).netloc.rpartition("@")
        return f"mysql://{account}{'' if ':' in account else ':'}@{server}/{schema}"

    def connect(self) -> pymysql.Connection:
        """Open a connection of our own."""
        at = urlsplit(self.database)
        try:
            return pymysql.connect(
                host=at.hostname,
                port=at.port or 3306,
                user=unquote(at.username or "root"),
                password=unquote(at.password or ""),
                autocommit=True,
            )
        except pymysql.MySQLError as error:
            raise DemoError(f"MariaDB at {at.hostname}:{at.port} does not answer: {error}", _UP) from error

    def build(self, cdc: Sequence[str]) -> None:
        """Make schemas, the shop's outbox, topics and the configuration; remove those of earlier demos."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                "SELECT schema_name FROM information_schema.schemata WHERE schema_name LIKE %s", (r"demo\_%",)
            )
            for (old,) in cursor.fetchall():
                cursor.execute(f"DROP DATABASE `{old}`")
            for new in (self.shop, self.meetings):
                cursor.execute(f"CREATE DATABASE `{new}` CHARACTER SET utf8mb4")
            cursor.execute(_ddl(cdc, f"{self.shop}.outbox"))
        self._topics()
        self.config.write_text(
            _CONFIG.format(
                when=time.strftime("%Y-%m-%d %H:%M:%S"),
                file=self.shown_config,
                source=self.source,
                url=self.database,
                shop=self.shop,
                meetings=self.meetings,
                kafka=self.kafka,
            )
        )

    def _topics(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        try:
            old = [topic for topic in admin.list_topics(timeout=15).topics if topic.startswith(_TOPICS)]
            new = [NewTopic(topic, num_partitions=PARTITIONS, replication_factor=1) for topic in self.topics]
            for done in (admin.delete_topics(old) if old else {}).values():
                done.result(30)
            for done in admin.create_topics(new).values():
                done.result(30)
        except KafkaException as error:
            raise DemoError(f"Kafka at {self.kafka}: {error.args[0]}", _UP) from error

    def count(self) -> int:
        """Count the committed events of both tables."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(
                f"SELECT (SELECT COUNT(*) FROM `{self.shop}`.outbox) + (SELECT COUNT(*) FROM `{self.meetings}`.outbox)"  # noqa: S608 - our own names
            )
            return int(cursor.fetchone()[0])

    def rows(self) -> dict[UUID, bytes]:
        """Read the committed events of both tables, id to payload, from the tables themselves."""
        found: dict[UUID, bytes] = {}
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            for schema, column in ((self.shop, "event_id"), (self.meetings, "event_id_bin")):
                cursor.execute(f"SELECT {column}, payload FROM `{schema}`.outbox")  # noqa: S608 - our own names
                found |= {UUID(bytes=event): payload for event, payload in cursor.fetchall()}
        return found


def _ddl(cdc: Sequence[str], table: str) -> str:
    """Ask our own command for the table, as a newcomer would."""
    command = [*cdc, "outbox", "ddl", "--server", "mariadb", "--table", table]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode:
        raise DemoError(
            f"`{' '.join(command)}` failed: {done.stderr.strip()}", "is the installation whole? `make setup`"
        )
    return done.stdout

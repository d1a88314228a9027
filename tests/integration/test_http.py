"""What a running tailer says over HTTP, on real servers: ready means caught up, and each other word means what it says.

The database is one of the tests' own, behind a wire that can be narrow, frozen or cut.
"""

import asyncio
import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
import yaml
from click.testing import CliRunner
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from cdc.cli.root import root
from cdc.outbox.table import ddl
from tests.running import Process, Tailing, cdc
from tests.servers import Database, own_server, unique, until

PASSWORD = "hush-marker-4c1d"
PAYLOAD = "hush-payload-9e77"


class Wire:
    """A TCP wire to a server: `rate` bytes a second for each connection, 0 is frozen; `cut()` and `mend()`."""

    def __init__(self, port: int) -> None:
        self.target, self.rate, self.port = port, 1e12, 0
        self._loop = asyncio.new_event_loop()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.mend()

    def _do(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def mend(self) -> None:
        self._server = self._do(asyncio.start_server(self._connected, "127.0.0.1", self.port))
        self.port = self._server.sockets[0].getsockname()[1]

    def cut(self) -> None:
        async def cut():
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()

        self._do(cut())

    def end(self) -> None:
        self.cut()
        self._do(asyncio.sleep(0.05))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _connected(self, reader, writer):
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._writers -= {writer, back}

    async def _pass(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                while not self.rate:
                    await asyncio.sleep(0.02)
                await asyncio.sleep(len(data) / self.rate)
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    server = own_server("mariadb")
    server.run(
        f"CREATE USER cdc@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'",
        "GRANT REPLICATION SLAVE, REPLICATION CLIENT, SELECT ON *.* TO cdc@'127.0.0.1'",
    )
    yield server
    server.instance.remove()


@pytest.fixture
def wire(database):
    wire = Wire(database.port)
    yield wire
    wire.end()


@pytest.fixture
def tailing(database, wire, kafka, tmp_path):
    with database.fresh_schema() as schema:
        database.run(ddl("mariadb"), schema=schema)
        behind = Database("mariadb", f"mysql://cdc@127.0.0.1:{wire.port}")
        made = Tailing(
            tmp_path, behind, kafka, "shop", {f"{schema}.outbox": {}}, unique("p").replace("_", "-"), "latest"
        )
        made.source_more = {"password": PASSWORD}
        made.more = {"service": {"ready_lag": "1s"}}
        made.schema = schema
        yield made
        kafka.delete_topic(*(topic for topic in kafka.topics() if topic.startswith(f"{made.prefix}.checkpoint.")))


@contextlib.contextmanager
def running(tailing, *arguments, name="test") -> Iterator["Service"]:
    process = tailing.run("--log-format", "json", *arguments, name=name)
    try:
        yield Service(process)
    finally:
        process.stop()


class Service:
    def __init__(self, process: Process) -> None:
        self.process = process
        self.url = process.await_line("listening for health checks and metrics")["url"]

    def get(self, path: str, accept: str = "") -> tuple[int, str]:
        request = urllib.request.Request(f"{self.url}{path}", headers={"Accept": accept})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def word(self) -> str:
        code, text = self.get("/readyz")
        word = text.split("\n", 1)[0]
        assert code == (200 if word == "ready" else 503)
        return word

    def await_word(self, *words: str, seconds: float = 30) -> list[str]:
        """The words it says until one of these."""
        said: list[str] = []

        def reached() -> bool:
            if (word := self.word()) not in said[-1:]:
                said.append(word)
            return word in words

        until(f"/readyz says {words}, it said {said}", reached, seconds=seconds, every=0.02)
        return said

    def status(self, source: str = "shop"):
        return json.loads(self.get("/status")[1])["sources"][source]


def ask(*arguments):
    """`cdc tailer status` in this process."""
    return CliRunner().invoke(root, ["tailer", "status", *map(str, arguments)])


def insert(database, schema, topic, count=1, *, table="outbox", payload=PAYLOAD, name="x"):
    connection = database.connect(database=schema, autocommit=True)
    with connection.cursor() as cursor:
        for _ in range(count):
            cursor.execute(
                f"INSERT INTO {table} (event_name, topic, payload) VALUES (%s, %s, %s)", (name, topic, payload)
            )
    connection.close()


def test_ready_only_when_all_is_published(tailing, database, wire, kafka, new_topic):
    topic = new_topic()
    assert tailing.catch_up().code == 0
    insert(database, tailing.schema, topic, 20, payload="x" * 20_000)
    time.sleep(2.1)  # times in the log are whole seconds, and ready_lag is one
    wire.rate = 250_000
    with running(tailing) as service:
        said = service.await_word("ready")
        assert said[-2:] == ["catching-up", "ready"]
        assert set(said[:-2]) <= {"starting"}
        assert len(kafka.read_committed(topic)) == 20
        status = service.status()
        assert (status["events"], status["behind_bytes"], status["lag_seconds"]) == (20, 0, 0.0)
        assert status["position"]["position"] == tailing.show()["checkpoint"]["position"]


def test_stalled_then_disconnected_then_ready_again(tailing, database, wire, new_topic):
    topic = new_topic()
    with running(tailing) as service:
        service.await_word("ready")
        wire.rate = 0  # the connection stands, and nothing comes any more
        assert service.await_word("stalled", seconds=5)[-1] == "stalled"
        wire.rate = 1e12
        service.await_word("ready")
        database.instance.kill()
        assert service.await_word("disconnected")[-1] == "disconnected"
        status = service.status()
        assert status["last_error"]["error"] == "SourceUnavailable"
        assert status["last_error"]["hint"]
        assert 'cdc_source_connected{source="shop"} 0.0' in service.get("/metrics")[1]
        assert service.get("/livez") == (200, "ok\n")
        database.instance.start()
        service.await_word("ready")
        insert(database, tailing.schema, topic)
        until("the event is counted", lambda: service.status()["events"] == 1)
        assert service.status()["restarts"] >= 1


def test_one_works_and_one_stands_by(tailing):
    with running(tailing, name="one") as one:
        one.await_word("ready")
        with running(tailing, name="two") as two:
            assert two.await_word("standby")[-1] == "standby"
            assert two.status()["waiting_for"].startswith("one#")
            assert "waits for" in ask("--url", two.url).stdout
            assert one.word() == "ready"
            assert one.process.stop() == 0
            two.await_word("ready")
            assert two.status()["waiting_for"] is None


def test_stopped_and_fenced_sources_leave_the_others_running(tailing, database, new_topic):
    topic = new_topic()
    only = {**json.loads(tailing.config.read_text())["sources"]["shop"]}
    database.run(*(ddl("mariadb", table) for table in ("bad", "other")), schema=tailing.schema)
    tailing.more = {
        **tailing.more,
        "sources": {"shop": only}
        | {name: {**only, "tables": {f"{tailing.schema}.{name}": {"layout": "native"}}} for name in ("bad", "other")},
    }
    with running(tailing) as service:
        service.await_word("ready")
        insert(database, tailing.schema, "no-such-topic", table="bad")
        assert service.await_word("stopped")[-1] == "stopped"
        assert service.status("bad")["last_error"]["error"] == "TopicMissing"
        lines = service.get("/readyz")[1].splitlines()
        assert lines == ["stopped", "shop: tailing", "bad: stopped", "other: tailing"]
        insert(database, tailing.schema, topic)
        until("the others work", lambda: service.status()["events"] == 1)
        tailing.more = {"service": {"ready_lag": "1s"}}
        with running(tailing, "--take-over", name="newer") as newer:
            newer.await_word("ready")
            insert(database, tailing.schema, topic)
            assert service.await_word("fenced")[-1] == "fenced"
            assert service.status()["last_error"]["error"] == "Fenced"
            assert service.status("other")["state"] == "tailing"
            for path in ("/", "/status", "/metrics", "/readyz", "/livez"):
                shown = service.get(path)[1]
                assert PASSWORD not in shown
                assert PAYLOAD not in shown
        assert service.process.stop() == 6


def test_metrics_are_what_was_published(tailing, database, kafka, new_topic):
    first, second = new_topic(), new_topic()
    tailing.more = {
        **tailing.more,
        "on_error": "skip",
        "unrouted": "skip",
        "routes": [{"match": {"event_name": "x"}, "on_error": "skip"}],
    }
    with running(tailing) as service:
        service.await_word("ready")
        insert(database, tailing.schema, first, 30)
        insert(database, tailing.schema, second, 20)
        insert(database, tailing.schema, "no-such-topic", 3)
        insert(database, tailing.schema, first, 4, name="another")
        until("all are read", lambda: service.status()["transactions"] == 57)
        text = service.get("/metrics")[1]
        found = {(s.name, *sorted(s.labels.items())): s.value for f in prometheus(text) for s in f.samples}
        source = ("source", "shop")
        for topic, count in ((first, 30), (second, 20)):
            assert len(kafka.read_committed(topic)) == count
            assert found["cdc_records_committed_total", source, ("topic", topic)] == count
        assert found["cdc_rows_read_total", source, ("table", f"{tailing.schema}.outbox")] == 57
        assert found["cdc_rows_ignored_total", ("reason", "topic_missing"), source] == 3
        assert found["cdc_rows_ignored_total", ("reason", "unrouted"), source] == 4
        assert found["cdc_batch_records_sum", source] == 50
        assert found["cdc_batch_bytes_sum", source] == 50 * len(PAYLOAD)
        assert found["cdc_end_to_end_seconds_count", source] == 57
        assert found["cdc_source_connected", source] == found["cdc_source_ready", source] == 1
        assert found["cdc_source_state", source, ("state", "tailing")] == 1
        assert found["process_resident_memory_bytes",] > 0
        text = service.get("/metrics", accept="application/openmetrics-text")[1]
        assert "cdc_records_committed" in {family.name for family in openmetrics(text)}
        assert PAYLOAD not in text


def test_the_same_in_a_terminal(tailing, database, new_topic):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    tailing.more = {**tailing.more, "http": {"listen": f"127.0.0.1:{port}"}}
    nobody = ask("-c", tailing.config)
    assert nobody.exit_code == 1
    assert f"127.0.0.1:{port}" in nobody.stderr
    assert "hint:" in nobody.stderr
    with running(tailing) as service:
        service.await_word("ready")
        insert(database, tailing.schema, new_topic(), 7)
        until("the events are counted", lambda: service.status()["events"] == 7)
        table = cdc("tailer", "status", "-c", tailing.config)
        assert table.code == 0
        assert "tailing" in table.out
        assert "source shop" in table.out
        for said in (
            json.loads(ask("-c", tailing.config, "-o", "json").stdout),
            yaml.safe_load(ask("--url", f"127.0.0.1:{port}/", "-o", "yaml").stdout),
        ):
            assert said["ready"] is True
            assert said["sources"]["shop"]["events"] == 7
        in_use = tailing.catch_up()
        assert in_use.code == 2
        assert f"127.0.0.1:{port} is in use" in in_use.err
        assert "CDC_HTTP__LISTEN" in in_use.err
        assert "tailer started" not in in_use.err


def test_a_chosen_port_in_use_ends_the_start_the_default_gives_way_and_off_is_off(tailing):
    with socket.socket() as here:
        with contextlib.suppress(OSError):  # somebody else has it: as good
            here.bind(("127.0.0.1", 8080))
            here.listen()
        tailing.more = {"http": {"listen": "127.0.0.1:8080"}}
        ended = tailing.catch_up()
        assert ended.code == 2, ended.err
        assert "127.0.0.1:8080 is in use" in ended.err
        tailing.more = {"http": {}}  # nobody chose: a standby beside a working one needs no setting
        ended = tailing.catch_up()
        assert ended.code == 0, ended.err
        assert "the default port is in use" in ended.err
        tailing.more = {"http": {"listen": "off"}}
        ended = tailing.catch_up()
        assert ended.code == 0, ended.err
        assert "listening" not in ended.err
        asked = ask("-c", tailing.config)
        assert (asked.exit_code, "http.listen is off" in asked.stderr) == (2, True)

"""A row that Kafka does not take, in the middle of a transaction of five, and a tailer that dies at step after step.

    .venv/bin/python tests/crash/poison.py [--server mariadb|mysql|both]

Every kind of poison under every `on_error`, the tailer killed at each step on its way. What must come of it
is told by the table alone: with `stop` nothing of that transaction and nothing behind it until the
cause is mended, then all of it once; with `skip` all rows but the poison; with `dead_letter` one dead letter in its
place. The judge is the crash tests' own; a dead letter is to it the record of its row, after its key
and headers were compared with DESIGN's. `make poison` is this on servers of its own; a choice of it is
in `make test` (test_crash_refusals.py).
"""

import argparse
import json
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self
from uuid import UUID

sys.path[0] = str(Path(__file__).resolve().parents[2])

from confluent_kafka import KafkaError, KafkaException  # noqa: E402 - the path has to be right first
from prometheus_client.parser import text_string_to_metric_families  # noqa: E402

from tests.checker import reader, writer  # noqa: E402
from tests.checker.judge import Seen, Verdict, judge  # noqa: E402
from tests.checker.ledger import Entry, Ledger, mark_of, table_rows  # noqa: E402
from tests.checker.marks import Mark  # noqa: E402
from tests.checker.rows import TableRow, digest, expected  # noqa: E402
from tests.crash.arena import DYING, STUCK_AFTER, Stuck, tail_of  # noqa: E402
from tests.crash.site import Grounds  # noqa: E402
from tests.integration.test_kafka_refusals import set_topic  # noqa: E402
from tests.running import Ended, Process, Tailing  # noqa: E402
from tests.servers import Database, Kafka, until  # noqa: E402

NEEDS_DECISION = 6
PLACE = 2
"""Of the poison in its transaction, from 0."""
POLICIES = ("stop", "skip", "dead_letter")
BIG, OLD = 5000, 259_200
"""Bytes of a value, seconds of an age that a topic does not take."""
_OLDEST = "message.timestamp.before.max.ms"


class Kind(NamedTuple):
    """A way to be refused: the error, its `reason`, and the last word of the topic's name."""

    error: str
    reason: str
    topic: str


TOO_LARGE = Kind("RecordTooLarge", "record_too_large", "small")
INVALID = Kind("TopicInvalid", "topic_invalid", "not a name")
MISSING = Kind("TopicMissing", "topic_missing", "missing")
KEYLESS = Kind("KeyMissing", "key_missing", "compacted")
REFUSED = Kind("RecordRefused", "record_refused", "young")
"""Only the broker finds this one: its time is too long ago."""
KINDS = (TOO_LARGE, INVALID, MISSING, KEYLESS, REFUSED)

STEPS = ("fencing", "fenced", "opening", "opened", "read")
"""On the way to the batch that holds the poison."""
COMMITTING = ("beginning", "sending", "sent", "sent+2", "sent+6", "committed", "advanced")
PASSED_OVER = (*STEPS, "refused", "routed", *COMMITTING)
STOPPING = (*STEPS, "starting_over", "routed", *COMMITTING)
ASKING = ("doubt", "examining", "examined", "starting_over")
"""More steps, of what only the broker refuses."""


@dataclass
class Scene:
    """One source under one policy; use as a context. `poisons`: the number of a transaction to its poison's kind."""

    server: Database
    kafka: Kafka
    folder: Path
    policy: str
    kills: int = 0
    poisons: dict[int, Kind] = field(default_factory=dict)
    mended: set[Kind] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.name = writer.unique("poison")
        self.table, self.topics = f"{self.name}.outbox", f"on-{self.name}."
        self.written = 0
        self._where = writer.Server(self.server.host, self.server.port, self.server.user, self.server.password)
        self.folder.mkdir(parents=True, exist_ok=True)
        self._tailing = Tailing(
            self.folder, self.server, self.kafka, self.name, {self.table: {"layout": "native"}}, self.name, "latest"
        )
        self.letters_topic = f"{self.name}.dead-letters"

    def __enter__(self) -> Self:
        writer.make_tables(self._where, self.name, ["native"])
        for word, partitions, settings in (
            ("a", 2, {}),
            ("b", 1, {}),
            ("small", 1, {"max.message.bytes": "1000"}),
            ("compacted", 1, {"cleanup.policy": "compact"}),
            ("young", 1, {_OLDEST: "3600000"}),
        ):
            self.kafka.create_topic(self.topic(word), partitions, settings)
        self.expect_end(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.run(f"DROP DATABASE IF EXISTS {self.name}")
        self.kafka.delete_topic(*[topic for topic in self.kafka.topics() if self.name in topic])

    def topic(self, word: str) -> str:
        return f"{self.topics}{word}"

    # -- rows ------------------------------------------------------------------------------

    def write(self, poison: Kind | None = None) -> int:
        """Commit one transaction of five rows, its middle one a poison or as good as the others; its number."""
        self.written = number = self.written + 1
        if poison:
            self.poisons[number] = poison
        with self._where.connect() as connection, connection.cursor() as cursor:
            for index, word in enumerate(("a", "b", "a", "small", "a")):
                kind = poison if index == PLACE else None
                key = None if kind is KEYLESS else f"k{index % 2}"
                mark = Mark(0, number, index, 5, key, number * 10 + index, kept=True).text()
                payload = mark + "\n" + "x" * (BIG if kind is TOO_LARGE else 10)
                age = OLD if kind is REFUSED else 0
                cursor.execute(
                    f"INSERT INTO {self.table} (event_name, topic, event_key, payload, headers, created_at) VALUES "
                    "('x', %s, %s, %s, %s, UTC_TIMESTAMP(6) - INTERVAL %s SECOND)",
                    (self.topic(kind.topic if kind else word), key, payload, '{"trace": "1"}', age),
                )
            connection.commit()
        return number

    def log_end(self) -> tuple[int, int]:
        """Where the log ends: number of the file, and byte."""
        name, size, *_ = self.server.run("SHOW BINARY LOGS")[-1]
        return int(name.rpartition(".")[2]), size

    # -- tailers ---------------------------------------------------------------------------

    def die(self, moment: str, *arguments: str) -> None:
        """Start a tailer, and see it die at a moment."""
        command = [sys.executable, DYING, "-c", self._config(), "--instance", "test", "--until-caught-up", *arguments]
        process = Process.start(self.folder, [*command, "--die-at", moment])
        try:
            code = process.popen.wait(STUCK_AFTER)
        except subprocess.TimeoutExpired as error:
            process.kill()
            raise Stuck(f"{self.policy}: it did not come to {moment}:\n{tail_of(process)}") from error
        if code != -signal.SIGKILL:
            raise Stuck(f"{self.policy}: meant to die at {moment}, it ended with {code}:\n{tail_of(process)}")
        self.kills += 1

    def expect_end(self, code: int) -> Ended:
        """Publish what there is with `cdc tailer run`, which must end with this code."""
        self._config()
        ended = self._tailing.catch_up("--log-format", "json", seconds=STUCK_AFTER)
        assert ended.code == code, f"{self.policy}: it ended with {ended.code}, not {code}:\n{ended.err}"
        return ended

    def run(self) -> Process:
        """`cdc tailer run` as a service."""
        self._config()
        return self._tailing.run("--log-format", "json")

    def checkpoint(self) -> tuple[int, int]:
        """Number of the log's file, and byte."""
        shown = self._tailing.show()
        position = shown.get("checkpoint", shown)
        return int(position["file"].rpartition(".")[2]), position["position"]

    def _config(self) -> Path:
        more = {"on_error": self.policy}
        routes = [{"match": {"topic": self.topic("young")}, "timestamp": "created_at", **more}]
        if INVALID in self.mended:
            routes.append({"match": {"topic": self.topic(INVALID.topic)}, "topic": self.topic("a"), **more})
        self._tailing.more = {"routes": routes, **more}
        return self._tailing.config

    def mend(self, kind: Kind) -> None:
        """What the error's hint says: raise the topic's limit, make the topic, change the route, ..."""
        self.mended.add(kind)
        topic = self.topic(kind.topic)
        if kind is TOO_LARGE:
            set_topic(self.kafka, topic, max_message_bytes="100000")
        elif kind is MISSING:
            self.kafka.create_topic(topic)
        elif kind is KEYLESS:
            set_topic(self.kafka, topic, cleanup_policy="delete")
        elif kind is REFUSED:
            set_topic(self.kafka, topic, **{_OLDEST.replace(".", "_"): str(10**12)})

    # -- the verdict -----------------------------------------------------------------------

    def rows(self) -> list[TableRow]:
        """What SELECT finds, in the order of writing."""
        return sorted(table_rows(self._where, self.name, ["native"]), key=lambda row: mark_of(row).place)

    def judge(self, *, before: int | None = None) -> Verdict:
        """Compare Kafka with the table; `before`: only the transactions before this one may be there."""
        wanted = [row for row in self.rows() if before is None or mark_of(row).number < before]
        skipped, letters = [], {}
        for row in wanted:
            kind = self._kind(row)
            if kind and self.policy == "skip":
                skipped.append(row)
            elif kind and self.policy == "dead_letter":
                letters[row.event_id] = row
        ledger = Ledger([row for row in wanted if row not in skipped])
        for event_id in letters:
            ledger.entries[event_id] = ledger.entries[event_id]._replace(topic=self.letters_topic, headers=digest([]))
        self._reroute(ledger)
        there = [topic for topic in self.kafka.topics() if topic.startswith(self.topics)]
        return judge(ledger, [*self._seen(there), *self._letters(letters)], partitions={self.topic("a"): 2})

    def _seen(self, topics: Iterable[str]) -> list[Seen]:
        return reader.read_to_end(self.kafka.bootstrap, topics)

    def _kind(self, row: TableRow) -> Kind | None:
        mark = mark_of(row)
        kind = self.poisons.get(mark.number)
        return kind if mark.index == PLACE and kind not in self.mended else None

    def _reroute(self, ledger: Ledger) -> None:
        if INVALID not in self.mended:
            return
        for event_id, entry in ledger.entries.items():
            if entry.topic == self.topic(INVALID.topic):
                ledger.entries[event_id] = Entry(*entry)._replace(topic=self.topic("a"))

    def _letters(self, rows: dict[bytes, TableRow]) -> list[Seen]:
        """Dead letters as records of their rows, where key and headers are right; else as they are: phantoms."""
        if self.letters_topic not in self.kafka.topics():
            return []
        found = []
        for seen in self._seen([self.letters_topic]):
            source, _, rest = (seen.key or b"").decode().partition("/")
            row = rows.get(UUID(rest.partition("/")[0]).bytes)
            if row is None or source != self.name:
                found.append(seen._replace(value=b"a letter of nobody's row"))
                continue
            kind = self._kind(row)
            assert kind is not None
            wrong = letter_faults(seen, row, kind, self.table)
            found.append(seen._replace(key=row.key, headers=[(name, None) for name in wrong]))
        return found

    def visible(self) -> int:
        """The number of the last transaction of which a read_committed consumer sees anything, now."""
        there = [topic for topic in self.kafka.topics() if topic.startswith(self.topics)]
        left = set(reader.partitions_of(self.kafka.bootstrap, there))
        consumer, last = reader.consumer(self.kafka.bootstrap, list(left)), 0
        try:
            while left:
                for message in consumer.consume(1000, 0.2):
                    if (error := message.error()) is None:
                        last = max(last, json.loads(message.value().split(b"\n")[0])["number"])
                    elif error.code() == KafkaError._PARTITION_EOF:
                        left.discard((message.topic(), message.partition()))
                    else:
                        raise KafkaException(error)
        finally:
            consumer.close()
        return last

    def open_topics(self) -> set[str]:
        """The last word of the topics in which a Kafka transaction is open."""
        mine = [topic for topic in self.kafka.topics() if self.name in topic]
        return {re.split(r"[.]", topic)[-1] for topic in mine if self._is_open(topic)}

    def _is_open(self, topic: str) -> bool:
        return self.kafka.ends(topic) != self.kafka.ends(topic, stable=True)


def letter_faults(seen: Seen, row: TableRow, kind: Kind, table: str) -> list[str]:
    """What of a dead letter is not as DESIGN 4.5 has it."""
    has = dict(seen.headers)
    record = expected(row)
    made = kind in {TOO_LARGE, KEYLESS, REFUSED}  # else the row's own headers: there was no record
    headers = [(name, (value or b"").decode()) for name, value in record.headers]
    headers = headers if made else [(name, value) for name, value in headers if name == "trace"]
    right = {
        "key": re.fullmatch(rb"[^/]+/[0-9a-f-]{36}/[^/]+/%d" % (PLACE + 1), seen.key or b""),
        "reason": has.get("reason") == kind.reason.encode(),
        "error": has.get("error"),
        "table": has.get("table") == table.encode(),
        "position": re.fullmatch(rb"[^:]+:\d+", has.get("position") or b""),
        "original_topic": has.get("original_topic") == row.topic.encode(),
        "original_key": "original_key" in has and has["original_key"] == row.key,
        "original_headers": json.loads(has.get("original_headers") or b"null") == [list(pair) for pair in headers],
        "source": has.get("source") == (seen.key or b"").partition(b"/")[0],
        "part": (has.get("part"), has.get("parts")) == (b"1", b"1"),
    }
    return [name for name, is_right in right.items() if not is_right]


# -- what happens ------------------------------------------------------------------------------


def passed_over(scene: Scene, deaths: Iterable[tuple[Kind, str]]) -> Verdict:
    """`skip` and `dead_letter`: a poison and a death, again and again; a service that counts and logs; the verdict."""
    for kind, moment in deaths:
        scene.write()
        scene.write(kind)
        scene.write()
        scene.die(moment)
        # all of it is in one open Kafka transaction, the letter and the checkpoint, too; REFUSED is sent behind the others
        if moment == "sent" and kind is not REFUSED:
            wanted = {"a", "b", "small", scene.name} | ({"dead-letters"} if scene.policy == "dead_letter" else set())
            assert wanted <= scene.open_topics(), (scene.policy, scene.open_topics())
    scene.expect_end(0)
    process = scene.run()
    counted_and_logged(scene, process)
    assert process.stop() == 0, tail_of(process)
    return scene.judge()


def counted_and_logged(scene: Scene, process: Process) -> None:
    """Two more poisons, which the metrics of a running service count, and its log names."""
    url = process.await_line("listening for health checks and metrics")["url"]
    for kind in (TOO_LARGE, INVALID):
        scene.write(kind)
    name, words = {
        "skip": ("cdc_rows_ignored", "row passed over"),
        "dead_letter": ("cdc_dead_letters_parked", "row kept as a dead letter"),
    }[scene.policy]

    def counted() -> dict[str, float]:
        with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            samples = [sample for family in families if family.name == name for sample in family.samples]
            return {sample.labels["reason"]: sample.value for sample in samples if not sample.name.endswith("_created")}

    earlier = list(scene.poisons.values())[:-2] if scene.policy == "dead_letter" else []  # parked ones stay so
    wanted = {kind.reason: float(earlier.count(kind) + 1) for kind in (TOO_LARGE, INVALID)}
    until(f"{name} counts {wanted}", lambda: wanted.items() <= counted().items(), seconds=60)
    said = [line for line in process.said() if line["event"] == words]
    assert {line["error"] for line in said} == {TOO_LARGE.error, INVALID.error}, tail_of(process)


def stopped(scene: Scene, kind: Kind, moments: Iterable[str]) -> None:
    """`stop`: deaths before it, the same named error at every start, and all of it when the cause is mended."""
    for _ in range(12):  # each death behind a commit leaves fewer of them
        scene.write()
    poison = scene.write(kind)
    behind = scene.log_end()
    scene.write()
    for moment in moments:
        scene.die(moment)
        assert scene.visible() < poison, f"visible in spite of stop, after a death at {moment}"
    ended = scene.expect_end(NEEDS_DECISION)
    service = scene.run()  # which ends with the same code: it does not try again for ever
    try:
        assert service.popen.wait(STUCK_AFTER) == NEEDS_DECISION, tail_of(service)
    finally:
        service.kill()
    for words in (ended.err, service.log.read_text()):
        [said] = [json.loads(line) for line in words.splitlines() if '"source ended"' in line]
        assert (said["error"], bool(said["hint"])) == (kind.error, True), words
    assert scene.checkpoint() < behind
    verdict = scene.judge(before=poison)
    assert verdict.clean, str(verdict)
    scene.mend(kind)
    for moment in ("sending", "committed"):
        scene.die(moment)
    scene.expect_end(0)
    verdict = scene.judge()
    assert verdict.clean, str(verdict)


def all_stops(scene: Scene) -> Verdict:
    """Every kind under `stop`, one after the other on one source."""
    for kind in KINDS:
        stopped(scene, kind, STOPPING if kind is not REFUSED else (*STOPPING, *ASKING))
    return scene.judge()


def all_passed_over(scene: Scene) -> Verdict:
    """Every kind at every step."""
    deaths = [(kind, moment) for kind in KINDS for moment in PASSED_OVER]
    return passed_over(scene, [*deaths, *[(REFUSED, moment) for moment in ASKING]])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--server", choices=["mariadb", "mysql", "both"], default="both")
    given = parser.parse_args()
    clean = True
    with Grounds() as grounds, tempfile.TemporaryDirectory() as folder:
        for server in ("mariadb", "mysql") if given.server == "both" else (given.server,):
            site = grounds.site(server)
            for policy in POLICIES:
                play: Callable[[Scene], Verdict] = all_stops if policy == "stop" else all_passed_over
                began = time.monotonic()
                with Scene(site.database, site.kafka, Path(folder) / f"{server}-{policy}", policy) as scene:
                    verdict = play(scene)
                words = f"{server}, {policy}: {scene.kills} kills around {len(scene.poisons)} poisons, "
                print(f"{words}{time.monotonic() - began:.0f} s: {verdict}", flush=True)
                clean &= verdict.clean
    return not clean


if __name__ == "__main__":
    sys.exit(main())

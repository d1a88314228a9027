"""One run: own tables, own topics, an own source, a writer, a watcher; and at the end the verdict.

The tailers are processes: `cdc tailer run`, or the program in tailer.py that dies at a step.
With a `Site` they reach their servers through its proxies. The judge knows only what it reads
from the database and from Kafka.

Nothing here waits for a fixed time to be enough: waits end when something is seen, and their
limits only tell "slow" from "stuck".
"""

import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.checker import reader, writer
from tests.checker.judge import Seen, Verdict, judge
from tests.checker.ledger import Ledger
from tests.crash.site import Site
from tests.running import Process, Tailing
from tests.servers import Database, Kafka

STUCK_AFTER = 120.0
VISIBLE_WITHIN = 60.0
"""Seconds after the last fault, and after the last record, in which all must have become visible."""
DYING = Path(__file__).with_name("tailer.py")
CLOCKS_APART = 5_000


class Stuck(AssertionError):
    """Something that had to happen has not."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to. `unlike_live`: partitions in which a later reader saw other records than the live one."""

    verdict: Verdict
    written: int
    rate: float
    doubts: int
    spread: float
    unlike_live: int

    @property
    def clean(self) -> bool:
        return self.verdict.clean and not self.unlike_live

    def __str__(self) -> str:
        return (
            f"{self.verdict}\n  written at {self.rate:.0f} transactions/s, {self.doubts} doubtful commits settled, "
            f"largest live spread {self.spread:.2f} s, {self.unlike_live} partitions unlike the live view"
        )


class Arena:
    """Use as a context; start the writer, tail, kill, and settle().

    `tailer` is the one that works, `instance` its name; see working().
    """

    def __init__(
        self,
        server: Database,
        kafka: Kafka,
        folder: Path,
        *,
        seed: str = "0",
        layouts: tuple[str, ...] = ("native",),
        rate: float = 500.0,
        start: str = "earliest",
        mix: dict[str, int] | None = None,
        site: Site | None = None,
    ) -> None:
        self.server, self.kafka, self.layouts, self.site = server, kafka, layouts, site
        self.name = writer.unique("crash")
        self.topics = {f"check.{self.name}.{part}": count for part, count in (("a", 4), ("b", 3), ("c", 1))}
        self.where = writer.Server(server.host, server.port, server.user, server.password)
        self.writer = writer.Writer(self.where, self.name, list(self.topics), seed, layouts, rate, mix=mix)
        tables = {writer.table(self.name, layout): {"layout": layout} for layout in layouts}
        folder.mkdir(parents=True, exist_ok=True)
        far = (site.far_database, site.far_kafka) if site else (server, kafka)
        self.tailing = Tailing(folder, *far, self.name, tables, self.name, start)
        self.tailer: Process | None = None
        self.instance = "one"
        self._began = int(time.time() * 1000)
        self._running: list[Process] = []
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as made:
            self._begin_log()
            made.callback(self.server.run, f"DROP DATABASE IF EXISTS {self.name}")
            writer.make_tables(self.where, self.name, self.layouts)
            made.callback(self._delete_topics)
            reader.make_topics(self.kafka.bootstrap, self.topics)
            self.watcher = made.enter_context(reader.Watcher(self.kafka.bootstrap, self.topics))
            made.callback(self._end_processes)
            self._exits = made.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.writer.stop()
        finally:
            self._exits.close()

    # -- tailers ---------------------------------------------------------------------------

    def tail(self, *arguments: str, name: str = "one") -> Process:
        """Start `cdc tailer run`."""
        return self._noted(self.tailing.run("--log-format", "json", *arguments, name=name))

    def tail_to(self, moment: str, *arguments: str, name: str = "one") -> Process:
        """Start a tailer that dies at a moment, see tailer.py."""
        return self._made_to("--die-at", moment, "--instance", name, *arguments)

    def tail_holding(self, seconds: float, *, name: str = "one") -> Process:
        """Start a tailer that holds a Kafka transaction open for so long, see tailer.py."""
        return self._made_to("--hold", seconds, "--instance", name)

    def _made_to(self, *arguments: object) -> Process:
        command = [sys.executable, DYING, "-c", self.tailing.config, *arguments]
        return self._noted(Process.start(self.tailing.folder, command))

    def working(self) -> Process:
        """The tailer that works, started and waited for if there is none."""
        if self.tailer is None:
            since = self.now()
            self.tailer = self.tail(name=self.instance)
            self.await_flow(self.tailer, since)
        return self.tailer

    def now(self) -> dict[int, int]:
        """Where the writer is: what it begins from here on is behind this."""
        return dict(self.writer.reached)

    def await_flow(self, process: Process, since: dict[int, int]) -> float:
        """Wait until something that was begun after `since` (of now()) is visible; the seconds it took."""
        began = time.monotonic()
        while not any(number > since.get(writer, 0) + 1 for writer, number in self.watcher.newest.copy().items()):
            self.watcher.check()
            if process.popen.poll() is not None:
                raise Stuck(f"the tailer ended with {process.popen.returncode}:\n{tail_of(process)}")
            if self.writer.failures:
                raise self.writer.failures[0]
            if time.monotonic() - began > STUCK_AFTER:
                raise Stuck(f"nothing came in {STUCK_AFTER:.0f} s:\n{tail_of(process)}")
            time.sleep(0.01)
        return time.monotonic() - began

    def await_records(self) -> None:
        """Wait until as many records came as the writer, which has ended, has kept rows."""
        wanted = sum(rows for promise, rows in self.writer.book.values() if promise == writer.KEPT)
        if not self.watcher.wait_for(wanted, STUCK_AFTER):
            said = "\n\n".join(map(tail_of, self._running))
            raise Stuck(f"{self.watcher.count} of {wanted} records came in {STUCK_AFTER:.0f} s:\n{said}")

    def await_end(self, process: Process, seconds: float = STUCK_AFTER) -> int:
        """The exit code of a process that must end by itself."""
        try:
            return process.popen.wait(seconds)
        except subprocess.TimeoutExpired as error:
            raise Stuck(f"it did not end in {seconds:.0f} s:\n{tail_of(process)}") from error

    def retire(self) -> None:
        """An ordinary stop of the tailer that works, if there is one."""
        process, self.tailer = self.tailer, None
        if process is not None:
            process.popen.terminate()
            code = self.await_end(process)
            assert code == 0, f"an ordinary stop ended with {code}:\n{tail_of(process)}"

    def catch_up(self, *arguments: str) -> None:
        """An ordinary start that publishes everything there is."""
        process = self.tail("--until-caught-up", *arguments, name=self.instance)
        code = self.await_end(process)
        assert code == 0, f"catching up ended with {code}:\n{tail_of(process)}"

    # -- the end ---------------------------------------------------------------------------

    def settle(self) -> Outcome:
        """End the writer and the tailer, publish what is left with an ordinary start, and judge."""
        self.writer.stop()
        self.retire()
        self.catch_up()
        return self.judge()

    def judge(self) -> Outcome:
        """Compare what Kafka shows now with what the tables hold. The writer must have ended."""
        ledger = Ledger.read(self.where, self.name, self.layouts)
        doubts = ledger.compare(self.writer.book)
        records = self.records()
        self.watcher.wait_for(len(records), 30)
        times = self._began - CLOCKS_APART, int(time.time() * 1000) + CLOCKS_APART
        verdict = judge(ledger, records, partitions=self.topics, times=times)
        return Outcome(
            verdict, self.writer.written, self.writer.achieved, doubts, self.watcher.spread, self._unlike(records)
        )

    def records(self) -> list[Seen]:
        """Everything a read_committed consumer sees now. What stays hidden is a fault (EndHidden)."""
        return reader.read_to_end(self.kafka.bootstrap, self.topics, patience=VISIBLE_WITHIN)

    def genesis_records(self) -> int:
        """How often this source was founded."""
        found = reader.read_to_end(self.kafka.bootstrap, [self.tailing.checkpoint_topic])
        return sum(record.key == f"{self.name}/genesis".encode() for record in found)

    def _unlike(self, records: list[Seen]) -> int:
        later: dict[tuple[str, int], list[int]] = {at: [] for at in self.watcher.trail}
        for record in records:
            later[record.topic, record.partition].append(record.offset)
        return sum(offsets != self.watcher.trail[at] for at, offsets in later.items())

    def _begin_log(self) -> None:
        """Leave one new file of the log: `earliest` begins at the oldest; the server is ours alone."""
        for _ in range(3):
            self.server.run("FLUSH BINARY LOGS")
            files = [file for file, *_ in self.server.run("SHOW BINARY LOGS")]
            self.server.run(f"PURGE BINARY LOGS TO '{files[-1]}'")
            if len(self.server.run("SHOW BINARY LOGS")) == 1:
                return
            # MariaDB keeps files that a recovered XA transaction has ended in, up to its next start.
            assert self.server.instance is not None
            self.server.instance.restart()
        raise Stuck(f"the server keeps its old logs: {files}")

    def _noted(self, process: Process) -> Process:
        self._running.append(process)
        return process

    def _end_processes(self) -> None:
        for process in self._running:
            if process.popen.poll() is None:
                process.kill()

    def _delete_topics(self) -> None:
        there = reader.topic_names(self.kafka.bootstrap)
        mine = [name for name in (*self.topics, self.tailing.checkpoint_topic) if name in there]
        reader.delete_topics(self.kafka.bootstrap, mine)


def tail_of(process: Process) -> str:
    """The end of what a process said."""
    return process.log.read_text(errors="replace")[-3000:]

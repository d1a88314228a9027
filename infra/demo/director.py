"""``make demo``, scene by scene. Every scene ends in something that was found, not in something that is claimed.

1. The stage: schemas, tables, topics, a configuration file (``stage.py``).
2. The tailer starts; its first checkpoint is read from Kafka, so everything written from here on is its to publish.
3. Two services work: the shop with ``cdc.outbox``, meetings with python-cqrs; some of their work is rolled back.
4. What a ``read_committed`` consumer received, as a table, compared with the rows.
5. A burst of 10,000 events; at about a third of it, as Kafka shows it, the tailer gets SIGKILL. Then a new consumer
   counts what is committed: between 5 and 95 %, or the scene is played again with another burst.
6. The tailer starts again, the burst ends, the tailer is stopped (SIGTERM: drained), and all records ever are compared
   with all rows ever: lost, twice, never committed, altered, out of order.

Ends with 0, or with 1 and one sentence that says what was not as promised.
"""

import fcntl
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from uuid import UUID

from infra.demo.crew import CDC, INSTANCE, Crew, Service
from infra.demo.errors import DemoError, StalledError
from infra.demo.records import Received, follow, judge, reader
from infra.demo.screen import Screen, shorten
from infra.demo.stage import PARTITIONS, Stage
from infra.stack.places import REPOSITORY

BURST = 10_000
BURST_OF_MEETINGS = 2_000
KILL_AT = BURST // 3
FEWEST, MOST = 0.05, 0.95
BURSTS = 3
PATIENCE = 45.0
"""Seconds without a new record after which the demo gives up."""
_COUNT_EVERY = 0.5


class Director:
    """Plays the scenes."""

    def __init__(self, stage: Stage, crew: Crew, screen: Screen) -> None:
        self.stage = stage
        self.crew = crew
        self.screen = screen

    def play(self) -> None:
        """All scenes."""
        self.set_up()
        self.start()
        rolled_back = self.work()
        self.show(rolled_back)
        self.burst()
        self.next_steps()

    def set_up(self) -> None:
        """Scene 1."""
        stage = self.stage
        self.screen.scene("1. Two services' databases, and where their events shall go")
        stage.build(CDC)
        tables = self.crew.meetings("tables")
        with self.screen.waiting("python-cqrs makes its table") as tick:
            tables.lines(tick)
        self.screen.say(f"{stage.shop}.outbox      made by `cdc outbox ddl`, written with cdc.outbox")
        self.screen.say(f"{stage.meetings}.outbox  made by python-cqrs's metadata, written by python-cqrs")
        self.screen.say(f"topics {stage.orders_topic} and {stage.meetings_topic}, {PARTITIONS} partitions each")
        self.screen.say(f"configuration: {stage.shown_config}")

    def start(self) -> None:
        """Scene 2."""
        self.screen.scene("2. One tailer follows the database's log for both tables")
        self._start_tailer(lambda: self._last_of(self.stage.source))
        self.screen.fact(f"its first checkpoint is committed in {self.stage.checkpoint_topic}")

    def _start_tailer(self, works: Callable[[], Received | None]) -> None:
        """Start the tailer and wait until it works, as Kafka shows it."""
        pid = self.crew.start_tailer()
        with self.screen.waiting("the tailer starts") as tick:
            deadline = time.monotonic() + PATIENCE
            while not works():
                self.crew.check_tailer()
                if time.monotonic() > deadline:
                    raise DemoError(
                        f"the tailer did not get to work within {PATIENCE:.0f} s", f"its log: {self.crew.tailer_log}"
                    )
                tick()
                time.sleep(0.2)
        self.screen.say(f"pid {pid}: {' '.join(self._shown(self.crew.tailer_command))}")

    def _last_of(self, key: str) -> Received | None:
        """Return the last committed record of a key in the checkpoint topic."""
        try:
            with reader(self.stage.kafka, [self.stage.checkpoint_topic]) as source:
                found = [record for record in source.to_the_end() if record.key == key.encode()]
        except DemoError:
            return None  # no topic yet; a Kafka that is gone ends the wait for the tailer, too
        return max(found, key=lambda record: record.offset, default=None)

    def _takes_over(self) -> Callable[[], Received | None]:
        """Return what finds the first sign of life after all that are there now."""
        key = f"{self.stage.source}/alive"
        last = self._last_of(key)
        return lambda: found if (found := self._last_of(key)) and (not last or found.offset > last.offset) else None

    def _shown(self, command: tuple[str, ...]) -> tuple[str, ...]:
        """Return a command as a person in the repository would type it."""
        return tuple(part.removeprefix(f"{REPOSITORY}/") for part in command)

    def work(self) -> list[str]:
        """Scene 3; returns the ids of the events that were rolled back."""
        self.screen.scene("3. The services work; no Kafka in their requests")
        services = [self.crew.shop("few"), self.crew.meetings("few")]
        rolled_back: list[str] = []
        with self.screen.waiting("two services work") as tick:
            printed = [(service.name, line) for service in services for line in service.lines(tick)]
        for name, line in printed:
            events = f"{len(line['events'])} event{'s' if len(line['events']) > 1 else ''}"
            end = "committed" if line["committed"] else "ROLLED BACK"
            self.screen.say(f"{name:9} {line['who']:5} {events}  {end}")
            if not line["committed"]:
                rolled_back += line["events"]
        return rolled_back

    def show(self, rolled_back: list[str]) -> None:
        """Scene 4."""
        self.screen.scene("4. What a read_committed consumer receives")
        rows = self.stage.rows()
        with reader(self.stage.kafka, self.stage.topics) as source, self.screen.waiting("reading Kafka") as tick:
            follow(source, lambda seen: seen >= rows.keys(), patience=PATIENCE, tick=lambda _: self._alive(tick))
        records = self._everything()
        self.screen.table(
            ("topic", "part", "offset", "key", "value; headers"),
            [self._line(record) for record in sorted(records, key=lambda r: (r.topic, r.partition, r.offset))],
        )
        self._judge(rows, records)
        came = {str(record.event_id) for record in records}.intersection(rolled_back)
        if came:
            raise DemoError(f"events that were rolled back arrived: {sorted(came)}")
        self.screen.fact(
            f"{len(rows)} committed events: {len(records)} records, every value equal to its row byte for byte"
        )
        self.screen.fact(f"{len(rolled_back)} events were written and rolled back: none arrived")

    def _line(self, record: Received) -> tuple[str, ...]:
        def text(value: bytes | None, length: int) -> str:
            return "none" if value is None else shorten(value.decode(errors="replace"), length)

        value = text(record.value, self.screen.room)
        headers = ", ".join(f"{name}={text(value, 16)}" for name, value in record.headers)
        return (record.topic, str(record.partition), str(record.offset), text(record.key, 13), f"{value}\n{headers}")

    def _alive(self, tick: Callable[[], None]) -> None:
        self.crew.check_tailer()
        tick()

    def _everything(self) -> list[Received]:
        """All that is committed now, read by a new consumer from the beginning."""
        with reader(self.stage.kafka, self.stage.topics) as source:
            return source.to_the_end()

    def _judge(self, rows: Mapping[UUID, bytes], records: Sequence[Received]) -> None:
        complaints = judge(rows, records).complaints()
        if complaints:
            raise DemoError("not as promised: " + "; ".join(complaints), f"the tailer's log: {self.crew.tailer_log}")

    def burst(self) -> None:
        """Scenes 5 and 6."""
        for attempt in range(1, BURSTS + 1):
            self.screen.scene(f"5. {BURST:,} events, and SIGKILL for the tailer in the middle")
            if attempt > 1:
                self._start_tailer(self._takes_over())  # scene 6 ended with a stop
            before = self.stage.rows().keys()
            services = [
                self.crew.shop("burst", str(BURST - BURST_OF_MEETINGS)),
                self.crew.meetings("burst", str(BURST_OF_MEETINGS)),
            ]
            self._follow_and_kill(before)
            committed = sum(record.event_id not in before for record in self._everything())
            share = committed / BURST
            self.screen.fact(
                f"SIGKILL. Kafka at that moment: {committed:,} of {BURST:,} committed ({share:.1%}); "
                f"in the tables: {self.stage.count() - len(before):,}"
            )
            self._recover(services, before)
            if FEWEST <= share <= MOST:
                return
            self.screen.say(f"that was not the middle (attempt {attempt} of {BURSTS})")
        raise DemoError(
            f"the kill missed the middle of the burst {BURSTS} times", "is the machine very busy? run the demo again"
        )

    def _follow_and_kill(self, before: AbstractSet[UUID]) -> None:
        counted, rows = time.monotonic(), 0
        with (
            reader(self.stage.kafka, self.stage.topics) as source,
            self.screen.progress("received", BURST) as progress,
        ):

            def tick(seen: int) -> None:
                nonlocal counted, rows
                self.crew.check_tailer()
                if time.monotonic() - counted > _COUNT_EVERY:
                    counted, rows = time.monotonic(), self.stage.count() - len(before)
                received = max(seen - len(before), 0)
                progress(received, f"(in the tables: {max(rows, received):,})")

            follow(source, lambda seen: len(seen) - len(before) >= KILL_AT, patience=PATIENCE, tick=tick)
            self.crew.kill_tailer()

    def _recover(self, services: Sequence[Service], before: AbstractSet[UUID]) -> None:
        self.screen.scene("6. The same tailer starts again")
        began, total = time.monotonic(), len(before) + BURST
        self._start_tailer(self._takes_over())
        with reader(self.stage.kafka, self.stage.topics) as source, self.screen.progress("received", BURST) as progress:

            def tick(seen: int) -> None:
                self.crew.check_tailer()
                progress(max(seen - len(before), 0), "")

            try:
                follow(source, lambda seen: len(seen) >= total, patience=PATIENCE, tick=tick)
            except StalledError:
                self._judge(self.stage.rows(), self._everything())  # says better what is missing, if it finds anything
                raise
        took = time.monotonic() - began
        with self.screen.waiting("the services end") as wait:
            for service in services:
                service.lines(wait)
        self.crew.stop_tailer()
        rows, records = self.stage.rows(), self._everything()
        if len(rows) != total:
            raise DemoError(f"the tables hold {len(rows) - len(before):,} events of the burst, not {BURST:,}")
        self._judge(rows, records)
        self.screen.say(f"{took:.1f} s later all of it is there; the tailer was then stopped and everything counted:")
        self.screen.fact(f"{len(rows):,} rows in the tables, {len(records):,} records in Kafka: 0 lost, 0 twice")
        self.screen.fact("0 records of rolled back work, 0 values altered, 0 keys out of order")

    def next_steps(self) -> None:
        """The last scene."""
        cdc, config = self._shown(CDC)[0], f"-c {self.stage.shown_config}"
        payload = """'{"order": "mine", "customer": "ann", "number": 99}'"""
        self.screen.scene("What to try next (the servers still run; `make down` stops them)")
        self.screen.command(
            f"{cdc} outbox add --url {self.stage.url_for_people(self.stage.shop)} --name order.created "
            f"--topic {self.stage.orders_topic} --key ann --payload {payload}",
            "write an event by hand",
        )
        self.screen.command(
            f"{cdc} tailer run {config} --instance {INSTANCE} --until-caught-up", "publish what is in the log, and end"
        )
        self.screen.command(f"{cdc} checkpoint show {config}", "see how far that got")


@contextmanager
def _alone(stage: Stage) -> Iterator[None]:
    """One demo on a stack at a time: each removes what it finds of earlier ones."""
    with (stage.folder / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError("another demo runs on this stack", "wait for its end") from None
        yield


def main() -> int:
    """Play the demo; return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the processes started here are ended, too
    screen = Screen()
    try:
        stage = Stage.from_stack()
        with _alone(stage):
            crew = Crew(stage)
            try:
                Director(stage, crew, screen).play()
            finally:
                crew.go_home()
    except DemoError as error:
        screen.failure(str(error), error.hint)
        return 1
    except KeyboardInterrupt:
        screen.failure("interrupted", "")
        return 130
    return 0

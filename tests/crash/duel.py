"""Two instances of one source under a supervisor that starts again whatever ends, for minutes.

    .venv/bin/python tests/crash/duel.py [--seconds 300] [--server mariadb|mysql]

One must work and the other stand by the whole time, and the one that works must change at most
once. Then: a Kafka transaction that stays open for a minute makes nobody take over; an ordinary
restart under the same name works again within a second; with SIGKILL of the working one for
good the other works within 20 s. All under load, and judged at the end. `make duel` is this on
servers of its own; the short form is in `make test`.
"""

import argparse
import statistics
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

sys.path[0] = str(Path(__file__).resolve().parents[2])

from tests.crash.arena import STUCK_AFTER, Arena, Stuck, tail_of  # noqa: E402 - the path has to be right first
from tests.crash.faults import FENCED, STANDS_BY  # noqa: E402
from tests.crash.site import Grounds  # noqa: E402
from tests.running import Process  # noqa: E402
from tests.servers import until  # noqa: E402

WORKS = "this instance is the only writer now"


@dataclass
class Supervised:
    """An instance that is started again as soon as it ends, until it is let go."""

    arena: Arena
    name: str
    lives: list[Process] = field(default_factory=list)
    exits: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._let_go = threading.Event()
        self._thread = threading.Thread(target=self._supervise, daemon=True)
        self._start()
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()

    def let_go(self) -> Process:
        """From here on nobody starts it again; its process as it is now."""
        self._let_go.set()
        self._thread.join()
        return self.lives[-1]

    @property
    def works(self) -> bool:
        """Has the living one become the writer?"""
        return any(line["event"] == WORKS for line in self.lives[-1].said())

    @property
    def times_writer(self) -> int:
        """How often it became the writer, in all its lives; starting over after a doubt is once more."""
        return sum(line["event"] == WORKS for life in self.lives for line in life.said())

    def _start(self) -> None:
        self.lives.append(self.arena.tail(name=self.name))

    def _supervise(self) -> None:
        while not self._let_go.wait(0.05):
            code = self.lives[-1].popen.poll()
            if code is not None:
                self.exits.append(code)
                self._start()


@dataclass(frozen=True, slots=True)
class Peace:
    """What two instances did in some time: how often the writer changed, and with which codes processes ended."""

    changes: int
    exits: list[int]


def peace(arena: Arena, one: Supervised, two: Supervised, seconds: float) -> Peace:
    """Let both be for so long; records flow all the time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        arena.await_flow((two if two.works else one).lives[-1], arena.now())
        time.sleep(min(1.0, max(0.0, end - time.monotonic())))
    return Peace(one.times_writer + two.times_writer - 1, one.exits + two.exits)


def worker_and_heir(one: Supervised, two: Supervised) -> tuple[Supervised, Supervised]:
    """Who works and who stands by; waits until there is one of each."""

    def last_word(instance: Supervised) -> str | None:
        words = [line["event"] for line in instance.lives[-1].said()]
        return next((word for word in reversed(words) if word in {WORKS, STANDS_BY}), None)

    until("one works, one stands by", lambda: {last_word(one), last_word(two)} == {WORKS, STANDS_BY}, seconds=120)
    return (one, two) if last_word(one) == WORKS else (two, one)


def taken_over(arena: Arena, dying: Supervised, heir: Supervised) -> float:
    """SIGKILL of the working one for good; the seconds until the other works."""
    dying.let_go().kill()
    return arena.await_flow(heir.lives[-1], arena.now())


def restarted(arena: Arena) -> float:
    """An ordinary stop and start of the only one; the seconds from the one to records that were written after it."""
    arena.retire()
    since, began = arena.now(), time.monotonic()
    arena.tailer = arena.tail(name=arena.instance)
    arena.await_flow(arena.tailer, since)
    return time.monotonic() - began


def held_open(arena: Arena, seconds: float) -> float:
    """A Kafka transaction that stays open while another instance stands by, who must do so throughout."""
    arena.retire()
    holder = arena.tailer = arena.tail_holding(seconds, name=arena.instance)
    holder.await_line("a Kafka transaction is held open", seconds=STUCK_AFTER)
    other = arena.tail(name="other")
    other.await_line(STANDS_BY)
    holder.await_line("the held Kafka transaction goes on", seconds=seconds + STUCK_AFTER)
    took = arena.await_flow(holder, arena.now())
    if other.popen.poll() is not None or WORKS in {line["event"] for line in other.said()}:
        raise Stuck(f"the other one did not stand by:\n{tail_of(other)}")
    other.kill()
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--server", choices=["mariadb", "mysql"], default="mariadb")
    given = parser.parse_args()
    wrong: list[str] = []

    def report(what: str, *, right: bool) -> None:
        print(f"{'    ' if right else 'NOT '}{what}", flush=True)
        if not right:
            wrong.append(what)

    with Grounds() as grounds, tempfile.TemporaryDirectory() as folder:
        site = grounds.site(given.server)
        with Arena(site.database, site.kafka, Path(folder), seed="duel", rate=200, site=site) as arena:
            arena.writer.start()
            with Supervised(arena, "one") as one, Supervised(arena, "two") as two:
                quiet = peace(arena, one, two, given.seconds)
                report(f"{given.seconds:.0f} s: the writer changed {quiet.changes} times", right=quiet.changes <= 1)
                report(
                    f"processes that ended and were started again: {quiet.exits}", right=quiet.exits in ([], [FENCED])
                )
                worker, heir = worker_and_heir(one, two)
                seconds = taken_over(arena, worker, heir)
                report(
                    f"SIGKILL of the working one for good: the other works after {seconds:.1f} s", right=seconds < 20
                )
                arena.tailer, arena.instance = heir.let_go(), heir.name
            took = [restarted(arena) for _ in range(10)]
            median = statistics.median(took)
            report(f"ordinary restart: works after {median:.2f} s (longest {max(took):.2f} s)", right=median < 1)
            seconds = held_open(arena, 60)
            report(f"a Kafka transaction open for 60 s: nobody fenced, records flow {seconds:.1f} s after", right=True)
            outcome = arena.settle()
            report(str(outcome), right=outcome.clean)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())

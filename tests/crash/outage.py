"""Broker or database is away for minutes, frozen or shut down: the tailer lives, says what it waits for, grows no memory.

    .venv/bin/python tests/crash/outage.py [--seconds 300] [--server mariadb|mysql] [--away broker|database|both]

`make outage` is this on servers of its own; the short form is in `make test`. Under load all the
while, so that what arrives while there is no broker has to wait in the database's log and not in memory.
"""

import argparse
import re
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.stack import Instance  # noqa: E402 - the path has to be right first
from tests.crash.arena import STUCK_AFTER, Arena, Stuck, tail_of  # noqa: E402
from tests.crash.site import Grounds  # noqa: E402
from tests.running import Process  # noqa: E402

WAYS: dict[str, tuple[Callable[[Instance], object], Callable[[Instance], object]]] = {
    "frozen": (Instance.freeze, Instance.thaw),
    "shut down": (Instance.stop, Instance.start),
}
GROWTH = 64.0
"""MiB: what a tailer may hold, read and in flight, is less."""


@dataclass(frozen=True, slots=True)
class Outage:
    """`said`: what the tailer logged of it. Seconds until records came again, and until new ones did. Sizes in MiB."""

    said: list[str]
    first: float
    caught_up: float
    before: float
    largest: float

    def __str__(self) -> str:
        return (
            f"records came {self.first:.1f} s after its return and new ones after {self.caught_up:.1f} s, "
            f"RSS {self.before:.0f} MiB before and {self.largest:.0f} MiB at most; said: {', '.join(self.said)}"
        )


def broker_away(arena: Arena, way: str, seconds: float) -> Outage:
    """Take the broker away for so long. Raises Stuck if the tailer dies, or nothing comes afterwards."""
    return away(arena, arena.site.broker, way, seconds)


def database_away(arena: Arena, way: str, seconds: float) -> Outage:
    """The same with the database, whose writers wait as well."""
    return away(arena, arena.site.server, way, seconds)


def away(arena: Arena, server: Instance, way: str, seconds: float) -> Outage:
    """Take a server away for so long. Raises Stuck if the tailer dies, or nothing comes afterwards."""
    leave, come_back = WAYS[way]
    tailer = arena.working()
    before = largest = resident(tailer)
    lines = len(tailer.said())
    leave(server)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if tailer.popen.poll() is not None:
            raise Stuck(f"{way}: the tailer ended with {tailer.popen.returncode}:\n{tail_of(tailer)}")
        largest = max(largest, resident(tailer))
        time.sleep(0.2)
    words = (line.get("error") or line.get("waiting_for") for line in tailer.said()[lines:])
    said = sorted({re.sub(r"\d+", "N", word) for word in words if word})
    come_back(server)
    since, seen, began = arena.now(), arena.watcher.count, time.monotonic()
    if not arena.watcher.wait_for(seen + 1, STUCK_AFTER):
        raise Stuck(f"{way}: nothing came in {STUCK_AFTER:.0f} s:\n{tail_of(tailer)}")
    first = time.monotonic() - began
    arena.await_flow(tailer, since)
    largest = max(largest, resident(tailer))
    return Outage(said, first, time.monotonic() - began, before, largest)


AWAY = {"broker": broker_away, "database": database_away}


def resident(process: Process) -> float:
    """MiB in memory."""
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--server", choices=["mariadb", "mysql"], default="mariadb")
    parser.add_argument("--away", choices=[*AWAY, "both"], default="both")
    given = parser.parse_args()
    chosen = AWAY if given.away == "both" else [given.away]
    clean = True
    with Grounds() as grounds, tempfile.TemporaryDirectory() as folder:
        site = grounds.site(given.server)
        with Arena(site.database, site.kafka, Path(folder), seed="outage", site=site) as arena:
            arena.writer.start()
            for who, way in product(chosen, WAYS):
                found = AWAY[who](arena, way, given.seconds)
                right = found.first < 10 and found.largest - found.before < GROWTH and bool(found.said)
                print(f"{'' if right else 'NOT '}{who} {way} for {given.seconds:.0f} s: {found}", flush=True)
                clean &= right
            outcome = arena.settle()
            print(outcome)
            clean &= outcome.clean
    return not clean


if __name__ == "__main__":
    sys.exit(main())

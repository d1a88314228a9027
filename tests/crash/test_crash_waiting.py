"""What takes its time, all of it at once: two instances in a duel, a broker frozen, another one shut down.

One instance works, the other stands by and takes over (promise 8); without a broker no call hangs
and nothing grows. Long forms: `make duel`, `make outage`.
"""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.crash.arena import Arena, Outcome
from tests.crash.duel import Peace, Supervised, peace, restarted, taken_over, worker_and_heir
from tests.crash.faults import FENCED
from tests.crash.outage import GROWTH, Outage, broker_away
from tests.crash.site import Grounds, Site
from tests.servers import Database, Kafka

pytestmark = [pytest.mark.stack, pytest.mark.crash]

SECONDS = 30
RATE = 150


def duel(server: Database, kafka: Kafka, folder: Path) -> tuple[Peace, float, float, Outcome]:
    with Arena(server, kafka, folder, seed="duel", rate=RATE) as arena:
        arena.writer.start()
        with Supervised(arena, "one") as one, Supervised(arena, "two") as two:
            quiet = peace(arena, one, two, SECONDS)
            worker, heir = worker_and_heir(one, two)
            taken = taken_over(arena, worker, heir)
            arena.tailer, arena.instance = heir.let_go(), heir.name
        return quiet, taken, restarted(arena), arena.settle()


def outage(site: Site, way: str, folder: Path) -> tuple[Outage, Outcome]:
    with Arena(site.database, site.kafka, folder, seed=way, rate=RATE, site=site) as arena:
        arena.writer.start()
        found = broker_away(arena, way, SECONDS)
        return found, arena.settle()


@pytest.fixture(scope="module")
def under_way(
    grounds: Grounds, own_mariadb: Database, kafka: Kafka, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future]]:
    with Grounds() as others, ThreadPoolExecutor(3) as pool:
        sites = {"frozen": grounds.site("mysql"), "shut down": others.site("mariadb")}
        begun = {way: pool.submit(outage, site, way, tmp_path_factory.mktemp("outage")) for way, site in sites.items()}
        begun["duel"] = pool.submit(duel, own_mariadb, kafka, tmp_path_factory.mktemp("duel"))
        yield begun


@pytest.mark.parametrize("way", ["frozen", "shut down"])
def test_the_broker_is_away(under_way: dict[str, Future], way: str) -> None:
    found, outcome = under_way[way].result()
    print(found)
    assert found.said, "it says what it waits for"
    assert found.first < 100
    assert found.largest - found.before < GROWTH
    assert outcome.clean, str(outcome)


def test_one_works_one_stands_by_and_takes_over(under_way: dict[str, Future]) -> None:
    quiet, taken, restart, outcome = under_way["duel"].result()
    print(quiet, taken, restart)
    assert quiet.changes <= 1
    assert quiet.exits in ([], [FENCED])
    assert taken < 200
    assert restart < 30
    assert outcome.clean, str(outcome)

"""Twenty-five faults under load: nothing lost, nothing twice, nothing torn, order kept (promise 1 to 4).

The short form of `make crash`: SIGKILLs of the tailer at random moments, while it starts and at
named steps between two calls, of the broker and of the database; cut and stalled networks on
either side; a frozen tailer that wakes behind its successor.
"""

import random
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from tests.crash import faults
from tests.crash.arena import Arena
from tests.crash.site import Grounds

pytestmark = [pytest.mark.stack, pytest.mark.crash]

Life = Callable[[Arena, random.Random], float]


def at(moment: str) -> Life:
    return partial(faults.killed_at_step, moment=moment)


ON_MARIADB: Sequence[Life] = (
    faults.tailer_killed,
    at("sending:9"),
    faults.database_killed,
    faults.tailer_killed,
    at("sent:5"),
    faults.cut_from_kafka,
    faults.broker_killed,
    partial(faults.stalled_from_database, seconds=1.0),
    faults.zombie,
    faults.tailer_killed,
    faults.cut_from_database,
    faults.killed_while_starting,
    at("committed:7"),
)
ON_MYSQL: Sequence[Life] = (
    faults.tailer_killed,
    faults.cut_from_database,
    at("sent:12+2"),
    faults.broker_and_tailer_killed,
    partial(faults.stalled_from_kafka, seconds=2.0),
    faults.tailer_killed,
    faults.database_and_tailer_killed,
    faults.cut_from_kafka,
    at("fenced"),
    faults.zombie,
    faults.database_killed,
    at("beginning:3"),
)


def test_there_are_twenty_five() -> None:
    assert len(ON_MARIADB) + len(ON_MYSQL) == 25


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "lives"), [("mariadb", ON_MARIADB), ("mysql", ON_MYSQL)])
def test_faults_under_load(grounds: Grounds, tmp_path, kind: str, lives: Sequence[Life]) -> None:
    rnd, site = random.Random(20), grounds.site(kind)
    with Arena(site.database, site.kafka, tmp_path, seed="kills", layouts=("native", "cqrs"), site=site) as arena:
        arena.writer.start()
        arena.working()
        for live in lives:
            live(arena, rnd)
        outcome = arena.settle()
        assert outcome.clean, str(outcome)
        assert outcome.verdict.records > 1000
        assert arena.genesis_records() == 1
    print(outcome)

"""Twenty SIGKILLs of the tailer under load: nothing lost, nothing twice, order kept (promise 1 to 4).

The short form of `make crash`. Half of them on each database; at random moments while records
flow, while it starts, and at named steps between two calls.
"""

import random

import pytest

from tests.crash import faults
from tests.crash.arena import Arena
from tests.servers import Database, Kafka

pytestmark = [pytest.mark.stack, pytest.mark.crash]

LIVES = (
    faults.flowing,
    "sending:9",
    faults.flowing,
    "sent:5",
    faults.flowing,
    "sent:12+2",
    faults.starting,
    "committed:7",
    faults.flowing,
    faults.flowing,
)


@pytest.mark.timeout(600)
def test_ten_kills_under_load(own_database: Database, kafka: Kafka, tmp_path) -> None:
    rnd = random.Random(20)
    kills = 0
    with Arena(own_database, kafka, tmp_path, seed="kills", layouts=("native", "cqrs")) as arena:
        arena.writer.start()
        for life in LIVES:
            done = faults.at_step(arena, rnd, life) if isinstance(life, str) else life(arena, rnd)
            kills += done.kills
        outcome = arena.settle()
        assert kills == 10
        assert outcome.clean, str(outcome)
        assert outcome.verdict.records > 1000
        assert arena.genesis_records() == 1
    print(outcome)

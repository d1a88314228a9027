"""What the crash tests would find: a tailer made wrong on purpose is found, by its own count."""

import pytest

from tests.checker import plan
from tests.checker.judge import FAULTS
from tests.crash.arena import Arena
from tests.servers import Database, Kafka

pytestmark = [pytest.mark.stack, pytest.mark.crash]


WAYS = {
    "ahead": ("sending:8", {"lost"}),
    "behind": ("committed:8", {"doubled"}),
    "apart": ("committed:40", {"torn"}),  # and doubled, where it dies between the two
    "undone": ("committed:8", {"phantom"}),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_tailer_that_is_wrong_is_found(own_mariadb: Database, kafka: Kafka, tmp_path, way: str) -> None:
    moment, found = WAYS[way]
    mix = {**plan.MIX, plan.SIDE_WRITE: 30}  # MariaDB logs what these undo
    with Arena(own_mariadb, kafka, tmp_path, seed=f"wrong {way}", mix=mix) as arena:
        arena.writer.start()
        process = arena.tail_to(moment, "--spoil", way)
        assert arena.await_end(process) == -9
        outcome = arena.settle()
        counted = {kind for kind in FAULTS if outcome.verdict.counts[kind]}
        assert counted - ({"doubled"} if way == "apart" else set()) == found, str(outcome)
        assert not outcome.clean

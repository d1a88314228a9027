"""A frozen tailer that wakes behind its successor is fenced, and says so (promise 8)."""

import random

import pytest

from tests.crash import faults
from tests.crash.arena import Arena
from tests.servers import Database, Kafka

pytestmark = [pytest.mark.stack, pytest.mark.crash]


def test_a_frozen_instance_is_fenced_and_everything_arrives_once(own_mariadb: Database, kafka: Kafka, tmp_path) -> None:
    with Arena(own_mariadb, kafka, tmp_path, seed="frozen") as arena:
        arena.writer.start()
        faults.zombie(arena, random.Random(1))
        outcome = arena.settle()
        assert outcome.clean, str(outcome)

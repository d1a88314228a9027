"""Poison that only the broker finds, or that lacks a key or its topic, and kills around it; what a letter holds then.

Beside test_crash_poison.py, which has every policy. Two scenes of poison.py at the same time; all of them: `make poison`.
"""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from confluent_kafka import Producer

from tests.checker.judge import FAULTS, Verdict
from tests.crash.poison import INVALID, KEYLESS, MISSING, REFUSED, Scene, passed_over, stopped
from tests.servers import Database, Kafka

pytestmark = [pytest.mark.stack, pytest.mark.crash]


def stop(scene: Scene) -> Verdict:
    stopped(scene, REFUSED, ("examining", "committed"))
    return scene.judge()


def dead_letter(scene: Scene) -> Verdict:
    return passed_over(scene, [(MISSING, "refused"), (REFUSED, "examined"), (KEYLESS, "sent")])


@pytest.fixture(scope="module")
def under_way(own_mariadb: Database, own_mysql: Database, kafka: Kafka, tmp_path_factory) -> dict[str, Future]:
    servers = {stop: own_mariadb, dead_letter: own_mysql}

    def play(policy) -> Verdict:
        name = policy.__name__
        with Scene(servers[policy], kafka, tmp_path_factory.mktemp(name), name) as scene:
            return policy(scene)

    with ThreadPoolExecutor(2) as pool:
        return {policy.__name__: pool.submit(play, policy) for policy in servers}


@pytest.mark.parametrize("policy", ["stop", "dead_letter"])
def test_each_policy_does_what_it_promises_whenever_the_tailer_dies(under_way: dict[str, Future], policy: str) -> None:
    verdict = under_way[policy].result()
    assert verdict.clean, str(verdict)
    assert verdict.records > 20


def test_a_torn_transaction_and_a_doubled_letter_are_found(own_mariadb: Database, kafka: Kafka, tmp_path) -> None:
    with Scene(own_mariadb, kafka, tmp_path, "dead_letter") as scene:
        scene.write(INVALID)
        scene.die("committed", "--spoil", "apart")
        scene.expect_end(0)
        verdict = scene.judge()
        assert {kind for kind in FAULTS if verdict.counts[kind]} == {"torn"}, str(verdict)
        letters = kafka.read_committed(scene.letters_topic)
        if not letters:  # it was in the part that is lost
            scene.write(INVALID)
            scene.expect_end(0)
            letters = kafka.read_committed(scene.letters_topic)
        producer = Producer({"bootstrap.servers": kafka.bootstrap})
        headers = letters[0].headers
        producer.produce(scene.letters_topic, letters[0].value, letters[0].key, partition=0, headers=headers)
        producer.produce(scene.letters_topic, b"{}", letters[0].key, partition=0, headers=headers[:3])
        assert producer.flush(30) == 0
        verdict = scene.judge()
        assert (verdict.counts["doubled"], verdict.counts["phantom"]) == (1, 1), str(verdict)

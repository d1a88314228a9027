"""The model broker against the real one: the same questions, request by request, must get the same answers."""

import asyncio
import json
import secrets
from pathlib import Path

import pytest

from tests.servers import Kafka
from tests.simulation import clock
from tests.simulation.broker import Broker
from tests.simulation.questions import SCENARIOS, answers, versions
from tests.simulation.wire import NAMES, SPOKEN

RECORDED = json.loads((Path(__file__).parents[1] / "vectors" / "broker" / "kafka-4.1.2.json").read_text())


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_model_answers_as_the_real_broker_did(scenario):
    loop = clock.VirtualLoop()
    Broker(loop)
    found = clock.run(answers("model", 9092, "m", [scenario]), loop)
    assert found[scenario] == RECORDED["answers"][scenario]


def test_the_model_speaks_versions_that_the_real_broker_takes():
    for key, name in NAMES.items():
        low, high = RECORDED["versions"][name]
        assert low <= SPOKEN[key].API_VERSION <= high, name


@pytest.mark.stack
async def test_the_real_broker_still_answers_as_recorded(kafka: Kafka):
    host, _, port = kafka.bootstrap.rpartition(":")
    prefix = f"asked-{secrets.token_hex(4)}"
    try:
        spoken = await versions(host, int(port))
        assert {name: spoken[str(key)] for key, name in NAMES.items()} == RECORDED["versions"]
        assert await answers(host, int(port), prefix) == RECORDED["answers"]
    finally:
        mine = [topic for topic in kafka.topics() if topic.startswith(prefix)]
        await asyncio.to_thread(kafka.delete_topic, *mine)

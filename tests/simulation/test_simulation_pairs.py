"""Every step with every fault: a first start with three batches, and a start after a predecessor died in a transaction.

A step is a request to the broker. The sink, the pump and aiokafka are the real ones; the
broker, the network and the time are the model's. See world.py for what is judged.
"""

import pytest

from tests.simulation.scenarios import AGAIN, EVERYTHING, FIRST, Scenario, trace
from tests.simulation.wire import NAMES


@pytest.mark.parametrize("scenario", [FIRST, AGAIN], ids=["first", "again"])
def test_nothing_goes_wrong_where_nothing_fails(scenario: Scenario):
    report = scenario.run()
    assert report.said("doubt") == report.said("starting_over") == 0
    assert {code for _, code in report.errors} <= {51}
    assert report.ends == {"one": ["stopped"]}


@pytest.mark.parametrize("scenario", [FIRST, AGAIN], ids=["first", "again"])
def test_the_same_run_is_the_same_again(scenario: Scenario):
    one, other = scenario.run(), scenario.run()
    assert one.trace == other.trace
    assert [(when, step) for when, _, step, _ in one.steps] == [(when, step) for when, _, step, _ in other.steps]


@pytest.mark.parametrize("api", NAMES.values())
@pytest.mark.parametrize("scenario", [FIRST, AGAIN], ids=["first", "again"])
def test_every_fault_at_every_step(scenario: Scenario, api: str):
    broken = []
    for step, kind, which in scenario.pairs():
        if kind == api:
            fault, run = scenario.run_with(step, kind, which)
            try:
                report = run()
                assert report.struck, f"request {step} was not met again"
            except Exception as error:  # noqa: BLE001 - every way of going wrong is a finding
                broken.append(f"request {step}, {api}, {fault}: {type(error).__name__}: {error}")
    assert not broken, "\n".join(broken)
    assert trace(scenario)


@pytest.mark.parametrize("scenario", EVERYTHING, ids=lambda one: one.name)
def test_other_lives_without_a_fault(scenario: Scenario):
    """Rows nobody takes, two instances, a take-over, strangers' transactions, the end of the sequence numbers."""
    scenario.run()

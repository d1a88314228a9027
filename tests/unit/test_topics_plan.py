"""The plan of `cdc topics`: what is wanted, from a configuration and a file, against what is there."""

import json
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from cdc.kafka.topic_admin import TopicState
from cdc.operations.topics_plan import Step, Wanted, creation_settings, expiries, steps, wanted_topics
from cdc.settings.load import parse
from cdc.settings.topics_file import TopicsFile, load_topics

ROOT = Path(__file__).parents[2]


def settings(**more):
    whole = {
        "sources": {"shop": {"url": "mysql://db", "tables": {"shop.outbox": {"layout": "native"}}, "start": "latest"}},
        "kafka": {"bootstrap_servers": ["k:9092"]},
        "routes": [{"match": {"event_name": "order.*"}, "topic": "orders"}, {"topic": "{topic}.v1"}],
        **more,
    }
    return parse(json.dumps(whole), origin="cdc.yaml", folder=ROOT, environ={})


def file(**content) -> TopicsFile:
    return TopicsFile.model_validate(content)


def differences(wanted: Wanted, state: TopicState, **more) -> list[tuple[str, str | None, str, bool]]:
    found = steps([wanted], {wanted.topic: state}, partitions=6, **more)
    return [(step.what, step.now, step.wanted, step.why_not is None) for step in found]


def test_what_the_configuration_and_the_file_want():
    shapes = file(
        defaults={"partitions": 3, "replication_factor": 2, "settings": {"retention.ms": 1000}},
        topics={"bills": {"partitions": 12, "replication_factor": 3}, "orders": None},
        checkpoints={"settings": {"min.insync.replicas": 2}},
    )
    wanted, notes = wanted_topics(settings(), shapes, {"shop": False})
    by_name = {one.topic: one for one in wanted}
    assert list(by_name) == ["cdc.checkpoint.shop", "cdc.dead-letters", "bills", "orders"]
    assert (by_name["bills"].partitions, by_name["bills"].settings) == (12, {"retention.ms": "1000"})
    assert (by_name["orders"].partitions, by_name["orders"].replication_factor) == (3, 2)
    own = by_name["cdc.checkpoint.shop"]
    assert (own.partitions, own.replication_factor) == (1, 3), "as safe as the safest topic of events"
    assert own.settings["cleanup.policy"] == "compact"
    assert by_name["cdc.dead-letters"].settings["cleanup.policy"] == "delete"
    assert any("{topic}.v1" in note for note in notes)


def test_nothing_differs():
    wanted = Wanted("t", "events", 3, 2, {"retention.ms": "1"}, least_message=100)
    state = TopicState(3, 3, {"retention.ms": "1", "max.message.bytes": "100", "min.insync.replicas": "2"})
    assert differences(wanted, state) == []


@pytest.mark.parametrize(
    ("wanted", "state", "expected"),
    [
        (Wanted("t", "events", 6), TopicState(3, 1), [("partitions", "3", "6", False)]),
        (Wanted("t", "events", 2), TopicState(3, 1), [("partitions", "3", "2", False)]),
        (Wanted("t", "checkpoint", 1), TopicState(3, 1), [("partitions", "3", "1", False)]),
        (Wanted("t", "events", None, 3), TopicState(3, 1), [("replication_factor", "1", "3", False)]),
        (
            Wanted("t", "events", settings={"a": "2", "b": "1"}),
            TopicState(1, 1, {"a": "1", "b": "1"}),
            [("a", "1", "2", True)],
        ),
        (
            Wanted("t", "checkpoint", 1, settings={"cleanup.policy": "compact"}),
            TopicState(1, 1, {"cleanup.policy": "delete"}),
            [("cleanup.policy", "delete", "compact", False)],
        ),
        (
            Wanted("t", "events", settings={"max.message.bytes": "50"}, least_message=100),
            TopicState(1, 1, {"max.message.bytes": "70"}),
            [("max.message.bytes", "70", "100", True)],
        ),
        (
            Wanted("t", "events", settings={"min.insync.replicas": "2"}),
            TopicState(1, 1, {"min.insync.replicas": "1"}),
            [("min.insync.replicas", "1", "2", False)],
        ),
    ],
)
def test_what_differs_and_what_only_a_person_may_do(wanted: Wanted, state: TopicState, expected: list):
    assert differences(wanted, state) == expected


def test_more_partitions_when_asked():
    assert differences(Wanted("t", "events", 6), TopicState(3, 1), grow=True) == [("partitions", "3", "6", True)]


def test_a_lost_checkpoint_topic_is_not_made_again():
    wanted, _ = wanted_topics(settings(), TopicsFile(), {"shop": True})
    [made, *_] = steps(wanted, {}, partitions=6)
    assert (made.topic, made.what) == ("cdc.checkpoint.shop", "create")
    assert "cdc checkpoint set" in (made.why_not or "")


def test_a_new_topic_has_room_for_the_largest_event():
    [*_, orders], _ = wanted_topics(settings(), file(largest_payload="4MiB"), {})
    assert creation_settings(orders) == {"max.message.bytes": str((4 << 20) + 4096)}
    assert steps([orders], {}, partitions=6) == [
        Step("orders", "events", "create", None, "partitions=6 max.message.bytes=4198400")
    ]
    [*_, orders], _ = wanted_topics(settings(), TopicsFile(), {})
    assert creation_settings(orders) == {}


def test_the_example_file_can_be_read_and_mistakes_have_places(tmp_path: Path):
    example = load_topics(ROOT / "infra/kafka/topics.yaml")
    assert example.shape("orders.v1").partitions == 12
    wrong = tmp_path / "topics.yaml"
    wrong.write_text("topics:\n  orders: {partition: 3}\n")
    with pytest.raises(ConfigError) as caught:
        load_topics(wrong)
    assert 'topics.yaml:2:12: topics.orders.partition: unknown key; did you mean "partitions"?' in str(caught.value)
    with pytest.raises(ConfigError):
        load_topics(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("table", "route", "kept", "said"),
    [
        (None, "created_at", "3600000", "orders keeps records for 1 hours by their time, and routes[0] gives them"),
        ("created_at", None, "604800000", "orders keeps records for 7 days by their time"),
        ("created_at", "publish", "3600000", None),
        (None, None, "3600000", None),
        (None, "created_at", "-1", None),
    ],
)
def test_topics_that_delete_what_comes_with_an_old_time(table, route, kept, said):
    routes = [{"match": {"topic": "a"}, "topic": "orders", "timestamp": route}, {"topic": "{topic}.v1"}]
    tables = {"shop.outbox": {"layout": "native", "timestamp": table}}
    whole = settings(routes=routes, sources={"shop": {"url": "mysql://db", "tables": tables}})
    wanted, _ = wanted_topics(whole, file(), {})
    notes = expiries(whole, wanted, {"orders": TopicState(1, 1, {"retention.ms": kept})})
    assert (len(notes) == 1 and notes[0].startswith(said)) if said else notes == []


@pytest.mark.parametrize(("planned", "there", "notes"), [(None, "86400000", 1), (172800000, "-1", 1), (None, "-1", 0)])
def test_dead_letters_that_go_by_themselves(planned, there, notes):
    shapes = file(dead_letters={"settings": {"retention.ms": planned}}) if planned else file()
    wanted, _ = wanted_topics(settings(), shapes, {})
    found = expiries(settings(), wanted, {"cdc.dead-letters": TopicState(1, 1, {"retention.ms": there})})
    assert len(found) == notes
    assert all("cdc.dead-letters keeps dead letters for" in note for note in found)

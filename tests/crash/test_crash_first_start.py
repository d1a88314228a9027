"""A first start that dies at any step, two of them at once, and a checkpoint that is gone (promise 7 and 8).

Whatever happened before, an ordinary start afterwards publishes everything once, and a source
is founded once.
"""

import signal

import pytest

from tests.checker.judge import Seen, judge
from tests.checker.ledger import Ledger
from tests.crash.arena import Arena, tail_of
from tests.running import cdc
from tests.servers import Database, Kafka

pytestmark = [pytest.mark.stack, pytest.mark.crash]

FEW = 120
NEEDS_DECISION = 6
MOMENTS = (
    "topic_asked+5",  # while Kafka makes it
    "topic_made",
    "fencing",
    "fenced",
    "first_start",
    "founding",
    "founding+5",  # while the first Kafka transaction is open or commits
    "founded",
    "opening",
    "opened",
    "sending",
    "sent",
    "committed",
)


def write_few(arena: Arena) -> None:
    arena.writer.start()
    arena.writer.wait_until(FEW)
    arena.writer.stop()


def dies_at(arena: Arena, moment: str) -> None:
    process = arena.tail_to(moment)
    assert arena.await_end(process) == -signal.SIGKILL, tail_of(process)


def everything_is_there_once(arena: Arena) -> None:
    outcome = arena.judge()
    assert outcome.clean, str(outcome)
    assert outcome.verdict.records > FEW
    assert arena.genesis_records() == 1


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_death_at_any_step_of_the_first_start(own_mariadb: Database, kafka: Kafka, tmp_path, moment: str) -> None:
    with Arena(own_mariadb, kafka, tmp_path, seed=moment) as arena:
        write_few(arena)
        dies_at(arena, moment)
        arena.catch_up()
        everything_is_there_once(arena)


def test_deaths_at_one_step_after_the_other(own_database: Database, kafka: Kafka, tmp_path) -> None:
    with Arena(own_database, kafka, tmp_path, seed="all steps") as arena:
        write_few(arena)
        for moment in ("topic_made", "fencing", "founding", "founded", "opening", "opened", "sent"):
            dies_at(arena, moment)
        arena.catch_up()
        everything_is_there_once(arena)


def test_a_death_while_standing_by(own_mariadb: Database, kafka: Kafka, tmp_path) -> None:
    with Arena(own_mariadb, kafka, tmp_path, seed="standby") as arena:
        write_few(arena)
        working = arena.tail(name="one")
        arena.await_records()
        process = arena.tail_to("standing_by", name="two")
        assert arena.await_end(process) == -signal.SIGKILL, tail_of(process)
        assert working.stop() == 0, tail_of(working)
        arena.instance = "two"
        arena.catch_up()
        everything_is_there_once(arena)


def after_all(records: list[Seen], before: list[Seen]) -> list[Seen]:
    """The records that came behind those of an earlier look."""
    last = {record[:2]: record.offset for record in sorted(before, key=lambda record: record.offset)}
    return [record for record in records if record.offset > last.get(record[:2], -1)]


def test_two_first_starts_at_once(own_database: Database, kafka: Kafka, tmp_path) -> None:
    with Arena(own_database, kafka, tmp_path, seed="two") as arena:
        write_few(arena)
        both = [arena.tail(name=name) for name in ("one", "two")]
        arena.await_records()
        # one works, the other stands by; asked to stop, both do
        assert [process.stop() for process in both] == [0, 0], "\n\n".join(map(tail_of, both))
        everything_is_there_once(arena)


def test_a_deleted_checkpoint_topic_stops_the_start_and_first_start_is_the_way_out(
    own_database: Database, kafka: Kafka, tmp_path
) -> None:
    with Arena(own_database, kafka, tmp_path, seed="lost") as arena:
        write_few(arena)
        arena.catch_up()
        everything_is_there_once(arena)
        before = arena.records()
        kafka.delete_topic(arena.tailing.checkpoint_topic)

        ended = arena.tailing.catch_up()
        assert ended.code == NEEDS_DECISION, ended.err
        assert arena.tailing.checkpoint_topic in ended.err
        assert "hint:" in ended.err
        assert "--first-start" in ended.err
        assert arena.tailing.checkpoint_topic not in kafka.topics(), "a start that stops makes nothing"
        assert arena.records() == before
        ended = cdc("tailer", "run", "-c", arena.tailing.config, "--instance", "one")
        assert ended.code == NEEDS_DECISION, "also without --until-caught-up: it does not try again"
        assert arena.records() == before

        # The decision: begin anew by the source's `start`. From the earliest, everything comes again, all of it once.
        arena.catch_up("--first-start")
        after = arena.records()
        second = after_all(after, before)
        assert len(after) == len(before) + len(second)
        verdict = judge(Ledger.read(arena.where, arena.name, arena.layouts), second, partitions=arena.topics)
        assert verdict.clean, str(verdict)
        # and from then on it is an ordinary source
        arena.catch_up()
        assert len(arena.records()) == len(after)

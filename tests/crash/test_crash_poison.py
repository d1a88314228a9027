"""Rows nobody takes in the middle of a transaction, under each `on_error`, and a death at every step (promise 2, 5).

A round is a transaction before, one of five rows of which the second is too large for its topic
and the fourth names an impossible one, and a transaction after. The tailer dies at the round's
moment; an ordinary start follows. What must be there is computed from the rows, not asked of the tailer.
With CDC_EVERY_MOMENT (`make poison`) each policy meets every moment on both servers.
"""

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from cdc.kafka.dead_letters import Collector
from cdc.outbox.table import ddl
from tests.crash.arena import DYING, tail_of
from tests.integration.test_kafka_refusals import set_topic
from tests.running import Process, Tailing
from tests.servers import Database, Kafka, unique

pytestmark = [pytest.mark.stack, pytest.mark.crash]

MOMENTS = ("fenced", "read", "refused", "refused:2", "routed", "beginning", "sending", "sending+3", "sent", "committed")
FEW = ("refused:2", "sending+3", "sent", "committed")
UNTIL_STOPPED = ("fenced", "read", "beginning", "sending", "sent", "committed")
"""Those a tailer comes by that stops at the row: it publishes what was before."""
EVERY = bool(os.environ.get("CDC_EVERY_MOMENT"))
BIG = "x" * 5000
IMPOSSIBLE = "no/such topic"
NEEDS_DECISION = 6


@dataclass
class Rounds:
    """One source, its two topics, and what has been written."""

    tailing: Tailing
    small: str
    other: str
    written: int = 0
    letters: list[tuple[bytes, str, int]] = field(default_factory=list)
    found: dict[str, list[bytes]] = field(init=False)

    def __post_init__(self) -> None:
        self.found = {self.small: [], self.other: []}

    def write(self, *, impossible: bool = True) -> None:
        """One round. Every value carries its number, so that none stands for another."""
        self.written += 1
        (table,), run, number = self.tailing.tables, self.tailing.server.run, self.written

        def row(topic: str, payload: str) -> str:
            self.found.setdefault(topic, []).append(payload.encode())
            return f"INSERT INTO {table} (event_name, topic, payload) VALUES ('x', '{topic}', '{payload}')"

        run(row(self.small, f"{number} before"))
        inside = [(self.small, "1"), (self.small, BIG), (self.other, "3"), (IMPOSSIBLE, "4"), (self.other, "5")]
        if not impossible:
            del inside[3]
        run("BEGIN", *(row(topic, f"{number} {payload}") for topic, payload in inside), "COMMIT")
        run(row(self.small, f"{number} after"))

    def start(self, moment: str, *more: str) -> Process:
        """A tailer that does not survive this moment."""
        command = [sys.executable, DYING, "-c", self.tailing.config, "--instance", "test", "--die-at", moment]
        return Process.start(self.tailing.folder, [*command, *more])

    def dies(self, moment: str, *more: str) -> None:
        """It must come to this moment."""
        process = self.start(moment, "--until-caught-up", *more)
        assert process.popen.wait(120) == -signal.SIGKILL, f"{moment}: {tail_of(process)}"

    def visible(self) -> dict[str, list[bytes]]:
        """What a read_committed consumer sees."""
        return {
            topic: [r.value for r in self.tailing.kafka.read_committed(topic)] for topic in (self.small, self.other)
        }

    def wanted(self, *, poison: bool = False) -> dict[str, list[bytes]]:
        """Every row in the order of its commits, and the too large ones only where these are taken."""
        both = (self.small, self.other)
        return {topic: [value for value in self.found[topic] if poison or len(value) < len(BIG)] for topic in both}

    def parked(self) -> list[tuple[bytes, str, int]]:
        """The dead letters a read_committed consumer sees: value, reason, number of the row."""
        collector = Collector()
        kept = self.tailing.kafka.read_committed(f"{self.tailing.prefix}.dead-letters")
        letters = [collector.add(record.key, record.value, record.headers) for record in kept]
        assert not collector.torn
        assert not collector.unfinished
        return [(one.value, one.reason, one.number) for one in letters if one is not None]

    def to_park(self) -> list[tuple[bytes, str, int]]:
        """What must have been parked."""
        rounds = range(1, self.written + 1)
        return [
            letter
            for number in rounds
            for letter in (
                (f"{number} {BIG}".encode(), "record_too_large", 2),
                (f"{number} 4".encode(), "topic_invalid", 4),
            )
        ]


@pytest.fixture
def rounds(request: pytest.FixtureRequest, kafka: Kafka, new_topic: Any, tmp_path: Any) -> Iterator[Rounds]:
    """A source on a server whose rows nobody takes are treated as said: both are in the parameter."""
    kind, policy = request.param
    server: Database = request.getfixturevalue(f"own_{kind}")
    with server.fresh_schema() as schema:
        server.run(ddl(kind), schema=schema)
        prefix, tables = unique("p").replace("_", "-"), {f"{schema}.outbox": {"layout": "native"}}
        tailing = Tailing(tmp_path, server, kafka, "shop", tables, prefix, start="latest", more={"on_error": policy})
        small, other = new_topic("small", configs={"max.message.bytes": "1000"}), new_topic("other")
        assert tailing.catch_up().code == 0
        yield Rounds(tailing, small, other)
        here = set(kafka.topics())
        kafka.delete_topic(*here & {tailing.checkpoint_topic, f"{prefix}.dead-letters"})


def under(policy: str, short: str) -> pytest.MarkDecorator:
    """The policy on both servers, or on one in the short form."""
    kinds = ("mariadb", "mysql") if EVERY else (short,)
    return pytest.mark.parametrize("rounds", [(kind, policy) for kind in kinds], indirect=True, ids=kinds)


@pytest.mark.timeout(900)
@under("dead_letter", "mysql")
def test_parked_once_with_the_rest_of_its_transaction(rounds: Rounds) -> None:
    for moment in MOMENTS if EVERY else FEW:
        rounds.write()
        rounds.dies(moment)
        ended = rounds.tailing.catch_up()
        assert ended.code == 0, ended.err
        assert rounds.visible() == rounds.wanted(), moment
        assert rounds.parked() == rounds.to_park(), moment


@pytest.mark.timeout(900)
@under("skip", "mariadb")
def test_skipped_and_nothing_else_is(rounds: Rounds) -> None:
    for moment in MOMENTS if EVERY else FEW[:2]:
        rounds.write()
        rounds.dies(moment)
        ended = rounds.tailing.catch_up()
        assert ended.code == 0, ended.err
        assert rounds.visible() == rounds.wanted(), moment
    assert f"{rounds.tailing.prefix}.dead-letters" not in rounds.tailing.kafka.topics()
    rounds.write()
    ended = rounds.tailing.catch_up("--log-format", "json")
    said = [json.loads(line) for line in ended.err.splitlines()]
    passed = sorted(line["error"] for line in said if line["event"] == "row passed over")
    assert passed == ["RecordTooLarge", "TopicInvalid"], ended.err
    assert said[-1]["passed_over"] == 2, "and counted"


@pytest.mark.timeout(900)
@under("stop", "mariadb")
def test_nothing_of_its_transaction_is_visible_until_the_cause_is_mended(rounds: Rounds) -> None:
    for moment in UNTIL_STOPPED if EVERY else UNTIL_STOPPED[-2:]:
        settled = rounds.wanted(poison=True)
        rounds.write(impossible=False)
        rounds.dies(moment)
        before = {**settled, rounds.small: [*settled[rounds.small], f"{rounds.written} before".encode()]}
        for _ in range(2):  # it stops again, however often it is started
            ended = rounds.tailing.catch_up()
            assert ended.code == NEEDS_DECISION, ended.err
            assert rounds.small in ended.err
            assert "hint:" in ended.err
            assert rounds.visible() == before, moment
        set_topic(rounds.tailing.kafka, rounds.small, max_message_bytes="100000")
        ended = rounds.tailing.catch_up()
        assert ended.code == 0, ended.err
        assert rounds.visible() == rounds.wanted(poison=True), moment
        set_topic(rounds.tailing.kafka, rounds.small, max_message_bytes="1000")


@under("dead_letter", "mariadb")
def test_a_tailer_that_loses_it_is_found(rounds: Rounds) -> None:
    rounds.write()
    rounds.dies("sending:2", "--spoil", "ahead")
    assert rounds.tailing.catch_up().code == 0
    assert rounds.visible() != rounds.wanted()
    assert rounds.parked() != rounds.to_park()


@under("dead_letter", "mariadb")
def test_a_tailer_that_doubles_it_is_found(rounds: Rounds) -> None:
    process = rounds.start("committed:8", "--spoil", "behind")
    process.await_line("reading the log")
    while process.popen.poll() is None:
        rounds.write()  # without a pause: a position alone is committed when there is nothing else
    assert rounds.tailing.catch_up().code == 0
    assert rounds.visible() != rounds.wanted()

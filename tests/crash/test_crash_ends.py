"""Ends that are neither a kill nor a stop: signals while Kafka does not answer, and one too many who waits for the end."""

import signal
import time

import pytest

from tests.crash.arena import Arena, tail_of
from tests.crash.faults import FENCED
from tests.crash.site import Grounds
from tests.servers import until

pytestmark = [pytest.mark.stack, pytest.mark.crash]

CUT_SHORT = 1


def test_impatient_signals_and_an_impatient_second_instance(grounds: Grounds, tmp_path) -> None:
    site = grounds.site("mariadb")
    with Arena(site.database, site.kafka, tmp_path, seed="ends", rate=200, site=site) as arena:
        arena.writer.start()
        working = arena.working()

        # --until-caught-up is for somebody who waits for the end: it does not stand by for ever
        second = arena.tail("--until-caught-up", name="second")
        assert arena.await_end(second) == FENCED, tail_of(second)
        assert "does not stand by" in second.log.read_text()
        assert "--take-over" in second.log.read_text()
        arena.await_flow(working, arena.now())

        # three signals while nothing of Kafka answers: a drain, a cut, and one more
        site.to_kafka.stall()
        time.sleep(1.0)
        for event in ("asked to stop: committing what was read", "status"):
            lines = len(working.said())
            working.popen.send_signal(signal.SIGTERM)
            until(event, lambda: event in {line["event"] for line in working.said()[lines:]})  # noqa: B023
        working.popen.send_signal(signal.SIGTERM)
        assert arena.await_end(working) == CUT_SHORT, tail_of(working)
        said = working.log.read_text()
        assert "Traceback" not in said
        assert "stopped before all that was read was committed" in said
        site.to_kafka.resume()

        arena.tailer = None
        outcome = arena.settle()
        assert outcome.clean, str(outcome)

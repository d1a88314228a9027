"""What a source says of itself: lag, readiness and counts, by a clock of the test."""

import asyncio
import itertools
from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cdc.errors import (
    CdcError,
    ConfigError,
    Doubt,
    Fenced,
    KafkaUnavailable,
    RowRefused,
    SourceUnavailable,
)
from cdc.model import Batch, Column, LogEnd, Record, Row, Slice, SourceTransaction, TableSchema
from cdc.mysql.survey import Survey
from cdc.position import Position
from cdc.tailer.http import Service, serve
from cdc.tailer.lag import Lag
from cdc.tailer.metrics import Metrics
from cdc.tailer.page import duration, page, size
from cdc.tailer.remote import fetch_status, url_of
from cdc.tailer.status import WORST_FIRST, Buckets, Status

TABLE = TableSchema("shop", "outbox", (Column("payload", "binary"),))
EPOCH = 1_700_000_000.0


class Clock:
    """A monotonic clock; `wall` runs with it, `server` differs by `skew`."""

    def __init__(self) -> None:
        self.now, self.skew = 1000.0, 0.0

    def mono(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now

    def server(self) -> float:
        return self.wall() + self.skew


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def status(clock):
    return Status("shop", server="db:3306", ready_lag=30.0, clock=clock.mono, wall=clock.wall)


def at(position, log_time=0.0, file="binlog.000007"):
    return Position("mariadb", "1", file, position, log_time=int(log_time))


def survey(status, clock, position, file="binlog.000007", **more):
    found = Survey(LogEnd(file, position), clock.server(), **more)
    status.surveyed(found, now=clock.mono(), wall=clock.wall())


def transaction(position, commit_time, rows=1):
    return SourceTransaction(None, "binlog.000007", position, int(commit_time), 0, [Row(TABLE, (b"x",))] * rows)


def read(status, position, log_time, *transactions):
    slice_ = Slice(list(transactions), at(position, log_time), 100)
    status.took(slice_)
    status("read", transactions=len(transactions), size=100, position=slice_.position)


def commit(status, position, log_time, *topics, transactions=1, skipped=(), parked=(), letters=0):
    records = [Record(t, 0, b"k", b"123", [], None) for t in topics]
    batch = Batch(
        at(position, log_time),
        records,
        transactions,
        skipped=Counter(skipped),
        parked=Counter(parked),
        letters=letters,
    )
    status.published(batch, 0.01)
    status("advanced", records=len(topics), transactions=transactions, commit_time=0, position=batch.position)


def test_nothing_is_ready_before_the_log_is_open_and_its_end_known(status, clock):
    assert (status.state, status.lag_seconds) == ("starting", None)
    status("standing_by", instance="other#1", topic="t")
    assert (status.state, status.waiting_for, status.checkpoint_age) == ("standby", "other#1", None)
    status("fencing")
    assert (status.state, status.waiting_for) == ("starting", None)
    status("opened", position=at(100, clock.server() - 3600))
    assert status.state == "starting"  # an hour old: idle, or an hour behind?
    survey(status, clock, 100)
    assert (status.state, status.lag_seconds, status.behind) == ("tailing", 0.0, (0, 0))


def test_hours_behind_at_the_start_are_hours_behind(status, clock):
    status("opened", position=at(100, clock.server() - 7200))
    survey(status, clock, 5000)
    assert status.state == "catching-up"
    assert status.lag_seconds == pytest.approx(7200, abs=1)
    assert status.behind == (4900, 0)
    for n in range(1, 7):  # a sixth at a time
        clock.now += 20
        read(status, 100 + n * 800, clock.server() - 7200 + n * 1190, transaction(0, clock.server() - 7200))
        commit(status, 100 + n * 800, clock.server() - 7200 + n * 1190, "t")
        assert status.state == "catching-up"
    read(status, 5000, clock.server() - 10)
    assert status.state == "tailing"


def test_behind_and_not_getting_on_is_stalled(status, clock):
    status("opened", position=at(100, clock.server()))
    survey(status, clock, 100)
    read(status, 300, clock.server(), transaction(300, clock.server()))
    clock.now += 29
    survey(status, clock, 900)
    assert status.state == "tailing"
    assert status.lag_seconds == pytest.approx(29, abs=1)
    clock.now += 3
    assert status.state == "stalled"
    commit(status, 300, clock.server() - 32, "t")
    assert status.state == "catching-up"
    read(status, 900, clock.server() - 3)
    assert (status.state, status.lag_seconds) == ("tailing", 0.0)


@pytest.mark.parametrize("skew", [-7200.0, 0.0, 7200.0])
def test_a_server_whose_clock_is_wrong_is_as_far_behind_as_any(status, clock, skew):
    clock.skew = skew
    status("opened", position=at(100, clock.server() - 600))
    survey(status, clock, 5000)
    assert status.lag_seconds == pytest.approx(600, abs=1)
    read(status, 200, clock.server() - 5, transaction(200, clock.server() - 5))
    assert status.lag_seconds == pytest.approx(5, abs=1)
    commit(status, 200, clock.server() - 5, "t")
    assert status.end_to_end_seconds.total == pytest.approx(5, abs=1)


def test_an_idle_server_an_idle_outbox_and_a_row_after_hours_are_not_behind(status, clock):
    status("opened", position=at(100, clock.server() - 9000))
    survey(status, clock, 100)
    for _ in range(1000):  # idle
        clock.now += 5
        survey(status, clock, 100)
        assert (status.state, status.lag_seconds, status.checkpoint_age) == ("tailing", 0.0, 0.0)
    survey(status, clock, 400)  # something was written a moment ago
    assert (status.state, status.lag_seconds) == ("tailing", 0.0)
    clock.now += 1
    assert status.lag_seconds == pytest.approx(1, abs=0.1)
    for n in range(100):  # a busy server: its end is never met, only followed
        clock.now += 5
        read(status, 1000 * n + 500, clock.server() - 1)
        survey(status, clock, 1000 * n + 900)
        assert status.state == "tailing"
        assert status.lag_seconds <= 6


def test_a_log_end_that_nobody_can_ask_for_makes_nothing_look_well_for_long(status, clock):
    status("opened", position=at(100, clock.server()))
    survey(status, clock, 100)
    clock.now += 29
    assert status.state == "tailing"
    clock.now += 2
    assert status.state == "stalled"


@pytest.mark.parametrize("error", [SourceUnavailable("away", hint="up?"), KafkaUnavailable("away", hint="up?")])
def test_disconnected_until_the_log_is_open_again(status, clock, error):
    status("opened", position=at(100, clock.server()))
    survey(status, clock, 100)
    read(status, 300, clock.server(), transaction(300, clock.server()))
    status("starting_over", error=error, pause=1.0)
    for step in ("fencing", "fenced", "opening"):
        status(step)
        assert (status.state, status.connected) == ("disconnected", False)
    clock.now += 40
    assert status.lag_seconds == pytest.approx(40, abs=1)
    status.opened_anew()
    status("opened", position=at(100, clock.server() - 40))
    survey(status, clock, 100)
    assert status.state == "tailing"
    data = status.as_data()
    assert data["restarts"] == 1
    assert data["last_error"]["error"] == type(error).__name__
    assert data["last_error"]["hint"] == "up?"


def test_what_was_read_twice_is_counted_as_published_once(status, clock):
    for _ in range(2):
        status.opened_anew()
        status("opened", position=at(100, clock.server()))
        read(status, 200, clock.server(), transaction(200, clock.server(), rows=3))
        status("doubt", error=Doubt("who knows", hint=""))
    # of three rows one is refused, and one goes by a rule
    commit(status, 200, clock.server(), "a", skipped=["topic_missing"])
    assert status.rows_read == {"shop.outbox": 6}
    assert (status.records, status.passed_over) == ({"a": 1}, {"topic_missing": 1, "unrouted": 1})
    assert (status.events, status.transactions, status.aborted) == (1, 1, 2)


def test_a_parked_row_is_no_row_that_was_passed_over(status, clock):
    status("opened", position=at(100, clock.server()))
    read(status, 200, clock.server(), transaction(200, clock.server(), rows=5))
    commit(status, 200, clock.server(), "a", "a", *["dead"] * 4, parked=["record_too_large"] * 2, letters=4)
    assert status.dead_letters == {"record_too_large": 2}
    assert status.passed_over == {"unrouted": 1}


def test_a_batch_of_several_slices_and_a_slice_that_comes_meanwhile(status, clock):
    status("opened", position=at(100, clock.server()))
    for n in range(3):
        read(status, 200 + n, clock.server(), *[transaction(200 + n, clock.server() - n, rows=2)] * 5)
    commit(status, 201, clock.server(), *["t"] * 20, transactions=10)
    assert status.passed_over == {}
    assert status.end_to_end_seconds.counts[:2] == [10, 0]
    clock.now += 31
    assert status.state == "stalled"  # the third waits still
    commit(status, 202, clock.server(), *["t"] * 10, transactions=5)
    assert status.end_to_end_seconds.counts == [10, 0, 0, 0, 0, 0, 5, *[0] * 6]


def test_how_it_ended(status):
    status("draining")
    assert status.state == "stopped"
    status.ended(None)
    assert (status.state, status.last_error) == ("stopped", None)
    status.ended(Fenced("taken over", hint="h"))
    assert (status.state, status.last_error.error.hint) == ("fenced", "h")


def test_bytes_and_time_left_across_files(status, clock):
    status("opened", position=at(700, clock.server() - 100, file="binlog.000007"))
    sizes = {"binlog.000006": 10**6, "binlog.000007": 1000, "binlog.000008": 5000, "binlog.000009": 40}
    survey(status, clock, 40, file="binlog.000009", sizes=sizes, keeps=3600.0)
    assert status.behind == (300 + 5000 + 40, 2)
    assert status.retained_seconds == pytest.approx(3500, abs=1)
    survey(status, clock, 700, keeps=3600.0)
    assert status.retained_seconds == 3600.0
    survey(status, clock, 700)
    assert status.retained_seconds is None


def test_marks_of_the_logs_end_do_not_pile_up(clock):
    lag = Lag()
    for n in range(10_000):
        clock.now += 1
        lag.surveyed(Survey(LogEnd("b.1", n), clock.server()), now=clock.now, wall=clock.wall())
    assert len(lag._unreached) <= 64
    assert lag.passed(Position("mariadb", "1", "b.1", 9999))


def test_the_worst_state_is_the_services(clock):
    for states in itertools.combinations(WORST_FIRST, 2):
        statuses = [Status(name, clock=clock.mono, wall=clock.wall) for name in "ab"]
        for one, state in zip(statuses, reversed(states), strict=True):
            one._phase = state
            if state == "tailing":
                one("opened", position=at(1, clock.server()))
        assert Service("me", statuses).state() == states[0]


def test_a_histogram_counts_its_bounds_in():
    buckets = Buckets(1, 10)
    for value in (0, 1, 1.5, 10, 11):
        buckets.add(value)
    assert (buckets.counts, buckets.total) == ([2, 2, 1], 23.5)


def test_every_metric_is_there_under_its_name_and_unknown_gauges_are_not(status, clock):
    def families():
        body, content_type = Metrics([status]).render("")
        assert content_type.startswith("text/plain")
        return {family.name: family for family in text_string_to_metric_families(body.decode())}

    before = families()
    assert not before["cdc_source_lag_seconds"].samples
    assert not before["cdc_source_retained_seconds"].samples
    for name in [
        "source_connected",
        "source_lag_seconds",
        "source_behind_bytes",
        "source_retained_seconds",
        "rows_read",
        "rows_ignored",
        "records_committed",
        "batch_records",
        "batch_bytes",
        "commit_seconds",
        "end_to_end_seconds",
        "transactions_aborted",
        "dead_letters",
        "dead_letters_parked",
        "checkpoint_age_seconds",
        "restarts",
        "build_info",
        "source_state",
        "source_ready",
        "headers_dropped",
        "log_set_aside",
    ]:
        assert f"cdc_{name}" in before
    status("opened", position=at(100, clock.server()))
    survey(status, clock, 100)
    read(status, 200, clock.server(), transaction(200, clock.server()))
    commit(status, 200, clock.server(), "t")
    after = families()
    (sample,) = after["cdc_records_committed"].samples
    assert (sample.name, sample.labels, sample.value) == (
        "cdc_records_committed_total",
        {"source": "shop", "topic": "t"},
        1,
    )
    buckets = {s.labels["le"]: s.value for s in after["cdc_commit_seconds"].samples if s.name.endswith("_bucket")}
    assert (buckets["0.005"], buckets["0.01"], buckets["+Inf"]) == (0, 1, 1)


def test_what_was_read_and_dropped_is_shown(status):
    assert status.as_data()["set_aside"] == {}
    status.set_aside = lambda: {"repeated": 3}
    assert status.as_data()["set_aside"] == {"repeated": 3}
    assert b'cdc_log_set_aside_total{reason="repeated",source="shop"} 3.0' in Metrics([status]).render("")[0]
    assert "repeated 3" in page(Service("me", [status]).as_data())


def test_two_services_in_one_process_share_no_metric(status):
    assert Metrics([status]).render("")[0].count(b"cdc_build_info{") == 1
    assert Metrics([status]).render("")[0].count(b"cdc_build_info{") == 1


def test_the_page_escapes_what_it_shows_and_loads_nothing(status):
    status("starting_over", error=RowRefused("<script>alert(1)</script>", hint="<b>"), pause=1.0)
    shown = page(Service("<i>me", [status]).as_data())
    assert "<script" not in shown
    assert "<i>" not in shown
    assert "<b>&lt;" not in shown
    assert "src=" not in shown
    assert "://" not in shown


@pytest.mark.parametrize("address", [("192.0.2.1", 8080), ("no-such-host.invalid", 8080)])
async def test_an_address_that_is_not_ours_is_a_configuration_error(address):
    with pytest.raises(ConfigError, match=address[0]) as caught:
        async with serve(Service("me", []), address):
            pass
    assert caught.value.hint


async def test_two_servers_at_one_port_and_what_they_answer(status):
    service = Service("me", [status])
    async with serve(service, ("127.0.0.1", 0)) as url:
        port = int(url.rpartition(":")[2])
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is in use"):
            async with serve(service, ("127.0.0.1", port)):
                pass
        found = await asyncio.to_thread(fetch_status, url)
        assert found["sources"]["shop"]["state"] == "starting"
        with pytest.raises(CdcError, match="answers 404"):
            await asyncio.to_thread(fetch_status, f"{url}/elsewhere")
    with pytest.raises(CdcError, match="no tailer answers"):
        await asyncio.to_thread(fetch_status, url)
    async with serve(service, None) as nowhere:
        assert nowhere is None


def test_where_a_tailer_is_asked():
    assert url_of(("0.0.0.0", 80), config="c") == "http://127.0.0.1:80"
    assert url_of(("::", 80), config="c") == "http://[::1]:80"
    for unknown in (None, ("127.0.0.1", 0)):
        with pytest.raises(ConfigError) as caught:
            url_of(unknown, config="c")
        assert caught.value.hint


def test_words_for_numbers():
    assert [duration(s) for s in (0, 3.24, 65, 7265, 777_777)] == [
        "0.0 s",
        "3.2 s",
        "1 min 5 s",
        "2 h 1 min",
        "9 d 0 h",
    ]
    assert [size(n) for n in (0, 1023, 1024, 5 << 20, 3 << 40)] == ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB"]


def test_it_says_for_how_long_kafka_has_been_committing(status, clock):
    assert status.committing_seconds == 0
    for end, facts in (("advanced", {"position": at(20)}), ("starting_over", {"error": KafkaUnavailable("away")})):
        status("beginning")
        clock.now += 12
        assert status.committing_seconds == 12
        status(end, **facts)
        clock.now += 3
        assert status.committing_seconds == 0

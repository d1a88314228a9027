"""What the figures are held against: a row each of what was measured, its target, and whether it is met.

A miss is a row that says so and the exit code of `make bench`, never a failure of `make test`: speed is no test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.latency import LONE, LONE_RATE, at
from tests.bench.tailing import OURS, THEIRS

ONE, HUNDRED = "one row a transaction", "100 rows a transaction"
_CQRS = "python-cqrs 5 repository"


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a contestant on a log."""

    contestant: str
    log: str
    name: str

    def of(self, contestants: Mapping[str, Any]) -> float | None:
        found = contestants.get(self.contestant, {}).get(self.log, {}).get(self.name)
        return None if found is None else float(found)


@dataclass(frozen=True, slots=True)
class Row:
    """A figure, over another one where one is named, that should be over or under a bound."""

    what: str
    figure: Figure
    over: Figure | None = None
    relation: str = ""
    bound: float = 0.0

    def judged(self, contestants: Mapping[str, Any]) -> dict[str, Any] | None:
        """None where it was not measured."""
        measured, other = self.figure.of(contestants), 1.0 if self.over is None else self.over.of(contestants)
        if measured is None or not other:
            return None
        value = measured / other
        met = {"": True, "<": value < self.bound, "<=": value <= self.bound, ">=": value >= self.bound}[self.relation]
        verdict = ("ok" if met else "miss") if self.relation else ""
        return {
            "what": self.what,
            "measured": round(value, 3),
            "relation": self.relation,
            "bound": self.bound,
            "verdict": verdict,
        }


def _latency(rate: int, percentile: str = "p50") -> Figure:
    return Figure(OURS, at(rate), f"latency_ms_{percentile}")


_LONE = Figure(LONE, at(LONE_RATE), "latency_ms_p50")
ROWS = (
    Row("add to python-cqrs's add and flush", Figure("cdc.outbox", "add", "us_per_event"),
        Figure(_CQRS, "add and flush", "us_per_event"), "<=", 0.333),
    Row("routing and envelope, us a row", Figure("cdc routing", "native rows to records", "us_per_event")),
    Row("murmur2, key by key: aiokafka's time to ours", Figure("aiokafka murmur2", "murmur2 of random keys", "us_per_event"),
        Figure("cdc murmur2", "murmur2 of random keys", "us_per_event")),
    Row("murmur2, by slices: aiokafka's time to ours", Figure("aiokafka murmur2", "murmur2 of random keys", "us_per_event"),
        Figure("cdc murmur2 of a slice", "murmur2 of random keys", "us_per_event"), ">=", 2),
    Row("reading, one row: rows/s to the library's", Figure("cdc reader", ONE, "rows_per_second"),
        Figure("BinLogStreamReader", ONE, "rows_per_second"), ">=", 30),
    Row("reading, 100 rows: rows/s to the library's", Figure("cdc reader", HUNDRED, "rows_per_second"),
        Figure("BinLogStreamReader", HUNDRED, "rows_per_second"), ">=", 12),
    Row("tailer, one row: events/s to send()'s", Figure(OURS, ONE, "events_per_second"),
        Figure(THEIRS, ONE, "events_per_second"), ">=", 20),
    Row("tailer, 100 rows: events/s to send()'s", Figure(OURS, HUNDRED, "events_per_second"),
        Figure(THEIRS, HUNDRED, "events_per_second")),
    Row("tailer, one row: CPU us an event", Figure(OURS, ONE, "cpu_us_per_event")),
    Row("tailer, one row: peak RSS, MB", Figure(OURS, ONE, "peak_rss_mb")),
    Row("tailer, one row: MB above an idle one", Figure(OURS, ONE, "rss_above_idle_mb"), None, "<", 30),
    Row("tailer, 100 rows: MB above an idle one", Figure(OURS, HUNDRED, "rss_above_idle_mb"), None, "<", 30),
    Row("p50 at 20/s, ms", _latency(20)),
    Row("p99 at 20/s, ms", _latency(20, "p99")),
    Row("p50 at 500/s, ms", _latency(500)),
    Row("p99 at 500/s, ms", _latency(500, "p99")),
    Row("p50 of a Kafka transaction alone, ms", _LONE),
    Row("p50 at 20/s to a Kafka transaction's", _latency(20), _LONE, "<", 2),
    Row("p50 at 500/s to a Kafka transaction's", _latency(500), _LONE, "<", 2),
    Row("restart under the same name, s", Figure(OURS, "restart under the same name", "seconds"), None, "<", 1),
)  # fmt: skip


def judge(contestants: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows of all that was measured."""
    return [found for row in ROWS if (found := row.judged(contestants)) is not None]

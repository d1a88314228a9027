"""The status of all sources as Prometheus metrics, made when somebody asks.

A collector that reads `Status` objects: the pump updates plain numbers and no metric. The
registry is the process's own, so two services in one process (tests) do not meet.

Names are a contract with dashboards and alerts: base units, prefix `cdc_`. A gauge that is not
known is left out, never 0. Times in the log are whole seconds, so `cdc_end_to_end_seconds` is, too.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from cdc import __version__
from cdc.tailer.status import READY, WORST_FIRST, Buckets, Status

_GAUGES: tuple[tuple[str, str, Callable[[Status], float | None]], ...] = (
    ("source_connected", "1 while the server's log is being read", lambda s: float(s.connected)),
    ("source_ready", "1 while the source is within service.ready_lag, as /readyz says", lambda s: s.state == READY),
    ("source_lag_seconds", "Age of the oldest change that is not published yet, at most", lambda s: s.lag_seconds),
    (
        "source_behind_bytes",
        "Bytes of the log between what is published and the log's end",
        lambda s: None if s.behind is None else s.behind[0],
    ),
    (
        "source_retained_seconds",
        "Time until the server may purge what is still needed; absent where it purges nothing by age",
        lambda s: s.retained_seconds,
    ),
    (
        "checkpoint_age_seconds",
        "Time since the checkpoint moved, or was found to be at the log's end",
        lambda s: s.checkpoint_age,
    ),
)
_COUNTERS: tuple[tuple[str, str, str, Callable[[Status], Mapping[str, int]]], ...] = (
    (
        "rows_read",
        "Outbox rows read; after a restart from the checkpoint some are read again",
        "table",
        lambda s: s.rows_read,
    ),
    (
        "rows_ignored",
        "Rows that became no record on purpose, by on_error or unrouted: skip",
        "reason",
        lambda s: s.passed_over,
    ),
    ("records_committed", "Records committed to Kafka", "topic", lambda s: s.records),
    ("dead_letters", "Rows kept as dead letters", "reason", lambda s: s.dead_letters),
    (
        "headers_dropped",
        "Headers of rows left out because they bear a name of ours",
        "header",
        lambda s: s.dropped_headers,
    ),
    (
        "log_set_aside",
        "Transactions the server sent again (repeated) and rows an UPDATE of a system-versioned table wrote (history)",
        "reason",
        lambda s: s.set_aside(),
    ),
    ("restarts", "Starts over from the checkpoint", "error", lambda s: s.restarts),
)
_TOTALS: tuple[tuple[str, str, Callable[[Status], int]], ...] = (
    ("transactions_committed", "Source transactions committed to Kafka", lambda s: s.transactions),
    ("transactions_aborted", "Kafka transactions that were given up, with or without outcome", lambda s: s.aborted),
)
_HISTOGRAMS: tuple[tuple[str, str, Callable[[Status], Buckets]], ...] = (
    ("batch_records", "Records in one Kafka transaction, those without any left out", lambda s: s.batch_records),
    ("batch_bytes", "Bytes of keys and values in one Kafka transaction", lambda s: s.batch_bytes),
    ("commit_seconds", "Duration of one Kafka transaction", lambda s: s.commit_seconds),
    (
        "end_to_end_seconds",
        "From the commit in the database (whole seconds) to the one in Kafka, by source transaction",
        lambda s: s.end_to_end_seconds,
    ),
)


class Sources(Collector):
    """The metrics of these sources."""

    def __init__(self, statuses: Sequence[Status]) -> None:
        self._statuses = statuses

    def collect(self) -> Iterator[Metric]:
        """All families."""
        build = GaugeMetricFamily("cdc_build_info", "The version that runs", labels=("version", "python"))
        build.add_metric((__version__, platform.python_version()), 1)
        yield build
        yield self._states()
        for name, text, value in _GAUGES:
            gauge = GaugeMetricFamily(f"cdc_{name}", text, labels=("source",))
            for status in self._statuses:
                if (now := value(status)) is not None:
                    gauge.add_metric((status.name,), float(now))
            yield gauge
        yield self._parked()
        yield from self._counters()
        for name, text, buckets in _HISTOGRAMS:
            histogram = HistogramMetricFamily(f"cdc_{name}", text, labels=("source",))
            for status in self._statuses:
                found = buckets(status)
                histogram.add_metric((status.name,), list(_cumulated(found)), found.total)
            yield histogram

    def _states(self) -> Metric:
        states = GaugeMetricFamily("cdc_source_state", "1 for the state the source is in", labels=("source", "state"))
        for status in self._statuses:
            now = status.state
            for state in WORST_FIRST:
                states.add_metric((status.name, state), float(state == now))
        return states

    def _parked(self) -> Metric:
        text = "Dead letters that were neither replayed nor dismissed"
        parked = GaugeMetricFamily("cdc_dead_letters_parked", text, labels=("source", "reason"))
        for status in self._statuses:
            for reason, count in status.parked.items():
                parked.add_metric((status.name, reason), float(count))
        return parked

    def _counters(self) -> Iterable[Metric]:
        for name, text, label, counts in _COUNTERS:
            counter = CounterMetricFamily(f"cdc_{name}", text, labels=("source", label))
            for status in self._statuses:
                for key, count in list(counts(status).items()):
                    counter.add_metric((status.name, key), count)
            yield counter
        for name, text, total in _TOTALS:
            counter = CounterMetricFamily(f"cdc_{name}", text, labels=("source",))
            for status in self._statuses:
                counter.add_metric((status.name,), total(status))
            yield counter


class Metrics:
    """The registry, and how it is written down."""

    def __init__(self, statuses: Sequence[Status]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(Sources(statuses))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Body and content type, in the form that the Accept header asks for."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


def _cumulated(found: Buckets) -> Iterator[tuple[str, float]]:
    so_far = 0
    for bound, count in zip((*found.bounds, float("inf")), found.counts, strict=True):
        so_far += count
        yield "+Inf" if bound == float("inf") else str(float(bound)), so_far

"""`make bench`: our reading and the whole tailer beside what one would otherwise write, on one machine in turns.

    .venv/bin/python tests/bench [--rows N] [--events N] [--rounds N] [--only writing,reading,tailing,latency]

Prints a table and writes `.stack/bench.json` (DESIGN 4.6). Contestants take turns in every round and the median
counts, because the machine is never quite quiet; `spread` is (most - least) / median over the rounds.
What was not measured is not in the file.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from infra.stack import Places
from tests.bench import reading, tailing, writing
from tests.bench.measure import summary, table
from tests.servers import own_server, shared_kafka


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description="Figures, beside those of others.")
    parser.add_argument("--rows", type=int, default=100_000, help="rows in each of the logs that are read")
    parser.add_argument("--events", type=int, default=100_000, help="events that go to Kafka")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=15.0, help="how long latency is watched at each rate")
    parser.add_argument("--only", default="writing,reading,tailing,latency")
    given = parser.parse_args()
    wanted = given.only.split(",")
    results: dict[str, Any] = {"machine": machine(), "contestants": {}, "ratios": {}}
    # a hundred thousand commits need no hundred thousand syncs here: a server of its own
    kafka, server = (
        shared_kafka(),
        own_server("mariadb", options=["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0"]),
    )
    with server.instance, server.fresh_schema("bench") as schema, tempfile.TemporaryDirectory() as folder:
        bench = tailing.Bench(server, kafka, schema, Path(folder))
        if "writing" in wanted:
            add(results, writing.compare(server, schema, given.rounds))
        if "reading" in wanted:
            add(results, reading.compare(server, schema, given.rows, given.rounds))
        if "tailing" in wanted:
            add(results, bench.throughput(given.events, given.rounds))
        if "latency" in wanted:
            for rate in (20, 500):
                add(results, bench.latency(rate, given.seconds))
    results["ratios"] = ratios(results["contestants"])
    path = Places.from_environment().stack / "bench.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results), f"\nwritten to {path}", sep="")
    return 0


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def add(results: dict[str, Any], found: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    """Take rounds of contestants, by log, as medians."""
    for contestant, logs in found.items():
        for log, rounds in logs.items():
            results["contestants"].setdefault(contestant, {})[log] = summary(rounds)


def ratios(contestants: dict[str, Any]) -> dict[str, float]:
    """Ours over theirs, of what was measured."""
    pairs = {
        "write_add_and_flush": ("cdc.outbox", "python-cqrs 5 repository", "add and flush", "us_per_event"),
        "write_100_a_flush": ("cdc.outbox", "python-cqrs 5 repository", "100 adds, a flush", "us_per_event"),
        "reading_one_row": ("cdc reader", "BinLogStreamReader", "one row a transaction", "rows_per_second"),
        "reading_100_rows": ("cdc reader", "BinLogStreamReader", "100 rows a transaction", "rows_per_second"),
        "ordinary_throughput": ("cdc tailer", "BinLogStreamReader + send()", "one row a transaction", "events_per_second"),
        "ordinary_throughput_100_rows": ("cdc tailer", "BinLogStreamReader + send()", "100 rows a transaction", "events_per_second"),
        "ordinary_cpu": ("cdc tailer", "BinLogStreamReader + send()", "one row a transaction", "cpu_us_per_event"),
        "ordinary_rss": ("cdc tailer", "BinLogStreamReader + send()", "one row a transaction", "peak_rss_mb"),
        "ordinary_latency_p50": ("cdc tailer", "BinLogStreamReader + send()", "20 events/s", "latency_ms_p50"),
        "ordinary_latency_p50_500": ("cdc tailer", "BinLogStreamReader + send()", "500 events/s", "latency_ms_p50"),
    }  # fmt: skip
    out = {}
    for name, (ours, theirs, log, figure) in pairs.items():
        one, other = (contestants.get(who, {}).get(log, {}).get(figure) for who in (ours, theirs))
        if one and other:
            out[name] = round(one / other, 3)
    # what the caller of add() waits for: ours sends nothing until the flush that the service does anyway
    ours, theirs = contestants.get("cdc.outbox", {}), contestants.get("python-cqrs 5 repository", {})
    if ours and theirs:
        out["write_add_to_their_add_and_flush"] = round(
            ours["add"]["us_per_event"] / theirs["add and flush"]["us_per_event"], 3
        )
    return out


if __name__ == "__main__":
    sys.exit(main())

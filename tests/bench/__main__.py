"""`make bench`: our reading and the whole tailer beside what one would otherwise write, on one machine in turns.

    .venv/bin/python tests/bench [--rows N] [--events N] [--rounds N] [--seconds S] [--only restart,latency] [--out FILE]

Prints a table, which ends with what was measured beside its target, and writes `.stack/bench.json` (DESIGN 4.6). Contestants take turns in every round and the median
counts, because the machine is never quite quiet; `spread` is (most - least) / median over the rounds.
What was not measured is not in the file. Exit code 1: a target is missed.
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
from tests.bench import latency, reading, rows, tailing, writing
from tests.bench.measure import Rounds, summary, table
from tests.bench.targets import judge
from tests.servers import own_server, shared_kafka

PARTS = ("writing", "rows", "reading", "tailing", "latency", "restart")


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench ARGS=...", description="Figures, beside those of others.")
    parser.add_argument("--rows", type=int, default=100_000, help="rows in each of the logs that are read")
    parser.add_argument("--events", type=int, default=100_000, help="events that go to Kafka")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long latency is watched in each round")
    parser.add_argument("--only", default=",".join(PARTS), help=f"some of {','.join(PARTS)}")
    parser.add_argument("--out", type=Path, default=Places.from_environment().stack / "bench.json")
    given = parser.parse_args()
    if unknown := set(given.only.split(",")) - set(PARTS):
        parser.error(f"--only: there is no {', '.join(sorted(unknown))}")
    results: dict[str, Any] = {"machine": machine(), "contestants": {}, "ratios": {}, "targets": []}
    measure(given, results)
    results["ratios"], results["targets"] = ratios(results["contestants"]), judge(results["contestants"])
    given.out.write_text(json.dumps(results, indent=2) + "\n")
    print(table(results), f"\nwritten to {given.out}", sep="")
    return int(any(row["verdict"] == "miss" for row in results["targets"]))


def measure(given: argparse.Namespace, results: dict[str, Any]) -> None:
    """What is wanted, on a server of its own: so many commits need no syncs here."""
    wanted, kafka = given.only.split(","), shared_kafka()
    server = own_server("mariadb", options=["--sync-binlog=0", "--innodb-flush-log-at-trx-commit=0"])
    with server.instance, server.fresh_schema("bench") as schema, tempfile.TemporaryDirectory() as folder:
        bench = tailing.Bench(server, kafka, schema, Path(folder))
        if "writing" in wanted:
            add(results, writing.compare(server, schema, given.rounds))
        if "rows" in wanted:
            add(results, rows.compare(given.rounds))
        if "reading" in wanted:
            add(results, reading.compare(server, schema, given.rows, given.rounds))
        if "tailing" in wanted:
            add(results, bench.throughput(given.events, given.rounds))
        if "latency" in wanted:
            add(results, latency.compare(bench, given.seconds, given.rounds))
        if "restart" in wanted:
            add(results, latency.restart(bench, given.rounds))


def machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def add(results: dict[str, Any], found: Rounds) -> None:
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
    if (
        alone := contestants.get(latency.LONE, {}).get(latency.at(latency.LONE_RATE), {}).get("latency_ms_p50")
    ) is not None:
        for rate in (20, 500):
            if found := contestants.get(tailing.OURS, {}).get(latency.at(rate), {}).get("latency_ms_p50"):
                out[f"lone_latency_p50_{rate}"] = round(found / alone, 3)
    # what the caller of add() waits for: ours sends nothing until the flush that the service does anyway
    ours, theirs = contestants.get("cdc.outbox", {}), contestants.get("python-cqrs 5 repository", {})
    if ours and theirs:
        out["write_add_to_their_add_and_flush"] = round(
            ours["add"]["us_per_event"] / theirs["add and flush"]["us_per_event"], 3
        )
    return out


if __name__ == "__main__":
    sys.exit(main())

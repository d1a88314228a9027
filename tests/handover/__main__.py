"""The long form of the handovers: so many times each way under one load, on MariaDB and MySQL with and without GTIDs.

    .venv/bin/python -m tests.handover --times 5 --server mariadb|mysql|mysql-no-gtids|mariadb-clean-stop|all
                                       [--seed S] [--again]

The last of them has workers without exactly-once support: there a clean stop is what makes it exact.

Every second time the connector is made anew from a manifest, and the tailer is killed instead of stopped. A server that
is finished is a line of JSON in `.stack/handovers/`; what was cut off goes on behind the last of them. Exit
code 1 on any fault.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
from pathlib import Path
from typing import Any

from infra.stack import Places
from tests.connect_workers import Connect, own_connect
from tests.handover.exchange import Exchange
from tests.handover.judge import FAULTS
from tests.servers import Kafka, own_server, shared_kafka

NO_GTIDS = ("--gtid-mode=OFF", "--enforce-gtid-consistency=OFF")
SERVERS = {
    "mariadb": ("mariadb", (), True),
    "mysql": ("mysql", (), True),
    "mysql-no-gtids": ("mysql", NO_GTIDS, True),
    "mariadb-clean-stop": ("mariadb", (), False),
}
"""Server, its options, and whether the workers write exactly once."""


def play(kind: str, times: int, seed: str, kafka: Kafka, connect: Connect) -> dict[str, Any]:
    """One server, one load, all handovers."""
    flavour, options, exactly_once = SERVERS[kind]
    support = "required" if exactly_once else "requested"
    server = own_server(flavour, options=options)
    found: dict[str, Any] = {"server": kind, "seed": seed, "times": times}
    began = time.monotonic()
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            server.fresh_schema("hand") as schema,
            Exchange(
                server, kafka, connect, Path(folder), schema, seed=f"{seed}/{kind}", exactly_once=support
            ) as exchange,
        ):
            exchange.start_debezium()
            with exchange.loaded(3.0):
                for number in range(times):
                    exchange.to_tailer()
                    exchange.to_debezium(anew=number % 2 == 1, killed=number % 2 == 1)
                    print(f"{kind}: {number + 1} of {times} there and back", flush=True)
            found["faults"] = {fault: len(texts) for fault, texts in exchange.verdict().items()}
            found |= {"rows": len(exchange.load.ledger), "rate": round(exchange.load.achieved), "steps": exchange.steps}
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this server's result
        found["stuck"], found["trace"] = f"{type(error).__name__}: {error}", traceback.format_exc()
    finally:
        server.instance.remove()
    return found | {"seconds": round(time.monotonic() - began)}


def is_clean(result: dict[str, Any]) -> bool:
    return "stuck" not in result and not any(result["faults"].values())


def line(result: dict[str, Any]) -> str:
    if "stuck" in result:
        return f"{result['server']}: {result['trace']}"
    to = [step for step in result["steps"] if step["to"] == "tailer"]
    inside = sum(bool(step["rows_sent_here"]) for step in to)
    words = ", ".join(f"{result['faults'][fault]} {fault}" for fault in FAULTS)
    return (
        f"{result['server']}: {len(to)} times there ({inside} inside a transaction that was not whole) and "
        f"{len(result['steps']) - len(to)} back, {result['rate']} transactions/s, {result['rows']} rows in "
        f"{result['seconds']} s: {words}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--server", choices=[*SERVERS, "all"], default="all")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--again", action="store_true", help="forget what was finished before")
    given = parser.parse_args()
    kinds = list(SERVERS) if given.server == "all" else [given.server]
    book = Places.from_environment().stack / "handovers" / f"{given.seed}-{given.server}-{given.times}.jsonl"
    book.parent.mkdir(parents=True, exist_ok=True)
    results = [json.loads(text) for text in book.read_text().splitlines()] if book.exists() else []
    if given.again or len(results) == len(kinds):
        results = []
        book.unlink(missing_ok=True)
    kafka = shared_kafka()
    for kind in kinds[len(results) :]:
        support = "enabled" if SERVERS[kind][2] else "disabled"
        connect = own_connect(kafka, options=[f"exactly.once.source.support={support}"])
        try:
            results.append(play(kind, given.times, given.seed, kafka, connect))
        finally:
            connect.remove()
        with book.open("a") as file:
            file.write(json.dumps(results[-1]) + "\n")
    print("\n".join(map(line, results)))
    return not all(map(is_clean, results))


if __name__ == "__main__":
    sys.exit(main())

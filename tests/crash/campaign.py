"""The long form of the crash tests: as many kills as asked for, in rounds, with a table at the end.

    .venv/bin/python tests/crash/campaign.py --kills N --server mariadb|mysql|both [--seed S] [--again]

A round is an arena of its own (own tables, topics and source) with up to 25 kills and one
verdict. All that happens in it follows from the seed and its number, the moment at which the
operating system does it aside. Each finished round is a line of JSON in `.stack/crash/`; a
campaign that was cut off goes on behind the last of them; one that was finished, or `--again`,
begins anew. The logs of a round's tailers stay in `.stack/crash/` when the round found a fault.

Exit code 1 on any fault. Databases are started for the campaign alone and removed at its end.
"""

import argparse
import json
import random
import shutil
import signal
import statistics
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.stack import Places  # noqa: E402 - the path has to be right first
from tests.checker.judge import FAULTS as KINDS  # noqa: E402
from tests.crash.arena import Arena  # noqa: E402
from tests.crash.faults import FAULTS, Life  # noqa: E402
from tests.servers import Database, Kafka, own_server, shared_kafka  # noqa: E402

KILLS_A_ROUND = 25
LAYOUTS = ("native", "cqrs")
COLUMNS = ("kills", "restarts", "transactions", "records", *KINDS, "unlike_live")


@dataclass
class Round:
    """What one round is, and what it came to."""

    number: int
    server: str
    kills: int
    seed: str
    lives: list[Life] = field(default_factory=list)

    def play(self, server: Database, kafka: Kafka, folder: Path, rate: float) -> dict[str, Any]:
        """Kill until it was often enough, then settle. A wait that never ended is a fault as well."""
        rnd = random.Random(f"{self.seed}/{self.number}")
        began = time.monotonic()
        result: dict[str, Any] = {"round": self.number, "server": self.server, "seed": self.seed}
        try:
            with Arena(server, kafka, folder, seed=f"{self.seed}/{self.number}", layouts=LAYOUTS, rate=rate) as arena:
                arena.writer.start()
                while sum(life.kills for life in self.lives) < self.kills:
                    fault = rnd.choices(list(FAULTS), list(FAULTS.values()))[0]
                    self.lives.append(fault(arena, rnd))
                    say(
                        f"  round {self.number}, {self.server}: {self._lived()} of {self.kills} kills, "
                        f"{arena.watcher.count} records, {self.lives[-1].fault}"
                    )
                outcome = arena.settle()
            result |= {kind: outcome.verdict.counts[kind] for kind in KINDS}
            result |= {
                "transactions": outcome.verdict.transactions,
                "records": outcome.verdict.records,
                "unlike_live": outcome.unlike_live,
                "rate": round(outcome.rate, 1),
                "spread": round(outcome.spread, 3),
                "doubts": outcome.doubts,
                "examples": outcome.verdict.examples,
            }
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this round's result
            result |= {"stuck": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
        return result | {
            "kills": self._lived(),
            "restarts": len(self.lives),
            "lives": [life.fault for life in self.lives],
            "flows": [round(took, 2) for life in self.lives for took in life.flows],
            "seconds": round(time.monotonic() - began, 1),
        }

    def _lived(self) -> int:
        return sum(life.kills for life in self.lives)


def rounds_of(kills: int, servers: list[str], seed: str) -> list[Round]:
    """The kills spread evenly over rounds, on one server after the other in turn."""
    count = max(1, -(-kills // KILLS_A_ROUND))
    if kills >= len(servers):
        count = -(-count // len(servers)) * len(servers)
    shares = [kills // count + (number < kills % count) for number in range(count)]
    return [Round(number, servers[number % len(servers)], share, seed) for number, share in enumerate(shares)]


def is_clean(result: dict[str, Any]) -> bool:
    return "stuck" not in result and not any(result[kind] for kind in (*KINDS, "unlike_live"))


def table(results: list[dict[str, Any]]) -> str:
    """Everything in one table: a line a server, and one for all."""
    head = ("server", "rounds", *COLUMNS, "stuck", "rate", "flows median", "flows max", "spread")
    lines = [head]
    servers = sorted({result["server"] for result in results})
    for name in (*servers, "all") if len(servers) > 1 else servers:
        mine = [result for result in results if name in {result["server"], "all"}]
        sums = [sum(result.get(column, 0) for result in mine) for column in COLUMNS]
        flows = [took for result in mine for took in result["flows"]] or [0.0]
        rates = [result["rate"] for result in mine if "rate" in result] or [0.0]
        rest = (
            sum("stuck" in result for result in mine),
            f"{statistics.mean(rates):.0f}/s",
            f"{statistics.median(flows):.1f} s",
            f"{max(flows):.1f} s",
            f"{max(result.get('spread', 0.0) for result in mine):.1f} s",
        )
        lines.append(tuple(map(str, (name, len(mine), *sums, *rest))))
    # one column a server reads better than eighteen columns
    turned = list(zip(*lines, strict=True))
    widths = [max(map(len, column)) for column in zip(*turned, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in turned)


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--server", choices=["mariadb", "mysql", "both"], default="both")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--rate", type=float, default=500.0, help="transactions a second")
    parser.add_argument("--again", action="store_true", help="forget the rounds that were finished before")
    given = parser.parse_args()

    # end as at Ctrl-C: the databases of the campaign are removed, finished rounds stay noted
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Places.from_environment().stack / "crash"
    home.mkdir(parents=True, exist_ok=True)
    servers = ["mariadb", "mysql"] if given.server == "both" else [given.server]
    rounds = rounds_of(given.kills, servers, given.seed)
    book = home / f"{given.seed}-{given.server}-{given.kills}.jsonl"
    results = [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
    if given.again or len(results) == len(rounds):
        results = []
        book.unlink(missing_ok=True)
    if results:
        say(f"{len(results)} of {len(rounds)} rounds were finished before ({book}); --again begins anew")
    play(rounds[len(results) :], results, book, given.rate)
    say(table(results))
    faulty = [result for result in results if not is_clean(result)]
    for result in faulty:
        say(
            f"\nround {result['round']} on {result['server']}: "
            + result.get("stuck", "\n  ".join(result.get("examples", [])))
        )
    return bool(faulty)


def play(rounds: list[Round], results: list[dict[str, Any]], book: Path, rate: float) -> None:
    """Play the rounds and note each result as soon as it is there."""
    kafka = shared_kafka()
    databases: dict[str, Database] = {}
    try:
        for each in rounds:
            if each.server not in databases:
                databases[each.server] = own_server(each.server)
            folder = book.with_suffix("") / f"round-{each.number}"
            shutil.rmtree(folder, ignore_errors=True)
            result = each.play(databases[each.server], kafka, folder, rate)
            results.append(result)
            with book.open("a") as file:
                file.write(json.dumps(result) + "\n")
            if is_clean(result):
                shutil.rmtree(folder)
            say(f"round {each.number}: {'clean' if is_clean(result) else 'FAULTY'}, {result['seconds']:.0f} s")
    finally:
        for database in databases.values():
            database.instance.remove()


if __name__ == "__main__":
    sys.exit(main())

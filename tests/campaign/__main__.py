"""The long form of the outage tests: each cause so many times, on MariaDB and MySQL, in rounds that can be taken up again.

    .venv/bin/python tests/campaign --times 20 --server mariadb|mysql|both [--seed S] [--again]

A round is a server of its own under load, with every cause once in an order by the seed (back-pressure
in a bout of its own, with small stores), and one verdict. Each finished round is a line of JSON
in `.stack/outages/`; a campaign that was cut off goes on behind the last of them. Exit code 1 on any fault.
"""

import argparse
import asyncio
import json
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.stack import Places  # noqa: E402 - the path has to be right first
from tests.campaign.outages import CAUSES, SETTINGS, Bout  # noqa: E402

FAULTS = ("lost", "doubled", "phantom", "disordered")


async def bout(kind: str, seed: str, causes: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    done: list[tuple[str, float]] = []
    found: dict[str, Any] = {}
    try:
        async with Bout(kind, seed, **settings) as one:
            for cause in causes:
                began = time.monotonic()
                await one.outage(cause)
                done.append((cause, round(time.monotonic() - began, 2)))
            found = dict(await one.judge())
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this round's result
        found = {"stuck": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    return {"outages": done, **found}


def play(kind: str, number: int, seed: str) -> dict[str, Any]:
    """Every cause once."""
    causes = [cause for cause in CAUSES if cause not in SETTINGS]
    name = f"{seed}/{kind}/{number}"
    random.Random(name).shuffle(causes)
    bouts = [asyncio.run(bout(kind, name, causes, {}))]
    bouts += [asyncio.run(bout(kind, name, [cause], settings)) for cause, settings in SETTINGS.items()]
    return {"server": kind, "round": number, "seed": name, "bouts": bouts}


def is_clean(result: dict[str, Any]) -> bool:
    return all("stuck" not in one and not any(one[fault] for fault in FAULTS) for one in result["bouts"])


def table(results: list[dict[str, Any]]) -> str:
    lines = [("server", "cause", "times", "rows flow again after: median", "longest")]
    for kind in sorted({result["server"] for result in results}):
        took: dict[str, list[float]] = {cause: [] for cause in CAUSES}
        sums: Counter[str] = Counter()
        for one in (one for result in results if result["server"] == kind for one in result["bouts"]):
            for cause, seconds in one["outages"]:
                took[cause].append(seconds)
            sums.update({word: one.get(word, 0) for word in ("rows", *FAULTS)} | {"stuck": "stuck" in one})
        for cause, times in took.items():
            ordered = sorted(times) or [0.0]
            lines.append((kind, cause, str(len(times)), f"{ordered[len(ordered) // 2]:.1f} s", f"{ordered[-1]:.1f} s"))
        lines.append(
            (kind, "all", str(sum(map(len, took.values()))), ", ".join(f"{n} {w}" for w, n in sums.items()), "")
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--server", choices=["mariadb", "mysql", "both"], default="both")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--again", action="store_true", help="forget the rounds that were finished before")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    kinds = ["mariadb", "mysql"] if given.server == "both" else [given.server]
    rounds = [(kind, number) for number in range(given.times) for kind in kinds]
    book = Places.from_environment().stack / "outages" / f"{given.seed}-{given.server}-{given.times}.jsonl"
    book.parent.mkdir(parents=True, exist_ok=True)
    results = [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
    if given.again or len(results) == len(rounds):
        results = []
        book.unlink(missing_ok=True)
    if results:
        print(f"{len(results)} of {len(rounds)} rounds were finished before ({book}); --again begins anew", flush=True)
    for kind, number in rounds[len(results) :]:
        result = play(kind, number, given.seed)
        results.append(result)
        with book.open("a") as file:
            file.write(json.dumps(result) + "\n")
        print(f"{kind}, round {number}: {'clean' if is_clean(result) else 'FAULTY'}", flush=True)
    print(table(results))
    faulty = [result for result in results if not is_clean(result)]
    for result in faulty:
        print(json.dumps(result, indent=1))
    return bool(faulty)


if __name__ == "__main__":
    sys.exit(main())

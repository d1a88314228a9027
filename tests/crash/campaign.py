"""The long form of the crash tests: as many faults as asked for, in rounds, with a report at the end.

    .venv/bin/python tests/crash/campaign.py --faults N --server mariadb|mysql|both [--seed S] [--again]

A round is an arena of its own (own tables, topics and source) with up to 25 faults and one
verdict. Which faults, how often and in which order follows from the seed, and so does all that
happens in a round, the moment at which the operating system does it aside. Each finished round
is a line of JSON in `.stack/crash/`; a campaign that was cut off goes on behind the last of them;
one that was finished, or `--again`, begins anew. `report.md` beside them is the last report. The
logs of a round's tailers stay in `.stack/crash/` when the round found a fault.

Exit code 1 on any fault. Databases and broker are the campaign's own and removed at its end.
"""

import argparse
import fcntl
import json
import random
import shutil
import signal
import sys
import time
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[2])

from infra.stack import Places  # noqa: E402 - the path has to be right first
from tests.checker.judge import FAULTS as KINDS  # noqa: E402
from tests.crash import report  # noqa: E402
from tests.crash.arena import Arena  # noqa: E402
from tests.crash.faults import WEIGHTS, Life, suffer  # noqa: E402
from tests.crash.site import Grounds, Site  # noqa: E402

FAULTS_A_ROUND = 25
LAYOUTS = ("native", "cqrs")


@dataclass
class Round:
    """What one round is, and what it came to."""

    number: int
    server: str
    faults: list[str]
    seed: str
    lives: list[Life] = field(default_factory=list)

    def play(self, site: Site, folder: Path, rate: float) -> dict[str, Any]:
        """Let every fault happen, then settle. A wait that never ended is a fault as well."""
        rnd = random.Random(f"{self.seed}/{self.number}")
        began = time.monotonic()
        result: dict[str, Any] = {"round": self.number, "server": self.server, "seed": self.seed, "began": time.time()}
        fault = "start"
        try:
            site.restore()
            arena = Arena(
                site.database,
                site.kafka,
                folder,
                seed=f"{self.seed}/{self.number}",
                layouts=LAYOUTS,
                rate=rate,
                site=site,
            )
            with arena:
                arena.writer.start()
                for number, fault in enumerate(self.faults, 1):
                    life = suffer(arena, rnd, fault)
                    self.lives.append(life)
                    say(
                        f"  round {self.number}, {self.server}, {time.monotonic() - began:.0f} s: {number} of "
                        f"{len(self.faults)}, {arena.watcher.count} records, {fault}: {life.recovery:.1f} s"
                    )
                fault = "the end"
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
            result |= {"stuck": f"{fault}: {type(error).__name__}: {error}", "trace": traceback.format_exc()}
        return result | {
            "faults": len(self.lives),
            "lives": [[life.fault, round(life.recovery, 2)] for life in self.lives],
            "seconds": round(time.monotonic() - began, 1),
        }


def rounds_of(faults: int, servers: list[str], seed: str) -> list[Round]:
    """The faults of each server by their weights, shuffled, in rounds; one server after the other in turn."""
    shares = [faults // len(servers) + (number < faults % len(servers)) for number in range(len(servers))]
    hands = []
    for server, share in zip(servers, shares, strict=True):
        deck = _deck(share, random.Random(f"{seed}/{server}/{share}"))
        hands.append([deck[at : at + FAULTS_A_ROUND] for at in range(0, share, FAULTS_A_ROUND)])
    longest = max(map(len, hands))
    turns = [
        (server, hand[at])
        for at in range(longest)
        for server, hand in zip(servers, hands, strict=True)
        if at < len(hand)
    ]
    return [Round(number, server, hand, seed) for number, (server, hand) in enumerate(turns)]


def _deck(count: int, rnd: random.Random) -> list[str]:
    """So many faults, each kind as often as its weight says; those that a part is left of by chance."""
    whole = sum(WEIGHTS.values())
    shares = {fault: count * weight / whole for fault, weight in WEIGHTS.items()}
    deck = [fault for fault, share in shares.items() for _ in range(int(share))]
    rest = sorted(shares, key=lambda fault: rnd.random() - (shares[fault] % 1))
    deck += rest[: count - len(deck)]
    rnd.shuffle(deck)
    return deck


def say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--faults", type=int, default=100)
    parser.add_argument("--server", choices=["mariadb", "mysql", "both"], default="both")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--rate", type=float, default=500.0, help="transactions a second")
    parser.add_argument("--again", action="store_true", help="forget the rounds that were finished before")
    given = parser.parse_args()

    # end as at Ctrl-C: the servers of the campaign are removed, finished rounds stay noted
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    home = Places.from_environment().stack / "crash"
    home.mkdir(parents=True, exist_ok=True)
    servers = ["mariadb", "mysql"] if given.server == "both" else [given.server]
    rounds = rounds_of(given.faults, servers, given.seed)
    book = home / f"{given.seed}-{given.server}-{given.faults}.jsonl"
    with book.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"this campaign runs already ({lock.name})") from None
        results = [json.loads(line) for line in book.read_text().splitlines()] if book.exists() else []
        if given.again or len(results) == len(rounds):
            results = []
            book.unlink(missing_ok=True)
        if results:
            say(f"{len(results)} of {len(rounds)} rounds were finished before ({book}); --again begins anew")
        play(rounds[len(results) :], results, book, given.rate)
    text = report.markdown(results, f"{given.faults} faults, seed {given.seed}, {given.rate:.0f} transactions/s")
    (home / "report.md").write_text(text)
    say(f"\n{text}\nThis report: {home / 'report.md'}")
    return not all(map(report.is_clean, results))


def play(rounds: list[Round], results: list[dict[str, Any]], book: Path, rate: float) -> None:
    """Play the rounds and note each result as soon as it is there."""
    with Grounds(f"crash-{book.stem}") as grounds:
        for each in rounds:
            folder = book.with_suffix("") / f"round-{each.number}"
            shutil.rmtree(folder, ignore_errors=True)
            result = each.play(grounds.site(each.server), folder, rate)
            results.append(result)
            with book.open("a") as file:
                file.write(json.dumps(result) + "\n")
            clean = report.is_clean(result)
            if clean:
                shutil.rmtree(folder)
            say(f"round {each.number}: {'clean' if clean else 'FAULTY'}, {result['seconds']:.0f} s")


if __name__ == "__main__":
    sys.exit(main())

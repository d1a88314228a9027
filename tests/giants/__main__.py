"""`make giants`: the long form. A line for each, figures appended to .stack/giants.jsonl, exit 1 where one was not clean."""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from infra.stack import Places
from tests.giants.load import WIDE, Form, Verdict, run
from tests.servers import Database, own_server, shared_kafka

COMPRESSED = {
    "mysql": ("SET SESSION binlog_transaction_compression = ON",),
    "mariadb": ("SET GLOBAL log_bin_compress = ON",),
}
MOST = 96 << 20
"""Bytes that a tailer's memory may grow by."""


def forms(kind: str, rows: int) -> list[tuple[Form, int, bool]]:
    """What is tried on a server: the form, kills, is there a standby?"""
    found = [
        (Form("plain", rows), 2, True),
        (Form("compressed", rows, session=COMPRESSED[kind]), 2, True),
        (Form("1 MiB rows", max(20, rows // 10_000), payload=WIDE), 1, False),
    ]
    if kind == "mariadb":
        found += [
            (Form("rolled back", rows, rolled_back=True), 0, False),
            (Form("back to a savepoint", rows, savepoint=True), 0, False),
        ]
    return found


def main() -> int:
    """All forms on all servers."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--budget", default="64MiB")
    parser.add_argument("--servers", nargs="+", default=["mariadb", "mysql"])
    wanted = parser.parse_args()
    book, clean = Places.from_environment().stack / "giants.jsonl", True
    for kind in wanted.servers:
        server = own_server(kind)
        assert isinstance(server, Database)
        assert server.instance is not None
        try:
            for form, kills, standby in forms(kind, wanted.rows):
                with tempfile.TemporaryDirectory() as folder:
                    verdict = run(
                        server, shared_kafka(), Path(folder), form, budget=wanted.budget, kills=kills, standby=standby
                    )
                good = verdict.is_clean and verdict.growth < MOST
                clean = clean and good
                print(f"{kind:8} {verdict}{'' if good else '   <-- not as it should be'}", flush=True)
                with book.open("a") as file:
                    file.write(json.dumps(_figures(kind, verdict, wanted.budget)) + "\n")
                if kind == "mariadb":
                    server.run("SET GLOBAL log_bin_compress = OFF")
        finally:
            server.instance.remove()
    return 0 if clean else 1


def _figures(kind: str, verdict: Verdict, budget: str) -> dict[str, object]:
    return {
        "server": kind,
        "form": verdict.form.name,
        "rows": verdict.form.rows,
        "budget": budget,
        "kills": verdict.kills,
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "phantom": verdict.phantom,
        "out_of_order": verdict.out_of_order,
        "early": verdict.early,
        "growth_bytes": verdict.growth,
        "seconds": round(verdict.seconds, 1),
        "stood_by": verdict.stood_by,
    }


if __name__ == "__main__":
    sys.exit(main())

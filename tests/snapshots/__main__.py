"""`make snapshot`: the long form. Rows, kills and rounds are arguments; a line a round, exit 1 where one was not clean."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.servers import Database, own_server, shared_database, shared_kafka
from tests.snapshots.load import run


def _servers(names: list[str]) -> list[tuple[str, Database]]:
    out = []
    for name in names:
        if name == "mysql-without-gtids":
            options = ["--gtid-mode=OFF", "--enforce-gtid-consistency=OFF"]
            out.append((name, own_server("mysql", options=options)))
        else:
            out.append((name, shared_database(name)))
    return out


def main() -> int:
    """Run them, one after another."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--rate", type=float, default=500)
    parser.add_argument("--pause", type=float, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--servers", nargs="+", default=["mariadb", "mysql", "mysql-without-gtids"])
    wanted = parser.parse_args()
    clean = True
    for name, server in _servers(wanted.servers):
        with tempfile.TemporaryDirectory() as folder:
            verdict = run(
                server,
                shared_kafka(),
                Path(folder),
                rows=wanted.rows,
                kills=wanted.kills,
                rate=wanted.rate,
                seed=wanted.seed,
                pause=wanted.pause,
            )
        clean = clean and verdict.is_clean
        print(
            f"{name}: {wanted.rows} rows, {wanted.kills} kills, {wanted.rate:g} transactions/s: {verdict}", flush=True
        )
        if server.instance is not None:
            server.instance.remove()
    return 0 if clean else 1


if __name__ == "__main__":
    sys.exit(main())

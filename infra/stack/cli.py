"""The command line: ``python3 infra/stack up|fetch|down|status|reset``.

``up`` starts Kafka and the databases of the environment's ``SERVERS`` (default: all), or exactly those
of ``--only``; Kafka Connect only when asked (``CONNECT=1`` or ``--connect``).
Exit codes: 0 well, 1 an error that was printed, 2 wrong use, 130 Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from infra.stack.places import Places
from infra.stack.progress import Board
from infra.stack.stack import SHARED, Stack
from infra.stack.tools import StackError

_DATABASES = ("mariadb", "mysql")


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line says and return the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    stack = Stack(Places.from_environment(), Board(sys.stdout))
    try:
        match given.command:
            case "up":
                stack.up(_wanted(given.only, connect=given.connect))
            case "fetch":
                stack.fetch(given.names)
            case "down":
                stack.down()
            case "reset":
                stack.reset()
            case "status":
                return 0 if stack.status() else 1
    except StackError as error:
        print(f"stack: {error}", file=sys.stderr)
        if error.hint:
            print(f"stack: hint: {error.hint}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        # Threads may still wait for a server; what they started is found by the next `up` or `down`.
        print("\nstack: interrupted; run it again to go on, or `make down`", file=sys.stderr, flush=True)
        os._exit(130)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="infra/stack", description="The servers for tests and demo, run privately.")
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start what does not run, in the background; ready when it returns")
    up.add_argument("--only", metavar="NAMES", help=f"exactly these, comma-separated, of: {', '.join(SHARED)}")
    up.add_argument("--connect", action="store_true", help="Kafka Connect too")
    fetch = commands.add_parser("fetch", help="bring what servers are made of into the cache; starts nothing")
    fetch.add_argument("names", nargs="+", choices=list(SHARED))
    commands.add_parser("down", help="stop all servers of this stack, and no others")
    commands.add_parser("status", help="print how they are; exit code 1 unless all run")
    commands.add_parser("reset", help="stop them and delete their data")
    return parser


def _wanted(only: str | None, *, connect: bool) -> list[str]:
    if only is not None:
        names = only.replace(",", " ").split()
    else:
        names = ["kafka", *(os.environ.get("SERVERS") or " ".join(_DATABASES)).replace(",", " ").split()]
    unknown = [name for name in names if name not in SHARED]
    if unknown or not names:
        raise StackError(f"no server is called {' or '.join(unknown) or '(nothing)'}", f"there are {', '.join(SHARED)}")
    if connect or os.environ.get("CONNECT", "") not in ("", "0"):
        names.append("connect")
    if "connect" in names:
        names.append("kafka")
    return list(dict.fromkeys(names))

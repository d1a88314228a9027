"""The command `cdc`: the root group, which knows its groups by name and imports them when used.

Each group is a module of this package that holds a click group under the group's own name
(`-` as `_`); one line in `GROUPS` adds it. A group whose module is not there is not shown.
`cdc --help` imports no group: the short texts stand here.

An error of ours ends a command with its message and hint on stderr and its own exit code;
Ctrl-C ends it with 130. Data goes to stdout, words to stderr. `main` is the entry point; it
also says what to install where click is missing, because the bare install is the write
library alone.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

GROUPS = {
    "tailer": "Follow the database's log and publish every committed outbox row.",
    "outbox": "The outbox table: its DDL, a check of a live one, and events written by hand.",
    "checkpoint": "Where the tailer of a source stands.",
    "connectors": "Connectors of a Kafka Connect cluster: from files, or one by hand.",
    "handover": "From Debezium to the tailer and back, exactly.",
    "route": "What the routes do with a row, tried without sending anything.",
    "topics": "The topics that the configuration needs: compared, and made.",
    "dead-letters": "Rows that could not become a record, and were kept.",
    "replay": "Publish rows again that were published before.",
    "schemas": "Schemas of a service's events: exported, compared, checked.",
    "log": "Read the binary log as the tailer does.",
    "config": "The configuration file.",
}

SINGLE = frozenset({"replay"})
"""Of these, the ones that are a command by themselves."""

_INTERRUPTED = 130


def main() -> None:
    """Entry point of the console script and of `python -m cdc`."""
    if find_spec("click") is None:
        sys.exit("error: the command line is not installed\nhint:  pip install 'outbox-cdc[cli]'")
    from cdc.cli.root import root  # noqa: PLC0415  # click may be missing

    root(prog_name="cdc")


def module_of(group: str) -> str:
    """The module a group lives in."""
    return f"{__name__}.{group.replace('-', '_')}"


def available() -> list[str]:
    """The groups that are there, in the order of the page."""
    return [group for group in GROUPS if find_spec(module_of(group)) is not None]


def load(group: str) -> Any:
    """The click group itself."""
    return getattr(import_module(module_of(group)), group.replace("-", "_"))

"""Everything about a server that matters to tailing it, as a list: what `doctor` prints. Stops at nothing.

`checks.check_server` raises the first thing that stands in the way, at every connect; here each
subject gives one finding, good or bad, so that somebody who sets a server up sees all of it at
once. The demands themselves live in `checks`: they are asked through it, so both always agree.

A question that our grants do not answer is itself a finding (`warn`), never a silence.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from cdc.errors import CdcError, SourceError, SourceUnavailable
from cdc.model import TableSpec
from cdc.mysql import checks, headroom
from cdc.mysql.checks import ServerFacts
from cdc.mysql.server_ids import check_id
from cdc.mysql.session import Session

Level = Literal["ok", "warn", "error"]


SHORT_RETENTION = 24 * 3600
"""Seconds: a log that is kept for less does not survive a weekend's outage, let alone a holiday's."""
SKEW = 5.0
"""Seconds of difference between our clock and the server's from which on times mislead people."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One subject: its name, how it is, in words, and the next step where there is one."""

    name: str
    level: Level
    what: str
    hint: str | None = None


def server_findings(
    session: Session, tables: Sequence[TableSpec], *, server_id: int | None = None, name: str = "cdc"
) -> list[Finding]:
    """All findings about this server and these tables. Blocking. Raises only SourceUnavailable."""
    found = session.variables(*checks.VARIABLES, *headroom.VARIABLES, "gtid_strict_mode")
    facts = checks.facts_of(found)
    out = [Finding("server", "ok", f"{session.address} is {facts.flavour} {facts.version}, {facts.identity}")]
    out += _log(found, str(session.address))
    out += _settings(found, facts)
    out.append(_retention(found))
    out += _tried("grants", "our account may read the log", lambda: _grants(session, facts))
    if server_id is not None:
        out += _tried(
            "server_id", f"nobody else uses {server_id}", lambda: check_id(session, facts, server_id, f"cdc-{name}")
        )
    out.append(_replica(session, found))
    out.append(_account(session))
    out.append(_clock(session))
    for table in tables:
        out += _table(session, facts, table)
    return out


def _tried(name: str, good: str, check: Callable[[], object]) -> list[Finding]:
    """`ok` with these words, or the error that the check raises, as a finding."""
    try:
        check()
    except CdcError as error:
        if isinstance(error, SourceUnavailable) and error.__cause__ is not None:
            raise  # nobody answers; without a cause it says who is in our way
        return [Finding(name, "error", error.message, error.hint)]
    return [Finding(name, "ok", good)]


def _log(found: dict[str, str], where: str) -> Iterator[Finding]:
    for name, variable, check in (
        ("log", "log_bin", checks.check_log_on),
        ("log format", "binlog_format", checks.check_format),
        ("row metadata", "binlog_row_metadata", checks.check_metadata),
        ("row image", "binlog_row_image", checks.check_image),
    ):

        def ask(check: Callable[[dict[str, str], str], None] = check) -> None:
            check(found, where)

        yield from _tried(name, f"{variable} is {found.get(variable, 'as it must be')}", ask)


def _settings(found: dict[str, str], facts: ServerFacts) -> Iterator[Finding]:
    if facts.flavour == "mysql":
        mode = found.get("gtid_mode", "OFF")
        if facts.gtid_on:
            yield Finding("gtid", "ok", "gtid_mode is ON: the position survives a failover")
        else:
            yield Finding(
                "gtid",
                "warn",
                f"gtid_mode is {mode}: the position is good on this one server only",
                "set gtid_mode=ON (by the steps OFF_PERMISSIVE, ON_PERMISSIVE) to survive a failover",
            )
    elif found.get("gtid_strict_mode", "OFF").upper() in {"ON", "1"}:
        yield Finding("gtid", "ok", "gtid_strict_mode is ON: the position can be found on a promoted replica")
    else:
        yield Finding(
            "gtid",
            "warn",
            "gtid_strict_mode is OFF: numbers may go back, and then no other server can be gone on at",
            "SET GLOBAL gtid_strict_mode = ON, on all servers of the cluster",
        )
    sync = found.get("sync_binlog", "1")
    if sync == "1":
        yield Finding("sync_binlog", "ok", "sync_binlog is 1")
    else:
        yield Finding(
            "sync_binlog",
            "warn",
            f"sync_binlog is {sync}: a crash of the server may lose commits of which we have published the events",
            "SET GLOBAL sync_binlog = 1; and in the server's configuration",
        )


def _retention(found: dict[str, str]) -> Finding:
    keeps = headroom.retention(found)
    if keeps is None:
        return Finding("retention", "ok", "log files are kept until somebody purges them")
    text = f"log files are kept for {keeps / 3600:g} h"
    if keeps >= SHORT_RETENTION:
        return Finding("retention", "ok", text)
    return Finding(
        "retention",
        "warn",
        f"{text}: an outage of ours that lasts longer loses the position",
        "SET GLOBAL binlog_expire_logs_seconds = 604800; and in the server's configuration",
    )


def _grants(session: Session, facts: ServerFacts) -> None:
    checks.log_status(session, facts)
    checks.log_files(session)
    checks.check_may_replicate(session)


def _replica(session: Session, found: dict[str, str]) -> Finding:
    relays = found.get("log_replica_updates", found.get("log_slave_updates", "ON")).upper() in {"ON", "1"}
    rows = session.attempt("SHOW REPLICA STATUS")
    if rows is None:
        return Finding("replica", "warn", "whether this is a replica may not be asked", "GRANT REPLICATION CLIENT")
    if not rows:
        return Finding("replica", "ok", "this server is no replica")
    if relays:
        return Finding("replica", "ok", "this is a replica that logs what it receives")
    return Finding(
        "replica",
        "error",
        "this is a replica with log_replica_updates OFF: what it receives is not in its log, so it is not published",
        "set log_replica_updates (MariaDB: log_slave_updates) under [mysqld] and restart it, or tail its source",
    )


def _account(session: Session) -> Finding:
    """How we logged in: by the server's word where our grants give it, and whether the way is encrypted."""
    rows = session.rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
    cipher = str(next(iter(rows), {}).get("Value") or "")
    user, _, host = str(session.value("SELECT CURRENT_USER()")).rpartition("@")
    plugin = session.attempt("SELECT plugin FROM mysql.user WHERE user = %s AND host = %s", user, host)
    by = f", by {next(iter(plugin[0].values()))}" if plugin else ""
    if cipher:
        return Finding("login", "ok", f"logged in as {user}@{host}{by}, encrypted with {cipher}")
    return Finding(
        "login",
        "warn",
        f"logged in as {user}@{host}{by}, not encrypted",
        "set tls.ca for the source where the way to the server is not trusted",
    )


def _clock(session: Session) -> Finding:
    before = time.time()
    theirs = float(session.value("SELECT UNIX_TIMESTAMP(NOW(6))"))
    after = time.time()
    skew = max(before - theirs, theirs - after, 0.0)
    if skew <= SKEW:
        return Finding("clock", "ok", "the server's clock and ours agree")
    return Finding(
        "clock",
        "warn",
        f"the server's clock is {'behind' if theirs < before else 'ahead of'} ours by {skew:.0f} s: times mislead",
        "let both machines keep their time by NTP",
    )


def _table(session: Session, facts: ServerFacts, table: TableSpec) -> Iterator[Finding]:
    name = f"table {table}"
    layout = _tried(name, "is there, with all columns its layout needs", lambda: checks.check_table(session, table))
    yield from layout
    try:
        status = checks.log_status(session, facts)
    except SourceUnavailable:
        raise
    except SourceError as error:
        yield Finding(f"{name} filters", "warn", f"may not be asked: {error}", error.hint)
    else:
        yield from _tried(
            f"{name} filters",
            "no binlog_do_db or binlog_ignore_db keeps it out of the log",
            lambda: checks.check_filters(status, table, str(session.address)),
        )
    if layout[0].level != "ok":
        return
    engine = session.value(
        "SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        table.schema,
        table.name,
    )
    if engine == "InnoDB":
        yield Finding(f"{name} engine", "ok", "InnoDB")
    else:
        yield Finding(
            f"{name} engine",
            "error",
            f"{engine or 'a view'}: its rows are not part of a transaction, no ROLLBACK takes them back",
            f"ALTER TABLE {checks.quoted(table.schema)}.{checks.quoted(table.name)} ENGINE = InnoDB",
        )

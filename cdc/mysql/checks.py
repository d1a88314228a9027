"""May this server be tailed? Asked at every connect, for settings and tables change while we are away.

`check_server` raises the first thing that stands in the way and returns the server's
facts; things that are only worth a warning come as texts in `ServerFacts.warnings`.

Why each is demanded: without `binlog_format=ROW` a commit may be in the log as a
statement, whose rows are nowhere; without `binlog_row_metadata=FULL` rows have neither
column names nor signs; with `binlog_row_image=MINIMAL` an INSERT lacks the columns the
server filled in by default (the event id). All three are also settable per session:
the decoder refuses what it meets in the log, this refuses what is about to come.

Least grants: REPLICATION SLAVE, REPLICATION CLIENT (MariaDB: BINLOG MONITOR, the same),
SELECT on the tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cdc.errors import (
    ColumnMissing,
    LogDisabled,
    LogFormatNotRow,
    RowImageIncomplete,
    RowMetadataNotFull,
    ServerNotReady,
    SourceAccessDenied,
    SourceError,
    TableMissing,
)
from cdc.model import TableSpec
from cdc.mysql.session import Session
from cdc.position import Flavour

VARIABLES = (
    "version",
    "server_id",
    "server_uuid",
    "gtid_mode",
    "log_bin",
    "binlog_format",
    "binlog_row_metadata",
    "binlog_row_image",
    "sync_binlog",
    "log_slave_updates",
    "log_replica_updates",
)


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What a server is. `identity` is its UUID on MySQL and its server_id on MariaDB."""

    flavour: Flavour
    version: str
    identity: str
    server_id: int
    gtid_on: bool
    """MySQL with gtid_mode=ON; only then every transaction has a GTID."""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LogStatus:
    """The end of the log, and what the server filters out of it."""

    file: str
    position: int
    gtid_executed: str
    only_schemas: tuple[str, ...] = ()
    never_schemas: tuple[str, ...] = ()


_TABLE, _VERSIONED = "BASE TABLE", "SYSTEM VERSIONED"


def server_facts(session: Session) -> ServerFacts:
    """Who this server is, without any demand."""
    return facts_of(session.variables(*VARIABLES))


def facts_of(found: dict[str, str], warnings: tuple[str, ...] = ()) -> ServerFacts:
    """The facts from the values of `VARIABLES`."""
    flavour: Flavour = "mariadb" if "mariadb" in found["version"].lower() else "mysql"
    return ServerFacts(
        flavour=flavour,
        version=found["version"],
        identity=found["server_uuid"].lower() if flavour == "mysql" else found["server_id"],
        server_id=int(found["server_id"]),
        gtid_on=flavour == "mysql" and found.get("gtid_mode", "OFF").upper() == "ON",
        warnings=warnings,
    )


def check_server(session: Session, tables: Sequence[TableSpec]) -> ServerFacts:
    """Raise the first thing that stands in the way of tailing these tables."""
    found = session.variables(*VARIABLES)
    where = str(session.address)
    _check_log(found, where)
    facts = facts_of(found, tuple(_warnings(session, found, where)))
    status = log_status(session, facts)
    for table in tables:
        check_filters(status, table, where)
        check_table(session, table)
    return facts


def _check_log(found: dict[str, str], where: str) -> None:
    for check in (check_log_on, check_format, check_metadata, check_image):
        check(found, where)


def check_log_on(found: dict[str, str], where: str) -> None:
    """Raise if there is no log."""
    if found.get("log_bin", "OFF").upper() not in {"ON", "1"}:
        raise LogDisabled(
            f"{where} writes no binary log (log_bin is OFF)",
            hint="add `log_bin` and `binlog_format = ROW` under [mysqld] to the server's configuration and restart it",
        )


def check_format(found: dict[str, str], where: str) -> None:
    """Raise unless rows are logged as rows."""
    if (format_ := found.get("binlog_format", "ROW").upper()) != "ROW":
        raise LogFormatNotRow(
            f"binlog_format of {where} is {format_}, not ROW: changes may be logged as statements, without their rows",
            hint="SET GLOBAL binlog_format = 'ROW'; and `binlog_format = ROW` under [mysqld]. Sessions that are "
            "connected keep the old format until they reconnect; once they have, reading is possible from "
            "the end of the log (start: latest)",
        )


def check_metadata(found: dict[str, str], where: str) -> None:
    """Raise unless rows are logged with their columns' names."""
    if (metadata := found.get("binlog_row_metadata", "none").upper()) != "FULL":
        raise RowMetadataNotFull(
            f"binlog_row_metadata of {where} is {metadata}, not FULL: rows in the log have no column names",
            hint="SET GLOBAL binlog_row_metadata = 'FULL'; and `binlog_row_metadata = FULL` under [mysqld]. Rows "
            "written before that stay without names, so reading is possible from the log's end after it "
            "(start: latest), or from any later position",
        )


def check_image(found: dict[str, str], where: str) -> None:
    """Raise where an INSERT is logged without the columns that the server fills in."""
    if (image := found.get("binlog_row_image", "FULL").upper()) == "MINIMAL":
        raise RowImageIncomplete(
            f"binlog_row_image of {where} is {image}: an INSERT in the log lacks the columns the server filled in",
            hint="SET GLOBAL binlog_row_image = 'FULL'; and `binlog_row_image = FULL` under [mysqld]; sessions that "
            "are connected keep the old setting",
        )


def _warnings(session: Session, found: dict[str, str], where: str) -> list[str]:
    out = []
    if found.get("sync_binlog", "1") != "1":
        out.append(
            f"sync_binlog of {where} is {found['sync_binlog']}, not 1: a crash of the server may lose commits of which "
            "we have published the events"
        )
    relays = found.get("log_replica_updates", found.get("log_slave_updates", "ON")).upper() in {"ON", "1"}
    if not relays and session.attempt("SHOW REPLICA STATUS"):
        out.append(f"log_replica_updates of {where} is OFF: what this replica receives is not published")
    return out


def log_status(session: Session, facts: ServerFacts) -> LogStatus:
    """Where the log ends now."""
    try:
        row = session.first("SHOW BINARY LOG STATUS" if facts.flavour == "mysql" else "SHOW MASTER STATUS")
    except SourceAccessDenied as error:
        raise _lacks_grants(session, error) from error
    except SourceError:  # MySQL before 8.2 knows only the old name
        row = session.first("SHOW MASTER STATUS")
    if row is None:
        raise LogDisabled(f"{session.address} has no binary log", hint="set `log_bin` under [mysqld] and restart it")
    return LogStatus(
        file=row["File"],
        position=int(row["Position"]),
        gtid_executed="".join((row.get("Executed_Gtid_Set") or "").split()),
        only_schemas=tuple(filter(None, (row.get("Binlog_Do_DB") or "").split(","))),
        never_schemas=tuple(filter(None, (row.get("Binlog_Ignore_DB") or "").split(","))),
    )


def log_files(session: Session) -> dict[str, int]:
    """All files of the log with their sizes, oldest first."""
    try:
        return {row["Log_name"]: int(row["File_size"]) for row in session.rows("SHOW BINARY LOGS")}
    except SourceAccessDenied as error:
        raise _lacks_grants(session, error) from error


def check_may_replicate(session: Session) -> None:
    """Raise unless our grants, as the server lists them, hold REPLICATION SLAVE; roles count where they are active."""
    listed = " ".join(str(value) for row in session.rows("SHOW GRANTS") for value in row.values()).upper()
    if not any(word in listed for word in ("REPLICATION SLAVE", "ALL PRIVILEGES ON *.*")):
        raise SourceAccessDenied(
            f"{session.address.user!r} at {session.address} may not read the log",
            hint=f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {session.account()};",
        )


def _lacks_grants(session: Session, error: SourceAccessDenied) -> SourceAccessDenied:
    return SourceAccessDenied(
        error.message, hint=f"GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* TO {session.account()};"
    )


def check_filters(status: LogStatus, table: TableSpec, where: str) -> None:
    """Raise if the server keeps the table's changes out of its log."""
    left_out = table.schema in status.never_schemas or (
        bool(status.only_schemas) and table.schema not in status.only_schemas
    )
    if left_out:
        raise ServerNotReady(
            f"{where} keeps changes of schema {table.schema} out of its log (binlog_do_db or binlog_ignore_db)",
            hint=f"take the filter for {table.schema} out of the server's configuration and restart it",
        )


def check_table(session: Session, table: TableSpec) -> None:
    """Raise if the table is not there, may not be read, or lacks a column that is needed."""
    name = f"{quoted(table.schema)}.{quoted(table.name)}"
    try:
        session.rows(f"SELECT 1 FROM {name} LIMIT 0")  # noqa: S608 - the name is quoted
    except SourceAccessDenied as error:
        raise SourceAccessDenied(
            f"{session.address.user!r} at {session.address} may not read {table}, or it does not exist",
            hint=f"GRANT SELECT ON {name} TO {session.account()};",
        ) from error
    except SourceError as error:
        if not _says_missing(error):
            raise
        raise TableMissing(
            f"there is no table {table} at {session.address}",
            hint="make it: cdc outbox ddl --server mysql (or mariadb) prints its DDL; or correct `tables`",
        ) from error
    kind = _check_is_table(session, table)
    columns = session.rows(
        "SELECT COLUMN_NAME AS name, DATA_TYPE AS type FROM information_schema.COLUMNS"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s ORDER BY ORDINAL_POSITION",
        table.schema,
        table.name,
    )
    if kind != _VERSIONED:
        _check_not_like_versioned(session, table, [(str(row["name"]), str(row["type"])) for row in columns])
    missing = sorted(table.needed - {str(row["name"]) for row in columns})
    if missing:
        raise ColumnMissing(
            f"{table} at {session.address} lacks {', '.join(missing)}, which its layout needs",
            hint="compare with: cdc outbox ddl --server mysql (or mariadb); or set `layout` or `columns`",
        )


def _check_is_table(session: Session, table: TableSpec) -> str:
    """The table's type. Raises TableMissing for what the log never names: a view, or another spelling of the name.

    With lower_case_table_names the server answers to any spelling, while the log has only one.
    """
    rows = session.rows(
        "SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t, TABLE_TYPE AS k FROM information_schema.TABLES"
        " WHERE TABLE_SCHEMA = %s AND TABLE_NAME = %s",
        table.schema,
        table.name,
    )
    kinds = {(str(row["s"]), str(row["t"])): str(row["k"]) for row in rows}
    kind = kinds.get((table.schema, table.name))
    if kind is None:
        spelled = ", ".join(".".join(name) for name in kinds) or "otherwise"
        raise TableMissing(
            f"{table} at {session.address} is spelled {spelled} there, and so it is in the log",
            hint="correct `tables` of the source: upper and lower case count",
        )
    if kind not in (_TABLE, _VERSIONED):
        raise TableMissing(
            f"{table} at {session.address} is no table but a {kind.lower()}: the log never names it",
            hint="name the table behind it in `tables` of the source",
        )
    return kind


def _check_not_like_versioned(session: Session, table: TableSpec, columns: list[tuple[str, str]]) -> None:
    """Raise if the log of an ordinary table looks like that of a system-versioned one.

    The decoder tells history rows by these two columns at the end, the only sign there is in the log.
    """
    if [name for name, _ in columns[-2:]] != ["row_start", "row_end"]:
        return
    if any(kind not in {"timestamp", "bigint"} for _, kind in columns[-2:]):
        return
    raise ServerNotReady(
        f"{table} at {session.address} ends with columns row_start and row_end and is not system-versioned: "
        "in the log its rows cannot be told from the history of a versioned table",
        hint="rename one of the two columns, or add a column behind them",
    )


def _says_missing(error: SourceError) -> bool:
    return bool(error.__cause__ and error.__cause__.args and error.__cause__.args[0] in {1049, 1146})


def quoted(name: str) -> str:
    """An identifier for SQL text."""
    return "`" + name.replace("`", "``") + "`"

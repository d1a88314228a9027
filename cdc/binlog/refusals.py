"""The errors of reading a log that are more than a sentence: what happened, and what to do next.

`ServerSaid` and `UnknownXaRows` carry what their catcher needs: the server's own code and
text (a server's refusal has many meanings), and which XA transaction's rows to look for.
"""

from __future__ import annotations

from cdc.binlog.events import name_of
from cdc.errors import DecodeError, PreparedRowsUnknown, RowTooLarge, SourceError, StatementInLog
from cdc.model import TableSpec
from cdc.position import PreparedTransaction

DAMAGED = (
    "the file or the way to here is damaged, or this is an event we do not know: look at it with the server's own "
    "mysqlbinlog or mariadb-binlog (-vv, from this position); to go on behind it: cdc checkpoint set -c FILE "
    "--source NAME --to POSITION (or latest)"
)


class ServerSaid(SourceError):
    """The server ended the stream with an error of its own."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"the server ended the log stream: {text} ({code})", hint="see the server's error log")
        self.code = code
        self.text = text


class UnknownXaRows(PreparedRowsUnknown):
    """An XA COMMIT whose rows are not here: `supply` them and feed on, or stop."""

    def __init__(self, xid: str, where: PreparedTransaction | None, place: str) -> None:
        begun = f"prepared at {where.file}:{where.position}" if where else "prepared before the log we have read"
        super().__init__(
            f"XA COMMIT {xid} at {place}: its rows are not known: {begun}",
            hint="its rows are in the table, if nobody deleted them. To go on behind it: cdc checkpoint set "
            "-c FILE --source NAME --to POSITION",
        )
        self.xid = xid
        self.where = where


class ReadAgain(SourceError):
    """The end of a group of which too much was handed out: read it again from its begin, and `leave_out` these rows.

    No trouble: whoever reads in pieces catches it.
    """

    retryable = True

    def __init__(self, file: str, begin: int, ranges: tuple[tuple[int, int], ...]) -> None:
        super().__init__(
            f"the transaction at {file}:{begin} takes back rows that were read already", hint="it is read again"
        )
        self.file, self.begin, self.ranges = file, begin, ranges


def statement_in_log(text: bytes, schemas: tuple[bytes, ...]) -> StatementInLog:
    """For a text that may have put rows into a table."""
    # The first word only: what follows may be anybody's data.
    shown = text[:200].decode("utf-8", "replace").split()[:1]
    inside = ", ".join(schema.decode("utf-8", "replace") for schema in schemas) or "no schema"
    return StatementInLog(
        f"a statement in text form, which may have put rows into a table: {' '.join(shown)} ... (in {inside})",
        hint="some session has binlog_format=STATEMENT or MIXED; set it to ROW. Its rows are not in the log: find "
        "them in the table. Schemas where this is harmless can be listed as `statements_allowed_in`; to go on "
        "behind it: cdc checkpoint set -c FILE --source NAME --to POSITION",
    )


def row_too_large(table: TableSpec, size: int, largest: int) -> RowTooLarge:
    """For a row over `max_row_bytes`."""
    return RowTooLarge(
        f"a row of {table} has {size} bytes in the log, and max_row_bytes is {largest}",
        hint="nothing of its transaction is published. Raise max_row_bytes of the source; or go on behind it: cdc "
        "checkpoint set -c FILE --source NAME --to POSITION",
    )


def undecodable(error: Exception, kind: int, place: str) -> DecodeError:
    """For bytes that are not what they should be; `kind` -1 where they are no event."""
    what = name_of(kind) if kind >= 0 else "bytes"
    return DecodeError(f"{what} at {place} cannot be read: {error}", hint=DAMAGED)

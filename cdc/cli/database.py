"""A connection of the command's own to the database, for `cdc outbox`: URL, password, errors.

PyMySQL's errors become ours here, and no message holds the password.
"""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

from cdc.errors import (
    CdcError,
    ColumnMissing,
    ConfigError,
    SourceAccessDenied,
    SourceError,
    SourceUnavailable,
    TableMissing,
)

PASSWORD_VARIABLE = "CDC_OUTBOX_PASSWORD"  # noqa: S105  # the name of a variable
_DEFAULT_PORT = 3306

_CREATE_HINT = (
    "`cdc outbox ddl --server mysql|mariadb --table ...` prints the CREATE TABLE; is the schema the right one?"
)
# The server's and PyMySQL's error numbers that a user can do something about.
_KNOWN: dict[int, tuple[type[CdcError], str]] = {
    1044: (SourceAccessDenied, "Grant the user INSERT on the table."),
    1045: (SourceAccessDenied, f"Check user and password (--password-file, {PASSWORD_VARIABLE})."),
    1049: (TableMissing, "Check the schema's name in the URL."),
    1054: (ColumnMissing, "Compare the table with `cdc outbox ddl`."),
    1142: (SourceAccessDenied, "Grant the user INSERT on the table."),
    1146: (TableMissing, _CREATE_HINT),
    1698: (SourceAccessDenied, f"Check user and password (--password-file, {PASSWORD_VARIABLE})."),
    2003: (SourceUnavailable, "Check host and port in the URL, and that the server runs."),
    2006: (SourceUnavailable, "The connection was lost; the event was not written. Try again."),
    2013: (SourceUnavailable, "The connection was lost; whether the event was written is not known. Look for its id."),
}


def split(url: str) -> SplitResult:
    """The parts of a database URL."""
    hint = "Write mysql://USER@HOST[:PORT]/SCHEMA."
    try:
        parts = urlsplit(url)
        port_fits = parts.port != 0
    except ValueError:
        port_fits = False
    if not port_fits:
        raise ConfigError("the port in the URL is not a number from 1 to 65535", hint=hint)
    if parts.scheme not in {"mysql", "mariadb"} or not parts.hostname or not parts.username:
        raise ConfigError("the URL does not tell scheme, user and host", hint=hint)
    return parts


def schema(url: SplitResult) -> str:
    """The schema the URL names, or nothing."""
    return unquote(url.path.strip("/"))


def password(url: SplitResult, file: Path | None) -> str:
    """From the file, the environment, the URL, or asked for."""
    if file is not None:
        return file.read_text(encoding="utf-8").rstrip("\r\n")
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if url.password is not None:
        return unquote(url.password)
    return getpass.getpass(f"Password of {url.username}: ") if sys.stdin.isatty() else ""


@contextmanager
def connected(url: SplitResult, secret: str) -> Iterator[Any]:
    """A PyMySQL connection with autocommit off; its errors are ours."""
    import pymysql  # noqa: PLC0415  # `cdc outbox ddl` works without

    where = f"{url.hostname}:{url.port or _DEFAULT_PORT}"
    try:
        connection = pymysql.connect(
            host=url.hostname,
            port=url.port or _DEFAULT_PORT,
            user=unquote(url.username or ""),
            password=secret,
            database=schema(url) or None,
            charset="utf8mb4",
            autocommit=False,
            connect_timeout=10,
        )
        with connection:
            yield connection
    except pymysql.MySQLError as error:
        raise _ours(error, where) from error


def _ours(error: Exception, where: str) -> CdcError:
    number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
    text = error.args[1] if len(error.args) > 1 else str(error)
    kind, hint = _KNOWN.get(number, (SourceError, "The server's own words; the event was not written."))
    return kind(f"{where}: {text} ({number})", hint=hint)

"""`cdc log decode`: files of a binary log to committed rows, without a server.

What one must know to change it:

* The flavour is in the file: the server's version in its first event, FORMAT_DESCRIPTION.
* Files come in the log's order, and state goes on from one to the next: GTIDs, open XA
  transactions. A file's name is the one the last file's ROTATE gave; without that (the first
  file; a server that was killed) it is the argument's, less `.gz`.
* Memory holds a piece of the file and the rows of the open transactions, never a file.
* What was finished before an error is given out before the error is raised.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from cdc.binlog import Feed, UnknownXaRows
from cdc.errors import ConfigError, DecodeError, PreparedRowsUnknown
from cdc.model import SourceTransaction, TableSpec
from cdc.position import Flavour, Position

MAGIC = b"\xfebin"
ENCRYPTED_MAGIC = b"\xfdbin"
_GZIP_MAGIC = b"\x1f\x8b"
_PIECE = 1 << 20
_VERSION = slice(21, 71)
"""Of the first event: behind the header and the format's number, the server's version, padded with zero bytes."""
_NUMBERED = re.compile(r"(.+)\.\d+")


def decode(
    files: Sequence[Path],
    tables: Sequence[TableSpec],
    *,
    statements_allowed_in: Sequence[str] = (),
    note: Callable[[str], None] | None = None,
) -> Iterator[SourceTransaction]:
    """All committed transactions of the files that hold rows of the tables. Raises SourceError.

    `note` is told what a reader should know of the end: transactions that are still open there.
    """
    feed: Feed | None = None
    before = ""
    for path in files:
        with _opened(path) as source:
            first = source.read(_PIECE)
            if feed is None:
                start = Position(_flavour(first, path), "", _name(path), len(MAGIC))
                feed = Feed(
                    start.flavour, tables, start, framed=False, statements_allowed_in=frozenset(statements_allowed_in)
                )
            else:
                _flavour(first, path)
                _go_on(feed, path, before)
            before = feed.position.file
            yield from _poured(feed, source, first[len(MAGIC) :], path)
    if feed is not None and note is not None:
        _tell_open(feed, note)


def _poured(feed: Feed, source: IO[bytes] | gzip.GzipFile, piece: bytes, path: Path) -> Iterator[SourceTransaction]:
    """One file."""
    try:
        while piece:
            yield from feed.feed(piece)
            piece = source.read(_PIECE)
        yield from feed.feed(b"")  # an error that came behind a finished transaction
    except UnknownXaRows as error:
        raise PreparedRowsUnknown(
            error.message, hint="name the log file that holds its PREPARE before this one, and all between them"
        ) from error
    if feed.waiting:
        raise DecodeError(
            f"{path} ends inside an event, {feed.waiting} bytes after its begin (last finished: {feed.position})",
            hint="all before it was decoded. The copy was cut off, or made while the server wrote, or the server was "
            "killed; `cdc log show` reads a running server's log",
        )


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """The file's bytes, unpacked where it is a gzip file, whatever its name."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            raw.seek(0)
            if packed:
                with gzip.open(raw) as unpacked:
                    yield unpacked
            else:
                yield raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DecodeError(
            f"{path} is a damaged gzip file: {error}", hint="all before it was decoded; copy the file again"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}", hint="check name and rights") from error


def _flavour(head: bytes, path: Path) -> Flavour:
    """Which kind of server wrote the file. Raises DecodeError where it is no log."""
    if head.startswith(ENCRYPTED_MAGIC):
        raise DecodeError(f"{path} is encrypted", hint="only its server can read it: `cdc log show`")
    if not head.startswith(MAGIC):
        raise DecodeError(
            f"{path} is no binary log: it does not begin with 0xFE and 'bin'",
            hint="a log file is named like binlog.000042, in the server's data directory (SHOW BINARY LOGS)",
        )
    return "mariadb" if b"MariaDB" in head[len(MAGIC) :][_VERSION] else "mysql"


def _name(path: Path) -> str:
    return path.name.removesuffix(".gz")


def _go_on(feed: Feed, path: Path, before: str) -> None:
    """Behind one file comes another; refuse one that is known not to be the next."""
    name, expected = _name(path), feed.position.file
    if expected == before:  # no ROTATE at its end
        if name == before:
            raise ConfigError(f"{path} is there twice", hint="name each log file once, in the log's order")
        feed.next_file(name)
        return
    numbered, meant = _NUMBERED.fullmatch(name), _NUMBERED.fullmatch(expected)
    if name != expected and numbered and meant and numbered[1] == meant[1]:
        raise ConfigError(
            f"{path} does not follow {before}, whose end names {expected}",
            hint="name all log files in order: a transaction prepared in one may be committed in the next",
        )


def _tell_open(feed: Feed, note: Callable[[str], None]) -> None:
    if feed.in_transaction:
        note(f"a transaction is open at the end; it begins at {feed.position}, and its rows were not printed")
    for prepared in feed.position.prepared:
        note(
            f"XA transaction {prepared.xid} of {prepared.file}:{prepared.position} is prepared and neither committed "
            "nor rolled back: its rows were not printed"
        )

"""A set of keys that may be larger than memory: in memory first, in a temporary file past a limit.

The file is SQLite's own temporary database: private, gone with the process whatever ends it.
"""

from __future__ import annotations

import sqlite3

from cdc.model import Value

Key = tuple[Value, ...]

IN_MEMORY = 200_000


class KeySet:
    """Keys of one table; grows, never shrinks."""

    def __init__(self, in_memory: int = IN_MEMORY) -> None:
        self._limit = in_memory
        self._few: set[Key] = set()
        self._many: sqlite3.Connection | None = None
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: Key) -> bool:
        if key in self._few:
            return True
        if self._many is None:
            return False
        return self._many.execute("SELECT 1 FROM keys WHERE key = ?", (_bytes(key),)).fetchone() is not None

    def add(self, key: Key) -> None:
        """Put one in; one that is in already changes nothing."""
        if key in self:
            return
        self._few.add(key)
        self._count += 1
        if len(self._few) >= self._limit:
            self._spill()

    def close(self) -> None:
        """Let go of the file."""
        if self._many is not None:
            self._many.close()
            self._many = None

    def _spill(self) -> None:
        if self._many is None:
            # Used by one thread at a time, not always the same.
            self._many = sqlite3.connect("", check_same_thread=False, isolation_level=None)
            self._many.execute("PRAGMA journal_mode = OFF")
            self._many.execute("CREATE TABLE keys (key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._many.execute("BEGIN")
        self._many.executemany("INSERT INTO keys VALUES (?)", ((_bytes(key),) for key in sorted(self._few, key=_bytes)))
        self._many.execute("COMMIT")
        self._few.clear()


def _bytes(key: Key) -> bytes:
    """One text for equal keys, another for others: values of a column have one type."""
    return repr(key).encode()

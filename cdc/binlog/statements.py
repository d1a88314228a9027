"""What a statement in text form (a QUERY event) means for the rows around it.

The servers write BEGIN, COMMIT, ROLLBACK, savepoints and XA verbs as texts of their own
making, and every DDL as the user's text; in row format nothing else should come. A text
that changes data, from a session in STATEMENT or MIXED format, has rows nobody can see,
maybe through a trigger or a routine that it does not name: the caller must stop. So what
is harmless is listed here, and all else counts as changing data.

Savepoint names are compared as the servers compare identifiers: without regard to letter
case, accents and blanks at the end.
"""

from __future__ import annotations

import enum
import re
import unicodedata
from typing import NamedTuple

from cdc.binlog.events import Xid


class Verb(enum.Enum):
    """The meanings a text can have."""

    BEGIN = enum.auto()
    COMMIT = enum.auto()
    ROLLBACK = enum.auto()
    SAVEPOINT = enum.auto()
    ROLLBACK_TO = enum.auto()
    RELEASE = enum.auto()
    XA_START = enum.auto()
    XA_END = enum.auto()
    XA_COMMIT = enum.auto()
    XA_ROLLBACK = enum.auto()
    HARMLESS = enum.auto()
    CHANGES_DATA = enum.auto()


class Meaning(NamedTuple):
    """A verb, and the savepoint's name or the xid that goes with it."""

    verb: Verb
    name: str = ""
    xid: Xid | None = None


_LEADING = re.compile(rb"(?:\s+|/\*(?![!M]).*?\*/|--[ \t][^\n]*(?:\n|$)|#[^\n]*(?:\n|$))+", re.DOTALL)
_WORD = re.compile(rb"[A-Za-z_]+")
_CONTROL = re.compile(
    rb"(?P<begin>BEGIN(?:\s+WORK)?|START\s+TRANSACTION.*)|(?P<commit>COMMIT(?:\s+WORK)?)|(?P<rollback>ROLLBACK(?:\s+WORK)?)"
    rb"|SAVEPOINT\s+(?P<savepoint>.+)"
    rb"|ROLLBACK(?:\s+WORK)?\s+TO(?:\s+SAVEPOINT(?=[\s`]))?\s*(?P<to>.+)"
    rb"|RELEASE\s+SAVEPOINT\s*(?P<release>.+)"
    rb"|XA\s+(?P<xa>START|BEGIN|END|PREPARE|COMMIT|ROLLBACK)\s*(?P<xid>.*)",
    re.DOTALL | re.IGNORECASE,
)
_XID = re.compile(rb"X'([0-9a-fA-F]*)'\s*,\s*X'([0-9a-fA-F]*)'\s*,\s*(\d+)\s*(?:ONE PHASE)?", re.IGNORECASE)
_QUOTED = re.compile(
    rb"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`(?:[^`]|``)*`|/\*(?![!M]).*?\*/|--[ \t][^\n]*|#[^\n]*",
    re.DOTALL,
)

_HARMLESS = frozenset(
    b"ALTER DROP RENAME TRUNCATE GRANT REVOKE OPTIMIZE REPAIR CHECK CHECKSUM CACHE FLUSH RESET INSTALL UNINSTALL "
    b"LOCK UNLOCK USE PURGE COMMENT IMPORT SHUTDOWN BACKUP".split()
)
_SELECTS = re.compile(rb"\bSELECT\b|\bVALUES\s+ROW\b|\bTABLE\b.*\bTABLE\s+[^\s,=(]+\s*$", re.DOTALL | re.IGNORECASE)
_CREATE_TABLE = re.compile(rb"CREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMPORARY\s+)?TABLE\b", re.IGNORECASE)
_TABLE_WORK = re.compile(rb"ANALYZE\s+(?:(?:NO_WRITE_TO_BINLOG|LOCAL)\s+)?TABLES?\b", re.IGNORECASE)
_SETS_DATA = re.compile(rb"SET\s+STATEMENT\b", re.IGNORECASE)


def meaning(text: bytes) -> Meaning:
    """What the text means. Raises ValueError on an XA text without a readable xid."""
    if leading := _LEADING.match(text):
        text = text[leading.end() :]
    found = _CONTROL.fullmatch(text.rstrip(b" \t\r\n;"))
    if found is None:
        return Meaning(Verb.CHANGES_DATA if changes_data(text) else Verb.HARMLESS)
    kind = found.lastgroup
    if kind == "xid":
        return _xa(found["xa"].upper(), found["xid"])
    if kind == "savepoint":
        return Meaning(Verb.SAVEPOINT, _name(found["savepoint"]))
    if kind == "to":
        return Meaning(Verb.ROLLBACK_TO, _name(found["to"]))
    if kind == "release":
        return Meaning(Verb.RELEASE, _name(found["release"]))
    return Meaning({"begin": Verb.BEGIN, "commit": Verb.COMMIT, "rollback": Verb.ROLLBACK}[str(kind)])


def _xa(verb: bytes, rest: bytes) -> Meaning:
    if verb in (b"END", b"PREPARE"):
        return Meaning(Verb.XA_END)
    found = _XID.fullmatch(rest.strip())
    if found is None:
        raise ValueError(f"XA {verb.decode()} without a readable xid")
    xid = Xid(bytes.fromhex(found[1].decode()), bytes.fromhex(found[2].decode()), int(found[3]))
    if verb == b"COMMIT":
        return Meaning(Verb.XA_COMMIT, xid=xid)
    return Meaning(Verb.XA_ROLLBACK if verb == b"ROLLBACK" else Verb.XA_START, xid=xid)


def _name(raw: bytes) -> str:
    """A savepoint's name in the form that is compared."""
    raw = raw.strip()
    if raw[:1] == b"`":
        if raw[-1:] != b"`" or len(raw) < 2:  # noqa: PLR2004
            raise ValueError("a savepoint's name without its end")
        raw = raw[1:-1].replace(b"``", b"`")
    parts = unicodedata.normalize("NFD", raw.decode("utf-8", "replace"))
    return "".join(c for c in parts if not unicodedata.combining(c)).rstrip(" ").upper()


def changes_data(text: bytes) -> bool:
    """Might this text put rows into a table? True for everything not known to be harmless."""
    word = _WORD.match(text)
    if word is None:
        return bool(text.strip())  # nothing but comments and blanks is nothing; an executable comment may be anything
    verb = word[0].upper()
    if verb in _HARMLESS:
        return False
    if verb == b"CREATE":
        return _CREATE_TABLE.match(text) is not None and _SELECTS.search(_QUOTED.sub(b"''", text)) is not None
    if verb == b"ANALYZE":
        return _TABLE_WORK.match(text) is None
    if verb == b"SET":
        return _SETS_DATA.match(text) is not None
    return True

"""The state of reading, and what each event but the hottest does to it. `Feed` drives it.

Made-up events are those whose end position is 0: a server says with them where it begins
(ROTATE, FORMAT_DESCRIPTION, GTID_LIST), and they are not part of the file. Events inside a
transaction of MariaDB 11.8 have end position 0 too, but none of these types.
"""

from __future__ import annotations

import re
import struct
import zlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from functools import partial

from cdc.binlog import compressed, events, table_map
from cdc.binlog.definition import Definition
from cdc.binlog.events import CRC_RESIDUE, HEADER
from cdc.binlog.groups import Groups
from cdc.binlog.packets import LARGEST, Joiner
from cdc.binlog.refusals import ReadAgain, ServerSaid, UnknownXaRows, row_too_large, statement_in_log
from cdc.binlog.statements import Verb, meaning
from cdc.binlog.transaction import key_of, parse_xid
from cdc.binlog.updates import Changes
from cdc.errors import CdcError, DecodeError
from cdc.model import DeletedRow, Row, TableSpec
from cdc.position import Flavour, GtidList, GtidSet, Position, PreparedTransaction

_head = struct.Struct("<IBIIIH").unpack_from
_FILE_NAME = re.compile(r"[^\x00-\x1f]{1,500}\.\d+")
_DEFINITIONS = 256
_FAR = 1 << 31
_WITH_EXTRA_DATA = (events.WRITE_ROWS, events.WRITE_ROWS_COMPRESSED, events.DELETE_ROWS, events.DELETE_ROWS_COMPRESSED)
_WRITES = (events.WRITE_ROWS_V1, events.WRITE_ROWS, events.WRITE_ROWS_COMPRESSED_V1, events.WRITE_ROWS_COMPRESSED)
_MANY_ROWS = 1 << 20
"""Events of many rows are smaller (`binlog_row_event_max_size`, 8 KiB by default)."""
_NO_MAP = (0, b"", None, False, False)


class Reader(Groups, ABC):
    """Where reading stands, and the rare events. Names with an underscore are shared with `Feed` only."""

    def __init__(
        self,
        flavour: Flavour,
        tables: Sequence[TableSpec],
        start: Position,
        *,
        framed: bool,
        statements_allowed_in: Collection[str],
        deletes: bool = False,
    ) -> None:
        # On a MySQL socket a set that the start does not know means a server without GTIDs.
        super().__init__(start, learn_gtids=flavour == "mariadb" or not framed)
        self.flavour = flavour
        self.eof = False
        self.largest_row = LARGEST
        """Bytes in the log; a row with more is refused."""
        self.history_rows = 0
        """Rows of system-versioned tables that an UPDATE wrote: no INSERTs."""
        self._framed = framed
        self._kinds = events.kinds(deletes=deletes, updates=any(spec.updates for spec in tables))
        self._specs = {table_map.key_of(spec.schema, spec.name): spec for spec in tables}
        self._keys = tuple(self._specs)
        self._allowed = frozenset(name.encode() for name in statements_allowed_in)
        self._crc, self._described = 4, False  # before the first FORMAT_DESCRIPTION nothing counts without a checksum
        self._definitions: dict[bytes, Definition] = {}
        # The last TABLE_MAP of ours: its header and body's size, its body, its definition; is it of the open group;
        # has that any TABLE_MAP?
        self._map: tuple[int, bytes, Definition | None, bool, bool] = _NO_MAP
        self._failure: Exception | None = None
        self._retry = self._is_placed = False
        self._parts: list[bytes] = []
        self._have = 0
        self._big = Joiner()
        self._need = self._at_buffer = 0
        self._position: Position | None = None

    # -- what others ask -----------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Bytes of an event that is not all there yet; behind a file's last bytes: it is cut off."""
        return self._have + self._big.size

    @property
    def position(self) -> Position:
        """Behind everything that is finished; never inside a transaction."""
        if self._position is None:
            at = self._begin if self.in_transaction else self._progress.at
            self._position = self._progress.position(at, tuple(p.where for p in self._tx.prepared.values()))
        return self._position

    def supply(self, xid: str, rows: list[Row]) -> None:
        """Hand in the rows of a prepared transaction, read elsewhere; then `feed(b"")` goes on where it stopped."""
        where = PreparedTransaction(xid, self._progress.file, self._progress.at)
        self._tx.supply(parse_xid(xid), rows, where)
        if isinstance(self._failure, UnknownXaRows) and key_of(parse_xid(self._failure.xid)) == key_of(parse_xid(xid)):
            self._failure, self._retry = None, True
        self._position = None

    def next_file(self, file: str) -> None:
        """The bytes of another file come, from byte 4 on. Only for files, where one may end without a ROTATE."""
        self._parts, self._have, self._need = [], 0, 0
        self._abandon()
        self._progress.moved_to(file, 4)
        self._position = None

    # -- groups --------------------------------------------------------------------------

    def _resync(self, at: int, ends: int) -> int:
        """An event says it ends elsewhere than counted: on the wire the server has left something out."""
        if not self._framed and self._outer is None:
            raise ValueError(f"it ends at {at}, and says at {ends}")
        return at + ((ends - at) & 0xFFFFFFFF)

    def _unfinished(self) -> None:
        """A group begins while another is open."""
        if self._tx.rows or self._tx.savepoints or self._tx.base:
            raise ValueError("a transaction begins inside another one")
        self._progress.add(self._gtid or b"\0" * HEADER)
        self._close_group()

    def _abandon(self) -> None:
        """The file ends, maybe inside a group: then the server died while it wrote it, and it was not committed."""
        self._tx.clear()
        self._close_group()
        self._map = _NO_MAP

    def _is_begin(self, buf: bytes, e: int, stop: int) -> bool:
        """Is `BEGIN`, with which this QUERY's text ends, all of the text?"""
        text = e + HEADER + 13 + int.from_bytes(buf[e + 30 : e + 32], "little") + buf[e + 27] + 1
        return stop - text == 5  # noqa: PLR2004 - the length of BEGIN

    # -- rows ----------------------------------------------------------------------------

    def _define(self, body: bytes) -> Definition:
        """The definition of a TABLE_MAP body of ours; the table's id in front of it does not matter."""
        found = self._definitions.get(body[8:])
        if found is None:
            table = table_map.parse(body, self.flavour)
            made = Definition(table, self._specs[table_map.key_of(table.schema, table.table)])
            if len(self._definitions) >= _DEFINITIONS:
                self._definitions.clear()
            found = self._definitions[body[8:]] = made
        return found

    def _rows(self, buf: bytes, e: int, stop: int, kind: int, definition: Definition) -> None:
        """All rows of a WRITE_ROWS event of ours, whatever its form."""
        self._tx.size += stop - e
        q = e + HEADER + 8
        if kind in _WITH_EXTRA_DATA:
            q += buf[q] | buf[q + 1] << 8  # extra data, with its own length
        width, q = (buf[q], q + 1) if buf[q] < 251 else events.lenenc(buf, q)  # noqa: PLR2004
        if width != definition.width:
            raise ValueError(f"rows of {width} columns in a table of {definition.width}")
        present = buf[q : q + definition.bitmap]
        image, q = definition.image(present), q + definition.bitmap
        if kind in (events.WRITE_ROWS, events.WRITE_ROWS_V1):  # the next event of this form takes the short way
            definition.kind, definition.head = kind, buf[e + HEADER + 8 : q]
            definition.usual = image, image.compiled, image.null_bytes, q - e
        if kind >= events.WRITE_ROWS_COMPRESSED_V1:
            self._fits(definition, compressed.length(buf[q : q + 5]))
            buf = compressed.unpack(buf[q:stop])
            q, stop = 0, len(buf)
            self._tx.size += stop
        rows, null_bytes, decoders, history = self._tx.rows, image.null_bytes, image.compiled, 0
        while q < stop:
            nulls, begin = buf[q : q + null_bytes], q
            row, q = (decoders.get(nulls) or image.decoder(nulls))(buf, q + null_bytes)
            if q - begin > self.largest_row:
                raise row_too_large(definition.spec, q - begin, self.largest_row)
            if row is None:
                history += 1
            else:
                rows.append(row)
        if q != stop:
            raise ValueError("a row that ends behind its event")
        self.history_rows += history

    def _fits(self, definition: Definition, size: int) -> None:
        """Refuse rows by the size of what they come in, before they are all here. Only a lone row makes it large."""
        if size > max(self.largest_row, _MANY_ROWS):
            raise row_too_large(definition.spec, size, self.largest_row)

    def _large(self, begin: bytes) -> None:
        """The first packet of an event of many: rows that are too large are not waited for."""
        head = begin[1:]
        if head[4] in _WRITES and (definition := self._definition_of(head)) is not None:
            self._fits(definition, int.from_bytes(head[9:13], "little"))

    def _deleted(self, raw: bytes, kind: int, crc: int) -> None:
        """The rows of a DELETE_ROWS event, which are written like those of a WRITE_ROWS event."""
        rows = self._tx.rows
        before = len(rows)
        if (definition := self._definition_of(raw)) is not None:
            self._rows(raw, 0, len(raw) - crc, kind, definition)
        rows[before:] = [DeletedRow(row.table, row.values) for row in rows[before:]]

    def _updated(self, raw: bytes, kind: int, crc: int) -> None:
        """The rows of an UPDATE_ROWS event, where their table asks for them."""
        definition = self._definition_of(raw)
        if definition is not None and definition.spec.updates:
            if definition.changes is None:
                definition.changes = Changes(definition)
            self._tx.size += len(raw)
            self._tx.rows += definition.changes.rows(raw[: len(raw) - crc], kind)

    def _definition_of(self, raw: bytes) -> Definition | None:
        """The table of a rows event, if it is one of ours."""
        _, last_body, definition, active, _ = self._map
        table = raw[HEADER : HEADER + 6]
        return definition if active and last_body.startswith(table) else self._others.get(table)

    def _rows_of_others(self, buf: bytes, e: int, stop: int, kind: int) -> None:
        """Rows that are not of the last TABLE_MAP: of another wanted table, or of one nobody wants."""
        found = self._others.get(buf[e + HEADER : e + HEADER + 6])
        if found is not None:
            self._rows(buf, e, stop, kind, found)

    # -- rare events ---------------------------------------------------------------------

    def _rare(self, kind: int, raw: bytes, crc: int) -> None:
        """Any event that is not of the hot kinds; `raw` is all of it, the count stands behind it."""
        time, _, _, size, ends, flags = _head(raw)
        progress = self._progress
        if size != len(raw):
            raise ValueError("an event whose size is not that of its packet")
        if kind == events.FORMAT_DESCRIPTION:
            self._format_description(raw, time, made_up=ends == 0)
        elif kind == events.ROTATE:
            self._rotate(self._body(raw, crc, made_up=ends == 0 or time == 0))
        elif kind in (events.HEARTBEAT, events.HEARTBEAT_V2):
            progress.at -= size
            self._heartbeat(kind, self._body(raw, crc, made_up=True), ends)
        else:
            body = self._body(raw, crc, made_up=False)
            if kind in (events.GTID_LIST, events.PREVIOUS_GTIDS):
                if ends == 0 or flags & events.ARTIFICIAL:
                    progress.at -= size
                learned = GtidSet.decode(body) if kind == events.PREVIOUS_GTIDS else GtidList(events.gtid_list(body))
                progress.learn(learned)
            else:
                if ends and self._outer is None and ends != progress.at & 0xFFFFFFFF:
                    progress.at = self._resync(progress.at, ends)
                if kind in events.DELETES:
                    self._deleted(raw, kind, crc)
                elif kind in events.UPDATES:
                    self._updated(raw, kind, crc)
                else:
                    self._group_event(kind, body, time, flags)

    def _group_event(self, kind: int, body: bytes, time: int, flags: int) -> None:
        """An event that belongs to a group, or one that nobody knows."""
        end = self._progress.at
        if kind in (events.QUERY, events.QUERY_COMPRESSED):
            self._query(_unpacked_query(body) if kind == events.QUERY_COMPRESSED else body, time, end)
        elif kind == events.XA_PREPARE:
            self._xa_prepare(body, time, end)
        elif kind == events.TRANSACTION_PAYLOAD:
            self._payload(body, time, end)
        elif kind == events.EXECUTE_LOAD_QUERY:
            raise statement_in_log(b"LOAD DATA", ())
        elif kind == events.START_ENCRYPTION:
            if not self._framed:
                raise ValueError("the rest of the file is encrypted; read it through the server")
        elif kind == events.INCIDENT:
            raise ValueError("the server says that events are missing in its log")
        elif not flags & events.IGNORABLE:
            raise ValueError("an event that is not known and might hold rows")

    def _body(self, raw: bytes, crc: int, *, made_up: bool) -> bytes:
        """Without header and checksum. A made-up event has a checksum or not, whatever the file has."""
        if crc or made_up:
            if zlib.crc32(raw) == CRC_RESIDUE:
                return raw[HEADER:-4]
            if not made_up:
                raise ValueError("its checksum is wrong")
        return raw[HEADER:]

    def _format_description(self, raw: bytes, time: int, *, made_up: bool) -> None:
        found = events.format_description(raw[HEADER:])
        unused = raw[:17] + bytes([raw[17] & ~events.IN_USE]) + raw[18:]
        if found.checksums and zlib.crc32(unused) != CRC_RESIDUE:
            raise ValueError("its checksum is wrong")
        if made_up:
            self._progress.at -= len(raw)
        self._abandon()
        self._crc, self._described = 4 if found.checksums else 0, True
        self._progress.file_created = time

    def _rotate(self, body: bytes) -> None:
        file, position = events.rotate(body)
        if not _FILE_NAME.fullmatch(file) or position < 4:  # noqa: PLR2004 - the first event's place
            raise ValueError("a ROTATE to no file")
        self._abandon()
        self._progress.moved_to(file, position)

    def _heartbeat(self, kind: int, body: bytes, ends: int) -> None:
        """The place up to which the server has read: on the way it may have left events out."""
        progress = self._progress
        if not self._described:
            raise ValueError("a heartbeat before the file's FORMAT_DESCRIPTION")
        if kind == events.HEARTBEAT_V2:
            file, place = events.heartbeat_v2(body)
        else:
            file, place = body.decode(), progress.at + ((ends - progress.at) & 0xFFFFFFFF) if ends else None
        if self.in_transaction or file not in (None, progress.file) or place is None:
            return
        if progress.at < place < progress.at + _FAR:
            progress.at = place

    def _query(self, body: bytes, time: int, end: int) -> None:
        query, progress = events.query(body), self._progress
        verb, name, xid = meaning(query.text)
        if verb is Verb.COMMIT:
            self._commit(time, end)
        elif verb is Verb.ROLLBACK:
            self._tx.clear()
            self._commit(time, end)
        elif verb is Verb.SAVEPOINT:
            self._savepoint(name)
        elif verb is Verb.ROLLBACK_TO:
            self._tx.rollback_to(name)
        elif verb is Verb.RELEASE:
            self._tx.release(name)
        elif verb in (Verb.BEGIN, Verb.XA_START):
            self._begun = True
            if verb is Verb.XA_START:
                self._xa_begin = progress.file, self._begin
        elif verb is Verb.XA_COMMIT and xid is not None:
            self._xa_commit(xid, time, end)
        elif verb is Verb.XA_ROLLBACK and xid is not None:
            self._resolve(xid)
            self._tx.rollback_prepared(xid)
            self._commit(time, end)
        elif verb in (Verb.HARMLESS, Verb.CHANGES_DATA):
            if verb is Verb.CHANGES_DATA and not self._is_allowed(query):
                raise statement_in_log(query.text, query.schemas)
            if self._standalone():
                self._commit(time, end)

    def _is_allowed(self, query: events.Query) -> bool:
        """Are all schemas it is said to touch listed as harmless, and none of our tables named? Without tables: yes."""
        if not self._specs:
            return True
        text = query.text.lower()
        named = any(spec.name.lower().encode() in text for spec in self._specs.values())
        return not named and all(schema in self._allowed for schema in query.schemas)

    # -- XA and payloads -------------------------------------------------------------------

    def _xa_prepare(self, body: bytes, time: int, end: int) -> None:
        xid, one_phase = events.xa_prepare(body)
        if one_phase:
            self._commit(time, end)
        elif self._outer is not None:
            self._defer(partial(self._prepare, xid))
        else:
            self._prepare(xid, time, end)

    @abstractmethod
    def _payload(self, body: bytes, time: int, end: int) -> None:
        """The events inside a TRANSACTION_PAYLOAD, as if they stood here."""

    @abstractmethod
    def _walk(self, buf: bytes, crc: int, *, framed: bool) -> int:
        """The loop over events, which `Feed` has."""

    def _placed(self, error: CdcError, at: int) -> CdcError:
        """The same error, saying where, once."""
        if self._is_placed or isinstance(error, ServerSaid | UnknownXaRows | DecodeError | ReadAgain):
            return error
        self._is_placed = True
        return type(error)(f"{error.message} (at {self._progress.file}:{at})", hint=error.hint)


def _unpacked_query(body: bytes) -> bytes:
    """The body of a QUERY_COMPRESSED event as that of a QUERY event."""
    text = 13 + int.from_bytes(body[11:13], "little") + body[8] + 1
    return body[:text] + compressed.unpack(body[text:])

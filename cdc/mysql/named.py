"""A place that a person names, made a full `Position` of this server: what the tailer itself would have noted there.

    earliest, latest     the begin of the oldest file, the end of the log now
    FILE:POSITION        must be where a transaction ends (or the file's head): the file is read up to there
    GTIDs, MySQL         a set: everything in it counts as read
    GTIDs, MariaDB       the last one of each domain: the place behind the last of them is looked for,
                         and the server must reckon the same list for it

Reading a file from its begin is what tells whether a place is the end of a transaction, and gives what cannot
be asked for: the last transaction before it, the GTIDs up to it (MySQL's file says in its head what came
before; MariaDB's too) and the XA transactions that are open there. No table is read: a row that
cannot be decoded is often the very reason why somebody sets a position.

Blocking functions of a `Session`, with a server_id of their own for the log.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cdc.binlog import Feed, ServerSaid, UnknownXaRows
from cdc.binlog.events import BEGIN, KINDS, ROTATE
from cdc.binlog.packets import HEAD, WHOLE
from cdc.errors import ConfigError, DecodeError, PositionLost, SourceUnavailable
from cdc.model import TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import ServerFacts, check_server, log_files
from cdc.mysql.identity import executed, purged
from cdc.mysql.peek import Met, meet
from cdc.mysql.places import begin_of_log, end_of_log
from cdc.mysql.refusals import refusal
from cdc.mysql.server_ids import free_id, taken_ids
from cdc.mysql.session import Session, ask
from cdc.mysql.stream import FIRST_BYTE, LONGEST_POSITION, LogRequest, LogStream, open_stream
from cdc.position import GtidList, GtidSet, Position

FORMS = "earliest, latest, FILE:POSITION (binlog.000042:1234) or GTIDs"
_PLACE = re.compile(r"([^\s:,]+\.\d+):(\d+)")
_PIECE = 1 << 17
_MANY = 2048
"""Packets that are decoded at once."""
_EVENT_END = slice(18, 22)
_EVENT_KIND = 9
_EOF = 0xFE


async def position_around(address: ServerAddress, tables: Sequence[TableSpec], file: str, at: int) -> Position:
    """The end of the last transaction before a place; the place is that end, or behind the next one's GTID event.

    For servers without GTIDs. Raises ConfigError where it is neither.
    """

    def question(session: Session) -> Position:
        return _Log(session, check_server(session, tables)).around(file, at)

    return await ask(address, question)


async def named_position(address: ServerAddress, tables: Sequence[TableSpec], text: str) -> Position:
    """The position that a text names, as it is on this server now. Raises SourceError, ConfigError.

    The server is checked as for tailing: settings, tables, grants.
    """
    return await ask(address, lambda session: _named(session, tables, text.strip()))


def _named(session: Session, tables: Sequence[TableSpec], text: str) -> Position:
    facts = check_server(session, tables)
    log = _Log(session, facts)
    if text == "earliest":
        return log.with_head(begin_of_log(session, facts))
    if text == "latest":
        return log.with_head(end_of_log(session, facts))
    if place := _PLACE.fullmatch(text):
        return log.place(place[1], int(place[2]))
    try:
        gtids = GtidSet.parse(text) if facts.flavour == "mysql" else GtidList.parse(text)
    except ValueError as error:
        raise ConfigError(
            f"{text!r} is no place in a log of {facts.flavour}: {error}", hint=f"a place is {FORMS}"
        ) from error
    return log.behind_set(gtids) if isinstance(gtids, GtidSet) else log.behind_list(gtids)


class _Log:
    """The log of one server, read from places of its files."""

    def __init__(self, session: Session, facts: ServerFacts) -> None:
        self._session, self._facts, self._where = session, facts, str(session.address)
        self._taken = taken_ids(session, facts)
        self._files = log_files(session)

    def with_head(self, position: Position) -> Position:
        """The same, with the time its file was begun."""
        stream = self._stream(LogRequest(position.file, position.position, 0))
        try:
            feed = Feed(position.flavour, (), position)
            for packet in packets(stream):
                _take(feed, packet, stream.address)
                if feed.position.file_created:
                    break
            return replace(position, file_created=feed.position.file_created)
        finally:
            stream.close()

    # -- file and position ---------------------------------------------------------------

    def place(self, file: str, at: int) -> Position:
        """FILE:POSITION."""
        size = self._files.get(file)
        oldest, newest = next(iter(self._files)), list(self._files)[-1]
        if size is None:
            raise PositionLost(
                f"{self._where} has no log file {file}; it has {oldest} to {newest}",
                hint=f"SHOW BINARY LOGS lists them; a place is {FORMS}",
            )
        if at > size or at > LONGEST_POSITION:
            raise ConfigError(
                f"{file} at {self._where} ends at {size}, before {at}", hint=f"{file}:{size} or latest is its end"
            )
        if at < FIRST_BYTE:
            raise ConfigError(f"no event begins at {at}: a file's first one is at {FIRST_BYTE}", hint=f"{file}:4")
        begin = Position(self._facts.flavour, self._facts.identity, file, FIRST_BYTE, self._set_before(file))
        if at == FIRST_BYTE:
            return self.with_head(begin)
        stream = self._stream(LogRequest(file, FIRST_BYTE, 0))
        try:
            return self._walk(stream, Feed(begin.flavour, (), begin), file, at)
        finally:
            stream.close()

    def _walk(self, stream: LogStream, feed: Feed, file: str, at: int) -> Position:
        """Read up to a place that must be the end of a transaction."""
        held: list[bytes] = []
        before = feed.position
        for packet in packets(stream):
            held.append(packet)
            end = int.from_bytes(packet[_EVENT_END], "little") if len(packet) > HEAD + 20 and not packet[HEAD] else 0
            if end < at and len(held) < _MANY and packet[_EVENT_KIND : _EVENT_KIND + 1] != bytes([ROTATE]):
                continue
            _take(feed, b"".join(held), stream.address)
            held = []
            found = feed.position
            if (found.file, found.position) == (file, at):
                return found
            if found.file != file or found.position > at:
                raise ConfigError(
                    f"{file}:{at} at {self._where} is no place between two transactions: one ends at "
                    f"{_short(before)}, the next at {_short(found)}",
                    hint=f"give {_short(before)} or {_short(found)}",
                )
            before = found
        _take(feed, b"".join(held), stream.address)
        if (feed.position.file, feed.position.position) == (file, at):
            return feed.position
        raise ConfigError(
            f"{file}:{at} at {self._where} lies behind the last finished transaction, which ends at "
            f"{_short(feed.position)}",
            hint=f"give {_short(feed.position)}, or latest",
        )

    def around(self, file: str, at: int) -> Position:
        """FILE:POSITION, or the place before it where only a GTID event lies between."""
        if at <= FIRST_BYTE or file not in self._files:
            return self.place(file, at)
        begin = Position(self._facts.flavour, self._facts.identity, file, FIRST_BYTE, self._set_before(file))
        stream = self._stream(LogRequest(file, FIRST_BYTE, 0))
        try:
            feed, held = Feed(begin.flavour, (), begin), b""
            for packet in packets(stream):
                held += packet
                end = int.from_bytes(packet[_EVENT_END], "little")
                if (packet[_EVENT_KIND] == ROTATE or end < at) and len(held) < _PIECE:
                    continue
                _take(feed, held, stream.address)
                held = b""
                if end == at and packet[_EVENT_KIND] != ROTATE:
                    if not feed.in_transaction or KINDS[packet[_EVENT_KIND]] == BEGIN:
                        return feed.position
                    break
                if end > at:
                    break
        finally:
            stream.close()
        raise ConfigError(
            f"{file}:{at} at {self._where} is no place where a transaction begins",
            hint=f"a place is {FORMS}",
        )

    def _set_before(self, file: str) -> GtidSet | None:
        """MySQL: what the file's head says was executed before it; None on MariaDB, where the log itself says it."""
        if not self._facts.gtid_on:
            return None
        for row in self._session.rows("SHOW BINLOG EVENTS IN %s LIMIT 3", file):
            if row["Event_type"] == "Previous_gtids":
                return GtidSet.parse(str(row["Info"] or ""))
        raise DecodeError(f"{file} at {self._where} does not say which GTIDs came before it", hint="give GTIDs instead")

    # -- GTIDs ---------------------------------------------------------------------------

    def behind_set(self, gtids: GtidSet) -> Position:
        """MySQL: everything that is not in the set comes next."""
        session, where = self._session, self._where
        if not self._facts.gtid_on:
            raise ConfigError(f"gtid_mode of {where} is not ON: its log cannot be read by GTID", hint="FILE:POSITION")
        if foreign := gtids - executed(session):
            raise ConfigError(
                f"{where} has not executed {foreign}: those would be passed over when they come",
                hint=f"its executed set now is {executed(session)}",
            )
        if lacking := purged(session) - gtids:
            raise PositionLost(
                f"{where} has purged transactions that are not in the set: {lacking}",
                hint="put them into the set (they cannot be published from the log any more), or give earliest",
            )
        start = Position("mysql", self._facts.identity, next(iter(self._files)), FIRST_BYTE, gtids)
        stream = self._stream(LogRequest("", FIRST_BYTE, 0, gtid_set=gtids))
        try:
            feed = Feed("mysql", (), start)
            for packet in packets(stream):
                _take(feed, packet, stream.address)
                if feed.position.file_created:  # the file the server begins in
                    return replace(feed.position, gtid_set=gtids, last=None)
        finally:
            stream.close()
        raise SourceUnavailable(f"{where} ended the log stream at once", hint="try again")

    def behind_list(self, gtids: GtidList) -> Position:
        """MariaDB: behind the last of these transactions, where the server reckons just this list."""
        met: list[Met] = []
        for domain, (server, number) in gtids:
            found = self._meet(gtids, domain, server, number)
            if found is not None and found.gtid == f"{domain}-{server}-{number}":
                met.append(found)
        if not met:
            raise PositionLost(
                f"the log of {self._where} has none of {gtids}",
                hint="SELECT @@gtid_binlog_pos is the end of it; a place is " + FORMS,
            )
        last = max(met, key=lambda one: (list(self._files).index(one.file), one.end))
        there = GtidList.parse(str(self._session.value("SELECT BINLOG_GTID_POS(%s, %s)", last.file, last.end) or ""))
        if there != gtids:
            raise ConfigError(
                f"{gtids} is no place in the log of {self._where}: behind {last.gtid} it is at {there}",
                hint=f"give {there} or {last.file}:{last.end}",
            )
        return self.place(last.file, last.end)

    def _meet(self, gtids: GtidList, domain: int, server: int, number: int) -> Met | None:
        before = dict(gtids) | {domain: (server, number - 1)}
        if number <= 1:
            del before[domain]
        try:
            stream = self._stream(LogRequest("", FIRST_BYTE, 0, connect_state=str(GtidList(before))))
            try:
                return meet(stream, domain)
            finally:
                stream.close()
        except PositionLost:
            return None  # long ago, perhaps: then another domain's is the last

    def _stream(self, request: LogRequest) -> LogStream:
        request = replace(request, server_id=free_id(self._taken), until_end=True)
        return open_stream(self._session.address, request, "cdc-look")


def packets(stream: LogStream) -> Iterator[bytes]:
    """Whole packets, their heads included, up to the end of the stream."""
    data, full = b"", False
    while True:
        try:
            piece = stream.receive(_PIECE)
        except OSError as error:  # a timeout is one too
            raise SourceUnavailable(f"{stream.address} stopped sending its log ({error})", hint="try again") from error
        if not piece:
            return
        data, at = data + piece, 0
        while len(data) - at >= HEAD and len(data) - at >= (size := HEAD + int.from_bytes(data[at : at + 3], "little")):
            if not full and data[at + HEAD] == _EOF and size < HEAD + 9:
                return
            yield data[at : at + size]
            full = size == HEAD + WHOLE  # the next one goes on with the same event
            at += size
        data = data[at:]


def _take(feed: Feed, data: bytes, address: ServerAddress) -> None:
    """Decode without tables; rows of XA transactions are nothing here."""
    done = False
    while not done:
        try:
            feed.feed(data)
            done = True
        except UnknownXaRows as unknown:
            feed.supply(unknown.xid, [])
            data = b""
        except ServerSaid as said:
            raise refusal(said.code, said.text, address, feed.position) from said
        except DecodeError as error:
            raise DecodeError(
                f"{error.message}; so nothing behind it in this file can be checked",
                hint="a place in a later file, latest, or (MySQL) a GTID set that holds this transaction needs no "
                "reading of it",
            ) from error


def _short(position: Position) -> str:
    return f"{position.file}:{position.position}"

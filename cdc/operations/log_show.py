"""`cdc log show`: committed rows from a live server's log, up to its end as it is when asked.

Reads as a replica of its own with a server_id nobody uses, so the tailer is not disturbed, and
writes nothing anywhere. It begins at the source's checkpoint, or where `--from` says:

    earliest            the begin of the oldest file
    binlog.000042:1234  that place; it must be where a transaction begins
    a GTID set          MySQL: all that is not in it. MariaDB, whose lists name the last
                        transaction of each domain: all behind these, by their numbers

MariaDB is always read by file and position: for a GTID list the newest file that begins
before all of its domains' numbers is read, and what is not behind them is dropped.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from cdc.errors import CheckpointLost, ConfigError, PositionLost
from cdc.kafka import read_checkpoint
from cdc.model import SourceTransaction, TableSpec
from cdc.mysql.address import ServerAddress
from cdc.mysql.checks import ServerFacts, log_files, server_facts
from cdc.mysql.session import Session, ask
from cdc.mysql.source import MySqlSource
from cdc.mysql.stream import FIRST_BYTE
from cdc.position import GtidList, GtidSet, Position
from cdc.pump import is_reached
from cdc.settings import Settings

_PLACE = re.compile(r"([^\s:]+\.\d+):(\d+)")
_FROM_HINT = "--from takes earliest, FILE:POSITION (binlog.000042:1234) or a GTID set"


@dataclass(frozen=True, slots=True)
class Place:
    """Where reading begins, and on MariaDB the GTIDs behind which it counts."""

    position: Position
    behind: GtidList | None = None

    def counts(self, transaction: SourceTransaction) -> bool:
        """Is it behind the GTIDs?"""
        if self.behind is None or transaction.gtid is None:
            return True
        domain, _, sequence = map(int, transaction.gtid.split("-"))
        last = self.behind.get(domain)
        return last is None or sequence > last[1]


async def show(
    settings: Settings, name: str, *, begin: str | None = None, note: Callable[[str], None] | None = None
) -> AsyncIterator[SourceTransaction]:
    """Transactions with rows of the source's tables, in the log's order. Raises CdcError.

    `note` is told where reading begins and up to where.
    """
    source = settings.source(name)
    tables = tuple(TableSpec(table.schema, table.name) for table in settings.table_specs(name))
    reader = MySqlSource(f"{name}-show", lambda: source.address, tables, observer=_ignore)
    if begin is None:
        place = Place(await _checkpoint(settings, name))
    elif begin == "earliest":
        place = Place(await reader.first_position("earliest"))
    else:
        place = await _said(source.address, begin)
    end = await reader.log_end()
    if note is not None:
        note(f"from {place.behind or place.position} to the log's end at {end.file}:{end.position}")
    try:
        await reader.open(place.position)
        reached = is_reached(place.position, end)
        while not reached:
            piece = await reader.read()
            for transaction in piece.transactions:
                if place.counts(transaction):
                    yield transaction
            reached = is_reached(piece.position, end)
    finally:
        await reader.close()


def _ignore(step: str, /, **facts: object) -> None:
    """Nobody watches the reader's steps."""


async def _checkpoint(settings: Settings, name: str) -> Position:
    view = await read_checkpoint(settings.kafka.address(), name, prefix=settings.kafka.prefix)
    if view.checkpoint is None:
        raise CheckpointLost(f"source {name} has no checkpoint in topic {view.topic}", hint=_FROM_HINT)
    return view.checkpoint.position


async def _said(address: ServerAddress, text: str) -> Place:
    """The place that `--from` names, on this server."""
    place = _PLACE.fullmatch(text.strip())

    def question(session: Session) -> Place:
        facts = server_facts(session)
        if place is not None:
            return Place(Position(facts.flavour, facts.identity, place[1], int(place[2])))
        try:
            gtids = GtidSet.parse(text) if facts.flavour == "mysql" else GtidList.parse(text)
        except ValueError as error:
            raise ConfigError(f"{text!r} is no place in a log of {facts.flavour}: {error}", hint=_FROM_HINT) from error
        if isinstance(gtids, GtidSet):
            return _behind_set(session, facts, gtids)
        return _behind_list(session, facts, gtids)

    return await ask(address, question)


def _behind_set(session: Session, facts: ServerFacts, gtids: GtidSet) -> Place:
    if not facts.gtid_on:
        raise ConfigError(
            f"gtid_mode of {session.address} is not ON: its log cannot be read by GTID", hint="--from FILE:POSITION"
        )
    return Place(Position(facts.flavour, facts.identity, next(iter(log_files(session))), FIRST_BYTE, gtids))


def _behind_list(session: Session, facts: ServerFacts, gtids: GtidList) -> Place:
    for file in reversed(log_files(session)):
        text = session.value("SELECT BINLOG_GTID_POS(%s, %s)", file, FIRST_BYTE)
        state = GtidList.parse(str(text or ""))
        if all((state.get(domain) or (0, 0))[1] <= sequence for domain, (_, sequence) in gtids):
            return Place(Position(facts.flavour, facts.identity, file, FIRST_BYTE, state), gtids)
    raise PositionLost(
        f"{session.address} has purged the transactions behind {gtids}",
        hint="--from earliest begins at the oldest file that is left",
    )

"""Where a position of one MariaDB lies in the log of another one: a promoted replica, or the way back.

MariaDB's GTIDs say only what came last in each domain, and numbers may go back
(gtid_strict_mode is OFF by default), so a list of them is not always a place. What is done:

1. Refused where numbers are known to have gone back in a domain (`out_of_order`), and where the
   server has not logged what we have read last in each domain (`Diverged`, with what is missing).
2. The last transaction before the position is asked for by its GTID: the state of all
   domains with the number before it, in `@slave_connect_state`, with `@slave_gtid_strict_mode` off, for
   that number may not exist. It must come first of its domain, with our commit time.
3. What the server reckons for the end of that transaction (BINLOG_GTID_POS) must be our list, domain
   by domain, none more and none less. Then, and only then, that end is our place.

From there on reading goes by file and position, as on any one server. A dump that simply
followed `@slave_connect_state` would be right only for as long as it lasts: until all domains have
passed our place, no position in it can be resumed at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from cdc.errors import Diverged, PositionLost, WrongServer
from cdc.mysql.checks import ServerFacts
from cdc.mysql.identity import log_number
from cdc.mysql.peek import Met
from cdc.mysql.refusals import HEAL, HISTORY
from cdc.mysql.session import Session
from cdc.position import GtidList, LastTransaction, Position

Ask = Callable[[str, str], Met | None]
"""Asks for a transaction: the connect state before it, and its GTID."""

UNCERTAIN = (
    "choose a place in this server's log: cdc checkpoint set -c FILE --source NAME --to POSITION; what was missed is "
    "in the table, if nobody deleted it"
)


def place_on(session: Session, facts: ServerFacts, position: Position, ask: Ask) -> Position:
    """The position in this other server's terms. Blocking. Raises what stands against it."""
    ours, where = position.gtid_set, f"{session.address} (server {facts.identity})"
    if not isinstance(ours, GtidList) or not ours:
        raise WrongServer(
            f"{where} is not the server of the position {position} ({position.server}), and it names no GTID by which "
            "it could be found there",
            hint=HISTORY,
        )
    if position.out_of_order:
        domains = ", ".join(map(str, position.out_of_order))
        raise WrongServer(
            f"{where} is not the server of the position {position} ({position.server}), and the numbers of domain "
            f"{domains} went back: a GTID is no place there",
            hint=UNCERTAIN + "; gtid_strict_mode=ON keeps numbers in order",
        )
    _check_has(session, where, ours, position)
    found = _last_met(position, ours, where, ask)
    time = position.last.commit_time if position.last else position.log_time
    if found.commit_time != time:
        raise WrongServer(
            f"{where} has another transaction {found.gtid} than the one we have published: it is of "
            f"{found.commit_time}, ours was of {time} (seconds since 1970)",
            hint=HISTORY,
        )
    return _agreed(session, facts, position, found)


def _agreed(session: Session, facts: ServerFacts, position: Position, found: Met) -> Position:
    theirs = GtidList.parse(str(session.value("SELECT BINLOG_GTID_POS(%s, %s)", found.file, found.end) or ""))
    if theirs != position.gtid_set:
        raise WrongServer(
            f"behind {found.gtid} {session.address} (server {facts.identity}) is at {theirs}, and we were at "
            f"{position.gtid_set}: it has the domains in another order, so no place in its log is ours",
            hint=UNCERTAIN,
        )
    return replace(
        position,
        server=facts.identity,
        file=found.file,
        position=found.end,
        file_created=found.created,
        last=LastTransaction(found.gtid, found.end, found.commit_time, found.end - found.begin),
        # their rows are found by looking for the PREPARE file by file: the places were the other server's
        prepared=tuple(replace(open_xa, file="", position=0) for open_xa in position.prepared),
    )


def _last_met(position: Position, ours: GtidList, where: str, ask: Ask) -> Met:
    """The last transaction in the other log; right behind a change of files any domain's last may be it."""
    last = position.last
    if last is not None and last.gtid is not None:
        return _ask(last.gtid, ours, where, ask)
    met: list[Met] = []
    lost: PositionLost | None = None
    for domain, (server, number) in ours:
        try:
            met.append(_ask(f"{domain}-{server}-{number}", ours, where, ask))
        except PositionLost as error:  # it may be long ago: then another domain's is the last
            lost = error
    if not met:
        raise lost or WrongServer(f"{where} has none of {ours}", hint=HISTORY)
    return max(met, key=lambda one: (log_number(one.file), one.end))


def _check_has(session: Session, where: str, ours: GtidList, position: Position) -> None:
    """Has the server logged the last transaction of each domain?"""
    state = str(session.value("SELECT @@GLOBAL.gtid_binlog_state") or "")
    logged = {(d, s): n for d, s, n in (map(int, gtid.split("-")) for gtid in filter(None, state.split(",")))}
    missing = []
    for domain, (server, number) in ours:
        if (known := logged.get((domain, server), 0)) < number:
            missing.append(f"{domain}-{server}-{number} (it is at {known})" if known else f"{domain}-{server}-{number}")
    if not missing:
        return
    if not {domain for domain, _ in logged} & {domain for domain, _ in ours}:
        raise WrongServer(
            f"{where} has none of what we have published ({ours}) from server {position.server}", hint=HISTORY
        )
    raise Diverged(
        f"{where} lacks transactions we have published: {', '.join(missing)}",
        hint="wait until the server has caught up (log_slave_updates must be ON there), or point the source at one "
        "that has them; if they are lost for good: cdc checkpoint set -c FILE --source NAME --to POSITION",
    )


def _ask(gtid: str, ours: GtidList, where: str, ask: Ask) -> Met:
    domain, server, number = map(int, gtid.split("-"))
    before = dict(ours) | {domain: (server, number - 1)}
    if number <= 1:
        del before[domain]
    try:
        found = ask(str(GtidList(before)), gtid)
    except PositionLost as error:
        raise PositionLost(
            f"{where} has purged {gtid}, our last transaction: what came after it cannot be told from what came "
            f"before ({error})",
            hint=HEAL,
        ) from error
    if found is None or found.gtid != gtid:
        raise WrongServer(
            f"the log of {where} has {found.gtid if found else 'nothing'} where {gtid} was, our last transaction",
            hint=HISTORY,
        )
    return found

"""The server_id of a reader: one that nobody else reads this server's log with.

A server ends the older of two readers with the same id, so each connection of ours has one of its
own, also the short looks beside the tailer's. Unless the configuration gives one it is a
random high number; ids in use are asked for as far as our grants allow (MariaDB wants
REPLICATION MASTER ADMIN for it, MySQL REPLICATION SLAVE).

One that the configuration gives and somebody else uses is not fought for: whoever came last
would win, again and again, and both readers would get nothing done.
"""

from __future__ import annotations

import random

from cdc.errors import ConfigError, SourceUnavailable
from cdc.mysql.checks import ServerFacts
from cdc.mysql.session import Session

OWN_SERVER_IDS = (0x80000000, 0xFFFFFFFE)
"""High, where people rarely put their servers."""


def readers(session: Session, facts: ServerFacts) -> dict[int, str]:
    """Who reads this server's log, by server_id, as far as we may ask: the names they gave at registration."""
    rows = session.attempt("SHOW REPLICAS" if facts.flavour == "mysql" else "SHOW SLAVE HOSTS") or []
    return {int(row["Server_Id" if "Server_Id" in row else "Server_id"]): str(row["Host"]) for row in rows}


def taken_ids(session: Session, facts: ServerFacts) -> set[int]:
    """server_ids in use: the server's own and, where we may ask, its replicas'."""
    return {facts.server_id, *readers(session, facts)}


def check_id(session: Session, facts: ServerFacts, server_id: int, name: str) -> None:
    """Raise if another than `name` uses this server_id. Our own last connection may still be there: it is replaced."""
    if server_id == facts.server_id:
        raise ConfigError(
            f"server_id {server_id} of the source is that of the server {session.address} itself",
            hint="give the source a server_id of its own, or none",
        )
    holder = readers(session, facts).get(server_id)
    if holder is not None and holder != name:
        raise SourceUnavailable(
            f"server_id {server_id} is in use at {session.address}, by a reader named {holder or '(no name)'}",
            hint="SHOW REPLICAS names all readers; end that one, or give this source a server_id of its own, or none",
        )


def free_id(taken: set[int]) -> int:
    """A number of ours that is not among them."""
    while (chosen := random.randint(*OWN_SERVER_IDS)) in taken:  # noqa: S311 - no secret
        pass
    return chosen

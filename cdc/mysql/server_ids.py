"""The server_id of a reader: one that nobody else reads this server's log with.

A server ends the older of two readers with the same id, so each connection of ours has one of its
own, also the short looks beside the tailer's. Unless the configuration gives one it is a
random high number; ids in use are asked for as far as our grants allow (MariaDB wants
REPLICATION MASTER ADMIN for it, MySQL REPLICATION SLAVE).
"""

from __future__ import annotations

import random

from cdc.mysql.checks import ServerFacts
from cdc.mysql.session import Session

OWN_SERVER_IDS = (0x80000000, 0xFFFFFFFE)
"""High, where people rarely put their servers."""


def taken_ids(session: Session, facts: ServerFacts) -> set[int]:
    """server_ids in use: the server's own and, where we may ask, its replicas'."""
    rows = session.attempt("SHOW REPLICAS" if facts.flavour == "mysql" else "SHOW SLAVE HOSTS") or []
    return {facts.server_id} | {int(row["Server_Id" if "Server_Id" in row else "Server_id"]) for row in rows}


def free_id(taken: set[int]) -> int:
    """A number of ours that is not among them."""
    while (chosen := random.randint(*OWN_SERVER_IDS)) in taken:  # noqa: S311 - no secret
        pass
    return chosen

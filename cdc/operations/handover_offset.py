"""Debezium's source offsets, read and written: pure, measured on Debezium 3.4 (MySQL with and without GTIDs, MariaDB).

    file, pos      where the transaction of the last row begins: behind its GTID event on MySQL, before it on MariaDB
    gtids          all transactions that were finished before that one; where they are there, file and pos are ignored
    event, row     how far inside the first transaction that is not in gtids: that many of its events were seen,
                   and of the last of these that many rows were sent. Neither: nothing of it was sent

An offset of a finished transaction looks like one of its last row: the end of a transaction is never stored. So where
an offset stands can only be told from the log (`cdc.binlog.counted`).

What we write has no event and no row: file and position where a transaction ended, and the GTIDs up to there. Kafka
Connect takes any offset with a 200, and some that are wrong are never read or make Debezium wait for ever without a
word. So nothing is written here that was not tried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cdc.connect.answers import Offset
from cdc.errors import HandoverRefused
from cdc.position import GtidList, GtidSet, Position

CLASSES = {
    "io.debezium.connector.mysql.MySqlConnector": "mysql",
    "io.debezium.connector.mariadb.MariaDbConnector": "mariadb",
}
"""Connectors whose offsets are known, and the servers they read."""


@dataclass(frozen=True, slots=True)
class Stand:
    """Where a connector stands. `event` 0: nothing was sent of the first transaction behind it."""

    file: str
    pos: int
    gtids: str | None = None
    event: int = 0
    row: int = 0

    @property
    def inside(self) -> bool:
        """Was something of the first transaction seen?"""
        return self.event > 0 or self.row > 0

    @property
    def place(self) -> str:
        """As `cdc checkpoint set --to` takes it."""
        return self.gtids or f"{self.file}:{self.pos}"

    def __str__(self) -> str:
        inside = f", event {self.event}, row {self.row}" if self.inside else ""
        gtids = f" ({self.gtids})" if self.gtids else ""
        return f"{self.file}:{self.pos}{gtids}{inside}"


def find(offsets: Sequence[Offset], partition: str) -> Mapping[str, Any]:
    """The offset of a connector among those that are stored for it. Raises HandoverRefused."""
    for one in offsets:
        if one.partition == {"server": partition} and one.offset is not None:
            return one.offset
    others = f"; there are others: {[dict(one.partition) for one in offsets]}" if offsets else ""
    raise HandoverRefused(
        f"the connector has stored no offset for server {partition}, so nobody knows where it stands{others}",
        hint="it stores its first one with its first row or heartbeat (heartbeat.interval.ms); let it run until "
        "`cdc connectors offsets show NAME` has one",
    )


def read(offset: Mapping[str, Any]) -> Stand:
    """What an offset says. Raises HandoverRefused where it is not one that a handover can go on from."""
    if offset.get("snapshot") and _text(offset.get("snapshot_completed")) != "true":
        raise HandoverRefused(
            "the connector has not finished its snapshot: rows of it are not published yet",
            hint="let it run until `cdc connectors offsets show NAME` has no snapshot in it",
        )
    if offset.get("incremental_snapshot_collections") or offset.get("incremental_snapshot_primary_key"):
        raise HandoverRefused(
            "the connector is in the middle of an incremental snapshot",
            hint="let it finish, or stop it by its stop-snapshot signal",
        )
    file, pos = offset.get("file"), _number(offset, "pos")
    if not isinstance(file, str):
        raise HandoverRefused("the connector's offset names no file", hint=_LOOK)
    gtids = offset.get("gtids")
    if gtids is not None and not isinstance(gtids, str):
        raise HandoverRefused("the gtids of the connector's offset are no text", hint=_LOOK)
    return Stand(
        file,
        pos,
        "".join(gtids.split()) or None if gtids else None,
        _number(offset, "event", 0),
        _number(offset, "row", 0),
    )


def write(position: Position) -> dict[str, Any]:
    """The offset that makes Debezium go on behind a position. Raises HandoverRefused where there is none."""
    if position.prepared:
        xids = ", ".join(one.xid for one in position.prepared)
        raise HandoverRefused(
            f"XA transactions are prepared and not ended at the checkpoint: {xids}; Debezium would publish them before "
            "they are committed, or never",
            hint="end them (XA RECOVER lists them), let the tailer read on, and stop it again",
        )
    gtids = position.gtid_set
    if isinstance(gtids, GtidSet) and any(tag for (_, tag), _ in gtids):
        raise HandoverRefused(
            "the checkpoint's GTIDs have tags, and Debezium 3.4 reads no server that ever had one",
            hint="there is no way to Debezium from this server; the tailer goes on",
        )
    if position.flavour == "mariadb" and not gtids:
        raise HandoverRefused(
            "the checkpoint has no GTIDs yet, and Debezium on MariaDB needs them",
            hint="let the tailer read one transaction more, and stop it again",
        )
    offset: dict[str, Any] = {"file": position.file, "pos": position.position}
    return offset | ({"gtids": str(gtids)} if isinstance(gtids, GtidSet | GtidList) and gtids else {})


_LOOK = "see it with: cdc connectors offsets show NAME"


def _number(offset: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = offset.get(name, default)
    try:
        number = int(value) if not isinstance(value, bool | float) else -1
    except (TypeError, ValueError):
        number = -1
    if number < 0:
        raise HandoverRefused(f"{name} of the connector's offset is no number: {value!r}", hint=_LOOK)
    return number


def _text(value: object) -> str:
    return str(value).lower()

"""Places in a log: pure values with exact arithmetic, no I/O.

`Position` is all that is needed to go on reading where a finished source transaction
ended, and to find out whether a server still has the same history. Its JSON form is
part of the checkpoint (a contract: field names and meanings stay).

Two kinds of GTIDs:

* MySQL: a *set*. `GtidSet` keeps holes and tags (`uuid:1-5:7,uuid:tag:1-3`, 8.3+);
  a transaction is new if and only if its GTID is not in the set.
* MariaDB: the *last* GTID of each domain. `GtidList` says nothing about what came
  before it: sequence numbers may go back (gtid_strict_mode is OFF by default), so
  "new or old" is never judged by them.

Both are immutable. The decoder adds millions of GTIDs, so `GtidSetBuilder` is the
mutable form with a fast path for "the next number".
"""

from __future__ import annotations

import re
import struct
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

Flavour = Literal["mysql", "mariadb"]
Interval = tuple[int, int]
"""First and last number, both inside."""
Sid = tuple[str, str]
"""Source UUID in lower case with dashes, and the tag ('' for none)."""

_NUMBERS = re.compile(r"(\d+)(?:-(\d+))?")
_TAG = re.compile(r"[a-z_][a-z0-9_]{0,31}")


def _normalise(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """Sorted, without overlaps, neighbours joined."""
    out: list[Interval] = []
    for first, last in sorted(intervals):
        if out and first <= out[-1][1] + 1:
            if last > out[-1][1]:
                out[-1] = (out[-1][0], last)
        else:
            out.append((first, last))
    return tuple(out)


class GtidSet:
    """An immutable set of MySQL GTIDs, holes and tags kept.

    `str()` gives the server's own text form (no blanks, sorted by UUID, the untagged
    part of a UUID before its tags), so texts of equal sets are equal.
    """

    __slots__ = ("_sids",)

    def __init__(self, sids: Mapping[Sid, Iterable[Interval]] | None = None) -> None:
        made = {sid: _normalise(intervals) for sid, intervals in (sids or {}).items()}
        self._sids: dict[Sid, tuple[Interval, ...]] = {sid: made[sid] for sid in sorted(made) if made[sid]}

    @classmethod
    def parse(cls, text: str) -> GtidSet:
        """Read the server's text form; blanks and line breaks are ignored. Raises ValueError."""
        sids: dict[Sid, list[Interval]] = {}
        for part in filter(None, "".join(text.split()).lower().split(",")):
            source, *rest = part.split(":")
            if not rest:
                raise ValueError(f"GTID set without numbers: {part!r}")
            source, tag = str(uuid.UUID(source)), ""
            for item in rest:
                if numbers := _NUMBERS.fullmatch(item):
                    first, last = int(numbers[1]), int(numbers[2] or numbers[1])
                    if not 1 <= first <= last:
                        raise ValueError(f"not a range of GTID numbers: {item!r} in {part!r}")
                    sids.setdefault((source, tag), []).append((first, last))
                elif _TAG.fullmatch(item):
                    tag = item
                else:
                    raise ValueError(f"neither numbers nor a tag: {item!r} in {part!r}")
        return cls(sids)

    def __str__(self) -> str:
        parts: list[str] = []
        previous = None
        for (source, tag), intervals in self._sids.items():
            numbers = ":".join(str(a) if a == b else f"{a}-{b}" for a, b in intervals)
            head = f"{tag}:{numbers}" if tag else numbers
            if source == previous:
                parts[-1] += f":{head}"
            else:
                parts.append(f"{source}:{head}")
            previous = source
        return ",".join(parts)

    def __repr__(self) -> str:
        return f"GtidSet.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self._sids == other._sids if isinstance(other, GtidSet) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._sids.items()))

    def __bool__(self) -> bool:
        return bool(self._sids)

    def __iter__(self) -> Iterator[tuple[Sid, tuple[Interval, ...]]]:
        return iter(self._sids.items())

    def contains(self, source: str, number: int, tag: str = "") -> bool:
        """Is this one GTID in the set?"""
        intervals = self._sids.get((source, tag), ())
        at = bisect_right(intervals, (number, 2**64))
        return at > 0 and intervals[at - 1][1] >= number

    def __or__(self, other: GtidSet) -> GtidSet:
        sids: dict[Sid, list[Interval]] = {sid: list(intervals) for sid, intervals in self._sids.items()}
        for sid, intervals in other:
            sids.setdefault(sid, []).extend(intervals)
        return GtidSet(sids)

    def __sub__(self, other: GtidSet) -> GtidSet:
        return GtidSet({sid: _subtract(intervals, other._sids.get(sid, ())) for sid, intervals in self._sids.items()})

    def __le__(self, other: GtidSet) -> bool:
        """Is this a subset of the other (the server's GTID_SUBSET)?"""
        return not self - other

    def count(self) -> int:
        """How many GTIDs are in it."""
        return sum(last - first + 1 for intervals in self._sids.values() for first, last in intervals)

    def encode(self) -> bytes:
        """The wire form of COM_BINLOG_DUMP_GTID; with tags only when there is one (servers from 8.3 on read it).

        Source: MySQL's Gtid_set::encode. Ends are exclusive there.
        """
        tagged = any(tag for _, tag in self._sids)
        head = (1 << 56 | len(self._sids) << 8 | 1) if tagged else len(self._sids)
        out = [struct.pack("<Q", head)]
        for (source, tag), intervals in self._sids.items():
            out.append(uuid.UUID(source).bytes)
            if tagged:
                out.append(bytes([len(tag) << 1]) + tag.encode("ascii"))
            out.append(struct.pack("<Q", len(intervals)))
            out.extend(struct.pack("<QQ", first, last + 1) for first, last in intervals)
        return b"".join(out)

    @classmethod
    def decode(cls, data: bytes) -> GtidSet:
        """Read the wire form (PREVIOUS_GTIDS events have it too). Raises ValueError."""
        try:
            (head,) = struct.unpack_from("<Q", data)
            tagged = head >> 56 == 1
            count, at = (head >> 8 & 0xFFFFFFFFFFFF if tagged else head), 8
            sids: dict[Sid, list[Interval]] = {}
            for _ in range(count):
                source, tag = str(uuid.UUID(bytes=data[at : at + 16])), ""
                at += 16
                if tagged:
                    size = data[at] >> 1
                    tag = data[at + 1 : at + 1 + size].decode("ascii")
                    at += 1 + size
                (n,) = struct.unpack_from("<Q", data, at)
                at += 8
                for _ in range(n):
                    first, end = struct.unpack_from("<QQ", data, at)
                    at += 16
                    if not 1 <= first < end:
                        raise ValueError("an interval that is none")
                    sids.setdefault((source, tag), []).append((first, end - 1))
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"not a GTID set: {error}") from error
        return cls(sids)


def _subtract(intervals: Iterable[Interval], minus: tuple[Interval, ...]) -> list[Interval]:
    out: list[Interval] = []
    for start, last in intervals:
        first = start
        for a, b in minus:
            if b < first:
                continue
            if a > last:
                break
            if a > first:
                out.append((first, a - 1))
            first = b + 1
        if first <= last:
            out.append((first, last))
    return out


class GtidSetBuilder:
    """A GtidSet that grows: `add` costs a dictionary look-up when numbers come in order."""

    __slots__ = ("_sids",)

    def __init__(self, start: GtidSet) -> None:
        self._sids: dict[Sid, list[list[int]]] = {sid: [list(i) for i in intervals] for sid, intervals in start}

    def add(self, sid: Sid, number: int) -> None:
        """Put one GTID in; one that is in already changes nothing."""
        self.add_range(sid, number, number)

    def add_range(self, sid: Sid, first: int, last: int) -> None:
        """Put all numbers from first to last in."""
        intervals = self._sids.setdefault(sid, [])
        if intervals and first == intervals[-1][1] + 1:
            intervals[-1][1] = last
        elif not intervals or first > intervals[-1][1]:
            intervals.append([first, last])
        else:
            at = bisect_right(intervals, [first - 1, 1 << 64]) - 1
            if at >= 0 and intervals[at][1] >= last:
                return
            joined = _normalise([*((a, b) for a, b in intervals), (first, last)])
            self._sids[sid] = [list(i) for i in joined]

    def contains(self, sid: Sid, number: int) -> bool:
        """Is this one GTID in already?"""
        intervals = self._sids.get(sid, [])
        at = bisect_right(intervals, [number, 1 << 64]) - 1
        return at >= 0 and intervals[at][1] >= number

    def next_after(self, sid: Sid, number: int) -> int | None:
        """The first number above this one that is in already; None where there is none."""
        intervals = self._sids.get(sid, [])
        at = bisect_right(intervals, [number, 1 << 64])
        if at and intervals[at - 1][1] > number:
            return number + 1
        return intervals[at][0] if at < len(intervals) else None

    def freeze(self) -> GtidSet:
        """The set as it is now."""
        return GtidSet({sid: [(a, b) for a, b in intervals] for sid, intervals in self._sids.items()})


class GtidList:
    """MariaDB: the last GTID of each domain, `domain-server-sequence`, sorted by domain."""

    __slots__ = ("_domains",)

    def __init__(self, domains: Mapping[int, tuple[int, int]] | None = None) -> None:
        self._domains: dict[int, tuple[int, int]] = dict(sorted((domains or {}).items()))

    @classmethod
    def parse(cls, text: str) -> GtidList:
        """Read `0-1-450,1-1-3`. Raises ValueError."""
        domains: dict[int, tuple[int, int]] = {}
        for part in filter(None, "".join(text.split()).split(",")):
            fields = part.split("-")
            if len(fields) != 3 or not all(f.isdecimal() for f in fields):  # noqa: PLR2004 - domain, server, sequence
                raise ValueError(f"not a MariaDB GTID: {part!r}")
            domain, server, sequence = map(int, fields)
            if domain in domains:
                raise ValueError(f"domain {domain} is there twice: {text!r}")
            domains[domain] = (server, sequence)
        return cls(domains)

    def __str__(self) -> str:
        return ",".join(f"{domain}-{server}-{sequence}" for domain, (server, sequence) in self._domains.items())

    def __repr__(self) -> str:
        return f"GtidList.parse({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return self._domains == other._domains if isinstance(other, GtidList) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._domains.items()))

    def __bool__(self) -> bool:
        return bool(self._domains)

    def __iter__(self) -> Iterator[tuple[int, tuple[int, int]]]:
        return iter(self._domains.items())

    def get(self, domain: int) -> tuple[int, int] | None:
        """(server id, sequence) of the domain's last GTID."""
        return self._domains.get(domain)


@dataclass(frozen=True, slots=True)
class LastTransaction:
    """What tells our history from a reset or restored one: the last transaction before a position.

    `position` is its end in the file of the Position, `commit_time` seconds since 1970
    as in its last event's header, `length` its bytes in the log.
    """

    gtid: str | None
    position: int
    commit_time: int
    length: int


@dataclass(frozen=True, slots=True)
class PreparedTransaction:
    """An XA transaction that is prepared and neither committed nor rolled back; where its rows begin."""

    xid: str
    file: str
    position: int
    gtid: str | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """The end of a source transaction (or of a file's head), and whose log it is.

    `server` is the server's UUID on MySQL and its server_id on MariaDB. `file_created`
    is the header time of the file's FORMAT_DESCRIPTION event (0: not known yet).
    `position` counts bytes from the file's begin, also past 4 GiB where the log's own
    field has wrapped. `gtid_set` is None where the server has no GTIDs (MySQL with
    gtid_mode other than ON). Times are for people; only `last.commit_time` and
    `file_created` are compared, and only for equality.
    """

    flavour: Flavour
    server: str
    file: str
    position: int
    gtid_set: GtidSet | GtidList | None = None
    file_created: int = 0
    last: LastTransaction | None = None
    prepared: tuple[PreparedTransaction, ...] = ()
    out_of_order: tuple[int, ...] = ()
    log_time: int = 0

    def __str__(self) -> str:
        gtids = f" ({self.gtid_set})" if self.gtid_set else ""
        return f"{self.file}:{self.position}{gtids}"

    def to_json(self) -> dict[str, Any]:
        """The checkpoint's fields of it."""
        last = self.last
        return {
            "flavour": self.flavour,
            "server_uuid" if self.flavour == "mysql" else "server_id": self.server,
            "file": self.file,
            "file_created": self.file_created,
            "position": self.position,
            "gtid_set": None if self.gtid_set is None else str(self.gtid_set),
            "last": last
            and {
                "gtid": last.gtid,
                "position": last.position,
                "commit_time": last.commit_time,
                "length": last.length,
            },
            "prepared": [
                {"xid": p.xid, "file": p.file, "position": p.position} | ({"gtid": p.gtid} if p.gtid else {})
                for p in self.prepared
            ],
            "out_of_order": list(self.out_of_order),
            "log_time": self.log_time,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Position:
        """Read them back. Raises ValueError (KeyError and TypeError included) where they are no position."""
        try:
            flavour: Flavour = data["flavour"]
            if flavour not in ("mysql", "mariadb"):
                raise ValueError(f"unknown flavour {flavour!r}")
            text, last = data["gtid_set"], data.get("last")
            gtids: GtidSet | GtidList | None = None
            if text is not None:
                gtids = GtidSet.parse(text) if flavour == "mysql" else GtidList.parse(text)
            return cls(
                flavour=flavour,
                server=str(data["server_uuid" if flavour == "mysql" else "server_id"]),
                file=str(data["file"]),
                position=int(data["position"]),
                gtid_set=gtids,
                file_created=int(data.get("file_created") or 0),
                last=last
                and LastTransaction(last["gtid"], int(last["position"]), int(last["commit_time"]), int(last["length"])),
                prepared=tuple(
                    PreparedTransaction(str(p["xid"]), str(p["file"]), int(p["position"]), p.get("gtid"))
                    for p in data.get("prepared") or ()
                ),
                out_of_order=tuple(int(d) for d in data.get("out_of_order") or ()),
                log_time=int(data.get("log_time") or 0),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a position: {type(error).__name__}: {error}") from error

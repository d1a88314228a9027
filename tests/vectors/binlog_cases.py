"""Reads the recorded logs of this folder: their bytes, and what a decoder must make of them.

`Case` is one recording; `differences` compares decoded transactions with it by the rules of README.md.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from cdc.binlog import Feed, events
from cdc.model import SourceTransaction, TableSpec
from cdc.position import GtidList, GtidSet, Position

HERE = Path(__file__).parent
SERVERS = ("mariadb-10.11", "mariadb-11.8", "mysql-9.7")
TABLE = TableSpec("shop", "outbox")
MAGIC = b"\xfebin"
LARGEST_PACKET = 0xFFFFFF


@dataclass(frozen=True)
class Case:
    """A recording."""

    path: Path

    def __str__(self) -> str:
        return f"{self.path.parent.name}/{self.path.stem}"

    @cached_property
    def facts(self) -> dict[str, Any]:
        return json.loads(self.path.read_text())

    @property
    def flavour(self) -> str:
        return self.facts["flavour"]

    @cached_property
    def files(self) -> list[tuple[str, bytes]]:
        """Server's name and bytes, of the last file only those up to the case's end."""
        out = []
        for i, file in enumerate(self.facts["files"]):
            raw = (self.path.parent / file["name"]).read_bytes()
            raw = gzip.decompress(raw) if file["name"].endswith(".gz") else raw
            assert raw[:4] == MAGIC
            last = i == len(self.facts["files"]) - 1
            out.append((file["server_file"], raw[4 : self.facts["end_position"] if last else None]))
        return out

    def start(self, gtids: GtidSet | GtidList | None = None) -> Position:
        return Position(self.flavour, "server", self.files[0][0], 4, gtids)

    def gtids_before(self) -> GtidSet | None:
        """What the first file's head says was executed before it."""
        for event in split(self.files[0][1]):
            if event[4] == events.PREVIOUS_GTIDS:
                return GtidSet.decode(event[events.HEADER :])
        return None

    def end_gtids(self) -> GtidSet | GtidList:
        text = self.facts["end_gtid_set"]
        return GtidSet.parse(text) if self.flavour == "mysql" else GtidList.parse(text)


def cases() -> list[Case]:
    """All recordings."""
    return [Case(path) for server in SERVERS for path in sorted((HERE / server).glob("*.json"))]


def split(raw: bytes) -> Iterator[bytes]:
    """The events of a file's bytes."""
    at = 0
    while at < len(raw):
        (size,) = struct.unpack_from("<I", raw, at + 9)
        yield raw[at : at + size]
        at += size


def packets(event: bytes, number: int = 0) -> bytes:
    """An event as a server sends it: behind a zero byte, cut where a packet is full."""
    payload, out = b"\0" + event, []
    while True:
        part, payload = payload[:LARGEST_PACKET], payload[LARGEST_PACKET:]
        out.append(len(part).to_bytes(3, "little") + bytes([number & 255]) + part)
        number += 1
        if len(part) < LARGEST_PACKET:
            return b"".join(out)


def made_up_rotate(file: str, position: int, *, checksum: bool) -> bytes:
    """The event with which a server says where it begins to send."""
    body = struct.pack("<Q", position) + file.encode()
    head = struct.pack("<IBIIIH", 0, events.ROTATE, 1, 19 + len(body) + 4 * checksum, 0, 0x20)
    raw = head + body
    return raw + struct.pack("<I", zlib.crc32(raw)) if checksum else raw


def made_up_format(event: bytes) -> bytes:
    """FORMAT_DESCRIPTION as a server sends it to a reader that begins behind it: without an end position."""
    raw = event[:13] + bytes(4) + bytes([event[17] & ~events.IN_USE]) + event[18:-4]
    return raw + struct.pack("<I", zlib.crc32(raw))


def wire(case: Case, start: int = 4, upto: int | None = None) -> bytes:
    """All of the case as it comes from the socket; or of its first file from a place on, or up to a count of bytes."""
    out = []
    for i, (name, raw) in enumerate(case.files):
        out.append(packets(made_up_rotate(name, start, checksum=not i % 2), 1))
        at = 4
        for event in split(raw):
            if at == 4 and start > 4:
                out.append(packets(made_up_format(event), 2))
            elif at >= start and (upto is None or at - 4 + len(event) <= upto):
                out.append(packets(event, 2))
            at += len(event)
    return b"".join(out)


def read_files(case: Case, step: int | None = None) -> tuple[Feed, list[SourceTransaction], Exception | None]:
    """Feed the files in steps of so many bytes; what came out, and the error that ended it."""
    feed, out = Feed(case.flavour, [TABLE], case.start(), framed=False), []
    for i, (name, raw) in enumerate(case.files):
        if i and feed.position.file != name:
            feed.next_file(name)
        error = pour(feed, raw, step, out)
        if error is not None:
            return feed, out, error
    return feed, out, None


def read_wire(case: Case, step: int | None = None) -> tuple[Feed, list[SourceTransaction], Exception | None]:
    """The same from packets."""
    start = case.start(case.gtids_before() if case.flavour == "mysql" else None)
    feed, out = Feed(case.flavour, [TABLE], start), []
    return feed, out, pour(feed, wire(case), step, out)


def pour(feed: Feed, raw: bytes, step: int | None, out: list[SourceTransaction]) -> Exception | None:
    step = step or len(raw) or 1
    try:
        for at in range(0, len(raw), step):
            out += feed.feed(raw[at : at + step])
        while more := feed.feed(b""):  # an error comes after all that was finished before it
            out += more
    except Exception as error:  # noqa: BLE001 - the test looks at it
        return error
    return None


def differences(case: Case, got: list[SourceTransaction], *, upto: bool = False) -> list[str]:
    """What is not as expected; `upto`: an error ended the reading, what is missing at the end is not counted."""
    expected, out = case.facts["expected"], []
    if len(got) != len(expected) and not (upto and len(got) < len(expected)):
        out.append(f"{len(got)} transactions, not {len(expected)}: {[t.gtid for t in got]}")
    for i, (transaction, want) in enumerate(zip(got, expected, strict=False)):
        facts = want["transaction"]
        place = (transaction.gtid, transaction.file, transaction.position, transaction.commit_time)
        wanted = (facts["gtid"], facts["file"], facts["position"], facts["commit_timestamp"])
        if place != wanted:
            out.append(f"transaction {i}: {place}, not {wanted}")
        if len(transaction.rows) != len(want["rows"]):
            out.append(f"transaction {i}: {len(transaction.rows)} rows, not {len(want['rows'])}")
        columns = {c["name"]: c for c in case.facts["definitions"][want["definition"]]}
        ignored = set(case.facts.get("ignored_columns", ()))
        for j, (row, values) in enumerate(zip(transaction.rows, want["rows"], strict=False)):
            have = {k: v for k, v in row.as_dict().items() if k not in ignored}
            if list(have) != list(values):
                out.append(f"row {i}.{j}: columns {list(have)}, not {list(values)}")
            out += [
                f"row {i}.{j} column {name} ({columns[name]['type']}): {have.get(name)!r:.200}, not {value!r:.200}"
                for name, value in values.items()
                if not same(have.get(name), value, columns[name]["type"], case.flavour)
            ]
    return out


_UUID = re.compile(r"[0-9a-f-]{36}")


def same(got: Any, want: Any, kind: str, flavour: str) -> bool:
    """Are these the same value? `want` is in the form of README.md."""
    if want is None or got is None:
        return got is None and want is None
    if isinstance(want, dict):
        if "b64" in want:
            return got == base64.b64decode(want["b64"])
        if "json" in want:
            return _json(got) == _json(want["json"])
        data = got if want["of"] == "bytes" else got.encode()
        return len(data) == want["length"] and hashlib.sha256(data).hexdigest() == want["sha256"]
    if kind.startswith(("uuid", "inet")):
        import ipaddress
        import uuid

        text = str(uuid.UUID(bytes=got)) if kind == "uuid" else str(ipaddress.ip_address(got))
        return text == want
    return type(got) is type(want) and got == want


def _json(text: str) -> Any:
    """Parsed, numbers by their exact decimal value (a double's shortest text is the same on both sides)."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)

"""What came over the wire, against what the writers committed. Knows nothing of the code, nor of who sent what.

A record's row is found by its header ``id``. Headers ``__debezium.context.*`` are left aside.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.checker.judge import java_partition
from tests.servers import Seen

FAULTS = ("lost", "doubled", "phantom", "altered", "misplaced", "disordered")


@dataclass(frozen=True, slots=True)
class Kept:
    """A committed row; `place` rises in the order in which its writer wrote, and a key has one writer."""

    key: str
    value: str
    place: tuple[int, int]


def judge(ledger: Mapping[str, Kept], records: Iterable[Seen], partitions: int) -> dict[str, list[str]]:
    """Faults by kind, with an example's text each."""
    found: dict[str, list[str]] = {fault: [] for fault in FAULTS}
    seen: set[str] = set()
    last: dict[bytes | None, tuple[int, int]] = {}
    for record in sorted(records, key=lambda one: (one.partition, one.offset)):
        where = f"{record.topic}[{record.partition}]@{record.offset}"
        headers = [one for one in record.headers if not one[0].startswith("__debezium.context.")]
        row_id = (dict(headers).get("id") or b"").decode()
        row = ledger.get(row_id)
        if row is None:
            found["phantom"].append(f"{row_id or record.value!r} at {where}")
            continue
        if row_id in seen:
            found["doubled"].append(f"{row_id} at {where}")
            continue
        seen.add(row_id)
        if (record.key, record.value, headers) != (row.key.encode(), row.value.encode(), [("id", row_id.encode())]):
            found["altered"].append(f"{row_id} at {where}: {record.key!r} {record.value!r} {headers!r}")
        if java_partition(row.key.encode(), partitions) != record.partition:
            found["misplaced"].append(f"{row_id} at {where}")
        if row.place <= last.get(record.key, (0, 0)):
            found["disordered"].append(f"{row_id} at {where}: {row.place} behind {last[record.key]}")
        last[record.key] = max(row.place, last.get(record.key, (0, 0)))
    found["lost"] = sorted(ledger.keys() - seen)
    return found

"""The judge of handovers finds what is planted, and nothing else."""

import dataclasses

import pytest

from tests.checker.judge import java_partition
from tests.handover.judge import FAULTS, Kept, judge
from tests.servers import Seen

PARTITIONS = 3
LEDGER = {f"r{n}": Kept(f"k{n % 2}", f"v{n}", (n, 1)) for n in range(1, 9)}


def wire():
    records, ends = [], [0] * PARTITIONS
    for row_id, row in LEDGER.items():
        partition = java_partition(row.key.encode(), PARTITIONS)
        headers = [("id", row_id.encode()), ("__debezium.context.task", b"0")]
        records.append(Seen("t", partition, ends[partition], row.key.encode(), row.value.encode(), headers, 1))
        ends[partition] += 1
    return records


def faults(records):
    return {fault for fault, found in judge(LEDGER, records, PARTITIONS).items() if found}


def test_a_clean_wire():
    assert faults(wire()) == set()


def _later(record, records):
    return dataclasses.replace(record, offset=max(one.offset for one in records) + 1)


PLANTED = {
    "lost": lambda records: records[1:],
    "doubled": lambda records: [*records, _later(records[-1], records)],
    "phantom": lambda records: [*records, dataclasses.replace(_later(records[0], records), headers=[("id", b"x")])],
    "altered": lambda records: [dataclasses.replace(records[0], value=b"?"), *records[1:]],
    "misplaced": lambda records: [
        dataclasses.replace(one, partition=(one.partition + 1) % PARTITIONS) if one.key == b"k0" else one
        for one in records
    ],
    "disordered": lambda records: [_later(records[0], records), *records[1:]],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found(fault):
    assert fault in faults(PLANTED[fault](wire()))


@pytest.mark.parametrize(
    "change",
    [
        {"key": b"other"},
        {"headers": [("id", b"r1"), ("more", b"1")]},
        {"headers": [("other", b"1"), ("id", b"r1")]},
        {"value": None},
    ],
)
def test_every_part_of_a_record_is_compared(change):
    records = wire()
    assert "altered" in faults([dataclasses.replace(records[0], **change), *records[1:]])

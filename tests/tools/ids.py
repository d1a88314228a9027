"""`make ids`: ten million event ids over eight forked processes; the long form of tests/unit/outbox/test_ids.py.

Each process says whether its own rose and gives them packed; here they are sorted and no two neighbours may be equal.
"""

import itertools
import multiprocessing
import sys
import time
from functools import partial

from cdc.outbox.event import new_event_id

PROCESSES = 8
IDS = 10_000_000


def make(count: int, _: int) -> tuple[bool, bytes]:
    """The ids of one process, and whether they rose."""
    made = [new_event_id().bytes for _ in range(count)]
    return all(a < b for a, b in itertools.pairwise(made)), b"".join(made)


def main() -> int:
    """Make them and look."""
    began = time.monotonic()
    new_event_id()  # the children inherit a source that was used
    each = IDS // PROCESSES
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        parts = pool.map(partial(make, each), range(PROCESSES), chunksize=1)
    packed = [part[n : n + 16] for _, part in parts for n in range(0, len(part), 16)]
    rising = all(rose for rose, _ in parts)
    packed.sort()
    doubled = sum(a == b for a, b in itertools.pairwise(packed))
    print(
        f"{len(packed):,} ids of {PROCESSES} processes: {doubled} twice, {'all' if rising else 'NOT all'} rising in their process, {time.monotonic() - began:.0f} s"
    )
    return 0 if rising and not doubled else 1


if __name__ == "__main__":
    sys.exit(main())

"""The hash of keys against Kafka's own class: a key must go where every Java producer would send it."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

from cdc.routing.partitioner import murmur2, murmur2_of_all
from infra.stack.kafka import KAFKA
from infra.stack.places import Places
from infra.stack.tools import require

PROGRAM = Path(__file__).parents[1] / "vectors" / "Murmur2.java"


def test_a_hundred_thousand_random_keys() -> None:
    made = random.Random(32)  # the same at every run: a failure can be looked at
    keys = [made.randbytes(n) for n in range(300)] + [made.randbytes(made.randrange(48)) for _ in range(99_700)]
    jars = KAFKA.jars(Places.from_environment().cache)
    command = [require("java"), "-cp", jars.classpath, str(PROGRAM)]
    given = "\n".join(key.hex() for key in keys) + "\n"
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=True, timeout=120)
    expected = [int(line) & 0xFFFFFFFF for line in done.stdout.splitlines()]
    assert [murmur2(key) for key in keys] == expected
    at_once: dict[bytes, int] = {}
    for at in range(0, len(keys), 1000):
        some = sorted(keys[at : at + 1000], key=len, reverse=True)
        at_once |= zip(some, murmur2_of_all(some), strict=True)
    assert [at_once[key] for key in keys] == expected

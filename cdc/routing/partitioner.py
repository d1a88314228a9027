"""Java's murmur2, the hash of Kafka's default partitioner, and the partition it gives.

A key must go to the partition every other client would choose, so this is equal to
`org.apache.kafka.common.utils.Utils.murmur2` on all byte strings (read as unsigned).
Tails are little-endian words without the missing bytes; lengths enter by the seed.

Keys repeat, so `Partitioner` remembers the hashes of short ones: bounded by count and
key length, thrown away whole when full (an outbox has hot keys; real LRU costs more than
it saves).
"""

from __future__ import annotations

import struct

_CHUNK = 64
_WORDS = [struct.Struct(f"<{count}I").unpack_from for count in range(_CHUNK + 1)]
_REMEMBERED = 8192
_REMEMBERED_LENGTH = 128


def murmur2(key: bytes) -> int:
    """The hash as an unsigned 32-bit number."""
    length = len(key)
    h = (0x9747B28C ^ length) & 0xFFFFFFFF
    whole = length >> 2
    at = 0
    while whole > _CHUNK:
        for k in _WORDS[_CHUNK](key, at):
            k = k * 0x5BD1E995 & 0xFFFFFFFF  # noqa: PLW2901 - the hot loop; another name costs
            h = (h * 0x5BD1E995 ^ (k ^ k >> 24) * 0x5BD1E995) & 0xFFFFFFFF
        whole -= _CHUNK
        at += _CHUNK * 4
    for k in _WORDS[whole](key, at):
        k = k * 0x5BD1E995 & 0xFFFFFFFF  # noqa: PLW2901
        h = (h * 0x5BD1E995 ^ (k ^ k >> 24) * 0x5BD1E995) & 0xFFFFFFFF
    if length & 3:
        h = (h ^ int.from_bytes(key[length & -4 :], "little")) * 0x5BD1E995 & 0xFFFFFFFF
    h = (h ^ h >> 13) * 0x5BD1E995 & 0xFFFFFFFF
    return h ^ h >> 15


class Partitioner:
    """Keys to partitions, with a memory of the hashes of short keys."""

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes: dict[bytes, int] = {}

    def partition(self, key: bytes, partitions: int) -> int:
        """Where a record with this key belongs in a topic with so many partitions."""
        positive = self._hashes.get(key)
        if positive is None:
            positive = murmur2(key) & 0x7FFFFFFF
            if len(key) <= _REMEMBERED_LENGTH:
                if len(self._hashes) >= _REMEMBERED:
                    self._hashes.clear()
                self._hashes[key] = positive
        return positive % partitions

"""Java's murmur2, the hash of Kafka's default partitioner, and the partition it gives.

A key must go to the partition every other client would choose, so this is equal to
`org.apache.kafka.common.utils.Utils.murmur2` on all byte strings (read as unsigned).
Tails are little-endian words without the missing bytes; lengths enter by the seed.

Keys repeat, so `Partitioner` remembers the hashes of short ones: bounded by count and
key length, thrown away whole when full (an outbox has hot keys; real LRU costs more than
it saves). Keys that come once are hashed many at a time: `expect` them before asking.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

_CHUNK = 64
_WORDS = [struct.Struct(f"<{count}I").unpack_from for count in range(_CHUNK + 1)]
_REMEMBERED = 8192
_REMEMBERED_LENGTH = 128
_FEW = 8
"""Keys that are as well hashed one by one."""
_MULTIPLIER = 0x5BD1E995
_POSITIVE = (0x7FFFFFFF).__and__


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


def murmur2_of_all(keys: Sequence[bytes]) -> list[int]:
    """The hashes of many keys, the longest key first, in a fraction of the time for each.

    Every key has 64 bits of one large integer, of which the hash is the lower 32: a step is one operation of the
    interpreter for all keys. A product fits in the 64 bits; what a shift brings in from the next key is cut off. Of
    the keys that have bytes at a place the first ones have a whole word there, the others a tail, which is their end.
    """
    count, lengths = len(keys), [*map(len, keys)]
    width = lengths[0] + 3 & -4
    joined = b"".join([key.ljust(width, b"\0") for key in keys])
    lower = int.from_bytes(b"\xff\xff\xff\xff\0\0\0\0" * count, "little")
    h = int.from_bytes(struct.pack(f"<{count}Q", *[0x9747B28C ^ length for length in lengths]), "little")
    ended, there = 0, count
    for at in range(0, width, 4):
        before = there
        while lengths[there - 1] <= at:
            there -= 1
        if there < before:
            rest = h >> 64 * there
            ended |= rest << 64 * there
            h ^= rest << 64 * there
        whole = there
        while whole and lengths[whole - 1] < at + 4:
            whole -= 1
        lanes = bytearray(8 * there)
        for i in range(4):
            lanes[i::8] = joined[at + i : there * width : width]
        word, mask = int.from_bytes(lanes, "little"), lower >> 64 * (count - whole)
        k = (word & mask) * _MULTIPLIER & mask
        tails = ((h ^ word) >> 64 * whole) * _MULTIPLIER & lower >> 64 * (count - there + whole)
        h = ((h & mask) * _MULTIPLIER ^ (k ^ k >> 24 & mask) * _MULTIPLIER) & mask | tails << 64 * whole
    h |= ended
    h = (h ^ h >> 13 & lower) * _MULTIPLIER & lower
    h ^= h >> 15 & lower
    return list(struct.unpack(f"<{count}Q", h.to_bytes(8 * count, "little")))


class Partitioner:
    """Keys to partitions, with a memory of the hashes of short keys."""

    __slots__ = ("_hashes",)

    def __init__(self) -> None:
        self._hashes: dict[bytes, int] = {}

    def expect(self, keys: Iterable[bytes]) -> None:
        """These keys come next: hash the new ones all at once."""
        new = sorted(set(keys).difference(self._hashes), key=len, reverse=True)
        new = [key for key in new if len(key) <= _REMEMBERED_LENGTH][:_REMEMBERED]
        if len(new) < _FEW:
            return
        if len(self._hashes) + len(new) > _REMEMBERED:
            self._hashes.clear()
        self._hashes.update(zip(new, map(_POSITIVE, murmur2_of_all(new)), strict=True))

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

    def partitions(self, keys: Sequence[bytes | None], partitions: int) -> list[int | None]:
        """The same for many keys, best `expect`ed before; None for no key."""
        hashes = self._hashes
        try:
            return [hashes[key] % partitions for key in keys]  # type: ignore[index]  # None is not there, either
        except KeyError:
            return [None if key is None else self.partition(key, partitions) for key in keys]

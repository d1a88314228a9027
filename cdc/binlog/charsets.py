"""Collation numbers of the log to text decoders.

The numbers are the servers' (`information_schema.collations`); MariaDB adds 1024 for its
NOPAD collations and begins blocks of 256 at 2048 for the UCA 14.0 ones. Number 63 is
`binary`: bytes, no text. A character set for which there is no decoder is named in the
error when a row that needs it comes, never guessed.

Where the servers' tables differ from Python's codecs of that name, the servers are right
(compared with both, character by character): latin1 is cp1252 with its five holes
filled, and some others differ in a character or two. eucjpms differs in a thousand and is
refused, as are the three one-byte sets nobody else has (armscii8, geostd8, keybcs2).
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import cache

BINARY = 63
_BLOCKS = ((2048, "utf8mb3"), (2304, "utf8mb4"), (2560, "ucs2"), (2816, "utf16"), (3072, "utf32"))
_NOPAD = 1024

_NUMBERS: dict[str, str] = {
    "armscii8": "32 64",
    "ascii": "11 65",
    "big5": "1 84",
    "binary": "63",
    "cp1250": "26 34 44 66 99",
    "cp1251": "14 23 50-52",
    "cp1256": "57 67",
    "cp1257": "29 58 59",
    "cp850": "4 80",
    "cp852": "40 81",
    "cp866": "36 68",
    "cp932": "95 96",
    "dec8": "3 69",
    "eucjpms": "97 98",
    "euckr": "19 85",
    "gb18030": "248-250",
    "gb2312": "24 86",
    "gbk": "28 87",
    "geostd8": "92 93",
    "greek": "25 70",
    "hebrew": "16 71",
    "hp8": "6 72",
    "keybcs2": "37 73",
    "koi8r": "7 74",
    "koi8u": "22 75",
    "latin1": "5 8 15 31 47-49 94",
    "latin2": "2 9 21 27 77",
    "latin5": "30 78",
    "latin7": "20 41 42 79",
    "macce": "38 43",
    "macroman": "39 53",
    "sjis": "13 88",
    "swe7": "10 82",
    "tis620": "18 89",
    "ucs2": "35 90 128-159 640-642",
    "ujis": "12 91",
    "utf16": "54 55 101-127 672-674",
    "utf16le": "56 62",
    "utf32": "60 61 160-191 736-738",
    "utf8mb3": "33 76 83 192-223 576-578",
    "utf8mb4": "45 46 224-247 255-323 608-610",
}

_CODECS = {
    "ascii": "ascii",
    "big5": "big5",
    "cp1250": "cp1250",
    "cp1251": "cp1251",
    "cp1256": "cp1256",
    "cp1257": "cp1257",
    "cp850": "cp850",
    "cp852": "cp852",
    "cp932": "cp932",
    "euckr": "cp949",
    "gb2312": "gb2312",
    "gbk": "gbk",
    "hp8": "hp_roman8",
    "koi8r": "koi8-r",
    "latin2": "iso8859-2",
    "latin5": "iso8859-9",
    "latin7": "iso8859-13",
    "macce": "mac_latin2",
    "macroman": "mac_roman",
    "tis620": "tis_620",
    "ucs2": "utf-16-be",
    "utf16": "utf-16-be",
    "utf16le": "utf-16-le",
    "utf32": "utf-32-be",
    "utf8mb3": "utf-8",
    "utf8mb4": "utf-8",
}

_NONE = "\ufffe"
"""What a table of `codecs.charmap_decode` has where there is no character."""

_ONE_BYTE: dict[str, tuple[str, dict[int, str]]] = {
    "latin1": ("cp1252", {code: chr(code) for code in (0x81, 0x8D, 0x8F, 0x90, 0x9D)}),
    "cp866": ("cp866", {0xFC: "\u207f", 0xFD: "\u00b2"}),
    "greek": ("iso8859-7", {0xA1: "\u02bd", 0xA2: "\u02bc"}),
    "hebrew": ("iso8859-8", {0xAF: "\u203e"}),
    "koi8u": ("koi8-u", {0x95: "\u2022"}),
    "dec8": (
        "latin-1",
        dict.fromkeys((0xA4, 0xA6, 0xAC, 0xAD, 0xAE, 0xAF, 0xB4, 0xB8, 0xBE, 0xD0, 0xDE, 0xF0, 0xFE, 0xFF), _NONE)
        | {0xA8: "\u00a4", 0xD7: "\u0152", 0xDD: "\u0178", 0xF7: "\u0153", 0xFD: "\u00ff"},
    ),
    "swe7": ("ascii", dict(zip(b"@[\\]^`{|}~\x7f", "ÉÄÖÅÜéäöåü" + _NONE, strict=True))),
}
"""A codec and the characters in which the servers differ from it."""

_TRANSLATED: dict[str, tuple[str, dict[int, str]]] = {
    "sjis": ("shift_jis", {0xFF3C: "\\"}),
    "ujis": ("euc_jp", {0xFF3C: "\\"}),
    "gb18030": ("gb18030", {0xE7C7: "\u1e3f", 0x1E3F: "\ue7c7"}),
}
"""The same for codecs of several bytes, applied to the text."""


def _spread(numbers: str) -> list[int]:
    out: list[int] = []
    for part in numbers.split():
        first, _, last = part.partition("-")
        out.extend(range(int(first), int(last or first) + 1))
    return out


_BY_NUMBER = {number: charset for charset, numbers in _NUMBERS.items() for number in _spread(numbers)}


def charset_of(collation: int) -> str | None:
    """The character set's name; None for a number no server we know has."""
    if collation >= _BLOCKS[0][0]:
        return next((name for first, name in _BLOCKS if first <= collation < first + 256), None)
    return _BY_NUMBER.get(collation) or (_BY_NUMBER.get(collation - _NOPAD) if collation > _NOPAD else None)


def is_utf8(collation: int) -> bool:
    """Can `bytes.decode()` read it as it stands?"""
    return charset_of(collation) in ("utf8mb4", "utf8mb3", "ascii")


@cache
def decoder(collation: int) -> Callable[[bytes], str]:
    """Bytes to text. Raises LookupError where we have none; the function raises UnicodeDecodeError."""
    charset = charset_of(collation) or ""
    if charset in _ONE_BYTE:
        codec, own = _ONE_BYTE[charset]
        table = "".join(own.get(i) or bytes([i]).decode(codec, "ignore") or _NONE for i in range(256))
        return lambda data: codecs.charmap_decode(data, "strict", table)[0]
    if charset in _TRANSLATED:
        codec, changed = _TRANSLATED[charset]
        return lambda data: data.decode(codec).translate(changed)
    if charset not in _CODECS:
        raise LookupError(f"no decoder for character set {charset or 'of collation ' + str(collation)}")
    return lambda data: data.decode(_CODECS[charset])
